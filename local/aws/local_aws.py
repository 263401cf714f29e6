"""`LocalAws`: AWS on this machine, which can be started and stopped."""

import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.aws import loopback, processes
from local.aws.account import account_file
from local.aws.certificate import Certificate, ensure_certificate
from local.aws.cloud_environment import (
    REGION,
    CloudFolders,
    client_environment,
    endpoint_url,
    server_environment,
)
from local.aws.errors import LocalCloudError
from local.aws.private_file import read_private_file, write_private_file

START_SECONDS = 180.0
"""How long the cloud may take to answer before it counts as failed (usually a few seconds)."""


@dataclass(frozen=True)
class LocalAws:
    """One local cloud: a state folder and two ports of this machine.

    `state` is the only folder that the cloud writes to. Two clouds need two state folders and two pairs of
    ports.
    """

    state: Path
    port: int = 4566
    page_port: int = 8400
    account: account_file.Profile = "usual"
    """What AWS allows this cloud's account."""
    endpoint_server: str = ""
    """Python module that serves a model of SageMaker: `python -m MODULE --model-dir DIR --port N`."""
    folder: Path = field(default_factory=Path.cwd)
    """Working folder of the cloud's processes, from which `endpoint_server` is imported."""
    prices: Mapping[str, Any] = field(default_factory=dict)
    """What instances cost, as `services.pricing` describes it; empty if no instance has a price."""

    @property
    def page_url(self) -> str:
        """URL of the page that CloudFront serves."""
        return f"http://localhost:{self.page_port}"

    @property
    def folders(self) -> CloudFolders:
        """Paths of this cloud's files."""
        return CloudFolders(self.state.resolve())

    def up(self) -> None:
        """Start the cloud and return when it answers; does nothing when it is up already.

        Raises `LocalCloudError` when a port is taken or a part does not start.
        """
        if self.status()["running"]:
            return
        quotas = account_file.read_account(self.folders.account).quotas
        self.down()  # whatever a crash has left
        for port in (self.port, self.page_port):
            _require_free(port)
        try:
            self._prepare()
            account_file.write_account(self.folders.account, account_file.Account(self.account, quotas))
            if self.prices:
                self.folders.prices.write_text(json.dumps(self.prices))
            supervisor = self._start()
            self.describe(pid=supervisor.pid, process_group=supervisor.pid, started_at=_now())
            self._wait_until_it_answers(supervisor)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Stop every process of this cloud and remove its files, also after a crash."""
        processes.stop_all(processes.cloud_id(self.state))
        for path in self.folders.transient():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def set_quota(self, name: str, value: float) -> None:
        """Give the account's quota `name` (`ml.g6.xlarge for endpoint usage`) another value, from now on."""
        account_file.set_quota(self.folders.account, name, value)

    def status(self) -> dict[str, Any]:
        """Return the contents of `cloud.json`, and `running`: whether this cloud's processes answer."""
        described = self.description()
        pid = described.get("pid")
        mine = {process.pid for process in processes.belonging_to(processes.cloud_id(self.state))}
        return {**described, "running": pid in mine and _answers(described["port"], self._bundle())}

    def is_supervised(self) -> bool:
        """Tell whether the process of `cloud.json` runs and is this cloud's; it may still be starting."""
        pid = self.description().get("pid")
        return isinstance(pid, int) and processes.belongs(pid, processes.cloud_id(self.state))

    def environment(self) -> dict[str, str]:
        """Return the variables with which the AWS CLI, CDK and boto3 use this cloud as its administrator."""
        return client_environment(self.folders, self._certificate(), self.port)

    def description(self) -> dict[str, Any]:
        """Return the contents of `cloud.json`; empty if the cloud was never started.

        Raises `LocalCloudError` if the file is not the user's own.
        """
        try:
            loaded: dict[str, Any] = json.loads(read_private_file(self.folders.description))
        except FileNotFoundError:
            return {}
        return loaded

    def describe(self, **changes: object) -> None:
        """Write `changes` into `cloud.json`, which only its owner may read."""
        merged = {**self.description(), **changes}
        write_private_file(self.folders.description, json.dumps(merged, indent=2))

    def _certificate(self) -> Certificate:
        return ensure_certificate(self.folders.tls, REGION)

    def _bundle(self) -> Path:
        return self.folders.tls / "ca-bundle.pem"

    def _prepare(self) -> None:
        folders = self.folders
        shutil.rmtree(folders.logs, ignore_errors=True)
        for folder in (folders.temporary, folders.data, folders.home, folders.logs, folders.sagemaker):
            folder.mkdir(parents=True, exist_ok=True)
        folders.state.chmod(0o700)
        for name in ("aws-config", "aws-credentials"):
            (folders.home / name).touch()
        self.describe(
            port=self.port,
            page_port=self.page_port,
            url=self.page_url,
            environment=self.environment(),
        )

    def _start(self) -> subprocess.Popen[bytes]:
        environment = server_environment(
            self.folders, self._certificate(), self.port, self.page_port, self.endpoint_server
        )
        with (self.folders.logs / "supervisor.log").open("ab") as log, _defer_interrupt():
            return subprocess.Popen(
                [sys.executable, "-m", "local.aws.supervisor"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until_it_answers(self, supervisor: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if supervisor.poll() is not None:
                raise LocalCloudError(f"The local cloud ended while it started:\n{self._log_tails()}")
            if _answers(self.port, self._bundle()) and self._front_door_answers():
                return
            time.sleep(0.05)
        raise LocalCloudError(
            f"The local cloud does not answer at {endpoint_url(self.port)} after {START_SECONDS:.0f} s:\n"
            + self._log_tails()
        )

    def _front_door_answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.page_port)) == 0

    def _log_tails(self) -> str:
        """Return the last lines of each log, for an error message."""
        lines = []
        for log in sorted(self.folders.logs.glob("*.log")):
            lines += [f"[{log.name}] {line}" for line in log.read_text(errors="replace").splitlines()[-8:]]
        return "\n".join(lines)


@contextlib.contextmanager
def _defer_interrupt() -> Iterator[None]:
    """Hold back a Ctrl-C: until a new process runs its program, it does not carry the cloud's marker."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread only
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda signum, _: came.append(signum))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _require_free(port: int) -> None:
    try:
        listening = loopback.listen(port)
    except OSError as error:
        raise LocalCloudError(
            f"Port {port} of this machine is in use. Stop the program that has it "
            "(another local cloud?), or choose another port."
        ) from error
    for one in listening:
        one.close()


def _answers(port: int, bundle: Path) -> bool:
    if not bundle.exists():
        return False
    try:
        context = ssl.create_default_context(cafile=str(bundle))
        url = f"{endpoint_url(port)}/_ministack/health"
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:  # noqa: S310 (our own https)
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
