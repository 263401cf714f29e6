"""People on the page: an owner manages them, and a reader sees only the chat."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import samples
from tests.browser.conftest import sign_in_as
from tests.browser.pages import HostingPanel, PeoplePage, Question
from tests.browser.server import StoryloomServer

pytestmark = pytest.mark.browser


@pytest.fixture
def people(signed_in: Page, storyloom: StoryloomServer) -> PeoplePage:
    """Provide the view, as an owner sees it."""
    storyloom.directory.people, storyloom.directory.audit = samples.people(), samples.audit()
    return PeoplePage(signed_in).open()


def test_an_owner_invites_changes_and_removes(people: PeoplePage, storyloom: StoryloomServer) -> None:
    page, question = people.page, Question(people.page)
    expect(people.card("ada@example.com")).to_contain_text("has not signed in yet")
    people.invite("grace@example.com", "author")
    expect(page.get_by_text("grace@example.com is invited.")).to_be_visible()
    expect(people.card("grace@example.com")).to_be_visible()
    page.get_by_label("Role of ada@example.com").select_option("author")
    expect(page.get_by_text("ada@example.com is author now.")).to_be_visible()
    page.get_by_role("button", name="Remove ada@example.com").click()
    expect(question.box).to_contain_text("Their sign-in and their API keys are refused within a minute")
    question.answer("Remove")
    expect(people.card("ada@example.com")).to_have_count(0)
    assert [(person["email"], person["role"]) for person in storyloom.directory.people] == [
        ("writer@example.com", "owner"),
        ("grace@example.com", "author"),
    ]


def test_a_refused_change_shows_the_reason_and_the_old_role(
    people: PeoplePage, storyloom: StoryloomServer
) -> None:
    error = {"type": "last_owner", "message": "This is the last owner.", "cure": "Make another first."}
    storyloom.directory.refusal = (409, error)
    people.page.get_by_label("Role of writer@example.com").select_option("reader")
    expect(people.page.get_by_role("alert")).to_have_text("This is the last owner. Make another first.")
    expect(people.page.get_by_label("Role of writer@example.com")).to_have_value("owner")


def test_an_owner_reads_the_audit_trail(people: PeoplePage) -> None:
    trail = people.page.get_by_role("region", name="Audit trail", exact=True)
    expect(trail).to_contain_text("POST /api/runs/{run_id}/approve")
    expect(trail).to_contain_text("writer@example.com")
    expect(trail).to_contain_text("403, 12 times")


def test_a_reader_sees_only_the_chat_and_nothing_else_is_requested(
    page: Page, storyloom: StoryloomServer
) -> None:
    storyloom.directory.scopes = ["chat"]
    sign_in_as(page, storyloom)
    panel = HostingPanel(page).open()
    for link in ("API keys", "People"):
        expect(panel.box.get_by_role("link", name=link)).to_have_count(0)
    expect(panel.button("Put it to sleep now")).to_have_count(0)
    navigation = page.get_by_role("navigation", name="Main")
    assert navigation.get_by_role("link").all_inner_texts() == ["Chat"]
    for view in ("stories", "runs", "runs/20260930-170000-beef", "models", "keys", "people"):
        page.goto(f"{storyloom.url}/#/{view}")
        expect(page.get_by_text("Your role does not include this view.")).to_be_visible()
    assert set(storyloom.directory.asked) == {"GET /api/status", "GET /api/me"}


def test_a_person_without_a_role_is_told_what_to_do(page: Page, storyloom: StoryloomServer) -> None:
    error = {"type": "not_allowed", "message": "Your role does not give you this.", "cure": "Ask an owner."}
    storyloom.directory.scopes_refusal = (403, error)
    sign_in_as(page, storyloom)
    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("Ask an owner.")
