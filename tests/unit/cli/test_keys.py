"""`storyloom keys`: what it prints of an API's keys, and what it asks for."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cli.api.client import StoryloomApi
from cli.api.connection import Connection
from cli.app import app
from cli.commands import keys
from cli.console import CommandError, out

KEY = {
    "key_id": "3f9c0a7be1d2",
    "name": "nightly [red]",
    "scopes": ["chat", "read"],
    "requests_per_minute": 60,
    "created_by_email": "ada@example.com",
    "created_at": "2026-11-22T10:00:00.000Z",
    "expires_at": "2099-02-20T10:00:00.000Z",
    "revoked_at": None,
    "last_used_on": "2026-11-23",
}
TEXT = f"sl-3f9c0a7be1d2-{'x' * 43}"


class _Api:
    """Lists keys, and notes what it was asked for."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self.listed = listed
        self.asked: list[Any] = []

    def keys(self) -> list[dict[str, Any]]:
        return self.listed

    def create_key(self, name: str, scopes: list[str], requests_per_minute: int, days: int) -> dict[str, Any]:
        self.asked.append((name, scopes, requests_per_minute, days))
        return {**KEY, "key": TEXT}

    def revoke_key(self, key_id: str) -> dict[str, Any]:
        self.asked.append(key_id)
        return {**KEY, "revoked_at": "2026-11-24T10:00:00.000Z"}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> _Api:
    known = _Api([KEY])
    monkeypatch.setattr(keys, "connect", lambda: None)
    monkeypatch.setattr(keys, "StoryloomApi", lambda connection: known)
    # the page of a terminal that is wide enough for every column
    monkeypatch.setattr(out, "_width", 200)
    return known


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["keys", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_keys_are_listed_with_what_they_may_and_when_they_were_used(api: _Api) -> None:
    _, line = run().splitlines()
    for part in (
        "3f9c0a7be1d2",
        "nightly [red]",
        "chat read",
        "60",
        "ada@example.com",
        "2026-11-23",
        "2099-02-20",
    ):
        assert part in line
    assert json.loads(run("--json")) == [KEY]


def test_a_key_that_has_ended_says_so(api: _Api) -> None:
    revoked = {**KEY, "name": "revoked", "revoked_at": "2026-11-24T10:00:00.000Z"}
    ended = {**KEY, "name": "ended", "expires_at": "2026-01-01T00:00:00.000Z"}
    api.listed = [revoked, ended]
    _, *lines = run().splitlines()
    assert "revoked 2026-11-24" in lines[0]
    assert "expired 2026-01-01" in lines[1]


@pytest.mark.parametrize("days", ["0", "366"])
def test_no_key_is_for_ever(api: _Api, days: str) -> None:
    wanted = ["keys", "create", "nightly", "--scope", "chat", "--days", days]
    assert CliRunner().invoke(app, wanted).exit_code == 2
    assert api.asked == []


def test_without_a_key_it_says_how_to_make_one(api: _Api) -> None:
    api.listed = []
    assert "storyloom keys create" in run()


def test_a_new_key_is_shown_once_and_whole(api: _Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "_width", 30)
    text, *once = run(
        "create", "nightly", "--scope", "chat", "--scope", "read", "--per-minute", "7", "--days", "3"
    ).splitlines()
    assert text == TEXT
    assert "not shown again" in " ".join(line.strip() for line in once)
    assert api.asked == [("nightly", ["chat", "read"], 7, 3)]


def test_a_new_key_as_json_has_its_text(api: _Api) -> None:
    assert json.loads(run("create", "nightly", "--scope", "write", "--json"))["key"] == TEXT
    assert api.asked == [("nightly", ["write"], 60, 90)]


@pytest.mark.parametrize("scopes", [[], ["--scope", "keys"]])
def test_a_scope_is_needed_and_must_be_one_that_keys_can_have(api: _Api, scopes: list[str]) -> None:
    assert CliRunner().invoke(app, ["keys", "create", "nightly", *scopes]).exit_code == 2
    assert api.asked == []


def test_revoking_says_which_key_works_no_longer(api: _Api) -> None:
    assert "nightly [red] (3f9c0a7be1d2) is revoked." in run("revoke", "3f9c0a7be1d2")
    assert api.asked == ["3f9c0a7be1d2"]
    assert json.loads(run("revoke", "3f9c0a7be1d2", "--json"))["revoked_at"]


def test_the_calls_are_those_of_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path, request.read()))
        if request.method == "DELETE":
            refusal = {"message": "There is no key x.", "cure": "GET /api/keys lists the keys."}
            return httpx.Response(404, json={"error": refusal})
        return httpx.Response(200, json={"keys": [KEY]})

    client = StoryloomApi(Connection("https://page.example", "token"))
    monkeypatch.setattr(
        client,
        "_http",
        httpx.Client(base_url="https://page.example/api", transport=httpx.MockTransport(answer)),
    )
    assert client.keys() == [KEY]
    client.create_key("nightly", ["chat"], 5)
    with pytest.raises(CommandError, match="There is no key x"):
        client.revoke_key("x")
    assert [call[:2] for call in seen] == [
        ("GET", "/api/keys"),
        ("POST", "/api/keys"),
        ("DELETE", "/api/keys/x"),
    ]
    assert json.loads(seen[1][2]) == {
        "name": "nightly",
        "scopes": ["chat"],
        "requests_per_minute": 5,
        "days": 90,
    }
