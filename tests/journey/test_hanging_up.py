"""Who hangs up stops the model, seen at the model's own server."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from tests.journey.conftest import Deployed, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

WITHIN_SECONDS = 2.0


def _active(deployed: Deployed) -> int:
    """How many answers the model's server is writing."""
    (engine,) = deployed.engines()
    words = engine.cmdline()
    said = httpx.get(f"http://127.0.0.1:{words[words.index('--port') + 1]}/ping", trust_env=False, timeout=30)
    return int(said.json()["active"])


def test_a_connection_that_is_cut_stops_the_generation(deployed: Deployed, first_run: dict[str, Any]) -> None:
    list(deployed.api.chat([{"role": "user", "content": "Good morning."}], max_tokens=4))
    connection = deployed.api.connection
    body = {
        "messages": [{"role": "user", "content": "Tell me a long story."}],
        "stream": True,
        "max_tokens": 1500,
    }
    with httpx.stream(
        "POST",
        f"{connection.url}/api/v1/chat/completions",
        json=body,
        headers=connection.headers,
        timeout=60,
    ) as response:
        events = (json.loads(line.removeprefix("data: ")) for line in response.iter_lines() if line)
        next(event for event in events if event["choices"][0]["delta"].get("content"))
        assert _active(deployed) == 1
    cut = time.monotonic()
    wait_for(lambda: _active(deployed) == 0 or None, 20)
    assert time.monotonic() - cut < WITHIN_SECONDS
