"""The servers behind endpoints and transform jobs: a process for each instance of a configuration.

A server downloads its model, starts, answers /ping, and is restarted when it dies. A request goes to the
least busy server of a fleet.
"""

import os
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from local.aws.cloud_environment import SERVER_VARIABLE
from local.aws.processes import free_loopback_port
from local.aws.sagemaker import job as jobs
from local.aws.sagemaker.instance_holds import InstanceHold
from local.aws.sagemaker.job_process import Container, start_folder
from local.aws.sagemaker.model_resources import get_model, model_location
from local.aws.sagemaker.record_store import Record
from local.aws.sagemaker.roles import RoleClients
from local.aws.sagemaker.telemetry import Telemetry
from local.aws.sagemaker.transfer import download_prefix, remove_folder, unpack_archives
from local.aws.services.iam import assume_role

HEALTH_SECONDS = 300
"""How long a container may take to answer /ping by default."""
RESTART_SECONDS = 1.0
DRAIN_SECONDS = 300.0
"""How long a replaced server may take to complete its last requests."""


class ModelServerFailed(Exception):  # noqa: N818 (an outcome)
    """The server never became healthy; the text is the endpoint's FailureReason."""


@dataclass
class ModelServer:
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
    def of(cls, endpoint: str, config: Record) -> "ModelServer":
        """Return a server for an endpoint configuration; `start` starts it."""
        variant = config["ProductionVariants"][0]
        model = get_model(variant["ModelName"])
        clients = RoleClients(assume_role(model["ExecutionRoleArn"], "SageMaker"))
        stream = f"{variant['VariantName']}/i-{time.time_ns():x}"
        return cls(
            endpoint,
            variant,
            model,
            start_folder(f"endpoints/{endpoint}", f"{time.time_ns():x}"),
            free_loopback_port(),
            Telemetry(clients, f"/aws/sagemaker/Endpoints/{endpoint}", stream),
            clients,
        )

    def start(self) -> None:
        """Download, start, and return when /ping is 200. Raises ModelServerFailed."""
        self.telemetry.start()
        self._download()
        command = self._command()
        run = threading.Thread(
            target=self._keep_running, args=(command,), name=f"server-{self.endpoint}", daemon=True
        )
        run.start()
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
        remove_folder(self.root)

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _model_folder(self) -> Path:
        return self.root / "model"

    def _download(self) -> None:
        uri, packed = model_location(self.model["PrimaryContainer"])
        try:
            count = download_prefix(self.clients.s3, uri, self._model_folder)
            if packed:
                unpack_archives(self._model_folder)
        except jobs.DATA_ERRORS as error:
            raise ModelServerFailed(
                str(jobs.data_error(f"Download of the model data at {uri}", error))
            ) from error
        if count == 0:
            raise ModelServerFailed(f"Could not find model data at {uri}.")

    def _keep_running(self, command: list[str]) -> None:
        """Restart a server that was healthy when it dies, as SageMaker does."""
        try:
            while not self._stopped.is_set():
                container = Container(self.root, command, self._environment(), self.telemetry.line)
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
        module = os.environ.get(SERVER_VARIABLE)
        if not module:
            raise ModelServerFailed(
                f"No program serves models on this machine: {SERVER_VARIABLE} must name a Python module that "
                "takes --model-dir DIR --port N and answers /ping and /invocations."
            )
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
            # The module that serves is imported from the folder in which this cloud was started.
            "PYTHONPATH": str(Path.cwd()),
            **self.model["PrimaryContainer"].get("Environment", {}),
        }

    def _wait_until_healthy(self) -> None:
        seconds = self.variant.get("ContainerStartupHealthCheckTimeoutInSeconds", HEALTH_SECONDS)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._gave_up.is_set():
            if self._stopped.is_set():
                raise ModelServerFailed("The endpoint was deleted.")
            if _ping(self.url):
                return
            time.sleep(0.2)
        raise ModelServerFailed(
            f"The primary container for production variant {self.variant['VariantName']} did not pass the "
            f"ping health check. Please check CloudWatch logs for this endpoint. {self._last_lines}".strip()
        )


def _ping(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=2) as answer:  # noqa: S310 (our own loopback)
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@dataclass
class ServerFleet:
    """The servers of one endpoint configuration."""

    endpoint: str
    config: Record
    hold: InstanceHold | None
    """Their part of the account's quota; None if a serverless variant has no instances."""
    servers: tuple[ModelServer, ...] = ()
    """Those in service."""
    _starting: ModelServer | None = None
    _stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def scale(self, count: int) -> None:
        """Start or end servers until there are `count`; those that end complete their requests.

        Raises ModelServerFailed if one cannot be started; those before it stay in service.
        """
        while len(self.servers) < count:
            self._add()
        ending, self.servers = self.servers[count:], self.servers[:count]
        _retire(ending)
        if self.hold:
            self.hold.resize(count)

    def acquire(self) -> ModelServer | None:
        """Acquire the least busy server for a request; None if there is none."""
        while servers := self.servers:
            server = min(servers, key=lambda one: one.in_use)
            server.acquire()
            if server in self.servers:
                return server
            server.release()  # ended in between: it may be stopping already
        return None

    def retire(self) -> None:
        """Stop each server once it has completed its requests."""
        ending, self.servers = self.servers, ()
        _retire(ending)
        self._release()

    def stop(self) -> None:
        """End all servers, also one that is being started."""
        with self._lock:
            self._stopped = True
            ending = [*self.servers, *([self._starting] if self._starting else [])]
            self.servers = ()
        for server in ending:
            server.stop()
        self._release()

    def _release(self) -> None:
        if self.hold:
            self.hold.release()

    def _add(self) -> None:
        with self._lock:
            if self._stopped:
                raise ModelServerFailed("The endpoint was deleted.")
            server = self._starting = ModelServer.of(self.endpoint, self.config)
        try:
            server.start()
        except BaseException:
            server.stop()
            raise
        finally:
            with self._lock:
                self._starting = None
        with self._lock:
            if not self._stopped:
                self.servers = (*self.servers, server)
                return
        server.stop()
        raise ModelServerFailed("The endpoint was deleted.")


def _retire(servers: tuple[ModelServer, ...]) -> None:
    for server in servers:
        threading.Thread(target=server.retire, name=f"retire-{server.endpoint}", daemon=True).start()
