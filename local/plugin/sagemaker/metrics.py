"""SageMaker's metrics of an endpoint's requests, in its names and units."""

import time
from dataclasses import dataclass, field

from local.plugin.ministack_cloudwatch import record

NAMESPACE = "AWS/SageMaker"
_SERVER_ERROR = 500


@dataclass
class Invocation:
    """One request, from when the server gets it."""

    endpoint: str
    variant: str
    _begun: float = field(default_factory=time.monotonic)
    _first: bool = False

    def answered(self, status: int) -> None:
        """Record the status of the answer; without an answer it is 500 or above."""
        client, server = 400 <= status < _SERVER_ERROR, status >= _SERVER_ERROR
        self._record(
            Invocations=1,
            Invocation4XXErrors=client,
            Invocation5XXErrors=server,
            InvocationModelErrors=client or server,
        )

    def complete(self) -> None:
        """Record the latency of an answer in one piece."""
        self._record(ModelLatency=self._microseconds())

    def chunk(self) -> None:
        """Record the latency of the first piece of a streamed answer."""
        if not self._first:
            self._first = True
            self._record(FirstChunkModelLatency=self._microseconds())

    def interrupted(self) -> None:
        """Record that a streamed answer was interrupted."""
        self._record(MidStreamErrors=1)

    def _microseconds(self) -> float:
        return (time.monotonic() - self._begun) * 1_000_000

    def _record(self, **values: float) -> None:
        dimensions = {"EndpointName": self.endpoint, "VariantName": self.variant}
        record(NAMESPACE, {name: float(value) for name, value in values.items()}, dimensions)
