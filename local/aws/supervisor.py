"""The first process of a local cloud: starts the others, and stops them all together.

``python -m local.aws.supervisor`` leads the cloud's process group. When it is told to stop, or when
the server or the front door ends by itself, it sweeps everything that carries the cloud's marker.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

from local.aws.cloud_environment import CloudFolders
from local.aws.processes import MARKER, kill_all, stop_all

PARTS = ("local.aws.server", "local.aws.web.front_door")
"""The modules that make up the cloud."""

POLL_SECONDS = 0.2


def main() -> int:
    """Run until told to stop. Returns 0 after a signal, 1 when a part ended by itself."""
    stopping = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    parts = {name: _start(name) for name in PARTS}
    try:
        return _watch(parts, stopping)
    finally:
        stop_all(os.environ[MARKER])


def _start(module: str) -> subprocess.Popen[bytes]:
    log = CloudFolders.of_this_cloud().logs / f"{module.rpartition('.')[2]}.log"
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _watch(parts: dict[str, subprocess.Popen[bytes]], stopping: threading.Event) -> int:
    while not stopping.wait(POLL_SECONDS):
        for name, process in parts.items():
            if process.poll() is not None:
                print(f"{name} ended with {process.returncode}; stopping the local cloud", flush=True)
                return 1
    return 0


def stop_with_parent() -> None:
    """Stop this process and the rest of the cloud when the parent dies (kill -9 of the supervisor)."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        kill_all(os.environ[MARKER])
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
