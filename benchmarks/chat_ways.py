"""The two ways to one model: the path that everybody takes, and the engine itself."""

from __future__ import annotations

import math
import secrets
from contextlib import suppress

import boto3

from benchmarks import chat_engine
from benchmarks.chat_streams import Way
from chat_api.limits import ANSWERS_AT_ONCE
from cli.api.client import StoryloomApi
from cli.api.connection import sign_in
from local.cloud import LocalCloud

_REQUESTS_A_MINUTE = 600


def whole_path(cloud: LocalCloud, api: StoryloomApi, streams: int) -> Way:
    """Through the front door, as programs with API keys of as many people as so many streams need."""
    people = math.ceil(streams / ANSWERS_AT_ONCE)
    headers = tuple(
        {"Authorization": f"Bearer {_key_of_a_person(cloud, number)}"} for number in range(people)
    )
    return Way("whole path", f"{api.connection.url}/api/v1/chat/completions", "storyloom", headers)


def _key_of_a_person(cloud: LocalCloud, number: int) -> str:
    """Make a person who may ask, or find them, and a key of theirs: a key counts in its person's day."""
    described, email = cloud.description(), f"benchmark-{number}@example.com"
    password, pool = f"{secrets.token_urlsafe(12)}-aA1", described["outputs"]["UserPoolId"]
    environment = cloud.environment()
    cognito = boto3.client(
        "cognito-idp",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        verify=environment["AWS_CA_BUNDLE"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    with suppress(cognito.exceptions.UsernameExistsException):
        cognito.admin_create_user(UserPoolId=pool, Username=email, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username=email, Password=password, Permanent=True)
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=email, GroupName="author")
    own = StoryloomApi(sign_in(described["url"], email, password))
    return str(own.create_key(f"benchmark {number}", ["chat"], _REQUESTS_A_MINUTE)["key"])


def bare_engine(cloud: LocalCloud, api: StoryloomApi) -> Way:
    """At the port of the process that answers behind the endpoint."""
    version = api.status()["live"]["version"]
    return Way("bare engine", f"http://127.0.0.1:{_engine_port(cloud)}/invocations", version, ({},))


def _engine_port(cloud: LocalCloud) -> int:
    words = chat_engine.engine_command(cloud.folders.state)
    if words is not None:
        return int(words[words.index("--port") + 1])
    raise SystemExit("No engine runs behind the endpoint: is the model awake?")
