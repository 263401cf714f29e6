"""People are invited, given a role and removed by an owner, and an owner always stays."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from fastapi.testclient import TestClient

from chat_api.app import app
from shared import clock, table
from shared.accounts import keys, people
from shared.aws import clients
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.people import SignedIn, join, somebody

ADA = "ada@example.com"


@pytest.fixture
def owner(resources: DeployedResources) -> Iterator[SignedIn]:
    """The first owner of a pool."""
    with somebody(resources.table) as signed_in:
        yield signed_in


@pytest.fixture
def api(owner: SignedIn) -> Iterator[TestClient]:
    """The app, as the owner asks it."""
    with TestClient(app, headers=caller_headers(owner.sub, email="writer@example.com")) as client:
        yield client


def _invite(api: TestClient, email: str = ADA, role: str = "reader") -> dict[str, Any]:
    answer = api.post("/api/people", json={"email": email, "role": role})
    assert answer.status_code == 201, answer.text
    person: dict[str, Any] = answer.json()
    return person


def test_an_owner_invites_lists_changes_and_removes(api: TestClient, owner: SignedIn) -> None:
    ada = _invite(api, "Ada@Example.com")
    assert (ada["email"], ada["role"], ada["has_signed_in"], ada["you"]) == (ADA, "reader", False, False)
    listed = api.get("/api/people").json()["people"]
    assert [(person["email"], person["role"], person["you"]) for person in listed] == [
        (ADA, "reader", False),
        ("writer@example.com", "owner", True),
    ]
    for role in ("owner", "author"):
        changed = api.patch(f"/api/people/{ada['id']}", json={"role": role})
        assert changed.json() == ada | {"role": role}
        groups = boto3.client("cognito-idp").admin_list_groups_for_user(
            UserPoolId=owner.pool, Username=ada["id"]
        )
        assert [group["GroupName"] for group in groups["Groups"]] == [role], "and has left the others"
    key, _ = keys.issue_key("nightly", ["chat"], 60, by=ada["id"], email=ADA)
    removed = api.delete(f"/api/people/{ada['id']}")
    assert removed.json()["email"] == ADA
    assert people.get(ada["id"]) is None
    found = keys.get(key.key_id)
    assert found is not None and found.revoked_at
    assert api.delete(f"/api/people/{ada['id']}").status_code == 404
    assert api.patch(f"/api/people/{ada['id']}", json={"role": "owner"}).status_code == 404


def test_a_person_invited_again_after_a_removal_is_a_new_person(api: TestClient) -> None:
    first = _invite(api)
    assert api.delete(f"/api/people/{first['id']}").status_code == 200
    assert _invite(api)["id"] != first["id"], "so that no key or batch of before comes back"


def test_an_address_cannot_be_invited_twice(api: TestClient) -> None:
    _invite(api)
    again = api.post("/api/people", json={"email": ADA.upper(), "role": "owner"})
    assert (again.status_code, again.json()["error"]["type"]) == (409, "already_exists")
    (ada, _) = api.get("/api/people").json()["people"]
    assert ada["role"] == "reader", "an invitation changes nobody's role"


def test_more_invitations_than_cognito_sends_are_refused(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients.cognito()
    said = {"Error": {"Code": "LimitExceededException", "Message": "Exceeded daily email limit"}}

    def exceeded(**_: Any) -> None:
        raise client.exceptions.LimitExceededException(said, "AdminCreateUser")

    monkeypatch.setattr(client, "admin_create_user", exceeded)
    refused = api.post("/api/people", json={"email": ADA})
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "too_many_invitations")


def test_inviting_again_finishes_an_interrupted_invitation(api: TestClient, owner: SignedIn) -> None:
    boto3.client("cognito-idp").admin_create_user(
        UserPoolId=owner.pool, Username=ADA, UserAttributes=[{"Name": "email", "Value": ADA}]
    )
    (ada, _) = api.get("/api/people").json()["people"]
    assert ada["role"] is None
    assert _invite(api, role="author")["role"] == "author"


def test_removing_again_finishes_an_interrupted_removal(api: TestClient, owner: SignedIn) -> None:
    ada = _invite(api)
    key, _ = keys.issue_key("nightly", ["chat"], 60, by=ada["id"], email=ADA)
    boto3.client("cognito-idp").admin_delete_user(UserPoolId=owner.pool, Username=ada["id"])
    assert api.delete(f"/api/people/{ada['id']}").status_code == 404
    found = keys.get(key.key_id)
    assert found is not None and found.revoked_at


def _demote(api: TestClient, sub: str) -> Any:
    return api.patch(f"/api/people/{sub}", json={"role": "author"})


def _delete(api: TestClient, sub: str) -> Any:
    return api.delete(f"/api/people/{sub}")


@pytest.mark.parametrize("end", [_demote, _delete])
def test_the_last_owner_who_can_sign_in_cannot_be_removed(api: TestClient, owner: SignedIn, end: Any) -> None:
    invited = _invite(api, role="owner")
    refused = end(api, owner.sub)
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "last_owner")
    known = people.get(owner.sub)
    assert known is not None and known.role == "owner" and known.enabled
    assert end(api, invited["id"]).status_code == 200, "one who has not come in yet can go"
    other, _ = join(owner.pool, owner.client, "other@example.com", "owner")
    boto3.client("cognito-idp").admin_disable_user(UserPoolId=owner.pool, Username=other)
    assert end(api, owner.sub).status_code == 409, "one who is disabled cannot take over"
    boto3.client("cognito-idp").admin_enable_user(UserPoolId=owner.pool, Username=other)
    assert end(api, owner.sub).status_code == 200


def test_two_owners_cannot_remove_each_other_at_once(api: TestClient, owner: SignedIn) -> None:
    other, _ = join(owner.pool, owner.client, "other@example.com", "owner")
    with people._exclusively(owner.sub):
        refused = api.delete(f"/api/people/{other}")
        assert (refused.status_code, refused.json()["error"]["type"]) == (409, "people_being_changed")
        assert refused.headers["retry-after"]
    assert api.delete(f"/api/people/{other}").status_code == 200


def _leave(owner: SignedIn) -> None:
    boto3.client("cognito-idp").admin_delete_user(UserPoolId=owner.pool, Username=owner.sub)


def _become_author(owner: SignedIn) -> None:
    cognito = boto3.client("cognito-idp")
    asked = {"UserPoolId": owner.pool, "Username": owner.sub}
    cognito.admin_add_user_to_group(**asked, GroupName="author")
    cognito.admin_remove_user_from_group(**asked, GroupName="owner")


@pytest.mark.parametrize("end", [_leave, _become_author])
def test_a_former_owner_changes_nobody_despite_the_authorizers_cache(
    api: TestClient, owner: SignedIn, end: Any
) -> None:
    """In the minute until a removal counts everywhere they could come back by another address."""
    other, _ = join(owner.pool, owner.client, "other@example.com", "owner")
    ada = _invite(api)
    end(owner)
    for refused in (
        api.post("/api/people", json={"email": "back@example.com", "role": "owner"}),
        api.patch(f"/api/people/{ada['id']}", json={"role": "owner"}),
        api.patch(f"/api/people/{owner.sub}", json={"role": "owner"}),
        api.delete(f"/api/people/{other}"),
    ):
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "not_allowed")
    with TestClient(app, headers=caller_headers(other)) as remaining:
        listed = remaining.get("/api/people").json()["people"]
    roles = {person["email"]: person["role"] for person in listed}
    assert (roles["other@example.com"], roles[ADA]) == ("owner", "reader")
    assert "back@example.com" not in roles and roles.get("writer@example.com") != "owner"


def test_an_interrupted_change_releases_the_lock_by_timeout(
    api: TestClient, owner: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = _invite(api)
    table.update("PEOPLE", "lock", {"held_until": clock.stamp()})
    moment = clock.now().replace(year=clock.now().year + 1)
    monkeypatch.setattr(clock, "now", lambda: moment)
    assert _demote(api, ada["id"]).status_code == 200


@pytest.mark.parametrize(
    "email", ["", "ada", "ada@", "@example.com", "a b@example.com", "ada@example", "ada@exa\u202emple.com"]
)
def test_an_invalid_address_is_refused(api: TestClient, email: str) -> None:
    assert api.post("/api/people", json={"email": email}).status_code == 422


def test_everybody_can_read_their_own_scopes(resources: DeployedResources) -> None:
    with TestClient(app) as client:
        reader = client.get("/api/me", headers=caller_headers("u1", "chat", email=ADA)).json()
    assert reader == {"id": "u1", "name": ADA, "scopes": ["chat"]}
