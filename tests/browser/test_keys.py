"""Keys for programs: created, shown once, tried, revoked."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.browser import samples
from tests.browser.pages import KeysPage, Question
from tests.browser.server import MADE_KEY, StoryloomServer

pytestmark = pytest.mark.browser


def test_each_key_shows_its_scopes_and_inactive_keys_are_folded_away(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    storyloom.keys = samples.keys()
    KeysPage(signed_in).open()
    working = signed_in.get_by_role("listitem").filter(has_text="nightly")
    expect(working).to_contain_text(
        "May ask your storyteller (chat); look at stories, runs and versions (read); 60 requests per minute."
    )
    expect(working).to_contain_text("by writer@example.com, last used on 2026-09-30.")
    old = signed_in.get_by_role("heading", name="old")
    expect(old).to_be_hidden()
    signed_in.get_by_text("1 expired or revoked key").click()
    expect(old).to_be_visible()
    expect(signed_in.get_by_role("button", name="Revoke old")).to_have_count(0)
    expect(
        signed_in.get_by_text("What your keys use counts towards your daily limit of about 150,000 words.")
    ).to_be_visible()


def test_a_new_key_is_shown_once_with_a_command_to_try_it(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    signed_in.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=storyloom.url)
    page = KeysPage(signed_in).open()
    signed_in.get_by_label("look at stories, runs and versions").check()
    signed_in.get_by_label("Requests per minute, at most").fill("30")
    page.create("  nightly ")
    expect(page.created()).to_be_focused()
    expect(page.created()).to_contain_text(MADE_KEY)
    assert storyloom.keys_wanted == [
        {"name": "nightly", "scopes": ["chat", "read"], "requests_per_minute": 30, "days": 90}
    ]
    page.created().get_by_role("button", name="Copy the key").click()
    expect(page.created().get_by_role("button", name="Copied")).to_be_visible()
    assert signed_in.evaluate("() => navigator.clipboard.readText()") == MADE_KEY
    line = page.created().get_by_label("Command", exact=True).inner_text()
    assert line.startswith(f"curl -N {storyloom.url}/api/v1/chat/completions ")
    assert f'"Authorization: Bearer {MADE_KEY}"' in line
    page.created().get_by_role("button", name="Hide the key").click()
    expect(signed_in.get_by_role("heading", name="nightly")).to_be_visible()
    assert MADE_KEY not in signed_in.content()
    stored = signed_in.evaluate("() => JSON.stringify({...sessionStorage, ...localStorage})")
    assert MADE_KEY not in stored


def test_a_key_without_scope_or_name_is_not_created(signed_in: Page, storyloom: StoryloomServer) -> None:
    page = KeysPage(signed_in).open()
    signed_in.get_by_label("ask your storyteller").uncheck()
    page.create("nothing")
    expect(signed_in.get_by_role("alert")).to_contain_text("Choose at least one.")
    page.name().fill("   ")
    signed_in.get_by_label("ask your storyteller").check()
    signed_in.get_by_role("button", name="Create the key").click()
    assert storyloom.keys_wanted == []


def test_a_refused_key_shows_the_reason(signed_in: Page, storyloom: StoryloomServer) -> None:
    error = {"type": "invalid_request", "message": "body.name: too odd.", "cure": "Choose another name."}
    storyloom.key_refusal = (422, error)
    KeysPage(signed_in).open().create("odd")
    expect(signed_in.get_by_role("alert")).to_have_text("body.name: too odd. Choose another name.")
    expect(KeysPage(signed_in).name()).to_have_value("odd")


def test_revoking_a_key_asks_first(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.keys = samples.keys()
    page = KeysPage(signed_in).open()
    question = Question(signed_in)
    page.revoke("nightly")
    expect(question.box).to_contain_text("refused from its next request on")
    question.answer("Keep it")
    expect(signed_in.get_by_role("button", name="Revoke nightly")).to_be_focused()
    page.revoke("nightly")
    question.answer("Revoke it")
    expect(signed_in.get_by_text("nightly is revoked.")).to_be_visible()
    expect(signed_in.get_by_text("2 expired or revoked keys")).to_be_visible()
    assert all(key["revoked_at"] for key in storyloom.keys)


def test_the_page_warns_of_a_key_that_expires_soon(signed_in: Page, storyloom: StoryloomServer) -> None:
    later = (datetime.now(UTC) + timedelta(days=5, hours=1)).isoformat()
    key, revoked = samples.keys()
    ended = {**key, "key_id": "aaaaaaaaaaaa", "name": "last year", "expires_at": "2026-01-01T00:00:00.000Z"}
    others = {**key, "key_id": "bbbbbbbbbbbb", "name": "theirs", "created_by": "u2", "expires_at": later}
    storyloom.keys = [{**key, "expires_at": later}, revoked, ended, others]
    KeysPage(signed_in).open()
    expect(signed_in.get_by_role("note")).to_contain_text("nightly expires soon. Create a new key")
    expect(signed_in.get_by_role("listitem").filter(has_text="nightly")).to_contain_text("Expires in 5 days.")
    signed_in.get_by_text("2 expired or revoked keys").click()
    expect(signed_in.get_by_role("listitem").filter(has_text="last year")).to_contain_text("; expired ")
