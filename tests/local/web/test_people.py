"""What Cognito says of groups, of removed people, and of the tokens that they still have."""

import base64
import json
from typing import Any

import pytest

from tests.local.web.conftest import WebApp

pytestmark = pytest.mark.cloud


def _claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def _groups(web: WebApp, username: str) -> list[str]:
    answer = web.client("cognito-idp").admin_list_groups_for_user(
        UserPoolId=web.outputs["UserPoolId"], Username=username
    )
    return [group["GroupName"] for group in answer["Groups"]]


def _refreshed(web: WebApp, tokens: dict[str, str]) -> dict[str, Any]:
    answer = web.cognito(
        "InitiateAuth",
        {
            "AuthFlow": "REFRESH_TOKEN_AUTH",
            "ClientId": web.outputs["UserPoolClientId"],
            "AuthParameters": {"REFRESH_TOKEN": tokens["RefreshToken"]},
        },
    )
    return dict(answer.json())


@pytest.mark.aws_fact
def test_a_template_puts_a_person_into_a_group(web: WebApp) -> None:
    assert _groups(web, "member@example.com") == ["owner"]
    members = web.client("cognito-idp").list_users_in_group(
        UserPoolId=web.outputs["UserPoolId"], GroupName="owner"
    )["Users"]
    assert "member@example.com" in {user["Username"] for user in members}


@pytest.mark.aws_fact
def test_a_token_has_the_groups_of_its_making(web: WebApp) -> None:
    name, password = web.new_person()
    admin, pool = web.client("cognito-idp"), web.outputs["UserPoolId"]
    admin.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName="owner")
    tokens = web.initiate(name, password)["AuthenticationResult"]
    assert _claims(tokens["IdToken"])["cognito:groups"] == ["owner"]
    admin.admin_remove_user_from_group(UserPoolId=pool, Username=name, GroupName="owner")
    assert _groups(web, name) == []
    assert _claims(tokens["IdToken"])["cognito:groups"] == ["owner"], "for an hour"
    assert "cognito:groups" not in _claims(_refreshed(web, tokens)["AuthenticationResult"]["IdToken"])


@pytest.mark.aws_fact
@pytest.mark.parametrize("end", ["admin_user_global_sign_out", "admin_disable_user", "admin_delete_user"])
def test_an_id_token_outlives_its_person(web: WebApp, end: str) -> None:
    name, password = web.new_person()
    tokens = web.initiate(name, password)["AuthenticationResult"]
    admin, asked = web.client("cognito-idp"), {"UserPoolId": web.outputs["UserPoolId"], "Username": name}
    getattr(admin, end)(**asked)
    # The app's authorizer checks what the token says, and no more.
    with web.http(web.front_door, headers={"Authorization": f"Bearer {tokens['IdToken']}"}) as client:
        assert client.get("/api/echo/me").status_code == 200
    assert "AuthenticationResult" not in _refreshed(web, tokens), "but no new one is had for it"


@pytest.mark.aws_fact
def test_the_pool_itself_tells_who_is_disabled_and_who_is_gone(web: WebApp) -> None:
    name, password = web.new_person()
    sub = _claims(web.initiate(name, password)["AuthenticationResult"]["IdToken"])["sub"]
    admin, pool = web.client("cognito-idp"), web.outputs["UserPoolId"]
    assert admin.admin_get_user(UserPoolId=pool, Username=sub)["Enabled"] is True, "found by the pool's id"
    admin.admin_disable_user(UserPoolId=pool, Username=sub)
    assert admin.admin_get_user(UserPoolId=pool, Username=sub)["Enabled"] is False
    admin.admin_delete_user(UserPoolId=pool, Username=sub)
    for ask in (admin.admin_get_user, admin.admin_list_groups_for_user):
        with pytest.raises(admin.exceptions.UserNotFoundException):
            ask(UserPoolId=pool, Username=sub)
