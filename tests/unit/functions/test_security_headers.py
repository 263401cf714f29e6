"""Every response of the API has the security headers, and none allows another origin."""

import httpx2
import pytest
from fastapi.testclient import TestClient

from chat_api.app import app
from chat_api.dependencies.responses import HEADERS
from shared.models import versions
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

CHAT = "/api/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


def _check(answer: httpx2.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value], name
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_every_answer_has_the_headers(
    resources: DeployedResources, awake_v1: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    awake_v1.stream = [b"data: [DONE]\n\n"]
    other = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    with TestClient(app, headers={**caller_headers(), **other}, raise_server_exceptions=False) as api:
        _check(api.get("/api/health"), 200)
        _check(api.get("/api/status"), 200)
        _check(api.post(CHAT, json=HELLO), 200)
        _check(api.post(CHAT, json={**HELLO, "stream": True}), 200)
        _check(api.get("/api/nothing"), 404)
        _check(api.options(CHAT), 405)
        _check(api.post(CHAT, content=b"{"), 422)
        _check(api.get("/api/status", headers={"x-amzn-request-context": "{}"}), 401)

        def broken() -> None:
            raise RuntimeError("unforeseen")

        monkeypatch.setattr(versions, "live", broken)
        _check(api.get("/api/status"), 500)
