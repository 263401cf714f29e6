"""`storyloom people` and `storyloom audit`: what they print, and what they ask the API for."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cli.api.client import StoryloomApi
from cli.api.connection import Connection
from cli.app import app
from cli.commands import people
from cli.console import out

ADA = {
    "id": "3f0c2a1b-5d6e-4f70-8a91-b2c3d4e5f607",
    "email": "ada@example.com",
    "role": "reader",
    "enabled": True,
    "has_signed_in": False,
    "invited_at": "2026-11-22T10:00:00.000Z",
    "you": False,
}
WRITER = {**ADA, "id": "1", "email": "writer@example.com", "role": None, "has_signed_in": True, "you": True}
ENTRY = {
    "entry_id": "2026-11-22T10:00:00.000Z#0a1b2c3d",
    "at": "2026-11-22T10:00:00.000Z",
    "principal": "1",
    "principal_name": "writer@example.com [red]",
    "action": "POST /api/runs/{run_id}/approve",
    "object": "20260930-170000-beef",
    "status": 200,
    "count": 3,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    """Requests that reached the API: method, path and body, or query."""
    seen: list[tuple[str, str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = request.read()
        seen.append(
            (request.method, request.url.path, json.loads(body) if body else dict(request.url.params))
        )
        if request.url.path == "/api/audit":
            more = "before" not in request.url.params or not request.url.params["before"]
            return httpx.Response(200, json={"entries": [ENTRY], "next_before": "x" if more else None})
        if request.method == "GET":
            return httpx.Response(200, json={"people": [ADA, WRITER]})
        return httpx.Response(200, json={**ADA, **(json.loads(body) if body else {})})

    client = StoryloomApi(Connection("https://page.example", "token"))
    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(
        client, "_http", httpx.Client(base_url="https://page.example/api", transport=transport)
    )
    monkeypatch.setattr(people, "connect", lambda: None)
    monkeypatch.setattr(people, "StoryloomApi", lambda connection: client)
    monkeypatch.setattr(out, "_width", 200)
    return seen


def _run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_everybody_is_listed_with_role_and_state(calls: list[Any]) -> None:
    _, ada, writer = _run("people", "list").splitlines()
    for part in ("ada@example.com", "reader", "invited", "2026-11-22", ADA["id"]):
        assert str(part) in ada
    for part in ("writer@example.com (you)", "none: nothing is allowed", "signed in before"):
        assert part in writer
    assert json.loads(_run("people", "list", "--json")) == [ADA, WRITER]


def test_an_invitation_makes_a_reader_by_default(calls: list[Any]) -> None:
    assert "new@example.com is invited as reader." in _run("people", "invite", "new@example.com")
    _run("people", "invite", "new@example.com", "--role", "owner")
    assert [body["role"] for _, _, body in calls] == ["reader", "owner"]


def test_people_are_named_by_their_address(calls: list[Any]) -> None:
    assert "ada@example.com is now author." in _run("people", "role", "Ada@example.com", "author")
    assert "ada@example.com is removed." in _run("people", "remove", "ada@example.com")
    changes = [call for call in calls if call[0] != "GET"]
    assert changes == [
        ("PATCH", f"/api/people/{ADA['id']}", {"role": "author"}),
        ("DELETE", f"/api/people/{ADA['id']}", {}),
    ]


def test_an_address_that_nobody_has_changes_nothing(calls: list[Any]) -> None:
    done = CliRunner().invoke(app, ["people", "remove", "nobody@example.com"])
    assert done.exit_code == 1
    assert "Nobody has the address nobody@example.com" in str(done.exception)
    assert [call[0] for call in calls] == ["GET"]


def test_the_audit_trail_is_read_page_by_page(calls: list[Any]) -> None:
    head, *lines = _run("audit", "--limit", "5").splitlines()
    assert "outcome" in head
    assert len(lines) == 2
    for part in (
        "2026-11-22 10:00:00",
        "writer@example.com [red]",
        "POST /api/runs/{run_id}/approve",
        "200, 3 times",
    ):
        assert part in lines[0]
    assert [call[2] for call in calls] == [{"limit": "5", "before": ""}, {"limit": "4", "before": "x"}]
