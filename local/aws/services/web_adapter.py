"""The Lambda Web Adapter on one machine: runs a function's own web server and finds it for each request.

On AWS the adapter is a layer: a function whose environment has
``AWS_LAMBDA_EXEC_WRAPPER=/opt/bootstrap`` starts its handler string as a script from its package, and
the adapter turns each invocation into an HTTP request to the port that the script listens on. Here
the same script runs as a subprocess with the same variables. This module handles processes and HTTP;
what it needs from MiniStack comes in as a `WebFunction`.

On AWS nothing but the adapter reaches that port. Here every program and, by DNS rebinding, every web page on
this machine would, past API Gateway's authorizer. So uvicorn is told (by its own variable `UVICORN_UDS`) to
listen on a socket that only this user can open; another server listens on its port.
"""

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from local.aws.processes import free_loopback_port

EXEC_WRAPPER = "/opt/bootstrap"
"""Value of ``AWS_LAMBDA_EXEC_WRAPPER`` of a function that runs under the Web Adapter."""

INIT_SECONDS = 10.0
"""How long AWS gives a function to initialise before it counts the function's own timeout."""

PROCESSES_PER_FUNCTION = 2
"""Processes of one function; more concurrent requests share them."""

IDLE_SECONDS = 300.0
"""A second process that was unused for this long is stopped; the first one stays warm."""

LAST_LINES = 12
"""How many lines of a server's output go into the message when it fails to start."""

LONGEST_SOCKET_PATH = 100
"""Bytes of a Unix socket's path that every system takes."""

STOP_SECONDS = 2.0
_SOCKET = "s"
_unpacking = threading.Lock()


class WebAppError(RuntimeError):
    """A function's web server cannot be used; the message has its name, the reason and what to check."""


@dataclass(frozen=True)
class WebFunction:
    """One version of one function as the adapter sees it."""

    identity: str
    """``account:region:name:version``: what processes are kept by."""

    generation: str
    """Changes with every change of code or settings; older processes are then replaced."""

    start_script: str
    """The handler string: a path inside the package."""

    code: bytes = field(repr=False)
    """The package, a zip."""

    environment: Callable[[], Mapping[str, str]] = field(repr=False)
    """Makes the whole environment, with the role's credentials, but without the port and the task root;
    called once a process."""

    timeout_seconds: float

    open_log: Callable[[], Callable[[str], None]] = field(repr=False)
    """Opens one log stream; called once a process, with each line it prints thereafter."""


class AppProcess:
    """One running web server of a function: on AWS, one execution environment."""

    def __init__(self, function: WebFunction) -> None:
        self.function = function
        self.requests = 0
        self.last_used = time.monotonic()
        self.retired = False
        self.port = free_loopback_port()
        self.socket: str | None = None
        """The Unix socket it listens on; None while it starts, and if it listens on the port."""
        self._socket_folder = _make_socket_folder()
        self.log = function.open_log()
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._started = threading.Event()
        self._error: WebAppError | None = None
        threading.Thread(target=self._start, name=f"start-{function.identity}", daemon=True).start()

    @property
    def url(self) -> str:
        """The server's URL; on a Unix socket only its path counts."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ready(self) -> bool:
        """Whether it has answered its readiness check and still runs."""
        return self._started.is_set() and self._error is None and self.alive

    @property
    def alive(self) -> bool:
        """False once the server has ended; true while it still starts."""
        return self._error is None and (self._process is None or self._process.poll() is None)

    def wait_until_ready(self) -> None:
        """Block until the server answers. Raises `WebAppError` when it does not."""
        self._started.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the server with everything it started."""
        if self._process is not None:
            _stop_tree(self._process)
        shutil.rmtree(self._socket_folder, ignore_errors=True)

    def _start(self) -> None:
        try:
            environment = self.function.environment()
            self._run(_unpacked(self.function.code), environment)
            self._wait_for_answer(environment.get("AWS_LWA_READINESS_CHECK_PATH", "/"))
        except WebAppError as error:
            self._give_up(error)
        except OSError as error:
            script = self.function.start_script
            self._give_up(
                WebAppError(
                    f"Function {self.function.identity}: its start script {script!r} does not run: {error}. "
                    "The handler must name an executable script in the package, such as run.sh."
                )
            )
        finally:
            self._started.set()

    def _give_up(self, error: WebAppError) -> None:
        self._error = error
        self.log(str(error))
        self.stop()

    def _run(self, task_root: Path, configured: Mapping[str, str]) -> None:
        environment = {
            **configured,
            # `python` in the script is the interpreter that runs this machine's other functions.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "LAMBDA_TASK_ROOT": str(task_root),
            # The next process of the same code then starts in half the time.
            "PYTHONDONTWRITEBYTECODE": "",
            "_HANDLER": self.function.start_script,
            "AWS_LWA_PORT": str(self.port),
            "PORT": str(self.port),
            "UVICORN_UDS": _shortest(self._socket_folder / _SOCKET, task_root),
        }
        self._process = subprocess.Popen(
            [str(task_root / self.function.start_script)],
            cwd=task_root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self._read_log, args=(self._process,), daemon=True).start()

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101 (asked for with PIPE)
        for line in process.stdout:
            self._last_lines.append(line.rstrip("\n"))
            self.log(line.rstrip("\n"))

    def _wait_for_answer(self, path: str) -> None:
        """Repeat the adapter's readiness check: a GET, until it is answered with a status below 500."""
        deadline = time.monotonic() + INIT_SECONDS + self.function.timeout_seconds
        while time.monotonic() < deadline:
            if not self.alive:
                time.sleep(0.1)  # the last lines of its output are still being read
                raise WebAppError(
                    f"Function {self.function.identity} ended while it started:\n{self._tail()}"
                )
            listens = (self._socket_folder / _SOCKET).exists()
            socket = _shortest(self._socket_folder / _SOCKET) if listens else None
            with contextlib.suppress(httpx.TransportError), http_client(socket, 5) as client:
                if client.get(f"{self.url}{path}").status_code < 500:
                    self.socket = socket
                    return
            time.sleep(0.02)
        raise WebAppError(
            f"Function {self.function.identity} does not answer on port {self.port}. Its start script must "
            f"listen on $PORT (or $AWS_LWA_PORT), not on a fixed one. It printed:\n{self._tail()}"
        )

    def _tail(self) -> str:
        return "\n".join(self._last_lines)


class AppPool:
    """The running web servers of all functions. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: dict[str, list[AppProcess]] = {}

    def lease(self, function: WebFunction) -> AppProcess:
        """Return a ready server of `function`, started if need be. Give it back with `release`.

        Raises `WebAppError` when the server cannot be started.
        """
        process = self.reserve(function)
        self.wait_until_ready(process)
        return process

    def reserve(self, function: WebFunction) -> AppProcess:
        """Return a server of `function` that may still be starting, at once. Give it back with `release`."""
        with self._lock:
            process = self._choose(function)
            process.requests += 1
            process.last_used = time.monotonic()
        return process

    def wait_until_ready(self, process: AppProcess) -> None:
        """Block until a reserved server answers. Raises `WebAppError` when it cannot be started."""
        try:
            process.wait_until_ready()
        except WebAppError:
            self._forget(process)
            raise

    def release(self, process: AppProcess) -> None:
        """Give back what `lease` gave."""
        with self._lock:
            process.requests -= 1
            process.last_used = time.monotonic()
            done = process.retired and process.requests == 0
        if done:
            threading.Thread(target=process.stop, name="stop-web-app", daemon=True).start()

    def kill(self, process: AppProcess) -> None:
        """Stop a server at once, even if it is in use (a timeout on AWS ends the environment too)."""
        self._forget(process)
        process.stop()

    def retire(self, prefix: str = "") -> None:
        """Stop the servers whose identity starts with `prefix`: now, or after their last request."""
        with self._lock:
            doomed = [key for key in self._processes if key.startswith(prefix)]
            processes = [process for key in doomed for process in self._processes.pop(key)]
        self._stop_unused(processes)

    def _choose(self, function: WebFunction) -> AppProcess:
        """Prefer an idle server, then a busy one while another starts; called with the lock held."""
        known = self._processes.get(function.identity, [])
        kept = [
            process
            for process in known
            if process.alive and process.function.generation == function.generation
        ]
        surplus = [process for process in kept[1:] if _idle(process)]
        kept = [process for process in kept if process not in surplus]
        discarded = [process for process in known if process not in kept]
        if discarded:
            threading.Thread(target=self._stop_unused, args=(discarded,), daemon=True).start()
        busy = all(process.requests for process in kept)
        if busy and len(kept) < PROCESSES_PER_FUNCTION:
            kept.append(AppProcess(function))
        self._processes[function.identity] = kept
        return min(kept, key=lambda process: (not process.ready, process.requests))

    def _forget(self, process: AppProcess) -> None:
        with self._lock:
            process.retired = True
            siblings = self._processes.get(process.function.identity, [])
            if process in siblings:
                siblings.remove(process)

    def _stop_unused(self, processes: list[AppProcess]) -> None:
        with self._lock:
            for process in processes:
                process.retired = True
            unused = [process for process in processes if process.requests == 0]
        for process in unused:
            process.stop()


def _idle(process: AppProcess) -> bool:
    return process.requests == 0 and time.monotonic() - process.last_used > IDLE_SECONDS


def _make_socket_folder() -> Path:
    """Make a folder that only this user can enter, in which a socket's path is not too long."""
    folder = Path(tempfile.mkdtemp(prefix="web-"))
    if len(_shortest(folder / _SOCKET).encode()) <= LONGEST_SOCKET_PATH:
        return folder
    # On a port, every program of this machine could ask the server, past the authorizer.
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="local-aws-web-", dir="/tmp"))


def _shortest(path: Path, start: Path | None = None) -> str:
    """Return the shorter of a path's two names: the absolute one, and the one from a folder (here)."""
    return min(str(path), os.path.relpath(path, start), key=len)


def http_client(socket: str | None, seconds: float) -> httpx.Client:
    """Return a client for a server that listens on a Unix socket, or on a port of this machine."""
    transport = httpx.HTTPTransport(uds=socket, verify=False, trust_env=False)
    return httpx.Client(transport=transport, timeout=seconds, trust_env=False)


def _unpacked(code: bytes) -> Path:
    """Unpack a function's package once, with its file modes, as Lambda does, and return the folder."""
    root = Path(tempfile.gettempdir()) / f"web-adapter-{hashlib.sha256(code).hexdigest()[:16]}"
    with _unpacking:
        if root.exists():
            return root
        staging = root.with_suffix(".unpacking")
        shutil.rmtree(staging, ignore_errors=True)
        with zipfile.ZipFile(io.BytesIO(code)) as archive:
            archive.extractall(staging)
            for member in archive.infolist():
                mode = member.external_attr >> 16
                if mode and not member.is_dir():
                    (staging / member.filename).chmod(mode & 0o777 | 0o600)
        return staging.rename(root)


def _stop_tree(process: subprocess.Popen[str]) -> None:
    """Stop a process and its descendants: a start script that does not `exec` leaves the server below it."""
    try:
        root = psutil.Process(process.pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        tree = []
    for member in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    _, alive = psutil.wait_procs(tree, timeout=STOP_SECONDS)
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(timeout=STOP_SECONDS)
