"""Who stops an answer stops the model, seen at the model's own server; who only hangs up does not."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page

from tests.browser.pages import ChatPage
from tests.journey.deployed_app import Deployed, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

WITHIN_SECONDS = 3.0
LONG = "Tell me a long story about the harbour, with every ship and every sailor in it."


def _active(deployed: Deployed) -> int:
    """How many answers the model's server is writing."""
    (engine,) = deployed.engines()
    words = engine.cmdline()
    said = httpx.get(f"http://127.0.0.1:{words[words.index('--port') + 1]}/ping", trust_env=False, timeout=30)
    return int(said.json()["active"])


def _places_taken(deployed: Deployed) -> list[str]:
    """The answers that the table says are being written, of all callers."""
    items = deployed.table().scan()["Items"]
    return [entry for item in items for entry in item.get("active", ()) if item["pk"].startswith("USAGE#")]


def _tokens(deployed: Deployed) -> int:
    return int(deployed.api.status()["usage"]["tokens_today"])


def _expect_stopped(deployed: Deployed, stop: Callable[[], None], before: int, words_seen: int) -> None:
    """Stop, and see the engine end, the place free and the day's tokens be those that were written."""
    stopped = time.monotonic()
    stop()
    while _active(deployed):
        assert time.monotonic() - stopped < WITHIN_SECONDS
        time.sleep(0.05)
    wait_for(lambda: not _places_taken(deployed) or None, 10)
    written = _tokens(deployed) - before
    # The question is about thirty tokens by the guess of three characters each.
    assert words_seen <= written < 500, "of the thousand and more that were asked for"


@pytest.fixture
def awake(deployed: Deployed, first_run: dict[str, Any]) -> Deployed:
    """The deployment, with a model that answers and nothing going on."""
    list(deployed.api.chat([{"role": "user", "content": "Good morning."}], max_tokens=4))
    assert (_active(deployed), _places_taken(deployed)) == (0, [])
    return deployed


@pytest.mark.browser
@pytest.mark.aws_fact
@pytest.mark.parametrize("how", ["stop", "reload", "close"])
def test_stopping_on_the_page_stops_the_generation(awake: Deployed, writer: Page, how: str) -> None:
    before = _tokens(awake)
    chat = ChatPage(writer).open()
    chat.choose_length("Long")
    seen = chat.watch()
    chat.send(LONG)
    wait_for(lambda: len(seen()) >= 4 or None)
    assert _active(awake) == 1

    def stop() -> None:
        if how == "stop":
            chat.stop()
        elif how == "reload":
            writer.reload()
        else:
            writer.close(run_before_unload=True)

    _expect_stopped(awake, stop, before, words_seen=4)
    if how == "stop":
        assert chat.answer_text()


@pytest.mark.aws_fact
def test_a_cut_connection_stops_nothing_and_the_cancel_route_does(awake: Deployed) -> None:
    before, answer_id = _tokens(awake), str(uuid.uuid4())
    connection = awake.api.connection
    body = {"messages": [{"role": "user", "content": LONG}], "stream": True, "max_tokens": 1500}
    headers = {**connection.headers, "X-Answer-Id": answer_id}
    chat = f"{connection.url}/api/v1/chat/completions"
    with httpx.stream("POST", chat, json=body, headers=headers, timeout=60) as response:
        assert response.headers["x-answer-id"] == answer_id
        lines = response.iter_lines()
        while '"content"' not in next(lines):
            pass
    time.sleep(WITHIN_SECONDS)  # what would end by itself has ended by then
    assert _active(awake) == 1, "nobody has been told"
    _expect_stopped(awake, lambda: awake.api.cancel_answer(answer_id), before, words_seen=1)
