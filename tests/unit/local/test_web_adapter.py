"""Where a function's own server listens: on a socket of this user's, or on a port if it knows no sockets."""

import io
import os
import stat
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local.aws.services.web_adapter import AppProcess, WebFunction, http_client

Start = Callable[[str], AppProcess]

UVICORN = """#!/bin/sh
exec python -m uvicorn --no-access-log --log-level warning --host 127.0.0.1 --port "$PORT" main:app
"""
OTHER = """#!/bin/sh
exec python -m http.server --bind 127.0.0.1 "$PORT"
"""
APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[AppProcess] = []

    def begin(script: str) -> AppProcess:
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            for name, text, mode in (("run.sh", script, 0o755), ("main.py", APP, 0o644)):
                member = zipfile.ZipInfo(name)
                member.external_attr = mode << 16
                archive.writestr(member, text)
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path[1:])}
        process = AppProcess(
            WebFunction(
                identity="account:region:name:1",
                generation="1",
                start_script="run.sh",
                code=package.getvalue(),
                environment=lambda: variables,
                timeout_seconds=30,
                open_log=lambda: lambda line: None,
            )
        )
        started.append(process)
        process.wait_until_ready()
        return process

    yield begin
    for process in started:
        process.stop()


def ports_of(process: AppProcess) -> list[int]:
    assert process._process is not None
    found = psutil.Process(process._process.pid)
    every = [found, *found.children(recursive=True)]
    return [
        connection.laddr.port
        for one in every
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_uvicorn_listens_on_a_socket_that_only_its_user_can_open(start: Start) -> None:
    process = start(UVICORN)
    assert ports_of(process) == []
    with http_client(process.socket, 10) as client:
        assert client.get(f"{process.url}/api/a%20b").text == "/api/a b"
    folder = process._socket_folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    process.stop()
    assert not folder.exists()


def test_it_does_so_in_a_state_folder_of_any_depth(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a port, another user of this machine could ask it as whoever they like."""
    deep = tmp_path / ("a" * 80) / ("b" * 80)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    process = start(UVICORN)
    assert ports_of(process) == []
    folder = process._socket_folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    process.stop()
    assert not folder.exists()


def test_another_server_listens_on_its_port(start: Start) -> None:
    process = start(OTHER)
    assert process.socket is None
    assert ports_of(process) == [process.port]
    with http_client(None, 10) as client:
        assert client.get(process.url).status_code == 200
