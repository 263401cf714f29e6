"""Chatting with the model: streaming, stopping, waking, comparing, and errors."""

import itertools
import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import samples
from tests.browser.conftest import sign_in_as
from tests.browser.pages import ChatPage, HostingPanel, Question, SignInPage
from tests.browser.server import EMAIL, PASSWORD, StoryloomServer

pytestmark = pytest.mark.browser

WHOLE = "The tide went out, and Ilse with it.\n\nNobody spoke."


def _wait_until(what: str, seconds: float, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def test_words_appear_as_they_are_written(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    seen = chat.watch()
    storyloom.answers.hold()
    chat.send("Begin.")
    for count, text in ((1, "The"), (1, "The tide"), (2, "The tide went out,")):
        storyloom.answers.release(count)
        expect(chat.answer_prose()).to_have_text(text)
        chat.expect_state("streaming")
    storyloom.answers.release_all()
    chat.expect_state("done")
    assert chat.answer_text() == WHOLE
    texts = seen()
    assert len(set(texts)) >= 4
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert storyloom.answers.requests[0]["messages"] == [{"role": "user", "content": "Begin."}]
    assert storyloom.answers.requests[0]["stream"] is True


def test_stop_keeps_the_words_and_cancels_the_answer(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    storyloom.answers.hold()
    chat.send("Begin.")
    storyloom.answers.release(4)
    expect(chat.answer_prose()).to_have_text("The tide went out,")
    chat.stop()
    chat.expect_state("stopped")
    _expect_cancelled(storyloom)
    assert chat.answer_text() == "The tide went out,"
    expect(chat.prompt()).to_be_focused()
    storyloom.answers.release_all()
    chat.send("And then?")
    chat.expect_state("done")
    said = [message["content"] for message in storyloom.answers.requests[-1]["messages"]]
    assert [text.strip() for text in said] == ["Begin.", "The tide went out,", "And then?"]


def _expect_cancelled(storyloom: StoryloomServer) -> None:
    """Wait until the page has cancelled every answer that it requested, by its id."""
    answers = storyloom.answers
    _wait_until("Each is cancelled", 5, lambda: len(answers.cancelled) == len(answers.ids) > 0)
    assert answers.cancelled == answers.ids


@pytest.mark.parametrize("how", ["reload", "another page", "close", "sign out"])
def test_leaving_the_page_cancels_the_answers(signed_in: Page, storyloom: StoryloomServer, how: str) -> None:
    chat = ChatPage(signed_in)
    storyloom.answers.hold()
    chat.choose("Side by side")
    chat.send("Begin.")
    _wait_until("Both are asked", 5, lambda: len(storyloom.answers.ids) == 2)
    storyloom.answers.release(2)
    if how == "reload":
        signed_in.reload()
    elif how == "another page":
        signed_in.goto("about:blank")
    elif how == "close":
        # As a person closes a tab; otherwise the page is not told.
        signed_in.close(run_before_unload=True)
    else:
        signed_in.get_by_role("button", name=re.compile("Details and account")).click()
        signed_in.get_by_role("button", name="Sign out").click()
    _wait_until("Both are cancelled", 5, lambda: len(storyloom.answers.cancelled) == 2)
    assert set(storyloom.answers.cancelled) == set(storyloom.answers.ids)


def test_an_answer_that_has_ended_is_not_cancelled(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("done")
    signed_in.reload()
    chat.expect_state("done")
    assert storyloom.answers.cancelled == []


def test_escape_stops_too(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    storyloom.answers.hold()
    chat.send("Begin.")
    chat.prompt().press("Escape")
    chat.expect_state("stopped")


def test_enter_sends_and_shift_enter_breaks_the_line(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    chat.prompt().press_sequentially("One")
    chat.prompt().press("Shift+Enter")
    chat.prompt().press_sequentially("two")
    chat.prompt().press("Enter")
    chat.expect_state("done")
    assert storyloom.answers.requests[0]["messages"][0]["content"] == "One\ntwo"
    expect(chat.prompt()).to_have_value("")


def test_a_waking_model_is_waited_for(signed_in: Page, storyloom: StoryloomServer) -> None:
    error = {"type": "model_asleep", "message": "Asleep.", "cure": "Wait.", "expected_seconds": 240}
    storyloom.waking = {**error, "stage": "asleep"}
    storyloom.status["hosting"]["status"] = "asleep"
    signed_in.reload()
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("waking")
    expect(chat.answer()).to_contain_text("waking up")
    expect(chat.answer()).to_contain_text("About 4 min left.")
    storyloom.waking = {**error, "stage": "waking", "expected_seconds": 100}
    expect(chat.answer()).to_contain_text("About 1 min 40 s left.")
    storyloom.waking = None
    storyloom.status["hosting"]["status"] = "awake"
    chat.expect_state("done", timeout_ms=10_000)
    assert chat.answer_text() == WHOLE
    assert len(storyloom.answers.requests) >= 3
    expect(signed_in.get_by_role("button", name=re.compile("Storyteller: Awake"))).to_be_visible()


def test_waiting_for_a_waking_model_can_be_stopped(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.waking = {"type": "model_waking", "message": "m", "cure": "c", "stage": "waking"}
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("waking")
    chat.stop()
    chat.expect_state("stopped")
    asked = len(storyloom.answers.requests)
    signed_in.wait_for_timeout(1_500)  # longer than its Retry-After
    assert len(storyloom.answers.requests) == asked


def test_both_models_answer_side_by_side(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    chat.choose("Side by side")
    chat.send("Begin.")
    chat.expect_state("done")
    chat.expect_state("done", "base")
    assert chat.answer_text("base") == "Once upon a time, the end."
    left, right = chat.answer().bounding_box(), chat.answer("base").bounding_box()
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    chat.send("And then?")
    _wait_until("Both are asked again", 5, lambda: len(storyloom.answers.requests) == 4)
    own = {request["model"]: request["messages"][1]["content"] for request in storyloom.answers.requests[2:]}
    assert own == {"storyloom": WHOLE, "base": "Once upon a time, the end."}


def test_a_base_model_that_cannot_be_asked_is_not_offered(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    storyloom.status["models"] = ["storyloom", "v2"]
    signed_in.reload()
    expect(signed_in.get_by_role("button", name=re.compile("Storyteller: Awake"))).to_be_visible()
    expect(signed_in.get_by_role("radio")).to_have_count(0)
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("done")
    assert [request["model"] for request in storyloom.answers.requests] == ["storyloom"]


def test_another_take_keeps_the_earlier_one(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("done")
    storyloom.answers.words["storyloom"] = ["Another ", "tale."]
    signed_in.get_by_role("button", name="Try again").click()
    expect(chat.answer_prose()).to_have_text("Another tale.")
    expect(chat.answer()).to_contain_text("2 of 2")
    signed_in.get_by_role("button", name="Previous take").click()
    assert chat.answer_text() == WHOLE


def test_an_answer_cut_at_its_length_can_be_continued(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.answers.finish = "length"
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("cut")
    signed_in.get_by_role("button", name="Continue").click()
    expect(signed_in.locator("article[data-model]")).to_have_count(2)
    _wait_until("It is asked to go on", 5, lambda: len(storyloom.answers.requests) == 2)
    assert [message["role"] for message in storyloom.answers.requests[1]["messages"]] == [
        "user",
        "assistant",
        "user",
    ]


def test_copy_takes_the_whole_answer(signed_in: Page, storyloom: StoryloomServer) -> None:
    signed_in.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=storyloom.url)
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("done")
    signed_in.get_by_role("button", name="Copy").click()
    expect(signed_in.get_by_role("button", name="Copied")).to_be_visible()
    assert signed_in.evaluate("() => navigator.clipboard.readText()") == WHOLE


def test_the_conversation_survives_a_reload_and_other_views(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    chat = ChatPage(signed_in)
    storyloom.answers.hold()
    chat.send("Begin.")
    storyloom.answers.release(2)
    expect(chat.answer_prose()).to_have_text("The tide")
    signed_in.get_by_role("link", name="Runs", exact=True).click()
    storyloom.answers.release(2)
    chat.open()
    expect(chat.answer_prose()).to_have_text("The tide went out,")
    chat.expect_state("streaming")
    signed_in.reload()
    chat.expect_state("stopped")
    assert chat.answer_text() == "The tide went out,"


def test_start_over_asks_before_it_deletes(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat, question = ChatPage(signed_in), Question(signed_in)
    chat.send("Begin.")
    chat.expect_state("done")
    start_over = signed_in.get_by_role("button", name="Start over")
    start_over.click()
    question.answer("Keep it")
    expect(start_over).to_be_focused()
    chat.expect_state("done")
    start_over.press("Enter")
    question.answer("Delete it")
    expect(signed_in.get_by_text("What shall we write?")).to_be_visible()
    expect(chat.prompt()).to_be_focused()
    assert len(storyloom.answers.requests) == 1
    signed_in.reload()
    expect(signed_in.get_by_text("What shall we write?")).to_be_visible()


def test_the_conversation_survives_the_closing_of_its_tab(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("done")
    signed_in.close(run_before_unload=True)
    later = signed_in.context.new_page()
    SignInPage(later).open(storyloom.url).sign_in(EMAIL, PASSWORD)
    ChatPage(later).expect_state("done")
    assert ChatPage(later).answer_text() == WHOLE


def test_two_tabs_of_one_person_show_the_same_conversation(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    other = signed_in.context.new_page()
    sign_in_as(other, storyloom)
    ChatPage(signed_in).send("Begin.")
    ChatPage(signed_in).expect_state("done")
    expect(ChatPage(other).answer_prose()).to_contain_text("Nobody spoke.")
    ChatPage(other).send("And then?")
    ChatPage(other).expect_state("done")
    expect(signed_in.get_by_text("And then?")).to_be_visible()
    HostingPanel(other).open().button("Sign out").click()
    expect(signed_in.get_by_text("What shall we write?")).to_be_visible()


def test_an_error_shows_its_message_and_its_cure(signed_in: Page, storyloom: StoryloomServer) -> None:
    error = {"type": "prompt_too_long", "message": "The chat has 9 characters.", "cure": "Start a new chat."}
    storyloom.chat_error = (413, error)
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("failed")
    expect(chat.answer()).to_contain_text("The chat has 9 characters. Start a new chat.")


def test_a_prompt_over_the_limit_is_not_sent(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.status["limits"]["prompt_characters"] = 50
    signed_in.reload()
    chat = ChatPage(signed_in)
    chat.prompt().fill("x" * 51)
    expect(signed_in.get_by_text("51 of 50 characters")).to_be_visible()
    expect(signed_in.get_by_role("button", name="Send")).to_be_disabled()
    chat.prompt().press("Enter")
    chat.prompt().fill("x" * 50)
    expect(signed_in.get_by_role("button", name="Send")).to_be_enabled()
    assert storyloom.answers.requests == []


def test_an_answer_is_never_html(signed_in: Page, storyloom: StoryloomServer) -> None:
    nasty = '<img src="x" onerror="document.title=1"> <b>bold</b> <script>document.title=2</script>'
    storyloom.answers.words["storyloom"] = [nasty]
    chat = ChatPage(signed_in)
    chat.send("Begin.")
    chat.expect_state("done")
    assert chat.answer_text() == nasty
    expect(signed_in).to_have_title("Chat · Storyloom")


def test_a_suggestion_begins_a_conversation(signed_in: Page, storyloom: StoryloomServer) -> None:
    suggestion = signed_in.get_by_role("list", name="Ideas to begin with").get_by_role("button").first
    text = suggestion.inner_text()
    suggestion.click()
    ChatPage(signed_in).expect_state("done")
    assert storyloom.answers.requests[0]["messages"][0]["content"] == text


def test_without_a_model_the_page_says_what_to_do(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.status["live"] = None
    signed_in.reload()
    expect(signed_in.get_by_text("There is no storyteller yet.")).to_be_visible()
    storyloom.status["run"] = samples.running_run()
    signed_in.reload()
    expect(signed_in.get_by_role("link", name="Train", exact=True)).to_be_visible()


def test_a_screen_reader_gets_whole_sentences(signed_in: Page, storyloom: StoryloomServer) -> None:
    chat = ChatPage(signed_in)
    storyloom.answers.hold()
    chat.send("Begin.")
    storyloom.answers.release(9)
    log = signed_in.get_by_role("log")
    expect(log).to_have_text("Your storyteller: The tide went out, and Ilse with it.")
    storyloom.answers.release_all()
    expect(log).to_contain_text("Nobody spoke.End of the answer.")
