"""The server process behind an endpoint or a transform job: downloads the model, starts, pings, restarts."""

import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from local.environment import SERVER_VARIABLE
from local.plugin.ministack_adapter import assume_role
from local.plugin.sagemaker import job as jobs
from local.plugin.sagemaker import models
from local.plugin.sagemaker.aws import RoleClients
from local.plugin.sagemaker.checks import start_folder
from local.plugin.sagemaker.container import Container
from local.plugin.sagemaker.store import Record
from local.plugin.sagemaker.telemetry import Telemetry
from local.plugin.sagemaker.transfer import download_prefix, remove, unpack_archives

HEALTH_SECONDS = 300
"""How long a container may take to answer /ping by default."""

RESTART_SECONDS = 1.0
DRAIN_SECONDS = 300.0
"""How long a replaced server may take to complete its last requests."""

_PACKAGE_ROOT = Path(__file__).resolve().parents[3]


class FleetFailed(Exception):  # noqa: N818 (an outcome)
    """The server never became healthy; the text is the endpoint's FailureReason."""


@dataclass
class Fleet:
    """One server process with its model on disk."""

    endpoint: str
    variant: Record
    model: Record
    root: Path
    port: int
    telemetry: Telemetry
    clients: RoleClients
    _container: Container | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)
    _last_lines: str = ""
    _gave_up: threading.Event = field(default_factory=threading.Event)
    _healthy: bool = False
    _in_use: int = 0
    _idle: threading.Condition = field(default_factory=threading.Condition)

    @classmethod
    def of(cls, endpoint: str, config: Record) -> "Fleet":
        """Return a server for an endpoint configuration; `start` starts it."""
        variant = config["ProductionVariants"][0]
        model = models.get(variant["ModelName"])
        clients = RoleClients(assume_role(model["ExecutionRoleArn"], "SageMaker"))
        stream = f"{variant['VariantName']}/i-{time.time_ns():x}"
        return cls(
            endpoint,
            variant,
            model,
            start_folder(f"endpoints/{endpoint}", f"{time.time_ns():x}"),
            free_port(),
            Telemetry(clients, f"/aws/sagemaker/Endpoints/{endpoint}", stream),
            clients,
        )

    def start(self) -> None:
        """Download, start, and return when /ping is 200. Raises FleetFailed."""
        self.telemetry.start()
        self._download()
        threading.Thread(target=self._keep_running, name=f"server-{self.endpoint}", daemon=True).start()
        self._wait_until_healthy()
        self._healthy = True

    def acquire(self) -> None:
        """Count a request: until `release` the server keeps running, also when it is replaced."""
        with self._idle:
            self._in_use += 1

    def release(self) -> None:
        """Count the end of a request."""
        with self._idle:
            self._in_use -= 1
            self._idle.notify_all()

    @property
    def in_use(self) -> int:
        """How many requests it is answering."""
        return self._in_use

    def retire(self) -> None:
        """Stop when the last request has been answered."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_use == 0, timeout=DRAIN_SECONDS)
        self.stop()

    def stop(self) -> None:
        """End the process and remove its folder."""
        self._stopped.set()
        if self._container:
            self._container.stop("Deleted", grace_seconds=2)
            self._gave_up.wait(timeout=15)
        self.telemetry.close()
        remove(self.root)

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _model_folder(self) -> Path:
        return self.root / "model"

    def _download(self) -> None:
        uri, packed = models.model_location(self.model["PrimaryContainer"])
        try:
            count = download_prefix(self.clients.s3, uri, self._model_folder)
            if packed:
                unpack_archives(self._model_folder)
        except jobs.DATA_ERRORS as error:
            raise FleetFailed(str(jobs.data_error(f"Download of the model data at {uri}", error))) from error
        if count == 0:
            raise FleetFailed(f"Could not find model data at {uri}.")

    def _keep_running(self) -> None:
        """Restart a server that was healthy when it dies, as SageMaker does."""
        try:
            while not self._stopped.is_set():
                container = Container(self.root, self._command(), self._environment(), self.telemetry.line)
                self._container = container
                if self._stopped.is_set():
                    return
                ended = container.run(None, lambda: None)
                self._last_lines = ended.last_lines
                if not self._healthy:
                    return
                self._stopped.wait(RESTART_SECONDS)
        finally:
            self._gave_up.set()

    def _command(self) -> list[str]:
        module = os.environ.get(SERVER_VARIABLE, "local.endpoint_server")
        return [
            sys.executable,
            "-m",
            module,
            "--model-dir",
            str(self._model_folder),
            "--port",
            str(self.port),
        ]

    def _environment(self) -> dict[str, str]:
        return {
            **jobs.job_environment(self.clients, self.model.get("EnableNetworkIsolation", False)),
            "PYTHONPATH": str(_PACKAGE_ROOT),
            **self.model["PrimaryContainer"].get("Environment", {}),
        }

    def _wait_until_healthy(self) -> None:
        seconds = self.variant.get("ContainerStartupHealthCheckTimeoutInSeconds", HEALTH_SECONDS)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._gave_up.is_set():
            if self._stopped.is_set():
                raise FleetFailed("The endpoint was deleted.")
            if _ping(self.url):
                return
            time.sleep(0.2)
        raise FleetFailed(
            f"The primary container for production variant {self.variant['VariantName']} did not pass the "
            f"ping health check. Please check CloudWatch logs for this endpoint. {self._last_lines}".strip()
        )


def _ping(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=2) as answer:  # noqa: S310 (our own loopback)
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
