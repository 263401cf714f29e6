"""`LocalCloud`: AWS on this machine, as one object with a beginning and an end."""

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local import account as accounts
from local import certificate, loopback, private_file, processes
from local.environment import REGION, Folders, client_environment, endpoint, server_environment
from local.errors import LocalCloudError

START_SECONDS = 180.0
"""How long the cloud may take to answer before it counts as failed (usually a few seconds)."""

_PACKAGE_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class LocalCloud:
    """One local cloud: a state folder and two ports of this machine.

    `checkout` holds the app (app.py, cdk.json); `state` is the only folder that the cloud writes to.
    Two clouds need two state folders and two pairs of ports.
    """

    checkout: Path
    state: Path
    port: int = 4566
    page_port: int = 8400
    context: Mapping[str, str] = field(default_factory=dict)
    """CDK context on top of what the app gets on one machine."""
    account: accounts.Profile = "usual"
    """What AWS allows this cloud's account (`local.account`)."""

    @property
    def page_url(self) -> str:
        """Where a browser finds the page."""
        return f"http://localhost:{self.page_port}"

    @property
    def folders(self) -> Folders:
        """Where this cloud's files lie."""
        return Folders(self.state.resolve())

    def up(self) -> None:
        """Start the cloud and return when it answers; does nothing when it is up already.

        Raises `LocalCloudError` when a port is taken or a part does not start.
        """
        if self.status()["running"]:
            return
        quotas = accounts.read(self.folders.account).quotas
        self.down()  # whatever a crash has left
        for port in (self.port, self.page_port):
            _require_free(port)
        try:
            self._prepare()
            accounts.write(self.folders.account, accounts.Account(self.account, quotas))
            supervisor = self._start()
            self.describe(pid=supervisor.pid, process_group=supervisor.pid, started_at=_now())
            self._wait_until_it_answers(supervisor)
        except BaseException:
            self.down()
            raise

    def deploy(self, progress: Callable[[str], None]) -> None:
        """Bootstrap and deploy the app with the real CDK CLI, and make it ready for its first person.

        `progress` is called with one line of text at a time.
        """
        from local.deploy import deploy  # noqa: PLC0415 (boto3 is slow to import and not needed by up and down)

        deploy(self, progress)

    def down(self) -> None:
        """Stop every process of this cloud and remove what it kept; works after a crash too."""
        processes.stop_all(processes.cloud_id(self.state))
        for path in self.folders.transient():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def set_quota(self, name: str, value: float) -> None:
        """Give the account's quota `name` (`ml.g6.xlarge for endpoint usage`) another value, from now on."""
        accounts.set_quota(self.folders.account, name, value)

    def status(self) -> dict[str, Any]:
        """What `cloud.json` says, and `running`: whether this cloud's processes are there and answer."""
        described = self.description()
        pid = described.get("pid")
        mine = {process.pid for process in processes.belonging_to(processes.cloud_id(self.state))}
        return {**described, "running": pid in mine and _answers(described["port"], self._bundle())}

    def is_supervised(self) -> bool:
        """Whether the process that `cloud.json` names runs and is this cloud's; it may still be starting."""
        pid = self.description().get("pid")
        return isinstance(pid, int) and processes.belongs(pid, processes.cloud_id(self.state))

    def environment(self) -> dict[str, str]:
        """What the AWS CLI, CDK and boto3 need to speak to this cloud as its administrator."""
        return client_environment(self.folders, self._certificate(), self.port)

    def description(self) -> dict[str, Any]:
        """What `cloud.json` says; empty when the cloud was never started.

        Raises `LocalCloudError` if the file is not the user's own.
        """
        try:
            loaded: dict[str, Any] = json.loads(private_file.read(self.folders.description))
        except FileNotFoundError:
            return {}
        return loaded

    def describe(self, **changes: object) -> None:
        """Write `changes` into `cloud.json`, which only its owner may read."""
        merged = {**self.description(), **changes}
        private_file.write(self.folders.description, json.dumps(merged, indent=2))

    def _certificate(self) -> certificate.Certificate:
        return certificate.ensure(self.folders.tls, REGION)

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
        environment = server_environment(self.folders, self._certificate(), self.port, self.page_port)
        with (self.folders.logs / "supervisor.log").open("ab") as log, _ctrl_c_afterwards():
            return subprocess.Popen(
                [sys.executable, "-m", "local.supervisor"],
                cwd=_PACKAGE_ROOT,
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
                raise LocalCloudError(f"The local cloud ended while it started:\n{self._last_words()}")
            if _answers(self.port, self._bundle()) and self._front_door_answers():
                return
            time.sleep(0.05)
        raise LocalCloudError(
            f"The local cloud does not answer at {endpoint(self.port)} after {START_SECONDS:.0f} s:\n"
            + self._last_words()
        )

    def _front_door_answers(self) -> bool:
        if not (_PACKAGE_ROOT / "local" / "front_door.py").exists():
            return True
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.page_port)) == 0

    def _last_words(self) -> str:
        """The last lines of each log, for an error message."""
        lines = []
        for log in sorted(self.folders.logs.glob("*.log")):
            lines += [f"[{log.name}] {line}" for line in log.read_text(errors="replace").splitlines()[-8:]]
        return "\n".join(lines)


@contextlib.contextmanager
def _ctrl_c_afterwards() -> Iterator[None]:
    """Let a Ctrl-C wait: until a new process runs its program, nobody knows it for one of this cloud's."""
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
        url = f"{endpoint(port)}/_ministack/health"
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:  # noqa: S310 (our own https)
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
