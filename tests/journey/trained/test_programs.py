"""Programs that speak OpenAI's API chat with an API key, over TLS: a client library, a command line, curl."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.journey.deployed_app import PATIENCE_S, Deployed

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

QUESTION = "Tell me about the hill."


@dataclass(frozen=True)
class Program:
    """What a program is given: where the API is, the key, and the certificate to trust."""

    url: str
    """With `/v1`, on API Gateway's own address."""
    key: str
    key_id: str
    certificates: str


@pytest.fixture(scope="module")
def program(deployed: Deployed, first_run: dict[str, Any]) -> Iterator[Program]:
    """A program with a key that may chat and nothing else."""
    made = deployed.api.create_key("a program", ["chat"], requests_per_minute=100)
    found = re.match(r"https://(\w+)\.execute-api\.[^/]+/(\w+)", deployed.outputs["ApiUrl"])
    assert found is not None
    api = f"https://127.0.0.1:{deployed.cloud.port}/_aws/execute-api/{found[1]}/{found[2]}/api"
    yield Program(f"{api}/v1", made["key"], made["key_id"], deployed.cloud.environment()["AWS_CA_BUNDLE"])
    deployed.api.revoke_key(made["key_id"])


def _trust(program: Program) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=program.certificates)


def test_the_openai_client_chats_streaming_and_in_one_piece(
    program: Program, first_run: dict[str, Any]
) -> None:
    with openai.DefaultHttpxClient(verify=_trust(program)) as http:
        client = openai.OpenAI(base_url=program.url, api_key=program.key, http_client=http, max_retries=20)
        asked: Any = {
            "model": "storyloom",
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": 12,
            "temperature": 0,
        }
        whole = client.chat.completions.create(**asked)
        pieces = [
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(**asked, stream=True)
            if chunk.choices
        ]
    assert whole.model == first_run["version"]
    assert whole.usage is not None and 0 < whole.usage.completion_tokens <= 12
    assert sum(map(bool, pieces)) >= 3
    assert "".join(pieces) == whole.choices[0].message.content


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "in one piece"])
def test_the_llm_command_line_chats(program: Program, stream: bool, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        "- model_id: stories\n  model_name: storyloom\n  api_key_name: storyloom\n"
        f"  api_base: {program.url}\n"
    )
    (tmp_path / "keys.json").write_text(json.dumps({"storyloom": program.key}))
    answered = subprocess.run(
        [
            str(Path(sys.executable).with_name("llm")),
            *("-m", "stories", "-o", "max_tokens", "12", "--no-log"),
            *([] if stream else ["--no-stream"]),
            QUESTION,
        ],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "LLM_USER_PATH": str(tmp_path),
            "LLM_LOAD_PLUGINS": "",
            "SSL_CERT_FILE": program.certificates,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answered.returncode == 0, answered.stderr
    assert len(answered.stdout.split()) >= 3


def _curl(program: Program, body: dict[str, Any]) -> str:
    # The key goes in by a file of settings: every process of the machine can read arguments.
    settings = f'header = "Authorization: Bearer {program.key}"\ncacert = "{program.certificates}"\n'
    asked = subprocess.run(
        [
            *("curl", "-N", "--silent", "--show-error", "--fail-with-body", "--config", "-"),
            *("--header", "Content-Type: application/json", "--data", json.dumps(body)),
            f"{program.url}/chat/completions",
        ],
        input=settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr
    return asked.stdout


def test_curl_chats_streaming_and_in_one_piece(program: Program) -> None:
    asked = {
        "model": "storyloom",
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": 12,
        "temperature": 0,
    }
    whole = json.loads(_curl(program, asked))["choices"][0]["message"]["content"]
    *events, done, rest = _curl(program, {**asked, "stream": True}).split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    said = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert "".join(said) == whole


def test_a_key_does_what_it_may_until_it_is_revoked(deployed: Deployed, program: Program) -> None:
    api = program.url.removesuffix("/v1")
    other = deployed.api.create_key("another", ["read"], requests_per_minute=3)
    bearer = {"Authorization": f"Bearer {other['key']}"}
    with httpx.Client(verify=_trust(program), timeout=PATIENCE_S) as http:
        assert http.get(f"{api}/runs", headers=bearer).status_code == 200
        refused = http.get(f"{program.url}/models", headers=bearer)
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "not_allowed")
        # Seven in a row: wherever a new minute begins among them, one is too many.
        answers = [http.get(f"{api}/runs", headers=bearer) for _ in range(7)]
        often = next(answer for answer in answers if answer.status_code == 429)
        assert often.json()["error"]["type"] == "too_many_requests"
        assert 0 < int(often.headers["Retry-After"]) <= 60
        deployed.api.revoke_key(other["key_id"])
        assert http.get(f"{api}/runs", headers=bearer).status_code == 401
