"""A job's output as CloudWatch sees it: log events, and the metrics that its definitions find in them."""

import collections
import contextlib
import logging
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws.sagemaker.roles import RoleClients

FLUSH_SECONDS = 1.0
EVENTS_PER_CALL = 1000
METRICS_PER_CALL = 500
LINE_CHARACTERS = 200_000
"""CloudWatch Logs refuses events over 256 KB."""

logger = logging.getLogger("local_aws.sagemaker")


@dataclass(frozen=True)
class MetricDefinition:
    """One of the job's MetricDefinitions: the first group of `pattern` is the value."""

    name: str
    pattern: re.Pattern[str]

    def find(self, line: str) -> float | None:
        """Return the value in this line, or None."""
        match = self.pattern.search(line)
        try:
            return float(match.group(1)) if match else None
        except (ValueError, IndexError):
            return None


@dataclass
class Telemetry:
    """Sends lines and metrics in batches, in the background, with the job's own permissions.

    As on AWS a role that may not write logs does not stop the job; here the server's log has a warning.
    """

    clients: RoleClients
    group: str
    stream: str
    definitions: list[MetricDefinition] = field(default_factory=list)
    metric_namespace: str = ""
    dimensions: dict[str, str] = field(default_factory=dict)
    final_metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Metric name to (value, epoch seconds) as last seen."""

    _events: collections.deque[dict[str, Any]] = field(default_factory=collections.deque)
    _data: collections.deque[dict[str, Any]] = field(default_factory=collections.deque)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _stream_made: bool = False
    _refused: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Begin to send."""
        self._thread = threading.Thread(target=self._run, name=f"telemetry-{self.stream}", daemon=True)
        self._thread.start()

    def line(self, text: str) -> None:
        """Add one line of the job's output."""
        now = time.time()
        self._events.append({"timestamp": int(now * 1000), "message": text[:LINE_CHARACTERS] or " "})
        for definition in self.definitions:
            value = definition.find(text)
            if value is not None:
                self.final_metrics[definition.name] = (value, now)
                self._data.append({"MetricName": definition.name, "Value": value, "Timestamp": now})

    def close(self) -> None:
        """Send the rest and stop."""
        self._stopping.set()
        if self._thread:
            self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stopping.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        try:
            self._send_events()
        except (BotoCoreError, ClientError) as error:
            self._warn_once(error)
        try:
            self._send_metrics()
        except (BotoCoreError, ClientError) as error:
            self._warn_once(error)

    def _warn_once(self, error: Exception) -> None:
        if str(error) not in self._refused:
            self._refused.add(str(error))
            logger.warning("%s: %s", self.stream, error)

    def _send_events(self) -> None:
        while self._events:
            if not self._stream_made:
                self._make_stream()
            batch = [self._events.popleft() for _ in range(min(len(self._events), EVENTS_PER_CALL))]
            self.clients.logs.put_log_events(
                logGroupName=self.group,
                logStreamName=self.stream,
                logEvents=batch,  # type: ignore[arg-type]
            )

    def _make_stream(self) -> None:
        logs = self.clients.logs
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=self.group)
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_stream(logGroupName=self.group, logStreamName=self.stream)
        self._stream_made = True

    def _send_metrics(self) -> None:
        dimensions = [{"Name": name, "Value": value} for name, value in self.dimensions.items()]
        while self._data:
            batch = [self._data.popleft() for _ in range(min(len(self._data), METRICS_PER_CALL))]
            self.clients.cloudwatch.put_metric_data(
                Namespace=self.metric_namespace,
                MetricData=[{**datum, "Dimensions": dimensions} for datum in batch],  # type: ignore[typeddict-item]
            )
