"""CloudFront gives up on an origin that is silent for too long: here, below `/api/hasty/`, for 3 seconds."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.local.web.conftest import WebApp

pytestmark = pytest.mark.cloud


@pytest.fixture
def browser(web: WebApp) -> Iterator[httpx.Client]:
    """Return a client of the front door, for a function that is warm."""
    with web.http(web.front_door, headers=web.signed_in) as client:
        assert client.get("/api/health").status_code == 200
        yield client


def _name() -> str:
    return f"n{time.monotonic_ns()}"


@pytest.mark.aws_fact
def test_an_origin_without_a_first_byte_is_a_504_and_its_function_goes_on(
    browser: httpx.Client, web: WebApp
) -> None:
    name = _name()
    begun = time.monotonic()
    answer = browser.post(f"/api/hasty/slow?seconds=5&name={name}")
    assert answer.status_code == 504
    assert time.monotonic() - begun > 2.9
    web.wait_for_log(f"slow {name} ended")
    assert _times(web, f"slow {name} begun") == 1, "what may change something is asked once"


@pytest.mark.aws_fact
def test_a_get_that_times_out_is_asked_again(browser: httpx.Client, web: WebApp) -> None:
    name = _name()
    assert browser.get(f"/api/hasty/slow?seconds=5&name={name}").status_code == 504
    assert _times(web, f"slow {name} begun") == 3, "a distribution's connection attempts, unless set"


@pytest.mark.aws_fact
def test_an_origin_that_falls_silent_is_broken_off(browser: httpx.Client, web: WebApp) -> None:
    name = _name()
    pieces: list[bytes] = []
    with (
        pytest.raises(httpx.RemoteProtocolError),
        browser.stream("POST", f"/api/hasty/stall?seconds=5&name={name}") as answer,
    ):
        assert answer.status_code == 200
        pieces.extend(answer.iter_raw())
    assert pieces in ([], [b"half"])
    web.wait_for_log(f"stall {name} ended")


@pytest.mark.aws_fact
def test_an_answer_in_one_piece_that_takes_twice_as_long_is_whole(browser: httpx.Client) -> None:
    answer = browser.post("/api/hasty/whole?seconds=6")
    assert (answer.status_code, answer.json()) == (200, {"waited": 6.0})
    assert answer.headers["content-type"] == "application/json"
    assert answer.content.startswith(b" "), "it began before it was ready"
    at_once = browser.post("/api/hasty/whole?seconds=0")
    assert at_once.content == b'{"waited":0.0}'


def _times(web: WebApp, line: str) -> int:
    group = f"/aws/lambda/{web.outputs['WebFunction']}"
    events = web.client("logs").filter_log_events(logGroupName=group)["events"]
    return [event["message"] for event in events].count(line)
