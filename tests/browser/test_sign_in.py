"""Signing in, staying signed in, and signing in again."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import ChatPage, SignInPage, StoriesPage
from tests.browser.server import (
    EMAIL,
    FIRST_PASSWORD,
    PASSWORD,
    REFRESH_TOKEN,
    RESET_CODE,
    StoryloomServer,
)

pytestmark = pytest.mark.browser


def test_the_right_password_opens_the_chat(page: Page, storyloom: StoryloomServer) -> None:
    SignInPage(page).open(storyloom.url).sign_in(EMAIL, PASSWORD)
    expect(ChatPage(page).prompt()).to_be_focused()
    expect(page).to_have_title("Chat · Storyloom")


def test_a_wrong_password_is_refused_and_can_be_corrected(page: Page, storyloom: StoryloomServer) -> None:
    door = SignInPage(page).open(storyloom.url)
    door.sign_in(EMAIL, "wrong")
    expect(door.problem()).to_have_text("The e-mail address or the password is not right.")
    door.sign_in(EMAIL, PASSWORD)
    expect(ChatPage(page).prompt()).to_be_visible()


def test_a_first_sign_in_asks_for_a_new_password(page: Page, storyloom: StoryloomServer) -> None:
    storyloom.must_choose_password = True
    door = SignInPage(page).open(storyloom.url)
    door.sign_in(EMAIL, FIRST_PASSWORD)
    expect(page.get_by_label("New password", exact=True)).to_be_focused()
    door.choose_password("Own-password-1", again="Own-pasword-1")
    expect(door.problem()).to_contain_text("not the same")
    door.choose_password("Own-password-1")
    expect(ChatPage(page).prompt()).to_be_visible()


def test_a_forgotten_password_is_reset_with_a_code(page: Page, storyloom: StoryloomServer) -> None:
    door = SignInPage(page).open(storyloom.url)
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_role("button", name="I forgot my password").click()
    expect(page.get_by_label("E-mail")).to_have_value(EMAIL)
    page.get_by_role("button", name="Back to the sign-in").click()
    door.request_code(EMAIL)
    expect(page.get_by_label("Code from the e-mail")).to_be_focused()
    assert storyloom.codes_sent_to == [EMAIL]

    page.get_by_label("Code from the e-mail").fill("000000")
    door.choose_password("Own-password-2")
    expect(door.problem()).to_contain_text("That is not the code.")
    page.get_by_label("Code from the e-mail").fill(RESET_CODE)
    door.choose_password("Own-password-2", again="Own-pasword-2")
    expect(door.problem()).to_contain_text("not the same")
    door.choose_password("Own-password-2")
    expect(ChatPage(page).prompt()).to_be_visible()
    assert storyloom.password == "Own-password-2"


def test_a_reload_stays_signed_in_without_a_stored_id_token(page: Page, storyloom: StoryloomServer) -> None:
    SignInPage(page).open(storyloom.url).sign_in(EMAIL, PASSWORD)
    expect(ChatPage(page).prompt()).to_be_visible()
    stored = page.evaluate(
        "() => JSON.stringify({...sessionStorage, ...localStorage, cookie: document.cookie})"
    )
    assert REFRESH_TOKEN in stored
    assert not re.search(r"e30\.", stored), "the ID token belongs in memory only"
    page.reload()
    expect(ChatPage(page).prompt()).to_be_visible()
    assert storyloom.refreshes == 1


def test_an_expired_sign_in_asks_again_and_keeps_the_conversation(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("done")
    storyloom.sign_ins_valid = False
    chat.send("Go on.")
    expect(signed_in.get_by_text("Your sign-in has expired.")).to_be_visible()
    SignInPage(signed_in).sign_in(EMAIL, PASSWORD)
    expect(signed_in.get_by_text("Nobody spoke.")).to_be_visible()
    chat.expect_state("stopped")
    signed_in.get_by_role("button", name="Try again").click()
    chat.expect_state("done")


def test_signing_out_deletes_the_conversation(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    chat.send("A secret.")
    chat.expect_state("done")
    signed_in.get_by_role("button", name=re.compile("Details and account")).click()
    signed_in.get_by_role("button", name="Sign out").click()
    expect(signed_in.get_by_label("E-mail")).to_be_visible()
    assert signed_in.evaluate("() => sessionStorage.length + localStorage.length") == 0
    SignInPage(signed_in).sign_in(EMAIL, PASSWORD)
    expect(signed_in.get_by_text("What shall we write?")).to_be_visible()


def test_signing_in_opens_the_view_in_the_address(page: Page, storyloom: StoryloomServer) -> None:
    SignInPage(page).open(f"{storyloom.url}/#/stories").sign_in(EMAIL, PASSWORD)
    expect(page.get_by_role("heading", name="Stories")).to_be_visible()
    expect(StoriesPage(page).stories()).to_have_count(2)
