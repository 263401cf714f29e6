"""Every view of the page with something in it, for the tests that look at all of them."""

from collections.abc import Callable
from datetime import UTC, datetime

from playwright.sync_api import Locator, Page, expect

from tests.browser import samples
from tests.browser.pages import (
    ChatPage,
    CostsPage,
    HostingPanel,
    KeysPage,
    PeoplePage,
    Question,
    RunsPage,
    StoriesPage,
    VersionsPage,
)
from tests.browser.server import StoryloomServer

ShowView = Callable[[], Locator]
"""Shows a view and returns its heading, or what else is new in it."""


def fill(storyloom: StoryloomServer) -> None:
    """Give the server something to show in every view."""
    storyloom.runs = [
        samples.running_run(),
        samples.succeeded_run(),
        samples.failed_run(),
        samples.waiting_run(),
        samples.searching_run(),
    ]
    storyloom.models = samples.models()
    storyloom.keys = samples.keys()
    storyloom.directory.people = samples.people()
    storyloom.directory.audit = samples.audit()
    month = f"{datetime.now(UTC):%Y-%m}"
    storyloom.costs = {month: samples.costs(month, samples.busy_days())}


def signed_in_views(page: Page, storyloom: StoryloomServer) -> dict[str, ShowView]:
    """Return how to show each view; call them in this order, on a tab where an owner is signed in."""
    views = _chat_views(page, storyloom) | _story_and_run_views(page) | _panel_views(page)

    def closing_what_is_open(show: ShowView) -> ShowView:
        def closed_and_shown() -> Locator:
            page.keyboard.press("Escape")
            return show()

        return closed_and_shown

    return {name: closing_what_is_open(show) for name, show in views.items()}


def _heading(page: Page, name: str) -> Locator:
    heading = page.get_by_role("heading", name=name, exact=True).last
    expect(heading).to_be_visible()
    return heading


def _question(page: Page) -> Locator:
    box = Question(page).box
    expect(box).to_be_visible()
    return box.get_by_role("heading")


def _chat_views(page: Page, storyloom: StoryloomServer) -> dict[str, ShowView]:
    chat = ChatPage(page)

    def welcome() -> Locator:
        expect(chat.prompt()).to_be_visible()
        return _heading(page, "What shall we write?")

    def side_by_side() -> Locator:
        chat.choose("Side by side")
        chat.send("Begin.")
        chat.expect_state("done", "base")
        chat.expect_state("done")
        return chat.answer("base").get_by_role("heading")

    def starting_over() -> Locator:
        page.get_by_role("button", name="Start over").click()
        return _question(page)

    def waking() -> Locator:
        error = {"type": "model_waking", "message": "m", "cure": "c", "stage": "waking"}
        storyloom.waking = {**error, "expected_seconds": 99}
        chat.choose("My storyteller")
        chat.send("Wake.")
        chat.expect_state("waking")
        return chat.answer().get_by_role("heading")

    return {
        "empty chat": welcome,
        "side by side": side_by_side,
        "starting over": starting_over,
        "waking": waking,
    }


def _story_and_run_views(page: Page) -> dict[str, ShowView]:
    stories, runs, versions = StoriesPage(page), RunsPage(page), VersionsPage(page)

    def uploads() -> Locator:
        stories.open().drop_files({"tale.txt": "Once.", "empty.txt": ""})
        expect(stories.uploads()).to_contain_text("1 of 2 files uploaded")
        return _heading(page, "Stories")

    def deleting_a_story() -> Locator:
        page.get_by_role("button", name="Delete winter/lamplighter.md").click()
        return _question(page)

    def deleted_story() -> Locator:
        page.get_by_role("button", name="Delete winter/lamplighter.md").click()
        Question(page).answer("Delete it")
        notice = page.get_by_text("lamplighter.md is deleted.")
        expect(notice).to_be_focused()
        return notice

    def run_list() -> Locator:
        expect(runs.open().rows()).to_have_count(5)
        return _heading(page, "Runs")

    def run(index: int) -> ShowView:
        def show() -> Locator:
            runs.open().open_run(index)
            return page.get_by_role("heading", level=1)

        return show

    def all_versions() -> Locator:
        expect(versions.open().card("v6")).to_be_visible()
        return _heading(page, "Versions")

    return {
        "stories": uploads,
        "deleting a story": deleting_a_story,
        "deleted story": deleted_story,
        "versions": all_versions,
        "runs": run_list,
        "running run": run(0),
        "succeeded run": run(1),
        "failed run": run(2),
        "run that waits": run(3),
        "run that searches": run(4),
    }


def _panel_views(page: Page) -> dict[str, ShowView]:
    keys = KeysPage(page)

    def panel() -> Locator:
        return HostingPanel(page).open().box.get_by_role("heading")

    def costs() -> Locator:
        expect(CostsPage(page).open().plot()).to_be_visible()
        return _heading(page, "Costs")

    def costs_as_a_table() -> Locator:
        summary = page.get_by_text("Day by day, as a table")
        summary.click()
        return summary

    def created_key() -> Locator:
        keys.open().create("try")
        expect(keys.created()).to_be_visible()
        return keys.created().get_by_role("heading")

    def revoking() -> Locator:
        keys.revoke("nightly")
        return _question(page)

    def people() -> Locator:
        PeoplePage(page).open()
        expect(page.get_by_role("region", name="Entries of the audit trail")).to_be_visible()
        return _heading(page, "People")

    def removing_a_person() -> Locator:
        page.get_by_role("button", name="Remove ada@example.com").click()
        return _question(page)

    return {
        "panel": panel,
        "costs": costs,
        "costs as a table": costs_as_a_table,
        "created key": created_key,
        "revoking a key": revoking,
        "people": people,
        "removing a person": removing_a_person,
    }
