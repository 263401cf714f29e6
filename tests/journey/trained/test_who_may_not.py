"""Every route of the API's description against everything that must not open it, at the deployed API Gateway.

The routes come from the description, so that a new one cannot escape. What is refused has no effect, so
nothing here is in the way of other tests.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.journey.deployed_app import CHECKOUT, PATIENCE_S, Deployed, wait_for
from tests.journey.forgeries import Headers, Person, bearer, forged, person

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

Route = tuple[str, str]
DESCRIPTION: dict[str, Any] = json.loads((CHECKOUT / "docs" / "openapi.json").read_text())
EVERY: list[Route] = [
    (method.upper(), path) for path, methods in DESCRIPTION["paths"].items() for method in methods
]
CLOSED = [route for route in EVERY if route != ("GET", "/api/health")]
_PARAMETERS = {
    "run_id": "20260904-090000-ffff",
    "batch_id": "20260904-090000-ffff",
    "answer_id": "3f0c2a1b-5d6e-4f70-8a91-b2c3d4e5f607",
    "version": "v1",
    "key": "a.txt",
    "key_id": "0123456789ab",
    "person_id": "3f0c2a1b-5d6e-4f70-8a91-b2c3d4e5f607",
}
_AT_ONCE = 4


@pytest.fixture(scope="module")
def gateway(deployed: Deployed) -> Iterator[httpx.Client]:
    """API Gateway's own address, past CloudFront."""
    found = re.match(r"https://(\w+)\.execute-api\.[^/]+/(\w+)", deployed.outputs["ApiUrl"])
    assert found is not None
    trust = ssl.create_default_context(cafile=deployed.cloud.environment()["AWS_CA_BUNDLE"])
    base = f"https://127.0.0.1:{deployed.cloud.port}/_aws/execute-api/{found[1]}/{found[2]}"
    with httpx.Client(base_url=base, verify=trust, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture(scope="module")
def somebody(deployed: Deployed) -> Iterator[Person]:
    """Somebody who may sign in."""
    with person(deployed) as made:
        yield made


@pytest.fixture(scope="module")
def forgeries(deployed: Deployed, somebody: Person) -> Iterator[dict[str, Headers]]:
    """Everything that nobody may come in with."""
    with forged(deployed, somebody) as made:
        yield made


def _ask(gateway: httpx.Client, route: Route, headers: Headers) -> httpx.Response:
    method, path = route
    for _ in range(100):
        answer = gateway.request(method, path.format(**_PARAMETERS), headers=headers)
        if answer.status_code != 429:
            break
        time.sleep(0.2)  # API Gateway's own limit, which counts who came in
    return answer


def _fault(route: Route, answer: httpx.Response, status: int, kind: str) -> str | None:
    """Return how an answer differs from the documented refusal; None if it does not."""
    known = DESCRIPTION["paths"][route[1]][route[0].lower()]["responses"]
    described = str(status) in known and list(known[str(status)]["content"]) == ["application/json"]
    # On a busy machine an answer may have begun, with white space, before the refusal was there.
    late = answer.status_code == 200 and answer.text[:1].isspace()
    said = answer.headers.get("content-type"), status if late else answer.status_code
    if described and said == ("application/json", status):
        error = answer.json()["error"]
        if (error["type"], error["code"]) == (kind, kind) and error["message"] and error["cure"]:
            return None
    return f"{' '.join(route)}: {answer.status_code} {answer.text[:200]}"


def test_nobody_comes_in_anywhere_with_anything_forged(
    gateway: httpx.Client, forgeries: dict[str, Headers]
) -> None:
    tries = [(what, headers, route) for what, headers in forgeries.items() for route in CLOSED]

    def refused(one: tuple[str, Headers, Route]) -> str | None:
        what, headers, route = one
        fault = _fault(route, _ask(gateway, route, headers), 401, "unauthorized")
        return fault and f"{what}: {fault}"

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        faults = [fault for fault in pool.map(refused, tries) if fault]
    assert not faults, "\n".join([f"{len(faults)} of {len(tries)} were not refused", *faults[:20]])
    assert len(forgeries) >= 20
    assert len(tries) == len(forgeries) * (len(EVERY) - 1)


def test_what_is_forged_differs_in_its_fault_alone(gateway: httpx.Client, somebody: Person) -> None:
    now = int(time.time())
    for token in (somebody.id_token, somebody.signed(), somebody.signed(iat=now - 3600, exp=now + 60)):
        assert _ask(gateway, ("GET", "/api/runs"), bearer(token)).status_code == 200


def test_a_key_opens_no_route_of_a_scope_that_it_lacks(deployed: Deployed, gateway: httpx.Client) -> None:
    scopes = ("chat", "read", "write")
    made = {
        lacking: deployed.api.create_key(
            f"not {lacking}", [scope for scope in scopes if scope != lacking], 600
        )
        for lacking in scopes
    }
    written = (CHECKOUT / "docs" / "api.md").read_text()
    own_word = {
        "x-amzn-request-context": json.dumps({"authorizer": {"sub": "o", "scopes": " ".join(scopes)}})
    }
    faults = []
    for route in CLOSED:
        (scope,) = re.findall(rf"\| `{re.escape(' '.join(route))}` \| `(\w+)` \|", written)
        lacking = made[scope if scope in made else "chat"]
        answer = _ask(gateway, route, bearer(lacking["key"]) | own_word)
        faults.append(_fault(route, answer, 403, "not_allowed"))
    for key in made.values():
        deployed.api.revoke_key(key["key_id"])
    assert not any(faults), "\n".join(filter(None, faults))


def test_letting_one_in_lets_nobody_else_in(
    deployed: Deployed, gateway: httpx.Client, somebody: Person, forgeries: dict[str, Headers]
) -> None:
    """Whatever API Gateway remembers of a sign-in, it looks at the next one, also at one nearly the same."""
    route = ("GET", "/api/runs")
    key = deployed.api.create_key("to be revoked", ["read"], 60)
    for what in ("a tampered signature", "a tampered payload", "an expired token", "a revoked key"):
        statuses = [
            _ask(gateway, route, headers).status_code
            for headers in (bearer(somebody.id_token), bearer(key["key"]), forgeries[what])
        ]
        assert statuses == [200, 200, 401], what
    deployed.api.revoke_key(key["key_id"])
    assert _ask(gateway, route, bearer(key["key"])).status_code == 401, "from the next request on"


def test_somebody_who_was_removed_comes_in_nowhere_with_token_or_key(
    deployed: Deployed, gateway: httpx.Client
) -> None:
    """Through the deployed API, with the permissions that its role has."""
    with person(deployed, role="author") as author, person(deployed, role="reader") as reader:
        key = httpx.post(
            f"{deployed.api.connection.url}/api/keys",
            headers=bearer(author.id_token),
            json={"name": "theirs", "scopes": ["chat", "read", "write"]},
            timeout=PATIENCE_S,
        ).json()["key"]
        assert _ask(gateway, ("GET", "/api/runs"), bearer(reader.id_token)).status_code == 403
        ids = {one["email"]: one["id"] for one in deployed.api.people()}
        assert deployed.api.change_role(ids[author.claims["email"]], "reader")["role"] == "reader"
        assert deployed.api.remove_person(ids[author.claims["email"]])["role"] == "reader"

        def refused() -> bool | None:
            statuses = {_ask(gateway, ("GET", "/api/status"), bearer(one)).status_code for one in mine}
            return statuses == {401} or None

        mine = (author.id_token, key)
        wait_for(refused, 60)
        tries = [(route, one) for route in CLOSED for one in mine]
        faults = [
            _fault(route, _ask(gateway, route, bearer(one)), 401, "unauthorized") for route, one in tries
        ]
    assert not any(faults), "\n".join(filter(None, faults))
    actions = {(entry["action"], entry["status"]) for entry in deployed.api.audit_trail(50)}
    assert {("DELETE /api/people/{person_id}", 200), ("POST /api/keys", 201)} <= actions


@pytest.mark.parametrize("route", [("GET", "/api/nothing"), ("POST", "/api/health"), ("PATCH", "/api/runs")])
def test_what_is_not_described_is_closed_too(gateway: httpx.Client, somebody: Person, route: Route) -> None:
    assert _ask(gateway, route, {}).status_code == 401
    assert _ask(gateway, route, bearer(somebody.id_token)).status_code in {404, 405}


def test_the_front_door_refuses_what_api_gateway_refuses(deployed: Deployed, somebody: Person) -> None:
    for headers in ({}, bearer(somebody.access_token), bearer(somebody.signed(aud="another-app"))):
        answer = httpx.get(f"{deployed.api.connection.url}/api/runs", headers=headers, timeout=PATIENCE_S)
        assert _fault(("GET", "/api/runs"), answer, 401, "unauthorized") is None, answer.text


def test_what_one_has_used_is_ones_own(deployed: Deployed, gateway: httpx.Client, somebody: Person) -> None:
    key = deployed.api.create_key("a program", ["chat"], 60)

    def tokens(bearer_token: str) -> int:
        status = _ask(gateway, ("GET", "/api/status"), bearer(bearer_token)).json()
        return int(status["usage"]["tokens_today"])

    assert tokens(somebody.id_token) == 0, "whatever others have used today"
    assert tokens(key["key"]) == deployed.api.status()["usage"]["tokens_today"], (
        "a key counts in its maker's day"
    )
    deployed.api.revoke_key(key["key_id"])
