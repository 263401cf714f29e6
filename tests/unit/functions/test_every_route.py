"""Every route of the API against every role, removed people, ended keys and other people's objects.

The routes come from the API's own description and the scope of each from docs/api.md, so that a new route
without a rule fails here.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from fastapi.testclient import TestClient

from authorizer import people_cache
from chat_api.app import app
from chat_api.dependencies import audit_trail
from contracts.roles import ROLES, Role
from shared import clock, table
from shared.accounts import audit, keys, people
from shared.answers import cancellations
from shared.batch_inference import batch_records
from shared.runs import run_records
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.gateway import Gateway
from tests.unit.functions.people import join, somebody

Route = tuple[str, str]
_DESCRIPTION = app.openapi()
_EVERY: list[Route] = [
    (method.upper(), path) for path, methods in _DESCRIPTION["paths"].items() for method in methods
]
OPEN = {("GET", "/api/health")}
CLOSED = [route for route in _EVERY if route not in OPEN]
_PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
_RULES: dict[Route, str] = {
    (method, path): scope
    for method, path, scope in re.findall(r"^\| `(\w+) (\S+)` \| `(\w+)` \|", _PAGE, re.MULTILINE)
}
_SHARED = {"run_id": "20260904-090000-ffff", "version": "v9", "key": "a.txt"}
"""Parameters that name what belongs to everybody who has the scope."""
_OWNED = {
    "batch_id": "20260904-090000-ffff",
    "answer_id": "3f0c2a1b-5d6e-4f70-8a91-b2c3d4e5f607",
    "key_id": "0123456789ab",
}
"""Parameters that name what belongs to one person: nobody else learns whether it is there."""
_OF_OWNERS = {"person_id": "3f0c2a1b-5d6e-4f70-8a91-b2c3d4e5f607"}
"""Parameters of routes that only an owner reaches, who may name anybody."""


@dataclass(frozen=True)
class Members:
    """One person of each role, who have signed in, and another author."""

    pool: str
    subs: dict[str, str]
    tokens: dict[str, str]


@pytest.fixture
def members(resources: DeployedResources, lambdas_at_once: None) -> Iterator[Members]:
    with somebody(resources.table) as first:
        subs, tokens = {"owner": first.sub}, {"owner": first.id_token}
        for name, role in (("author", "author"), ("reader", "reader"), ("another author", "author")):
            email = f"{name.replace(' ', '.')}@example.com"
            subs[name], answer = join(first.pool, first.client, email, role)
            tokens[name] = answer["IdToken"]
        yield Members(first.pool, subs, tokens)


@pytest.fixture
def api() -> Iterator[TestClient]:
    """The app behind its real authorizer."""
    with TestClient(Gateway(app, before=lambda: None), raise_server_exceptions=False) as client:
        yield client


def _ask(api: TestClient, route: Route, bearer: str, **named: Any) -> Any:
    method, path = route
    filled = path.format(**{**_SHARED, **_OWNED, **_OF_OWNERS, **named})
    return api.request(method, filled, headers={"Authorization": f"Bearer {bearer}"})


def test_every_route_has_a_rule() -> None:
    assert set(_RULES) == set(CLOSED), "docs/api.md says of every route which scope it needs"
    assert set(_RULES.values()) <= set(people.SCOPES["owner"])
    parameters = {name for _, path in CLOSED for name in re.findall(r"\{(\w+)\}", path)}
    assert parameters == {*_SHARED, *_OWNED, *_OF_OWNERS}, "say whose it is, what a new parameter names"


@pytest.mark.parametrize("role", ROLES)
def test_every_route_is_open_to_exactly_the_roles_that_have_its_scope(
    api: TestClient, members: Members, role: Role
) -> None:
    _, key = keys.issue_key("program", keys.KEY_SCOPES, 600, by=members.subs[role], email="")
    faults = []
    for route in CLOSED:
        scope = _RULES[route]
        may = {
            members.tokens[role]: scope in people.SCOPES[role],
            key: scope in people.SCOPES[role] and scope in keys.KEY_SCOPES,
        }
        for bearer, allowed in may.items():
            answer = _ask(api, route, bearer)
            refused = answer.status_code == 403 and answer.json()["error"]["type"] == "not_allowed"
            if refused is allowed or answer.status_code in {401, 500}:
                faults.append(f"{role} {bearer[:3]} {' '.join(route)}: {answer.status_code} {answer.text}")
    assert not faults, "\n".join(faults)


def _removed(members: Members) -> None:
    boto3.client("cognito-idp").admin_delete_user(UserPoolId=members.pool, Username=members.subs["author"])


def _disabled(members: Members) -> None:
    boto3.client("cognito-idp").admin_disable_user(UserPoolId=members.pool, Username=members.subs["author"])


@pytest.mark.parametrize("end", [_removed, _disabled])
def test_every_route_refuses_a_removed_person_and_their_key(
    api: TestClient, members: Members, end: Callable[[Members], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = keys.issue_key("program", keys.KEY_SCOPES, 600, by=members.subs["author"], email="")
    for bearer in (members.tokens["author"], key):
        assert _ask(api, ("GET", "/api/runs"), bearer).status_code == 200
    end(members)
    monkeypatch.setattr(people_cache, "_now", partial(_later, people_cache._now(), 59))
    statuses = {
        (route, bearer[:3]): _ask(api, route, bearer).status_code
        for route in CLOSED
        for bearer in (members.tokens["author"], key)
    }
    assert {case: status for case, status in statuses.items() if status != 401} == {}


def _later(began: float, seconds: float) -> float:
    return began + seconds


def test_every_route_refuses_an_expired_key(
    api: TestClient, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = keys.issue_key("program", keys.KEY_SCOPES, 600, by=members.subs["author"], email="", days=1)
    assert _ask(api, ("GET", "/api/runs"), key).status_code == 200
    moment = clock.now() + timedelta(days=1, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: moment)
    statuses = {route: _ask(api, route, key).status_code for route in CLOSED}
    assert {route: status for route, status in statuses.items() if status != 401} == {}


def _objects_of(sub: str) -> dict[str, str]:
    """Make one of everything that can belong to one person."""
    batch = batch_records.create_record(
        owner=sub, created_by="A", name="p.jsonl", model="base", max_tokens=9, instance="ml.g6.xlarge"
    )
    answer_id = "11111111-1111-4111-8111-111111111111"
    assert cancellations.mark_cancelled(answer_id, sub)
    key, _ = keys.issue_key("program", ["chat"], 60, by=sub, email="")
    return {"batch_id": batch.batch_id, "answer_id": answer_id, "key_id": key.key_id}


def test_nobody_can_access_another_persons_objects(api: TestClient, members: Members) -> None:
    theirs = _objects_of(members.subs["author"])
    assert set(theirs) == set(_OWNED)
    before = {name: table.query(name) for name in ("BATCHES", "KEYS")}
    faults = []
    for route in CLOSED:
        for name in set(re.findall(r"\{(\w+)\}", route[1])) & set(theirs):
            there = _ask(api, route, members.tokens["another author"], **{name: theirs[name]})
            if there.status_code != 404:
                faults.append(f"{' '.join(route)}: {there.status_code} {there.text}")
                continue
            if name == "answer_id":
                continue  # an id of one's own choice is cancelled before it is asked for
            missing = _ask(api, route, members.tokens["another author"])
            told = there.text.replace(theirs[name], "x"), missing.text.replace(_OWNED[name], "x")
            if told[0] != told[1]:
                faults.append(f"{' '.join(route)} tells that it is there: {told}")
    assert not faults, "\n".join(faults)
    assert all(before.values())
    assert {name: table.query(name) for name in before} == before, "and nothing of it was changed"


def test_an_owner_sees_and_revokes_everybodys_keys_an_author_their_own(
    api: TestClient, members: Members
) -> None:
    key_id = _objects_of(members.subs["author"])["key_id"]
    shown = {
        name: [key["key_id"] for key in _ask(api, ("GET", "/api/keys"), members.tokens[name]).json()["keys"]]
        for name in ("owner", "author", "another author")
    }
    assert shown == {"owner": [key_id], "author": [key_id], "another author": []}
    revoked = _ask(api, ("DELETE", "/api/keys/{key_id}"), members.tokens["owner"], key_id=key_id)
    assert revoked.json()["revoked_at"]


def test_the_status_shows_runs_and_costs_only_to_those_who_may_read_them(
    api: TestClient, members: Members
) -> None:
    run_records.enter("20260904-090000-ffff", "Train")
    for name, may_read in (("owner", True), ("author", True), ("reader", False)):
        said = _ask(api, ("GET", "/api/status"), members.tokens[name]).json()
        assert (said["run"] is not None) is may_read
        assert (said["hosting"]["cost_this_month_usd"] is not None) is may_read


_CHANGING = [route for route in CLOSED if route[0] != "GET"]


def test_every_changing_request_is_in_the_audit_trail(api: TestClient, members: Members) -> None:
    marker = "A text that nobody else may read."
    headers = {"Authorization": f"Bearer {members.tokens['owner']}"}
    _, key = keys.issue_key("program", keys.KEY_SCOPES, 600, by=members.subs["author"], email="")
    for method, path in _CHANGING:
        filled = path.format(**_SHARED, **_OWNED, **_OF_OWNERS)
        api.request(method, filled, headers=headers, json={"name": 5, "prompt": marker, "messages": marker})
        api.request(method, filled, headers={"Authorization": f"Bearer {key}"}, json={"prompt": marker})
    entries = audit.newest_entries(1000)
    for principal in (members.subs["owner"], f"key:{key.split('-')[1]}"):
        recorded = {entry.action for entry in entries if entry.principal == principal}
        expected = {" ".join(route) for route in _CHANGING if route not in audit_trail.NOT_RECORDED}
        assert recorded == expected
    assert marker not in repr(entries)
    assert {entry.status for entry in entries} >= {403, 404, 422}
    approved = next(entry for entry in entries if entry.action == "POST /api/runs/{run_id}/approve")
    assert approved.object == _SHARED["run_id"]


def test_a_reader_in_a_loop_does_not_fill_the_audit_trail(
    api: TestClient, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What repeats is one entry an hour with a count: refusals, and waking a model that is awake already."""
    hour, passed = clock.now().replace(minute=10), itertools.count()
    monkeypatch.setattr(clock, "now", lambda: hour + timedelta(milliseconds=next(passed)))
    for number in range(3):
        for _ in range(4):
            assert _ask(api, ("POST", "/api/runs"), members.tokens["reader"]).status_code == 403
        refused = _ask(api, ("DELETE", "/api/stories/{key}"), members.tokens["reader"], key=f"{number}.txt")
        assert refused.status_code == 403
        assert _ask(api, ("POST", "/api/wake"), members.tokens["reader"]).status_code == 409
    for number in range(2):
        gone = _ask(api, ("DELETE", "/api/stories/{key}"), members.tokens["author"], key=f"no{number}.txt")
        assert gone.status_code == 404
    hour += timedelta(hours=1)
    assert _ask(api, ("POST", "/api/runs"), members.tokens["reader"]).status_code == 403
    assert _ask(api, ("POST", "/api/runs"), members.tokens["author"]).status_code == 202
    page = _ask(api, ("GET", "/api/audit"), members.tokens["owner"]).json()
    seen = [(entry["action"], entry["object"], entry["status"], entry["count"]) for entry in page["entries"]]
    (started, *rest), run_id = seen, page["entries"][0]["object"]
    assert started == ("POST /api/runs", run_id, 202, 1)
    assert rest == [
        ("POST /api/runs", "", 403, 1),
        ("DELETE /api/stories/{key}", "no0.txt", 404, 2),
        ("POST /api/wake", "", 409, 3),
        ("DELETE /api/stories/{key}", "0.txt", 403, 3),
        ("POST /api/runs", "", 403, 12),
    ]
    assert len(table.query(audit.PARTITION)) == len(seen)


def test_an_owner_reads_the_audit_trail_page_by_page(api: TestClient, members: Members) -> None:
    made = api.post(
        "/api/keys",
        headers={"Authorization": f"Bearer {members.tokens['author']}"},
        json={"name": "nightly", "scopes": ["chat"]},
    ).json()
    for _ in range(3):
        _ask(api, ("DELETE", "/api/keys/{key_id}"), members.tokens["author"], key_id=made["key_id"])
    seen: list[dict[str, Any]] = []
    before = ""
    while True:
        page = api.get(
            "/api/audit",
            params={"limit": 3, "before": before},
            headers={"Authorization": f"Bearer {members.tokens['owner']}"},
        ).json()
        seen += page["entries"]
        if page["next_before"] is None:
            break
        before = page["next_before"]
    assert [entry["action"] for entry in seen] == [
        *["DELETE /api/keys/{key_id}"] * 3,
        "POST /api/keys",
    ]
    assert {entry["object"] for entry in seen} == {made["key_id"]}
    assert {entry["principal"] for entry in seen} == {members.subs["author"]}
    assert made["key"] not in repr(seen)
    (item, *_) = table.query(audit.PARTITION)
    assert item["expires_at"] > clock.now().timestamp() + 364 * 86_400
