"""Hostile requests get an error of the API, on every route."""

import gzip
import json
from collections.abc import Iterator

import httpx2
import pytest
from fastapi.testclient import TestClient

from chat_api.app import app
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

CHAT = "/api/v1/chat/completions"
ROUTES = {
    CHAT: '{"messages": [{"role": "user", "content": "Hello"}], "user": %s}',
    "/api/v1/completions": '{"prompt": "Hello", "user": %s}',
    "/api/stories": '{"size": 5, "name": %s}',
    "/api/keys": '{"scopes": ["chat"], "name": %s}',
    "/api/batches": '{"size": 5, "name": %s}',
}
"""Each route that reads JSON, with a body that waits for one more value."""
VALUES = {
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep and open": '{"a":' * 50_000,
    "a huge whole number": "1" + "0" * 10_000,
    "a huge power": "1e999999",
    "NaN": "NaN",
    "minus infinity": "-Infinity",
    "half a surrogate": '"\\ud800"',
    "surrogates the wrong way round": '"\\udc00\\ud800"',
    "a control character": '"\x01"',
    "the wrong type": '{"$ref": "#"}',
    "a long text": '"' + "x" * 1_000_000 + '"',
    "many keys": "{" + ",".join(f'"{number}":0' for number in range(50_000)) + "}",
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def api(resources: DeployedResources, awake_v1: StandIn) -> Iterator[TestClient]:
    """The app, for a person who has signed in, with a model that ends its answer at once."""
    awake_v1.stream = [b"data: [DONE]\n\n"]
    with TestClient(app, headers=caller_headers(), raise_server_exceptions=False) as client:
        yield client


def _refused(api: TestClient, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    answer = api.request(method, path, content=body, headers=headers)
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    error = answer.json()["error"]
    assert error["type"] and error["message"] and error["cure"]
    assert len(answer.content) < 5_000, "what was sent is not sent back"
    return answer.status_code


@pytest.mark.parametrize("route", ROUTES)
def test_a_value_that_nobody_expects_is_refused(api: TestClient, route: str) -> None:
    for name, value in VALUES.items():
        assert _refused(api, "POST", route, (ROUTES[route] % value).encode(), **JSON) == 422, name


@pytest.mark.parametrize("route", ROUTES)
def test_a_body_that_is_no_json_is_refused(api: TestClient, route: str) -> None:
    good = (ROUTES[route] % '"x"').encode()
    for body in (
        b"",
        b"null",
        b"[]",
        b"5",
        b'"x"',
        b"{",
        good + b"}",
        b"\xff\xfe{}",
    ):
        assert _refused(api, "POST", route, body, **JSON) == 422, body[:40]
    assert _refused(api, "POST", route, gzip.compress(good), **JSON, **{"Content-Encoding": "gzip"}) == 422
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"):
        assert _refused(api, "POST", route, good, **{"Content-Type": kind}) == 422, kind


def test_the_last_of_repeated_fields_counts_everywhere(api: TestClient, awake_v1: StandIn) -> None:
    """The model is sent what was checked, not what was written."""
    body = '{"messages": [{"role": "user", "content": "a"}], "messages": [{"role": "user", "content": "b"}]}'
    assert api.post(CHAT, content=body, headers=JSON).status_code == 200
    assert awake_v1.asked[0]["messages"] == [{"role": "user", "content": "b"}]


@pytest.mark.parametrize("text", ["\\ud800", "x\\udfffy"])
def test_half_a_character_does_not_reach_the_model(api: TestClient, awake_v1: StandIn, text: str) -> None:
    """A tokenizer cannot read it, and nobody could write down what was asked."""
    for field in ("content", "role"):
        body = f'{{"messages": [{{"role": "user", "content": "Hi", "{field}": "{text}"}}]}}'
        assert _refused(api, "POST", CHAT, body.encode(), **JSON) == 422
    assert _refused(api, "POST", "/api/v1/completions", f'{{"prompt": "{text}"}}'.encode(), **JSON) == 422
    stop = f'{{"prompt": "Hi", "stop": ["{text}"]}}'
    assert _refused(api, "POST", "/api/v1/completions", stop.encode(), **JSON) == 422
    model = f'{{"prompt": "Hi", "model": "{text}"}}'
    assert _refused(api, "POST", "/api/v1/completions", model.encode(), **JSON) in {404, 422}
    unknown = f'{{"prompt": "Hi", "{text}": 1}}'
    assert _refused(api, "POST", "/api/v1/completions", unknown.encode(), **JSON) == 422
    assert awake_v1.asked == []


def test_a_path_that_leads_nowhere_is_refused(api: TestClient) -> None:
    for path in (
        "/api",
        "/api/",
        "//api/status",
        "/api//status",
        "/api/status/",
        "/api/%2e%2e/status",
        "/api/runs/%00",
        "/api/runs/%ff%fe",
        "/api/runs/" + "x" * 4000,
        "/api/runs/..%2f..%2fkeys",
        "/api/models/v1%0aactivate/activate",
        "/api/keys/%F0%9F%92%A9",
        "/api/v1/answers/not-a-uuid/cancel",
        "/api/stories/%ed%a0%80",
    ):
        for method in ("GET", "POST", "DELETE", "PATCH", "PROPFIND"):
            answer = api.request(method, path)
            assert 400 <= answer.status_code < 500, (method, path, answer.status_code, answer.text[:200])
            assert answer.json()["error"]["message"]


def _post(api: TestClient, body: bytes, name: str, value: bytes) -> httpx2.Response:
    named = {b"Content-Type": b"application/json"} | {name.encode(): value}
    return api.post(CHAT, content=body, headers=list(named.items()))


def test_unexpected_headers_are_refused_or_ignored(api: TestClient) -> None:
    hello = json.dumps({"messages": [{"role": "user", "content": "Hello"}]}).encode()
    for name, value in {
        "X-Answer-Id": b"\xff" * 50,
        "X-Storyloom-Strict": b"perhaps",
    }.items():
        assert _post(api, hello, name, value).status_code == 422, name
    for name, value in {
        "Prefer": b"wait=" + b"9" * 5000,
        "Content-Type": b"application/json; charset=utf-7",
        "Accept": b"\xff",
        "Range": b"bytes=0-1",
        "X-HTTP-Method-Override": b"DELETE",
    }.items():
        assert _post(api, hello, name, value).status_code == 200, name
