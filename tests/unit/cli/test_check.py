"""`storyloom check` as a person runs it: a program of its own, on a real folder."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from cli import folder_check
from cli.console import CommandError
from cli.folder_check import StoryFile, read_all, read_settings
from stories.records import Record
from stories.report.data_report import DataReport
from tests.unit.stories.material import prose

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Enough stories to begin with, and three files that cannot be used."""
    stories = tmp_path / "my tales"
    (stories / "more").mkdir(parents=True)
    (stories / ".git").mkdir()
    for number in range(10):
        (stories / f"tale-of-{chr(97 + number)}.txt").write_text(prose(number), encoding="utf-8")
    (stories / "more" / "letter.txt").write_text(prose(77), encoding="utf-8")
    (stories / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (stories / "empty.txt").touch()
    (stories / ".git" / "config.txt").write_text(prose(99))
    (stories / "circle").symlink_to(stories, target_is_directory=True)
    (stories / "gone.txt").symlink_to(stories / "never-was.txt")
    (stories / "linked.txt").symlink_to(tmp_path / "elsewhere.txt")
    (tmp_path / "elsewhere.txt").write_text(prose(88), encoding="utf-8")
    (stories / os.fsdecode(b"caf\xe9.txt")).write_text(prose(89), encoding="utf-8")
    return stories


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli", "check", *arguments]


def _environment(home: Path) -> dict[str, str]:
    """A desktop whose browser writes down what it is asked to show."""
    browser = home / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" >{home}/shown\n')
    browser.chmod(0o755)
    return {**os.environ, "BROWSER": str(browser), "XDG_CACHE_HOME": str(home / "cache"), "COLUMNS": "100"}


def _check(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        _command(*arguments),
        cwd=CHECKOUT,
        env=_environment(home),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_folder_is_summed_up_and_its_page_shown(tmp_path: Path, folder: Path) -> None:
    done = _check(tmp_path, str(folder))
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    for part in (
        "This is too little for a sure result",
        "15 files 13 used, 2 not used",
        "smollm2-1.7b on ml.g6.xlarge",
        "my tales/photo.jpg",
        "my tales/empty.txt",
        "on demand; never above $",
    ):
        assert part in said
    page = tmp_path / "cache" / "storyloom" / "check.html"
    assert (tmp_path / "shown").read_text() == page.as_uri()
    assert "You can begin, but more would help" in page.read_text(encoding="utf-8")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "Traceback" not in done.stderr


def test_json_is_all_that_is_printed_and_no_browser_is_opened(tmp_path: Path, folder: Path) -> None:
    page = tmp_path / "out" / "report.html"
    done = _check(
        tmp_path,
        str(folder),
        "--json",
        "--html",
        str(page),
        "--base-model",
        "gpt2",
        "--instance",
        "ml.g6e.xlarge",
    )
    report = DataReport.model_validate_json(done.stdout)
    assert (report.files, report.kept, report.stories) == (15, 13, 13)
    assert (report.base_model, report.instance) == ("gpt2", "ml.g6e.xlarge")
    assert report.minimum_words == json.loads((CHECKOUT / "cdk.json").read_text())["context"]["minimum_words"]
    assert {reject.source_key for reject in report.rejected} == {"my tales/photo.jpg", "my tales/empty.txt"}
    assert f"{report.words:,}" in page.read_text(encoding="utf-8")
    assert not (tmp_path / "shown").exists()


def test_too_little_exits_with_1_and_says_how_much_is_missing(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "tale.txt").write_text(prose(1))
    done = _check(tmp_path, str(tmp_path / "one"), "--no-open")
    assert done.returncode == 1
    assert "4,400 more words" in " ".join(done.stdout.split())
    assert not (tmp_path / "shown").exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "There is no folder nowhere."),
        (["sample_stories", "--html", "sample_stories/report.html"], "would lie among your stories"),
        (["sample_stories", "--base-model", "bert-base-uncased"], "it is an encoder"),
        (["sample_stories", "--base-model", "llama-3.1-8b"], "Give ml.g6e.xlarge"),
        (["sample_stories", "--instance", "ml.m5.large"], "no GPU"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_with_its_cure(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = _check(tmp_path, *arguments)
    assert done.returncode == 1
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_larger_model_is_checked_on_a_machine_that_holds_it() -> None:
    settings = read_settings(CHECKOUT, "llama-3.1-8b", "ml.g6e.xlarge")
    assert settings.model.parameters_millions == 8030
    with pytest.raises(CommandError, match="llama"):
        read_settings(CHECKOUT, "lama-3.1-8b", "")


def test_a_file_that_may_not_be_read_is_listed(tmp_path: Path) -> None:
    missing = StoryFile(tmp_path / "gone.txt", "tales/gone.txt", 10)
    (line,) = read_all([missing], lambda _: None, tmp_path)
    assert line.kind == "reject"
    assert "No such file" in line.reason


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processors, and processes that are worth starting for little text."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(folder_check, "_WORTH_A_PROCESS_BYTES", 100_000)


def _reading_processes(of: psutil.Process) -> list[psutil.Process]:
    return [
        child
        for child in of.children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "stories.reading.worker" in " ".join(child.cmdline())
    ]


def _large_folder(folder: Path, words: int = 1000) -> list[StoryFile]:
    """More text than one process is left alone with."""
    folder.mkdir()
    files = []
    for number in range(40):
        path = folder / f"tale-of-{chr(97 + number % 26)}{chr(97 + number // 26)}.txt"
        path.write_text(prose(number, words), encoding="utf-8")
        files.append(StoryFile(path, f"tales/{path.name}", path.stat().st_size))
    return files


@pytest.mark.usefixtures("impatient")
def test_several_processes_read_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _large_folder(tmp_path / "tales")
    (tmp_path / "read").mkdir()
    told: list[int] = []
    several = list(read_all(files, told.append, tmp_path / "read"))
    assert sum(told) == sum(file.size for file in files)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    alone = list(read_all(files, lambda _: None, tmp_path / "read"))
    assert sorted(line.model_dump_json() for line in several) == sorted(
        line.model_dump_json() for line in alone
    )
    assert all(isinstance(line, Record) for line in alone)
    assert list((tmp_path / "read").iterdir()) == []


@pytest.mark.usefixtures("impatient")
def test_reading_that_is_given_up_leaves_no_process_and_no_thread(tmp_path: Path) -> None:
    files = _large_folder(tmp_path / "tales", words=30_000)
    (tmp_path / "read").mkdir()
    before, others = set(threading.enumerate()), _reading_processes(psutil.Process())
    lines = read_all(files, lambda _: None, tmp_path / "read")
    next(lines)
    assert len(_reading_processes(psutil.Process())) > len(others)
    lines.close()
    assert _reading_processes(psutil.Process()) == others
    assert set(threading.enumerate()) <= before


def test_ctrl_c_stops_every_process_and_leaves_nothing_behind(tmp_path: Path) -> None:
    _large_folder(tmp_path / "tales", words=30_000)
    work = tmp_path / "temporary"
    work.mkdir()
    process = subprocess.Popen(
        _command(str(tmp_path / "tales")),
        cwd=CHECKOUT,
        env={**_environment(tmp_path), "TMPDIR": str(work)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not (children := _reading_processes(psutil.Process(process.pid))) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Stopped. Nothing was uploaded" in said
    assert "Traceback" not in said
    assert list(work.iterdir()) == []
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


@pytest.mark.usefixtures("impatient")
def test_reading_goes_on_when_the_system_ends_its_processes(tmp_path: Path) -> None:
    files = _large_folder(tmp_path / "tales", words=10_000)
    with tempfile.TemporaryDirectory() as read:
        lines = read_all(files, lambda _: None, Path(read))
        first = next(lines)
        for child in _reading_processes(psutil.Process()):
            child.kill()
        found = [first, *lines]
    assert sorted(line.source_key for line in found) == sorted(file.key for file in files)
    assert all(isinstance(line, Record) for line in found)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cdk.json is missing"), ("{", "cdk.json is not valid JSON")]
)
def test_a_cdk_json_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "cdk.json").write_text(content)
    with pytest.raises(CommandError, match=said) as told:
        read_settings(tmp_path, "", "")
    assert told.value.cure
