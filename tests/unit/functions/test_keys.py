"""API keys: created once, checked before the API, and limited to their scopes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from fastapi.testclient import TestClient

from authorizer import handler as authorizer
from chat_api.app import app
from chat_api.dependencies.identity import User
from shared import clock, table
from shared.accounts import keys, people
from shared.items import KeyScope
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.people import SignedIn, somebody

ARN = "arn:aws:execute-api:us-east-1:123456789012:abc123/prod/GET/api/status"
EMAIL = "writer@example.com"
OPEN = {("GET", "/api/health")}


@pytest.fixture
def api(resources: DeployedResources) -> Iterator[TestClient]:
    """The app, without anybody signed in."""
    with TestClient(app) as client:
        yield client


@pytest.fixture
def maker(resources: DeployedResources) -> Iterator[SignedIn]:
    """Somebody who may sign in, and whose keys therefore work."""
    with somebody(resources.table) as signed_in:
        yield signed_in


def _made(maker: SignedIn, *scopes: KeyScope, per_minute: int = 60) -> str:
    _, text = keys.issue_key("nightly", scopes or ("chat",), per_minute, by=maker.sub, email=EMAIL)
    return text


def _authorized(text: str, context: LambdaContext) -> dict[str, Any]:
    event = {"type": "REQUEST", "methodArn": ARN, "headers": {"Authorization": f"Bearer {text}"}}
    return authorizer.handler(event, context)


def test_a_key_opens_the_api_to_its_scopes(maker: SignedIn, context: LambdaContext) -> None:
    text = _made(maker, "read", "chat", per_minute=7)
    answer = _authorized(text, context)
    key_id = text.split("-")[1]
    assert answer["principalId"] == f"key:{key_id}"
    assert answer["context"] == {
        "sub": f"key:{key_id}",
        "made_by": maker.sub,
        "username": "nightly",
        "email": EMAIL,
        "scopes": "chat read",
        "requests_per_minute": "7",
    }


def test_a_wrong_or_revoked_key_is_unauthorized(maker: SignedIn, context: LambdaContext) -> None:
    text = _made(maker)
    head, secret = text[:16], text[16:]
    flipped = ("B" if secret[0] == "A" else "A") + secret[1:]
    other = keys.issue_key("other", ["chat"], 60, by=maker.sub, email=EMAIL)[1]
    wrong = [
        head,
        head + flipped,
        head + other[16:],
        f"sl-{'0' * 12}-{secret}",
        text + "A",
        "sl-",
    ]
    for guess in wrong:
        with pytest.raises(authorizer.Unauthorized, match=r"^Unauthorized$"):
            _authorized(guess, context)
    assert _authorized(text, context)["context"]["sub"].startswith("key:")
    keys.mark_revoked(text.split("-")[1])
    with pytest.raises(authorizer.Unauthorized, match=r"^Unauthorized$"):
        _authorized(text, context)


def test_the_key_itself_is_nowhere(
    maker: SignedIn, context: LambdaContext, capfd: pytest.CaptureFixture[str]
) -> None:
    text = _made(maker)
    secret = text[16:]
    _authorized(text, context)
    with pytest.raises(authorizer.Unauthorized):
        _authorized(text + "A", context)
    (item,) = table.query("KEYS")
    assert secret not in repr(item)
    said = capfd.readouterr()
    assert secret not in said.out + said.err
    (key,) = keys.list_all()
    assert key.secret_sha256 not in repr(key)


def test_a_person_makes_lists_and_revokes_keys(
    api: TestClient, maker: SignedIn, context: LambdaContext
) -> None:
    person = caller_headers(maker.sub, email=EMAIL)
    wanted = {"name": "nightly", "scopes": ["read"], "requests_per_minute": 5}
    made = api.post("/api/keys", json=wanted, headers=person)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    key = made.json()
    assert _authorized(key["key"], context)["context"]["scopes"] == "read"
    (listed,) = api.get("/api/keys", headers=person).json()["keys"]
    assert listed == {name: value for name, value in key.items() if name != "key"}
    assert (listed["name"], listed["created_by_email"], listed["revoked_at"]) == ("nightly", EMAIL, None)
    assert "sha256" not in made.text
    revoked = api.delete(f"/api/keys/{key['key_id']}", headers=person).json()
    assert revoked["revoked_at"]
    again = api.delete(f"/api/keys/{key['key_id']}", headers=person)
    assert (again.status_code, again.json()) == (200, revoked)
    assert api.get("/api/keys", headers=person).json()["keys"] == [revoked]
    missing = api.delete(f"/api/keys/{'0' * 12}", headers=person)
    assert missing.status_code == 404
    assert keys.get("0" * 12) is None, "revoking makes nothing"


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["keys"]}, "scopes.0"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"requests_per_minute": 601}, "requests_per_minute"),
        ({"requests_per_minute": "60"}, "requests_per_minute"),
        ({"days": 0}, "days"),
        ({"days": 366}, "days"),
        ({"days": None}, "days"),
    ],
)
def test_an_invalid_key_is_refused(api: TestClient, wrong: dict[str, Any], where: str) -> None:
    wanted = {"name": "nightly", "scopes": ["read"], **wrong}
    answer = api.post("/api/keys", json=wanted, headers=caller_headers())
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith(where)


def test_keys_are_listed_newest_first(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> None:
    for second in (3, 1, 2):
        moment = clock.instant(f"2026-09-30T18:04:0{second}.000Z")
        monkeypatch.setattr(clock, "now", lambda at=moment: at)
        keys.issue_key(f"made {second}", ["chat"], 60, by="u1", email=EMAIL)
    assert [key.name for key in keys.list_all()] == ["made 3", "made 2", "made 1"]


def test_a_key_has_a_rate_limit(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = keys.issue_key("nightly", ["read"], 2, by="u1", email=EMAIL)
    asks = caller_headers(sub=f"key:{key.key_id}", scopes="read", requests_per_minute="2")
    moment = clock.instant("2026-09-30T18:04:40.000Z")
    monkeypatch.setattr(clock, "now", lambda: moment)
    assert [api.get("/api/runs", headers=asks).status_code for _ in range(2)] == [200, 200]
    answer = api.get("/api/runs", headers=asks)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "20"
    error = answer.json()["error"]
    assert error["type"] == "too_many_requests"
    assert "2 requests a minute" in error["message"]
    used = keys.get(key.key_id)
    assert used is not None
    assert used.last_used_on == "2026-09-30"
    moment = clock.instant("2026-09-30T18:05:00.000Z")
    assert api.get("/api/runs", headers=asks).status_code == 200
    (minute, *_) = table.query(f"USAGE#key:{key.key_id}")
    assert minute["expires_at"] > moment.timestamp()
    assert api.get("/api/runs", headers=caller_headers()).status_code == 200, (
        "people's requests are not counted"
    )


def test_actions_of_a_key_are_distinguished_from_those_of_its_person() -> None:
    program = User(sub="key:0123456789ab", username="nightly", email=EMAIL)
    assert program.display_name == f"{EMAIL} (API key nightly)"
    assert User(sub="u1", username="u1", email=EMAIL).display_name == EMAIL
    assert User(sub="u1").display_name == "u1"


def _routes() -> list[tuple[str, str]]:
    document = app.openapi()
    return [(method.upper(), path) for path, known in document["paths"].items() for method in known]


CLOSED = sorted(set(_routes()) - OPEN)


def _ask(api: TestClient, route: tuple[str, str], headers: dict[str, str] | None = None) -> Any:
    method, path = route
    # What is asked for matters to nobody yet: who asks comes first.
    return api.request(method, re.sub(r"\{\w+\}", "x", path), headers=headers)


@pytest.mark.parametrize("route", CLOSED, ids=" ".join)
def test_no_route_escapes_the_sign_in(api: TestClient, route: tuple[str, str]) -> None:
    answer = _ask(api, route)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "unauthorized"


@pytest.mark.parametrize("route", CLOSED, ids=" ".join)
def test_every_route_needs_the_one_scope_that_the_documentation_says(
    api: TestClient, route: tuple[str, str]
) -> None:
    answer = _ask(api, route, caller_headers(sub="key:0123456789ab", scopes=""))
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert error["type"] == "not_allowed"
    (scope,) = re.findall(r"needs the scope (\w+)", error["message"])
    assert scope in people.SCOPES["owner"]
    written = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    assert f"| `{' '.join(route)}` | `{scope}` |" in written
    others = " ".join({*people.SCOPES["owner"]} - {scope})
    assert _ask(api, route, caller_headers(scopes=others)).status_code == 403
    of_person = _ask(api, route, caller_headers(scopes="nothing")).json()["error"]
    assert (of_person["type"], of_person["message"]) == (
        "not_allowed",
        f"This needs the scope {scope}, which your role does not give you.",
    )


def test_health_is_all_that_is_open(api: TestClient) -> None:
    assert len(CLOSED) == len(_routes()) - 1
    assert api.get("/api/health").status_code == 200


def test_a_context_without_scopes_may_do_nothing(api: TestClient) -> None:
    context = {"x-amzn-request-context": json.dumps({"authorizer": {"sub": "u1"}})}
    assert api.get("/api/runs", headers=context).status_code == 403
