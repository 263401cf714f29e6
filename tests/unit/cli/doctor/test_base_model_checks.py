"""The base model: whether the hub gives it, and what is wrong with the token; which is never shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cli.doctor.base_model_checks import base_model
from cli.doctor.findings import Finding
from tests.unit.cli.doctor.conftest import StubbedAccount, examination, found

TOKEN = "hf_neverShownToAnybody"
SECRET = "storyloom/huggingface"
GATED = {"base_model": "llama-3.2-3b", "huggingface_token_secret": SECRET}


class Hub(ThreadingHTTPServer):
    """A hub that gives one model to one token."""

    status = 200
    asked: list[tuple[str, str]]


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), _Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


def secret(aws: StubbedAccount, text: str = TOKEN) -> None:
    answer = {"ARN": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:x", "SecretString": text}
    aws.answers("secretsmanager", "get_secret_value", answer, {"SecretId": SECRET})


def shown(findings: dict[str, Finding]) -> str:
    return " ".join(map(str, findings.values()))


@pytest.mark.parametrize("status", [200, 302, 307])
def test_a_model_that_the_hub_gives_is_a_tick(hub: Hub, status: int) -> None:
    hub.status = status
    (finding,) = found(base_model, examination(None)).values()
    assert finding.status == "ok" and "HuggingFaceTB/SmolLM2-1.7B-Instruct" in finding.message
    revision = examination(None).settings.model.revision
    path = f"/HuggingFaceTB/SmolLM2-1.7B-Instruct/resolve/{revision}/config.json"
    assert hub.asked == [(path, "")]


def test_a_gated_model_is_asked_for_with_the_token_of_the_secret(aws: StubbedAccount, hub: Hub) -> None:
    secret(aws, f"{TOKEN}\n")
    findings = found(base_model, examination(aws, **GATED))
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert hub.asked[0][1] == f"Bearer {TOKEN}"
    assert TOKEN not in shown(findings)


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("status", "expected", "said"),
    [
        (401, "fault", "does not accept the token"),
        (403, "fault", "licence is not accepted"),
        (404, "fault", "Hugging Face has no meta-llama/Llama-3.2-3B-Instruct at"),
        (429, "warning", "could not be checked"),
        (503, "warning", "could not be checked"),
    ],
)
def test_what_the_hub_answers_to_a_token_is_told_apart(
    aws: StubbedAccount, hub: Hub, status: int, expected: str, said: str
) -> None:
    hub.status = status
    secret(aws)
    findings = found(base_model, examination(aws, **GATED))
    assert findings["Hugging Face token"].status == "ok"
    assert findings["Base model"].status == expected and said in findings["Base model"].message
    assert TOKEN not in shown(findings)


@pytest.mark.parametrize("status", [401, 403])
def test_a_model_that_nobody_gets_without_a_token_is_a_cross(hub: Hub, status: int) -> None:
    hub.status = status
    (finding,) = found(base_model, examination(None, base_model="someone/private-1b")).values()
    assert finding.status == "fault" and "requires a token" in finding.message


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("ResourceNotFoundException", "fault", "has no secret storyloom/huggingface"),
        ("InvalidRequestException", "fault", "marked for deletion"),
    ],
)
def test_a_secret_that_is_not_there_is_a_cross_with_the_command_that_makes_it(
    aws: StubbedAccount, hub: Hub, code: str, status: str, said: str
) -> None:
    aws.refuses("secretsmanager", "get_secret_value", code)
    (finding,) = found(base_model, examination(aws, **GATED)).values()
    assert finding.status == status and said in finding.message
    assert "aws secretsmanager" in finding.cure and hub.asked == []


def test_a_secret_that_may_not_be_read_is_a_warning(aws: StubbedAccount, hub: Hub) -> None:
    aws.denies("secretsmanager", "get_secret_value", "secretsmanager:GetSecretValue")
    (finding,) = found(base_model, examination(aws, **GATED)).values()
    assert finding.status == "warning" and "secretsmanager:GetSecretValue" in finding.message


@pytest.mark.parametrize(
    "text", [" ", '{"token": "hf_neverShownToAnybody"}', "hf_never ShownToAnybody", "hf_né"]
)
def test_what_is_no_token_is_a_cross_and_is_not_sent(aws: StubbedAccount, hub: Hub, text: str) -> None:
    secret(aws, text)
    findings = found(base_model, examination(aws, **GATED))
    assert findings["Hugging Face token"].status == "fault" and hub.asked == []
    assert "never" not in shown(findings).lower().replace("never shown", "")


def test_without_credentials_the_token_is_not_looked_for(hub: Hub) -> None:
    (finding,) = found(base_model, examination(None, **GATED)).values()
    assert finding.status == "warning" and hub.asked == []


def test_a_hub_that_is_out_of_reach_is_a_warning(
    aws: StubbedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    secret(aws)
    findings = found(base_model, examination(aws, **GATED))
    assert findings["Base model"].status == "warning"
    assert TOKEN not in shown(findings)
