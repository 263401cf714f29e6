"""A person signs in, changes a first password, stays signed in, and nobody else comes in."""

import base64
import json
import re
import time
from typing import Any

import pytest

from local.aws.cloud_environment import CloudFolders
from tests.local.web.conftest import WebApp

pytestmark = pytest.mark.cloud


def _claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def _status(web: WebApp, headers: dict[str, str]) -> int:
    with web.http(web.front_door, headers=headers) as client:
        return client.get("/api/echo/me").status_code


def test_a_name_and_a_password_open_the_api(web: WebApp) -> None:
    name, password = web.new_person()
    tokens = web.initiate(name, password)["AuthenticationResult"]
    claims = _claims(tokens["IdToken"])
    assert claims["iss"] == f"https://cognito-idp.us-east-1.amazonaws.com/{web.outputs['UserPoolId']}"
    assert claims["aud"] == web.outputs["UserPoolClientId"]
    assert claims["token_use"] == "id"
    assert time.time() + 3000 < claims["exp"] < time.time() + 3700
    assert _status(web, {"Authorization": f"Bearer {tokens['IdToken']}"}) == 200


def test_a_first_password_has_to_be_changed(web: WebApp) -> None:
    name, password = web.new_person(temporary=True)
    challenge = web.initiate(name, password)
    assert challenge["ChallengeName"] == "NEW_PASSWORD_REQUIRED"
    answer = web.cognito(
        "RespondToAuthChallenge",
        {
            "ClientId": web.outputs["UserPoolClientId"],
            "ChallengeName": "NEW_PASSWORD_REQUIRED",
            "Session": challenge["Session"],
            "ChallengeResponses": {"USERNAME": name, "NEW_PASSWORD": f"{password}-new"},
        },
    ).json()
    token = answer["AuthenticationResult"]["IdToken"]
    assert _status(web, {"Authorization": f"Bearer {token}"}) == 200
    assert web.initiate(name, password)["__type"].endswith("NotAuthorizedException")
    assert "AuthenticationResult" in web.initiate(name, f"{password}-new")


def _ask_for_code(web: WebApp, name: str) -> str:
    """Have a code sent, and return it from the mail, or "" if there is no new mail."""
    folder = CloudFolders(web.cloud.state).mail
    before = set(folder.glob("*.txt"))
    asked = web.cognito("ForgotPassword", {"ClientId": web.outputs["UserPoolClientId"], "Username": name})
    assert asked.status_code == 200
    mails = [mail.read_text() for mail in set(folder.glob("*.txt")) - before]
    assert all(name in mail for mail in mails)
    return "".join(re.findall(r"\b\d{6}\b", "".join(mails)))


def _reset(web: WebApp, name: str, code: str, password: str) -> str:
    """Choose a new password; returns how it was refused, or ""."""
    client = web.outputs["UserPoolClientId"]
    given = {"ClientId": client, "Username": name, "ConfirmationCode": code, "Password": password}
    return str(web.cognito("ConfirmForgotPassword", given).json().get("__type", "")).rpartition("#")[2]


def test_a_forgotten_password_is_chosen_anew_with_the_code_from_the_mail(web: WebApp) -> None:
    name, password = web.new_person()
    code = _ask_for_code(web, name)
    another = _ask_for_code(web, name)
    assert len(code) == len(another) == 6
    if code != another:
        assert _reset(web, name, code, f"{password}-new") == "CodeMismatchException"
    assert _reset(web, name, another, f"{password}-new") == ""
    assert "AuthenticationResult" in web.initiate(name, f"{password}-new")
    assert web.initiate(name, password)["__type"].endswith("NotAuthorizedException")
    assert _reset(web, name, another, password) == "ExpiredCodeException"


def test_a_code_is_not_to_be_guessed(web: WebApp) -> None:
    name, password = web.new_person()
    code = _ask_for_code(web, name)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    assert [_reset(web, name, wrong, password) for _ in range(5)] == ["CodeMismatchException"] * 5
    assert _reset(web, name, code, f"{password}-new") == "ExpiredCodeException"
    assert "AuthenticationResult" in web.initiate(name, password)


def test_nobody_learns_who_may_come_in_from_asking_for_a_code(web: WebApp) -> None:
    assert _ask_for_code(web, "stranger@example.com") == ""


def test_mail_is_for_the_owner_of_the_cloud_only(web: WebApp) -> None:
    _ask_for_code(web, web.new_person()[0])
    folder = CloudFolders(web.cloud.state).mail
    assert {path.stat().st_mode & 0o077 for path in [folder, *folder.glob("*.txt")]} == {0}


def test_a_session_goes_on_with_its_refresh_token(web: WebApp) -> None:
    tokens = web.initiate(*web.new_person())["AuthenticationResult"]
    answer = web.cognito(
        "InitiateAuth",
        {
            "AuthFlow": "REFRESH_TOKEN_AUTH",
            "ClientId": web.outputs["UserPoolClientId"],
            "AuthParameters": {"REFRESH_TOKEN": tokens["RefreshToken"]},
        },
    ).json()["AuthenticationResult"]
    assert _status(web, {"Authorization": f"Bearer {answer['IdToken']}"}) == 200


def test_a_wrong_password_and_a_wrong_refresh_token_are_refused(web: WebApp) -> None:
    name, _ = web.new_person()
    answer = web.cognito(
        "InitiateAuth",
        {
            "AuthFlow": "USER_PASSWORD_AUTH",
            "ClientId": web.outputs["UserPoolClientId"],
            "AuthParameters": {"USERNAME": name, "PASSWORD": "wrong"},
        },
    )
    assert (answer.status_code, answer.json()["__type"].rpartition("#")[2]) == (400, "NotAuthorizedException")
    answer = web.cognito(
        "InitiateAuth",
        {
            "AuthFlow": "REFRESH_TOKEN_AUTH",
            "ClientId": web.outputs["UserPoolClientId"],
            "AuthParameters": {"REFRESH_TOKEN": "made up"},
        },
    )
    assert (answer.status_code, answer.json()["__type"].rpartition("#")[2]) == (400, "NotAuthorizedException")


def test_the_administrators_api_is_not_open_to_the_browser(web: WebApp) -> None:
    asked = {"UserPoolId": web.outputs["UserPoolId"], "Username": "x@y.example"}
    assert web.cognito("AdminCreateUser", asked).status_code == 403
    answer = web.cognito("AdminCreateUser", asked, directly=True)
    assert (answer.status_code, answer.json()["__type"]) == (400, "MissingAuthenticationTokenException")


@pytest.mark.parametrize("kind", ["none", "access token", "tampered", "cut off"])
def test_nobody_else_comes_in_and_is_told_what_to_do(web: WebApp, kind: str) -> None:
    tokens = web.initiate(*web.new_person())["AuthenticationResult"]
    head, body, signature = tokens["IdToken"].split(".")
    other = base64.urlsafe_b64encode(json.dumps({**_claims(tokens["IdToken"]), "sub": "me"}).encode())
    headers = {
        "none": {},
        "access token": {"Authorization": f"Bearer {tokens['AccessToken']}"},
        "tampered": {"Authorization": f"Bearer {head}.{other.decode().rstrip('=')}.{signature}"},
        "cut off": {"Authorization": f"Bearer {head}.{body[:-4]}.{signature}"},
    }[kind]
    with web.http(web.front_door, headers=headers) as client:
        answer = client.get("/api/echo/me")
    assert answer.status_code == 401
    assert answer.json() == {
        "error": {"type": "unauthorized", "message": "Unauthorized", "cure": "Sign in again."}
    }
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"


def test_an_answer_in_the_authorizers_cache_lets_only_its_own_token_in(web: WebApp) -> None:
    """The authorizer's answer is kept for the token that it was given for, and for no other."""
    assert _status(web, web.signed_in) == 200
    assert _status(web, {"Authorization": "Bearer " + "x" * 40}) == 401
    assert _status(web, web.signed_in) == 200


def _write(web: WebApp, access_token: str, **attributes: str) -> str:
    """Have a person write attributes of their own; returns the error, or nothing."""
    written = [{"Name": name, "Value": value} for name, value in attributes.items()]
    asked = {"AccessToken": access_token, "UserAttributes": written}
    answer = web.cognito("UpdateUserAttributes", asked, directly=True)
    return str(answer.json().get("__type", ""))


@pytest.mark.aws_fact
def test_people_write_every_standard_attribute_unless_the_client_says_which(web: WebApp) -> None:
    name, password = web.new_person()
    open_to_all = web.initiate(name, password)["AuthenticationResult"]["AccessToken"]
    assert _write(web, open_to_all, email="somebody.else@example.com") == ""
    assert "NotAuthorizedException" in _write(web, open_to_all, email_verified="true")

    name, password = web.new_person()
    strict = web.initiate(name, password, "StrictClientId")["AuthenticationResult"]["AccessToken"]
    assert "NotAuthorizedException" in _write(web, strict, email="somebody.else@example.com")
    assert _write(web, strict, locale="de-CH") == ""


def test_a_first_password_is_no_way_to_another_e_mail(web: WebApp) -> None:
    name, password = web.new_person(temporary=True)
    challenge = web.initiate(name, password, "StrictClientId")
    answers = {
        "USERNAME": name,
        "NEW_PASSWORD": f"{password}-new",
        "userAttributes.email": "somebody.else@example.com",
    }
    refused = web.cognito(
        "RespondToAuthChallenge",
        {
            "ClientId": web.outputs["StrictClientId"],
            "ChallengeName": "NEW_PASSWORD_REQUIRED",
            "Session": challenge["Session"],
            "ChallengeResponses": answers,
        },
    ).json()
    assert refused["__type"].endswith("NotAuthorizedException")
