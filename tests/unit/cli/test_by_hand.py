"""`storyloom start`, `stop`, `delete`, `wake` and `sleep`: what they ask the API for, and what they say."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cli.api.client import StoryloomApi
from cli.api.connection import Connection
from cli.app import app
from cli.commands import chat, runs, stories
from cli.console import CommandError

RUN = "20260101-000000-abcd"
KEY = "tales/The Hill, 100%? #1.txt"
LONG = f"{KEY} is deleted. To restore it, remove the marker: aws s3api delete-object --key '{KEY}'" * 2
ANSWERS: dict[str, dict[str, Any]] = {
    "start": {"started": True, "run_id": RUN, "message": f"Run {RUN} started: ada started it."},
    "resume": {"started": True, "run_id": RUN, "message": f"Run {RUN} resumes where it failed."},
    "stop": {"run_id": RUN, "message": f"Run {RUN} is being stopped."},
    "wake": {"status": "waking", "message": "Starting the instance that hosts the model."},
    "sleep": {"status": "asleep", "message": "ada put the model to sleep; the next message wakes it."},
    "delete": {"key": KEY, "message": LONG},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The calls that reached the API: method, and path as it was sent."""
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        seen.append((request.method, path))
        if path.endswith("/gone/stop"):
            refusal = {"message": "Run gone has ended.", "cure": "Look at how it ended."}
            return httpx.Response(409, json={"error": refusal})
        last = path.rpartition("/")[2]
        kind = "delete" if request.method == "DELETE" else last if last in ANSWERS else "start"
        return httpx.Response(200, json=ANSWERS[kind])

    client = StoryloomApi(Connection("https://page.example", "token"))
    http = httpx.Client(base_url="https://page.example/api", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(client, "_http", http)
    for module in (chat, runs, stories):
        monkeypatch.setattr(module, "connect", lambda: None)
        monkeypatch.setattr(module, "StoryloomApi", lambda connection: client)
    return seen


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_failed_run_is_resumed(asked: list[tuple[str, str]]) -> None:
    said = run("start", "--from", RUN)
    assert f"Run {RUN} resumes where it failed." in said
    assert f"storyloom runs {RUN} --follow" in said
    assert asked == [("POST", f"/api/runs/{RUN}/resume")]


def test_starting_prints_the_outcome_and_how_to_follow_it(asked: list[tuple[str, str]]) -> None:
    said = run("start")
    assert f"Run {RUN} started: ada started it." in said
    assert f"storyloom runs {RUN} --follow" in said
    assert asked == [("POST", "/api/runs")]


@pytest.mark.parametrize(("arguments", "again"), [((), False), (("--again",), True)])
def test_only_again_trains_on_unchanged_stories(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, str]], arguments: tuple[str, ...], again: bool
) -> None:
    sent: list[object] = []
    real = httpx.Client.post

    def post(client: httpx.Client, path: str, **fields: Any) -> httpx.Response:
        sent.append(fields.get("json"))
        return real(client, path, **fields)

    monkeypatch.setattr(httpx.Client, "post", post)
    run("start", *arguments)
    assert sent == [{"again": again}]


def test_stopping_names_the_run(asked: list[tuple[str, str]]) -> None:
    assert f"Run {RUN} is being stopped." in run("stop", RUN)
    assert asked == [("POST", f"/api/runs/{RUN}/stop")]


@pytest.mark.parametrize("command", ["wake", "sleep"])
def test_waking_and_sleeping_print_the_outcome(command: str, asked: list[tuple[str, str]]) -> None:
    assert ANSWERS[command]["message"] in run(command)
    assert asked == [("POST", f"/api/{command}")]


def test_a_run_that_has_ended_is_refused_in_the_words_of_the_api(asked: list[tuple[str, str]]) -> None:
    with pytest.raises(CommandError, match="Run gone has ended"):
        run("stop", "gone")


def test_a_key_is_sent_whole_and_the_way_back_is_one_line(asked: list[tuple[str, str]]) -> None:
    assert run("delete", KEY) == f"{LONG}\n"
    assert asked == [("DELETE", "/api/stories/tales/The%20Hill%2C%20100%25%3F%20%231.txt")]


@pytest.mark.parametrize("arguments", [("start",), ("stop", RUN), ("delete", KEY)])
def test_as_json_it_is_the_answer_of_the_api(
    asked: list[tuple[str, str]], arguments: tuple[str, ...]
) -> None:
    assert json.loads(run(*arguments, "--json")) == ANSWERS[arguments[0]]
