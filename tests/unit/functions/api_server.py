"""The API behind uvicorn: as it runs for real, or in this process, with what a test has changed in it."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

from chat_api.app import app

CHECKOUT = Path(__file__).parents[3]


@contextmanager
def running() -> Iterator[str]:
    """Start `run.sh` with this process's environment; yields the server's URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {
        **os.environ,
        "LAMBDA_TASK_ROOT": str(CHECKOUT / "lambda"),
        "AWS_LWA_PORT": port,
        "PYTHON": sys.executable,
    }
    process = subprocess.Popen([CHECKOUT / "lambda" / "chat_api" / "run.sh"], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    with httpx.Client(trust_env=False) as client:  # making one costs more than a request
        for _ in range(300):
            if process.poll() is not None:
                raise RuntimeError(f"run.sh ended with {process.returncode}")
            try:
                if client.get(f"{url}/api/health").json() == {"ok": True}:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
    raise RuntimeError("run.sh did not answer within 30 seconds")


@contextmanager
def serving() -> Iterator[str]:
    """Serve the app of this process; yields the server's URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
