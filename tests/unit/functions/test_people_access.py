"""Access and its end: removed people, changed roles, and expired keys."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from authorizer import handler as authorizer
from authorizer import people_cache
from shared import clock, table
from shared.accounts import keys, people
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.people import SignedIn, somebody

ARN = "arn:aws:execute-api:us-east-1:123456789012:abc123/prod/GET/api/status"


@pytest.fixture
def person(resources: DeployedResources) -> Iterator[SignedIn]:
    """Somebody who has signed in."""
    with somebody(resources.table) as signed_in:
        yield signed_in


def _ask(bearer: str, context: LambdaContext, arn: str = ARN) -> dict[str, Any]:
    event = {"type": "REQUEST", "methodArn": arn, "headers": {"Authorization": f"Bearer {bearer}"}}
    answer: dict[str, Any] = authorizer.handler(event, context)["context"]
    return answer


def _remove(person: SignedIn) -> None:
    boto3.client("cognito-idp").admin_delete_user(UserPoolId=person.pool, Username=person.sub)


def _disable(person: SignedIn) -> None:
    boto3.client("cognito-idp").admin_disable_user(UserPoolId=person.pool, Username=person.sub)


@pytest.mark.parametrize("end", [_remove, _disable])
def test_a_removed_persons_token_is_refused(person: SignedIn, context: LambdaContext, end: Any) -> None:
    end(person)
    with pytest.raises(authorizer.Unauthorized):
        _ask(person.id_token, context)


@pytest.mark.parametrize("end", [_remove, _disable])
def test_a_removed_persons_key_is_refused(person: SignedIn, context: LambdaContext, end: Any) -> None:
    _, text = keys.issue_key("nightly", ["chat"], 60, by=person.sub, email="writer@example.com")
    assert _ask(text, context)["scopes"] == "chat"
    end(person)
    people_cache.clear_cache()
    with pytest.raises(authorizer.Unauthorized):
        _ask(text, context)


def test_a_key_expires(person: SignedIn, context: LambdaContext, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = keys.issue_key("nightly", ["chat"], 60, by=person.sub, email="writer@example.com")
    assert _ask(text, context)["scopes"] == "chat"
    later = clock.now() + timedelta(days=keys.USUAL_DAYS, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(authorizer.Unauthorized):
        _ask(text, context)


def test_a_key_without_expiry_expires_after_a_year(resources: DeployedResources) -> None:
    key, _ = keys.issue_key("nightly", ["chat"], 60, by="u1", email="")
    table.update("KEYS", key.key_id, {"expires_at": None, "created_at": "2026-01-31T10:00:00.000Z"})
    found = keys.get(key.key_id)
    assert found is not None
    assert found.ends_at == "2027-01-31T10:00:00.000Z"


def _asked_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each time that the pool is asked for a person."""
    asked: list[str] = []
    get = people.get

    def noted(sub: str) -> people.Person | None:
        asked.append(sub)
        return get(sub)

    monkeypatch.setattr(people, "get", noted)
    return asked


def test_a_removal_takes_effect_within_a_minute_despite_the_cache(
    person: SignedIn, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _asked_of_the_pool(monkeypatch)
    began = people_cache._now()
    for seconds in (0, 5, 15):
        monkeypatch.setattr(people_cache, "_now", lambda at=began + seconds: at)
        _ask(person.id_token, context)
    assert len(asked) == 1
    _remove(person)
    monkeypatch.setattr(people_cache, "_now", lambda: began + 59)
    with pytest.raises(authorizer.Unauthorized):
        _ask(person.id_token, context)


def test_a_chat_rarely_waits_for_the_user_pool(
    person: SignedIn, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _asked_of_the_pool(monkeypatch)
    began = people_cache._now()
    chat = ARN.replace("GET/api/status", "POST/api/v1/chat/completions")
    for seconds in range(0, 300, 10):
        monkeypatch.setattr(people_cache, "_now", lambda at=began + seconds: at)
        before = len(asked)
        if seconds % 30:
            _ask(person.id_token, context, arn=chat)
            assert len(asked) == before, "the look at the status every half minute has asked already"
        else:
            _ask(person.id_token, context)


def test_an_unreachable_pool_neither_signs_out_nor_extends_access(
    person: SignedIn, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ask(person.id_token, context)
    began = people_cache._now()

    def throttled(sub: str) -> None:
        raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "AdminGetUser")

    monkeypatch.setattr(people, "get", throttled)
    monkeypatch.setattr(people_cache, "_now", lambda: began + 30)
    assert _ask(person.id_token, context)["sub"] == person.sub
    monkeypatch.setattr(people_cache, "_now", lambda: began + 59)
    with pytest.raises(ClientError):
        _ask(person.id_token, context)


def test_a_role_that_allows_less_also_limits_the_keys(person: SignedIn, context: LambdaContext) -> None:
    _, text = keys.issue_key("nightly", ["chat", "read", "write"], 60, by=person.sub, email="")
    assert _ask(text, context)["scopes"] == "chat read write"
    cognito = boto3.client("cognito-idp")
    for group in ("owner", "reader"):
        change = "admin_remove_user_from_group" if group == "owner" else "admin_add_user_to_group"
        getattr(cognito, change)(UserPoolId=person.pool, Username=person.sub, GroupName=group)
    people_cache.clear_cache()
    assert _ask(text, context)["scopes"] == "chat"
    assert _ask(person.id_token, context)["scopes"] == "chat", "whatever the token says of groups"


def test_a_person_without_a_role_may_do_nothing(person: SignedIn, context: LambdaContext) -> None:
    boto3.client("cognito-idp").admin_remove_user_from_group(
        UserPoolId=person.pool, Username=person.sub, GroupName="owner"
    )
    assert _ask(person.id_token, context)["scopes"] == ""
