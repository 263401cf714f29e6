"""A stop ends the generation of an endpoint of several instances, whichever of them writes the answer.

The real `name_adapter.py` stands before each instance, and a request goes to the instance with the fewest
outstanding ones, as LEAST_OUTSTANDING_REQUESTS has it.
"""

import asyncio
import json
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from typing import Any

import pytest

from chat_api.services import upstream
from deploy.name_adapter import Message, NameAdapter, Receive, Send
from tests.unit.coroutines import outcome
from tests.unit.functions.conftest import DeployedResources

ANSWER = "the-answer"
WITHIN_SECONDS = 3.0
ATTEMPTS = 4
"""A busy machine may miss the time now and then; a cancel that cannot find the answer misses it each time."""


class _Endpoint:
    """Instances with answers under way, in a loop of their own."""

    def __init__(self, loads: list[int]) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.instances = [NameAdapter(self._write) for _ in loads]
        self.outstanding = [0 for _ in loads]
        self.parts: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.last_token = 0.0
        self.tasks = [
            asyncio.run_coroutine_threadsafe(
                self._ask(f"storyloom-answer={number}-{each}", number), self.loop
            )
            for number, load in enumerate(loads)
            for each in range(load)
        ]

    def begin(self, instance: int) -> None:
        """Have an instance write the answer that is to be stopped."""
        asked = self._ask(f"storyloom-answer={ANSWER}", instance)
        self.tasks.append(asyncio.run_coroutine_threadsafe(asked, self.loop))
        self.parts.get(timeout=10)

    def cancel(self, answer_id: str) -> bool:
        """Do what InvokeEndpoint does with a cancel: block until the instance has replied."""
        asked = self._ask(f"storyloom-cancel={answer_id}", None)
        try:
            reply = asyncio.run_coroutine_threadsafe(asked, self.loop).result(10)
        except CancelledError:
            return False
        return bool(json.loads(reply)["cancelled"])

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(10)
        for thread in threading.enumerate():
            if thread.name == "cancel":
                thread.join(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    @staticmethod
    async def _end() -> None:
        """End all that is written and held."""
        held = asyncio.all_tasks() - {asyncio.current_task()}
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    def read(self) -> Iterator[dict[str, Any]]:
        while (part := self.parts.get()) is not None:
            yield part

    async def _ask(self, attributes: str, instance: int | None) -> bytes:
        if instance is None:
            instance = self.outstanding.index(min(self.outstanding))
        self.outstanding[instance] += 1
        said: list[bytes] = []
        body = [{"type": "http.request", "body": b"{}"}]

        async def receive() -> Message:
            return body.pop() if body else await asyncio.Future()

        async def send(message: Message) -> None:
            said.append(message.get("body", b""))
            if attributes.endswith(f"answer={ANSWER}") and said[-1]:
                self.last_token = time.monotonic()
                self.parts.put({"PayloadPart": {"Bytes": said[-1]}})

        headers = [(b"x-amzn-sagemaker-custom-attributes", attributes.encode())]
        scope = {"type": "http", "path": "/invocations", "headers": headers}
        try:
            await self.instances[instance](scope, receive, send)
        finally:
            self.outstanding[instance] -= 1
            if attributes.endswith(f"answer={ANSWER}"):
                self.parts.put(None)
        return said[-1]

    @staticmethod
    async def _write(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"hill ", "more_body": True})
            await asyncio.sleep(0.02)


@pytest.mark.aws_fact
@pytest.mark.parametrize("instances", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("writer", "others"), [(0, 0), (7, 0), (3, 3), (0, 3)], ids=["idle", "new ones", "busy", "others busy"]
)
def test_stop_reaches_the_instance_that_writes(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch, instances: int, writer: int, others: int
) -> None:
    monkeypatch.setenv("STORYLOOM_HOSTING_MAX_INSTANCES", str(instances))
    for _ in range(ATTEMPTS):
        endpoint = _Endpoint([*[others] * (instances - 1), writer])
        if _stops_in_time(endpoint, monkeypatch):
            return
    pytest.fail(f"it was still written {WITHIN_SECONDS:g} s after the stop, {ATTEMPTS} times")


def _stops_in_time(endpoint: _Endpoint, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Stop the last instance's newest answer, and check that every other answer goes on."""
    monkeypatch.setattr(upstream, "_cancel", endpoint.cancel)

    async def stop() -> float:
        endpoint.begin(len(endpoint.instances) - 1)
        answer = upstream.AnswerStream(ANSWER, endpoint.read())
        stopped_at = time.monotonic()
        await answer.close(complete=False)
        return stopped_at

    try:
        stopped_at = outcome(stop())
        assert not any(task.done() for task in endpoint.tasks[:-1]), "other answers go on"
        wait([endpoint.tasks[-1]], timeout=WITHIN_SECONDS)
        return endpoint.tasks[-1].done() and endpoint.last_token - stopped_at <= WITHIN_SECONDS
    finally:
        endpoint.close()
