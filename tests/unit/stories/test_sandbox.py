"""A file that takes too much time or memory, or crashes its reader, is rejected and affects no other file."""

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from stories import file_rules
from stories.reading import sandbox
from stories.reading.sandbox import DeadlineExceededError, ReadingProcess, ReadingProcessClosedError
from stories.records import Source
from tests.unit.stories.material import prose, read


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadingProcess]:
    """A process with the readers of `poison` and a time limit of a second or two."""
    monkeypatch.setattr(sandbox, "_PROGRAM", "tests.unit.stories.poisonous_process")
    monkeypatch.setattr(file_rules, "_SECONDS_A_FILE", 2)
    made = ReadingProcess(log=False)
    yield made
    made.close()


def _read(
    process: ReadingProcess, folder: Path, name: str, content: bytes = b"poison", **more: Any
) -> list[Any]:
    file = folder / name
    file.write_bytes(content)
    found = io.BytesIO(b"before\n")
    found.seek(0, 2)
    process.read(Source(key=name, version="7"), file, len(content), found, **more)
    before, *lines = found.getvalue().splitlines()
    assert before == b"before"
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.spin", "Reading it takes longer than 3 seconds."),
        ("a.hog", "Reading it takes more memory than a file may take."),
        ("a.crash", "Its content crashes the program that reads it."),
    ],
)
def test_a_harmful_file_is_rejected_with_its_reason_and_the_next_file_is_read(
    process: ReadingProcess, tmp_path: Path, name: str, reason: str
) -> None:
    story = prose(1).encode()
    assert _read(process, tmp_path, "one.txt", story)[0]["kind"] == "record"
    *_, reject = _read(process, tmp_path, name)
    assert (reject["kind"], reject["source_key"], reject["source_version"]) == ("reject", name, "7")
    assert reject["reason"] == reason
    assert reject["cure"]
    [record] = _read(process, tmp_path, "two.txt", story)
    assert record["text"] == read("two.txt", story)[0].text  # type: ignore[union-attr]


def test_nothing_is_kept_of_a_file_whose_process_ended(process: ReadingProcess, tmp_path: Path) -> None:
    """The story before the crash is not used, because the crash might come earlier on another day."""
    [reject] = _read(process, tmp_path, "a.crash")
    assert reject["kind"] == "reject"


def test_a_file_that_only_waits_is_stopped_by_wall_clock_time(
    process: ReadingProcess, tmp_path: Path
) -> None:
    [reject] = _read(process, tmp_path, "a.wait", max_seconds=3)
    assert "takes longer" in reject["reason"]


def test_a_callers_deadline_leaves_the_file_undecided(process: ReadingProcess, tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceededError):
        _read(process, tmp_path, "a.wait", max_seconds=1, is_final=False)


def test_a_killed_process_is_replaced(process: ReadingProcess, tmp_path: Path) -> None:
    story = prose(1).encode()
    first = _read(process, tmp_path, "a.txt", story)
    for child in psutil.Process().children():
        if child.status() != psutil.STATUS_ZOMBIE and "poisonous_process" in " ".join(child.cmdline()):
            child.kill()
            child.wait()
    assert _read(process, tmp_path, "a.txt", story) == first


def test_a_closed_process_starts_no_other(process: ReadingProcess, tmp_path: Path) -> None:
    process.close()
    with pytest.raises(ReadingProcessClosedError):
        _read(process, tmp_path, "a.txt", prose(1).encode())


def test_a_file_that_cannot_be_opened_is_rejected_with_the_reason(
    process: ReadingProcess, tmp_path: Path
) -> None:
    found = io.BytesIO()
    process.read(Source(key="gone.txt"), tmp_path / "gone.txt", 1, found)
    assert "No such file" in json.loads(found.getvalue())["reason"]


def test_the_process_has_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen = tmp_path / "seen"
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nenv >> {seen}\nexit 4\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    process = ReadingProcess(log=False)
    [reject] = _read(process, tmp_path, "a.txt", b"story")
    assert "crashes the program" in reject["reason"]
    assert "PYTHONPATH" in seen.read_text()
    assert "secret" not in seen.read_text()


def test_a_path_that_is_not_utf_8_is_read(process: ReadingProcess, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9.txt")
    file.write_bytes(prose(1).encode())
    found = io.BytesIO()
    process.read(Source(key="cafe.txt"), file, 1, found)
    assert json.loads(found.getvalue())["kind"] == "record"


def test_the_largest_files_limit_fits_into_a_lambda_function() -> None:
    largest = file_rules.max_reading_seconds(file_rules.LARGEST_FILE_BYTES)
    assert file_rules.max_reading_seconds(0) < largest <= file_rules.MAX_READING_SECONDS < 15 * 60 - 60
