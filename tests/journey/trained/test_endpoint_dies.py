"""The model's server is killed at the worst moments: each time one clear message, then v1 answers again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import psutil
import pytest

from shared import clock
from tests.journey.deployed_app import Deployed, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

QUESTION = [{"role": "user", "content": "Tell me a long story about the harbour."}]


def _engine_beside(deployed: Deployed, others: list[psutil.Process]) -> psutil.Process:
    """The next model server that starts beside those that run."""
    return wait_for(lambda: next((one for one in deployed.engines() if one not in others), None))


def _events(deployed: Deployed, prefer: str = "") -> Iterator[str]:
    """Ask for a stream; yields its events and comments as they come."""
    body = {"model": "storyloom", "messages": QUESTION, "stream": True, "max_tokens": 300}
    connection = deployed.api.connection
    with httpx.stream(
        "POST",
        f"{connection.url}/api/v1/chat/completions",
        json=body,
        headers={**connection.headers, "Prefer": prefer},
        timeout=180,
    ) as response:
        assert response.status_code == 200, response.read()
        for line in response.iter_lines():
            if line:
                yield line


def _error(event: str) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(event.removeprefix("data: "))["error"]
    return error


def test_killed_in_mid_answer(deployed: Deployed, first_run: dict[str, Any]) -> None:
    deployed.answers_as(first_run["version"])
    events = _events(deployed)
    heard = [next(events) for _ in range(4)]
    (engine,) = deployed.engines()
    engine.kill()
    heard += list(events)
    assert any(
        json.loads(event.removeprefix("data: "))["choices"][0]["delta"].get("content") for event in heard[:-1]
    )
    assert _error(heard[-1])["type"] == "answer_broke_off"
    assert _error(heard[-1])["cure"]
    # SageMaker starts a container that died once again.
    deployed.answers_as(first_run["version"])


def test_killed_during_a_deployment(
    deployed: Deployed, first_run: dict[str, Any], another_version: str
) -> None:
    deployed.answers_as(first_run["version"])
    answering, known = deployed.engines(), {run["run_id"] for run in deployed.api.runs()}
    deployed.api.decide_version(another_version, "activate")
    _engine_beside(deployed, answering).kill()
    (run_id,) = {run["run_id"] for run in deployed.api.runs()} - known
    run = deployed.finished_run(run_id)
    assert run["status"] == "failed"
    assert f"SageMaker could not host {another_version}" in run["message"]
    assert "did not pass the ping health check" in run["message"]
    deployed.answers_as(first_run["version"])


def _age_failure(deployed: Deployed, seconds: float) -> None:
    """Make the endpoint's failure so many seconds older, of the minute for which it is not tried again."""
    table, key = deployed.table(), {"pk": "HOSTING", "sk": "STATE"}
    failed = clock.instant(str(table.get_item(Key=key)["Item"]["since"]))
    earlier = clock.text(failed - timedelta(seconds=seconds))
    table.update_item(
        Key=key, UpdateExpression="SET since = :earlier", ExpressionAttributeValues={":earlier": earlier}
    )


def test_killed_while_waking(deployed: Deployed, first_run: dict[str, Any]) -> None:
    deployed.api.sleep()
    wait_for(lambda: not deployed.engines() or None)
    events = _events(deployed, "wait=600")
    assert next(events).startswith(": asleep: ")
    _engine_beside(deployed, []).kill()
    *comments, last = events
    assert all(comment.startswith(": ") for comment in comments)
    error = _error(last)
    assert error["type"] == "model_failing"
    assert "did not pass the ping health check" in error["message"]
    assert "Send the same message again in about" in error["cure"]
    _age_failure(deployed, seconds=50)
    # The next try is not yet allowed: OpenAI's client waits for it, as the answer says.
    deployed.answers_as(first_run["version"])
