"""Lambda's queue for asynchronous calls: in order, a few at a time, with retries.

An event that finds no concurrency waits and is tried again for six hours; a function that fails gets its
event two more times, a minute and two minutes later. So five hundred files that arrive at once do not start
five hundred processes.
"""

import contextvars
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from ministack.services import eventbridge, lambda_svc

Json = dict[str, Any]

CALLS_AT_ONCE = 2
"""The maximum of processes per function for asynchronous calls, so that they do not overload the machine."""
RETRY_VARIABLE = "LOCAL_AWS_ASYNC_RETRY_SECONDS"
"""Seconds before the first retry of a call that failed: 60 on AWS, fewer in tests."""
THROTTLE_SECONDS, LONGEST_THROTTLE_SECONDS = 1.0, 300.0
MAXIMUM_AGE_SECONDS = 6 * 3600.0
MAXIMUM_RETRIES = 2
Outcome = Literal["done", "failed", "throttled"]
logger = logging.getLogger("local_aws.events")


@dataclass
class AsyncCall:
    """One event on its way to one function."""

    function: str
    run: Callable[[], Outcome]
    give_up: Callable[[], None] = lambda: None
    """Called when no retry is left: sends the event to the function's destination for failures."""
    retries: int = MAXIMUM_RETRIES
    age_seconds: float = MAXIMUM_AGE_SECONDS
    arrived: float = field(default_factory=time.monotonic)
    failures: int = 0
    throttles: int = 0

    def next_try(self, outcome: Outcome) -> float | None:
        """Return the seconds until the event is tried again; None if it is done, or no try is left."""
        if outcome == "throttled":
            self.throttles += 1
            seconds = min(THROTTLE_SECONDS * 2 ** (self.throttles - 1), LONGEST_THROTTLE_SECONDS)
        elif outcome == "failed" and self.failures < self.retries:
            self.failures += 1
            seconds = self.failures * float(os.environ.get(RETRY_VARIABLE, "60"))
        else:
            return None
        return seconds if time.monotonic() - self.arrived + seconds <= self.age_seconds else None


class AsyncQueues:
    """One queue a function, each worked off by a few threads."""

    def __init__(self) -> None:
        """Start without any queue."""
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()

    def put(self, call: AsyncCall) -> None:
        """Call the function when its turn comes."""
        with self._lock:
            pool = self._pools.setdefault(
                call.function, ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix=f"events-{call.function}")
            )
        pool.submit(self._deliver, call)

    def _deliver(self, call: AsyncCall) -> None:
        try:
            outcome = call.run()
        except Exception:
            logger.exception("The asynchronous call of %s", call.function)
            outcome = "failed"
        seconds = call.next_try(outcome)
        if seconds is not None:
            logger.info("%s was %s: its event is tried again in %g s", call.function, outcome, seconds)
            timer = threading.Timer(seconds, self.put, [call])
            timer.daemon = True
            timer.start()
        elif outcome != "done":
            logger.warning("%s was %s: its event is given up", call.function, outcome)
            call.give_up()


def install() -> None:
    """Queue the asynchronous calls of functions in this process's MiniStack, by whichever service."""
    queues = AsyncQueues()

    def invoke(record: Json, event: Any) -> None:
        queues.put(_async_call(record, event))

    def dispatch(arn: str, payload: str) -> None:
        function, configuration, _ = lambda_svc._get_func_record_for_ref(arn)
        if function and configuration:
            invoke(lambda_svc._execution_record_for_config(function, configuration), json.loads(payload))

    eventbridge._dispatch_to_lambda = dispatch
    lambda_svc.invoke_async_with_retry = invoke


def _async_call(record: Json, event: Any) -> AsyncCall:
    configuration = record.get("config") or record
    name = str(configuration["FunctionName"])
    settings = record.get("event_invoke_config") or (record.get("event_invoke_configs") or {}).get("$LATEST")
    settings = settings or {}
    destination = (settings.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination")
    destination = destination or (configuration.get("DeadLetterConfig") or {}).get("TargetArn")
    context = contextvars.copy_context()
    last: Json = {}

    def run() -> Outcome:
        result = context.run(lambda_svc._execute_function_with_config_scope, record, event)
        last.clear()
        last.update(result)
        if result.get("throttle"):
            return "throttled"
        return "failed" if result.get("error") else "done"

    def give_up() -> None:
        if destination:
            context.run(lambda_svc._route_async_failure, destination, name, event, last)

    return AsyncCall(
        function=name,
        run=run,
        give_up=give_up,
        retries=int(settings.get("MaximumRetryAttempts", MAXIMUM_RETRIES)),
        age_seconds=float(settings.get("MaximumEventAgeInSeconds", MAXIMUM_AGE_SECONDS)),
    )
