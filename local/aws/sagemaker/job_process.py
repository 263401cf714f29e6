"""Runs the job's own command, the container's process on AWS, as a process of this machine."""

import collections
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from local.aws.cloud_environment import CloudFolders, inherited
from local.aws.processes import MARKER, kill_all
from local.aws.sagemaker import simulated_clock

TERM_SECONDS = 120.0
"""SageMaker sends SIGTERM and gives a container two minutes before SIGKILL."""

POLL_SECONDS = 0.1
LAST_LINES = 30

CONTAINER_MARKER = "LOCAL_AWS_CONTAINER"
"""An environment variable that all of a container's processes carry, whatever sessions they start."""

_PYTHONS = {"python", "python3"}
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Ended:
    """How the process ended. `stopped_by` is empty when it ended by itself."""

    exit_code: int
    stopped_by: str
    last_lines: str


@dataclass
class Container:
    """One command with a folder that stands for ``/opt/ml``."""

    root: Path
    command: list[str]
    environment: dict[str, str]
    on_line: Callable[[str], None]
    receives_sigterm: bool = True
    """False if another program runs the command and forwards no signals: it is killed without a warning."""
    _id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _stop_reason: str = ""
    _grace_seconds: float = TERM_SECONDS
    _process: subprocess.Popen[str] | None = None
    _stop_asked: threading.Event = field(default_factory=threading.Event)
    _tail: collections.deque[str] = field(default_factory=lambda: collections.deque(maxlen=LAST_LINES))

    def stop(self, reason: str, grace_seconds: float = TERM_SECONDS) -> None:
        """Send SIGTERM, and SIGKILL after the grace; `run` returns once the process has ended."""
        if not self._stop_asked.is_set():
            self._stop_reason = reason
            self._grace_seconds = grace_seconds
            self._stop_asked.set()

    def run(self, max_seconds: float | None, while_running: Callable[[], None]) -> Ended:
        """Start the process, wait for its end, and return how it ended.

        `while_running` is called about every second. Raises OSError when the command cannot start.
        """
        self._process = subprocess.Popen(
            self._translated_command(),
            cwd=self.root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        self._wait(max_seconds, while_running)
        reader.join(timeout=5)
        return Ended(self._process.returncode, self._stop_reason, "\n".join(self._tail))

    def _wait(self, max_seconds: float | None, while_running: Callable[[], None]) -> None:
        process = self._process
        assert process is not None  # noqa: S101 (only called by run, after the start)
        deadline = simulated_clock.monotonic() + max_seconds if max_seconds else None
        kill_at: float | None = None
        next_call = time.monotonic() + 1
        while process.poll() is None:
            now = time.monotonic()
            if deadline and simulated_clock.monotonic() > deadline:
                self.stop("MaxRuntimeExceeded")
            if self._stop_asked.is_set() and kill_at is None:
                kill_at = now + (self._grace_seconds if self.receives_sigterm else 0)
                if self.receives_sigterm:
                    self._signal(signal.SIGTERM)
            if kill_at and now > kill_at:
                self._signal(signal.SIGKILL)
            if now > next_call:
                while_running()
                next_call = time.monotonic() + 1
            time.sleep(POLL_SECONDS)
        kill_all(self._id, CONTAINER_MARKER)  # whatever it started and left behind

    def _signal(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signum)  # type: ignore[union-attr]

    def _read(self) -> None:
        stream = self._process.stdout if self._process else None
        for line in stream or ():
            text = line.rstrip("\n")
            if text.strip():
                self._tail.append(text)
            self.on_line(text)

    def _translated_command(self) -> list[str]:
        """Return the command with this Python as the image's and the job's folder as /opt/ml."""
        command = [translate(part, self.root) for part in self.command]
        if command[0] in _PYTHONS:
            command[0] = sys.executable
        return command

    def _environment(self) -> dict[str, str]:
        """Return only those of the server's variables that a program needs to start, without credentials."""
        own = inherited()
        home = self.root / "home"
        temporary = self.root / "tmp"
        home.mkdir(parents=True, exist_ok=True)
        temporary.mkdir(parents=True, exist_ok=True)
        return {
            **{name: own[name] for name in _KEPT if name in own},
            MARKER: os.environ[MARKER],
            CONTAINER_MARKER: self._id,
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "PYTHONUNBUFFERED": "1",
            # If set here, it would have each job compile torch and transformers again.
            "PYTHONDONTWRITEBYTECODE": "",
            **{name: translate(value, self.root) for name, value in self.environment.items()},
        }


def start_folder(kind: str, name: str) -> Path:
    """Make an empty folder ``<state>/sagemaker/<kind>/<name>``: the disk of the job's instance."""
    folder = CloudFolders.of_this_cloud().sagemaker / kind / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def translate(text: str, root: Path) -> str:
    """Replace ``/opt/ml`` at the start of a path by the job's folder."""
    if text == "/opt/ml" or text.startswith("/opt/ml/") or "=/opt/ml/" in text:
        return text.replace("/opt/ml", str(root))
    return text
