"""Processes of one cloud are found by a variable, also while they are being started."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from local.aws.processes import MARKER, belonging_to


@pytest.fixture
def marked() -> Iterator[psutil.Process]:
    """Return a process that belongs to the cloud `a-cloud`."""
    with subprocess.Popen(
        [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"],
        env={**os.environ, MARKER: "a-cloud"},
        stdout=subprocess.PIPE,
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield psutil.Process(started.pid)
        started.kill()


def test_it_is_found_by_its_mark(marked: psutil.Process) -> None:
    assert belonging_to("a-cloud") == [marked]
    assert belonging_to("another-cloud") == []


def test_it_is_found_where_it_shows_no_environment_yet(
    marked: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    environ = psutil.Process.environ

    def late(process: psutil.Process) -> dict[str, str]:
        nonlocal looks
        if process != marked:
            return environ(process)
        looks += 1
        return environ(process) if looks > 3 else {}

    monkeypatch.setattr(psutil.Process, "environ", late)
    assert belonging_to("a-cloud") == [marked]
    assert looks == 4


def test_one_that_never_shows_any_is_left_out(
    marked: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = psutil.Process.environ
    monkeypatch.setattr(
        psutil.Process, "environ", lambda process: {} if process == marked else environ(process)
    )
    assert belonging_to("a-cloud") == []
