"""Python functions run as on AWS: their handler's path, their role, their errors, their time."""

import base64
import io
import json
import sys
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.local.web.conftest import WebApp

pytestmark = pytest.mark.cloud

HANDLER = """
import os, sys, time, boto3

class TooTired(Exception):
    pass

def handler(event, context):
    if event == "silence":
        return None
    print("asked for", event)
    if event == "mumble":
        return sys.stderr.write("no line feed at the end")
    if event == "raise":
        raise TooTired("not today")
    if event == "sleep":
        time.sleep(30)
    if event == "who":
        return boto3.client("sts").get_caller_identity()["Arn"]
    left = context.get_remaining_time_in_millis()
    return {"process": os.getpid(), "python": list(sys.version_info[:2]), "left": left}
"""
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


def _zip(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Function:
    """A deployed function that can be called."""

    def __init__(self, web: WebApp, name: str) -> None:
        self.client, self.name = web.client("lambda"), name

    def __call__(self, event: Any) -> tuple[str, Any]:
        """Return the function's error kind (empty when there is none) and its answer."""
        answer = self.client.invoke(FunctionName=self.name, Payload=json.dumps(event))
        return answer.get("FunctionError", ""), json.loads(answer["Payload"].read())


@pytest.fixture(scope="module")
def function(web: WebApp) -> Iterator[Function]:
    """Return a function whose handler string has two dots, for a Python that this machine need not have."""
    role = web.client("iam").create_role(RoleName="tired", AssumeRolePolicyDocument=json.dumps(TRUST))
    function = Function(web, "tired")
    function.client.create_function(
        FunctionName=function.name,
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="tired.handler.handler",
        Code={"ZipFile": _zip({"tired/__init__.py": "", "tired/handler.py": HANDLER})},
        Timeout=4,
    )
    yield function
    function.client.delete_function(FunctionName=function.name)


def test_it_runs_on_this_interpreter_and_stays_warm(function: Function) -> None:
    _, first = function({})
    _, second = function({})
    assert first["python"] == list(sys.version_info[:2])
    assert first["process"] == second["process"]
    assert 0 < first["left"] <= 4000


def test_an_exception_keeps_its_name_and_the_process_lives_on(function: Function) -> None:
    _, before = function({})
    kind, error = function("raise")
    _, after = function({})
    assert kind == "Unhandled"
    assert (error["errorType"], error["errorMessage"]) == ("TooTired", "not today")
    assert any("handler.py" in frame for frame in error["stackTrace"])
    assert before["process"] == after["process"]


def test_its_log_has_what_it_printed_and_how_it_failed(function: Function, web: WebApp) -> None:
    function("raise")
    events = web.client("logs").filter_log_events(logGroupName="/aws/lambda/tired")["events"]
    text = "\n".join(event["message"] for event in events)
    assert "asked for raise" in text
    assert "[ERROR] TooTired: not today" in text


def test_its_log_ends_with_the_last_thing_it_wrote(function: Function) -> None:
    said = function.client.invoke(FunctionName=function.name, Payload=b'"mumble"', LogType="Tail")
    lines = base64.b64decode(said["LogResult"]).decode().splitlines()
    assert "asked for mumble" in lines
    assert "no line feed at the end" in lines


def test_a_function_that_prints_nothing_is_not_waited_for(function: Function) -> None:
    def seconds() -> float:
        begun = time.monotonic()
        assert function("silence") == ("", None)
        return time.monotonic() - begun

    seconds()
    # MiniStack by itself listens for 50 ms longer than the function takes; whatever else runs, one is quick.
    assert min(seconds() for _ in range(30)) < 0.05


def test_it_acts_under_its_role(function: Function) -> None:
    assert function("who")[1].endswith(":assumed-role/tired/tired")


def test_it_is_ended_when_its_time_is_up(function: Function) -> None:
    begun = time.monotonic()
    kind, error = function("sleep")
    assert kind == "Unhandled"
    assert "timed out after 4" in error["errorMessage"]
    assert time.monotonic() - begun < 15
    assert function({})[0] == ""
