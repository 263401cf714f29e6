"""A batch over the deployed app: its own roles pack the model, run the transform job and read the answers."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest

from tests.journey.deployed_app import PATIENCE_S, Deployed, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

LINES = (
    b'{"custom_id": "tuned", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}\n'
    b'{"custom_id": "base", "prompt": "Once upon a hill", "model": "base"}\n'
)
ENDS = {"completed", "failed", "stopped"}


def test_a_batch_is_answered_by_a_transform_job(deployed: Deployed, first_run: dict[str, Any]) -> None:
    api = deployed.api
    wanted = {"name": "prompts.jsonl", "size": len(LINES), "model": "storyloom", "max_tokens": 12}
    batch_id = str(api.create_batch(wanted, io.BytesIO(LINES))["batch_id"])
    assert api.check_batch(batch_id)["lines"] == 2
    api.start_batch(batch_id)

    def ended() -> dict[str, Any] | None:
        seen = api.batch(batch_id)
        return seen if seen["status"] in ENDS else None

    batch = wait_for(ended)
    assert batch["status"] == "completed", batch
    results = api.batch_results(batch_id)
    assert (results["answered"], results["failed"]) == (2, 0)
    tuned, base = (
        json.loads(line) for line in httpx.get(results["url"], timeout=PATIENCE_S).text.splitlines()
    )
    assert (tuned["custom_id"], base["custom_id"]) == ("tuned", "base")
    assert tuned["response"]["body"]["model"] == first_run["version"]
    assert tuned["response"]["body"]["choices"][0]["message"]["content"]
    assert base["response"]["body"]["model"] == "base"
    assert 0 < base["response"]["body"]["usage"]["completion_tokens"] <= 12
    job = deployed.client("sagemaker").describe_transform_job(TransformJobName=f"storyloom-batch-{batch_id}")
    assert job["TransformJobStatus"] == "Completed"
    paid = (job["TransformEndTime"] - job["TransformStartTime"]).total_seconds()
    assert batch["cost_usd"] == pytest.approx(1.13 * paid / 3600, abs=0.01)
