"""Every view by axe's rules, in light and dark, and by keyboard alone."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import samples
from tests.browser.conftest import WEB
from tests.browser.pages import (
    ChatPage,
    CostsPage,
    HostingPanel,
    KeysPage,
    PeoplePage,
    Question,
    RunsPage,
    SignInPage,
    StoriesPage,
    VersionsPage,
)
from tests.browser.server import EMAIL, PASSWORD, StoryloomServer

pytestmark = pytest.mark.browser

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Literal["light", "dark"]:
    """The colours that the person's system asks for."""
    chosen: Literal["light", "dark"] = request.param
    return chosen


@pytest.fixture
def visitor(
    chromium: Browser, scheme: Literal["light", "dark"], storyloom: StoryloomServer
) -> Iterator[Page]:
    """A tab that lets axe in, past the security policy, with movement reduced so that colours hold still."""
    context = chromium.new_context(bypass_csp=True, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(storyloom.url)
    page.add_script_tag(path=AXE)
    yield page
    context.close()


def violations(page: Page) -> list[str]:
    """What axe, which must be in the page already, has to say against it."""
    found = page.evaluate(
        "async rules => (await axe.run(document, {runOnly: rules})).violations"
        ".map(v => `${v.impact} ${v.id}: ${v.help}: ${v.nodes.map(n => n.html).join(' ')}`)",
        RULES,
    )
    return [str(violation) for violation in found]


def test_axe_finds_nothing_on_any_view(visitor: Page, storyloom: StoryloomServer) -> None:
    storyloom.runs = _all_kinds_of_runs()
    storyloom.models = samples.models()
    storyloom.keys = samples.keys()
    storyloom.directory.people = samples.people()
    storyloom.directory.audit = samples.audit()
    storyloom.costs = _this_month()
    found: dict[str, list[str]] = {}

    def check(view: str) -> None:
        found[view] = violations(visitor)

    expect(visitor.get_by_label("E-mail")).to_be_visible()
    check("sign-in")
    SignInPage(visitor).sign_in(EMAIL, "wrong")
    expect(SignInPage(visitor).problem()).to_be_visible()
    check("wrong password")
    SignInPage(visitor).ask_for_code(EMAIL)
    expect(visitor.get_by_label("Code from the e-mail")).to_be_focused()
    check("code")
    visitor.get_by_role("button", name="Send another code").click()
    visitor.get_by_role("button", name="Back to the sign-in").click()
    SignInPage(visitor).sign_in(EMAIL, PASSWORD)
    for view, show in _views(visitor, storyloom).items():
        show()
        check(view)
    assert found == {view: [] for view in found}


def _this_month() -> dict[str, Any]:
    month = f"{datetime.now(UTC):%Y-%m}"
    return {month: samples.costs(month, samples.busy_days())}


def _all_kinds_of_runs() -> list[dict[str, Any]]:
    return [
        samples.running_run(),
        samples.succeeded_run(),
        samples.failed_run(),
        samples.waiting_run(),
        samples.searching_run(),
    ]


def _views(page: Page, storyloom: StoryloomServer) -> dict[str, Callable[[], None]]:
    chat, runs, stories = ChatPage(page), RunsPage(page), StoriesPage(page)

    def run(index: int) -> Callable[[], None]:
        def show() -> None:
            runs.open().open_run(index)

        return show

    def pair() -> None:
        chat.choose("Side by side")
        chat.send("Begin.")
        chat.expect_state("done", "base")
        chat.expect_state("done")

    def waking() -> None:
        error = {"type": "model_waking", "message": "m", "cure": "c", "stage": "waking"}
        storyloom.waking = {**error, "expected_seconds": 99}
        chat.choose("My storyteller")
        chat.send("Wake.")
        chat.expect_state("waking")

    def uploads() -> None:
        stories.open().drop_files({"tale.txt": "Once.", "empty.txt": ""})
        expect(stories.uploads()).to_contain_text("1 of 2 files uploaded")

    def panel() -> None:
        HostingPanel(page).open()

    def costs() -> None:
        page.keyboard.press("Escape")
        shown = CostsPage(page).open()
        expect(shown.plot()).to_be_visible()
        page.get_by_text("Day by day, as a table").click()

    def keys() -> None:
        page.keyboard.press("Escape")
        shown = KeysPage(page).open()
        shown.make("try")
        expect(shown.made()).to_be_visible()

    def revoking() -> None:
        KeysPage(page).revoke("nightly")
        expect(Question(page).box).to_be_visible()

    def people() -> None:
        Question(page).answer("Keep it")
        PeoplePage(page).open()
        expect(page.get_by_role("region", name="Audit trail")).to_be_visible()
        page.get_by_role("button", name="Remove ada@example.com").click()
        expect(Question(page).box).to_be_visible()
        Question(page).answer("Keep")
        KeysPage(page).open().revoke("nightly")

    def deletion() -> None:
        Question(page).answer("Keep it")
        stories.open()
        page.get_by_role("button", name="Delete winter/lamplighter.md").click()
        expect(Question(page).box).to_be_visible()
        Question(page).answer("Delete it")
        expect(page.get_by_text("lamplighter.md is deleted.")).to_be_visible()

    return {
        "empty chat": lambda: expect(chat.prompt()).to_be_visible(),
        "side by side": pair,
        "waking": waking,
        "stories": uploads,
        "versions": lambda: expect(VersionsPage(page).open().card("v6")).to_be_visible(),
        "runs": lambda: expect(runs.open().rows()).to_have_count(5),
        "running run": run(0),
        "succeeded run": run(1),
        "failed run": run(2),
        "run that waits": run(3),
        "run that searches": run(4),
        "panel": panel,
        "costs": costs,
        "keys": keys,
        "revoking a key": revoking,
        "a deleted story": deletion,
    }


def test_the_keyboard_is_enough(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    expect(chat.prompt()).to_be_focused()
    signed_in.keyboard.type("Begin.")
    signed_in.keyboard.press("Enter")
    chat.expect_state("done")
    signed_in.keyboard.press("Tab")  # the send button is off while there is nothing to send
    signed_in.keyboard.press("ArrowRight")
    expect(signed_in.get_by_role("radio", name="Base model")).to_be_checked()
    signed_in.get_by_role("link", name="Skip to the content").focus()
    signed_in.keyboard.press("Enter")
    expect(signed_in.locator("main")).to_be_focused()
    signed_in.get_by_role("link", name="Stories", exact=True).focus()
    signed_in.keyboard.press("Enter")
    expect(signed_in.get_by_role("heading", name="Stories", level=1)).to_be_visible()
    expect(signed_in.locator("main")).to_be_focused()


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_view_scrolls_sideways(signed_in: Page, storyloom: StoryloomServer, width: int) -> None:
    signed_in.set_viewport_size({"width": width, "height": 800})
    storyloom.runs = _all_kinds_of_runs()
    storyloom.models = samples.models()
    storyloom.keys = samples.keys()
    storyloom.directory.people = samples.people()
    storyloom.directory.audit = samples.audit()
    storyloom.costs = _this_month()
    for view, show in _views(signed_in, storyloom).items():
        show()
        beyond = signed_in.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, f"{view} is {beyond} pixels wider than a window of {width}"
