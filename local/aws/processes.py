"""Finds and stops every process of one local cloud.

A process group is not enough: a Lambda worker or a training job may start its own session. So
everything a cloud starts carries an environment variable, ``LOCAL_AWS_CLOUD=<id>``, which
children inherit, and a sweep finds them by it, also when the cloud itself was killed.
"""

import contextlib
import hashlib
import os
import socket
import time
from pathlib import Path

import psutil

MARKER = "LOCAL_AWS_CLOUD"
"""Name of the environment variable that marks a process as part of a local cloud."""

GRACE_SECONDS = 3.0
"""How long a process may take to end by itself after SIGTERM."""

_KERNEL = 2
"""The parent of the kernel's own threads, which never have an environment."""
_LOOKS = 20
_BETWEEN_LOOKS_SECONDS = 0.005


def cloud_id(state: Path) -> str:
    """Return the id of the cloud whose state folder is `state`: the same after a crash, without any file."""
    return hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:16]


def belonging_to(identifier: str, marker: str = MARKER) -> list[psutil.Process]:
    """Return every live process, except this one, that carries `identifier` in the variable `marker`."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if _environment(process).get(marker) == identifier and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
            continue  # another user's process, or one that has just ended
    return found


def belongs(pid: int, identifier: str) -> bool:
    """Tell whether the process `pid` runs, is this user's own and carries `identifier`."""
    try:
        process = psutil.Process(pid)
        own = process.uids().real == os.getuid()
        return own and _environment(process).get(MARKER) == identifier
    except (psutil.Error, OSError, ValueError, OverflowError):
        return False


def _environment(process: psutil.Process) -> dict[str, str]:
    """Read a process's environment. For a moment, while it begins to run its program, it shows none."""
    found: dict[str, str] = process.environ()
    for _ in range(_LOOKS):
        if found or process.ppid() == _KERNEL or process.status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(_BETWEEN_LOOKS_SECONDS)
        found = process.environ()
    return found


def running_module(identifier: str, module: str) -> list[psutil.Process]:
    """Return the processes of a cloud that run a Python module, such as its model servers."""
    found = []
    for process in belonging_to(identifier):
        with contextlib.suppress(psutil.NoSuchProcess):
            if module in process.cmdline():
                found.append(process)
    return found


def stop_all(identifier: str, grace_seconds: float = GRACE_SECONDS) -> int:
    """Stop every process that carries `identifier`; returns how many were found.

    Sweeps until nothing is found, since a process may start another one while it is being stopped.
    """
    stopped = 0
    for _ in range(10):
        processes = belonging_to(identifier)
        if not processes:
            return stopped
        stopped += len(processes)
        _stop(processes, grace_seconds)
        grace_seconds = 0.2  # late children of processes that were stopped already
    remaining = [process.pid for process in belonging_to(identifier)]
    raise RuntimeError(
        f"Processes of local cloud {identifier} keep coming back: {remaining}. "
        "Stop the program that starts them, then stop the cloud again."
    )


def kill_all(identifier: str, marker: str = MARKER) -> None:
    """Kill every process that carries `identifier` at once: there is nothing to finish, as after a crash.

    The youngest first: if several of a cloud's own parts do this at the same time, each has killed the
    jobs before it reaches the other parts.
    """
    while processes := belonging_to(identifier, marker):
        for process in sorted(processes, key=_started, reverse=True):
            _signal(process, kill=True)
        psutil.wait_procs(processes, timeout=1)


def _started(process: psutil.Process) -> float:
    try:
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return 0.0


def _stop(processes: list[psutil.Process], grace_seconds: float) -> None:
    """Send SIGTERM, and SIGKILL after a short grace."""
    for process in processes:
        _signal(process, kill=False)
    _, alive = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in alive:
        _signal(process, kill=True)
    psutil.wait_procs(alive, timeout=5)


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        pass


def free_loopback_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
