"""`storyloom batch`: nothing is spent unasked, nothing is lost, and every refusal says what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.commands import batches
from cli.console import CommandError, out

ID = "20261122-201530-1f3c"
BATCH: dict[str, Any] = {
    "batch_id": ID,
    "status": "uploading",
    "message": None,
    "name": "prompts.txt",
    "model": "storyloom",
    "version": "v2",
    "instance": "ml.g6.xlarge",
    "lines": 3,
    "answered": 0,
    "minutes_estimate": 14.2,
    "cost_estimate_usd": 0.27,
    "longest_minutes": 59,
    "cost_at_most_usd": 1.3,
    "cost_usd": 0.0,
    "price_date": "2026-09",
}
ANSWERS = b'{"custom_id": "line-1"}\n{"custom_id": "line-2"}\n{"custom_id": "line-3"}\n'


class _Api:
    """An API with one batch, which goes on a step at each look."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.sent = b""
        self.wanted: dict[str, Any] = {}
        self.looks: list[Callable[[], dict[str, Any]]] = [
            lambda: {**BATCH, "status": "preparing", "message": "The model is packed."},
            lambda: {**BATCH, "status": "running", "message": "At work.", "answered": 2},
            lambda: {
                **BATCH,
                "status": "completed",
                "message": "All lines are answered.",
                "answered": 3,
                "cost_usd": 0.21,
            },
        ]
        self.failed = 0
        self.refusal: CommandError | None = None

    def create_batch(self, wanted: dict[str, Any], content: BinaryIO) -> dict[str, Any]:
        self.called.append("make")
        self.wanted, self.sent = wanted, content.read()
        return BATCH

    def check_batch(self, batch_id: str) -> dict[str, Any]:
        self.called.append("check")
        if self.refusal:
            raise self.refusal
        return {**BATCH, "status": "checked", "message": "Checked. Unknown fields are ignored: seeds."}

    def start_batch(self, batch_id: str) -> dict[str, Any]:
        self.called.append("start")
        return {**BATCH, "status": "preparing"}

    def stop_batch(self, batch_id: str) -> dict[str, Any]:
        self.called.append("stop")
        return {**BATCH, "status": "stopped", "message": "You stopped it."}

    def batch(self, batch_id: str) -> dict[str, Any]:
        assert batch_id == ID
        return (self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])()

    def batches(self) -> list[dict[str, Any]]:
        return [{**BATCH, "name": "my [bold] prompts.txt"}]

    def batch_results(self, batch_id: str) -> dict[str, Any]:
        counts = {
            "answered": 3 - self.failed,
            "failed": self.failed,
            "prompt_tokens": 9,
            "completion_tokens": 30,
        }
        return {"url": "https://bucket/answers", **counts}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> _Api:
    known = _Api()
    monkeypatch.setattr(batches, "connect", lambda: None)
    monkeypatch.setattr(batches, "StoryloomApi", lambda connection: known)
    monkeypatch.setattr(batches, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(out, "_width", 200)
    bucket = httpx.MockTransport(lambda request: httpx.Response(200, content=ANSWERS))

    def stream(method: str, url: str, **_: Any) -> Any:
        return httpx.Client(transport=bucket).stream(method, url)

    monkeypatch.setattr(httpx, "stream", stream)
    return known


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("one\ntwo\nthree\n")
    return file


def _run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["batch", *map(str, arguments)])


def test_prompts_become_answers(api: _Api, prompts: Path) -> None:
    done = _run(prompts, "--yes", "--model", "base", "--max-tokens", "50")
    assert done.exit_code == 0, done.output
    assert api.called == ["make", "check", "start"]
    assert api.sent == b"one\ntwo\nthree\n"
    assert api.wanted == {
        "name": "prompts.txt",
        "size": 14,
        "model": "base",
        "max_tokens": 50,
        "instance": None,
    }
    assert prompts.with_name("prompts.answers.jsonl").read_bytes() == ANSWERS
    assert "about $0.27, never above $1.30 (prices of 2026-09)" in done.output
    assert "Unknown fields are ignored: seeds." in done.output
    assert "3 answers are in" in done.output and "cost: about $0.21" in done.output


def test_json_is_one_document(api: _Api, prompts: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    done = _run(prompts, "--yes", "--json", "--out", target)
    said = json.loads(done.stdout)
    assert said["batch"]["status"] == "completed"
    assert (said["answered"], said["failed"], said["out"]) == (3, 0, str(target))


def test_nothing_is_spent_without_an_interactive_terminal(api: _Api, prompts: Path) -> None:
    done = _run(prompts)
    assert isinstance(done.exception, CommandError) and "--yes" in done.exception.cure
    assert api.called == ["make", "check", "stop"]


def test_a_no_starts_nothing(api: _Api, prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_is_interactive", lambda: True)
    done = CliRunner().invoke(app, ["batch", str(prompts)], input="n\n")
    assert isinstance(done.exception, CommandError) and "nothing was spent" in str(done.exception)
    assert api.called == ["make", "check", "stop"]


def test_confirming_starts_the_batch(api: _Api, prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_is_interactive", lambda: True)
    done = CliRunner().invoke(app, ["batch", str(prompts)], input="y\n")
    assert done.exit_code == 0, done.output
    assert api.called == ["make", "check", "start"]


def test_a_bad_line_is_told_and_the_batch_is_ended(api: _Api, prompts: Path) -> None:
    api.refusal = CommandError("Line 2: it is no JSON.", "Write one whole JSON object on a line.")
    done = _run(prompts, "--yes")
    assert done.exception is api.refusal
    assert api.called == ["make", "check", "stop"]


def test_a_file_is_never_written_over(api: _Api, prompts: Path) -> None:
    prompts.with_name("prompts.answers.jsonl").write_text("mine")
    done = _run(prompts, "--yes")
    assert isinstance(done.exception, CommandError) and "--out" in done.exception.cure
    assert api.called == [], "before anything is sent"


@pytest.mark.parametrize("arguments", [(), ("a.txt", "--list"), ("--resume", ID, "--stop", ID)])
def test_it_does_one_thing(api: _Api, arguments: tuple[str, ...]) -> None:
    done = _run(*arguments)
    assert isinstance(done.exception, CommandError) and "--help" in done.exception.cure


def test_a_file_that_is_not_there_or_empty(api: _Api, tmp_path: Path) -> None:
    assert "There is no file" in str(_run(tmp_path / "nothing.txt").exception)
    (tmp_path / "empty.txt").touch()
    assert "is empty" in str(_run(tmp_path / "empty.txt").exception)


def test_ctrl_c_says_how_to_come_back_and_stops_nothing(api: _Api, prompts: Path) -> None:
    def interrupted() -> dict[str, Any]:
        raise KeyboardInterrupt

    api.looks.insert(1, interrupted)
    done = _run(prompts, "--yes")
    assert done.exit_code == 130
    said = " ".join(done.output.split())
    target = prompts.with_name("prompts.answers.jsonl")
    assert f"storyloom batch --resume {ID} --out {target}" in said
    assert f"storyloom batch --stop {ID}" in said
    assert api.called == ["make", "check", "start"]
    back = _run("--resume", ID, "--out", target)
    assert back.exit_code == 0, back.output
    assert target.read_bytes() == ANSWERS


def test_ctrl_c_before_the_start_ends_the_batch(
    api: _Api, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(batches, "_confirm", interrupted)
    _run(prompts)
    assert api.called == ["make", "check", "stop"]


def test_a_batch_that_never_began_cannot_be_resumed(api: _Api, tmp_path: Path) -> None:
    api.looks = [lambda: {**BATCH, "status": "checked"}]
    assert "never started" in str(_run("--resume", ID).exception)


@pytest.mark.parametrize("name", ["../../x.txt", "/etc/x.txt", "tales/x.txt"])
def test_answers_are_written_into_this_folder_whatever_the_batch_is_called(
    api: _Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    api.looks = [lambda: {**BATCH, "status": "completed", "answered": 3, "name": name}]
    assert _run("--resume", ID).exit_code == 0
    assert [path.relative_to(folder).as_posix() for path in tmp_path.rglob("*.jsonl")] == ["x.answers.jsonl"]


@pytest.mark.parametrize("name", ["..", "", "."])
def test_answers_of_a_batch_without_a_name_are_named_by_its_id(
    api: _Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    api.looks = [lambda: {**BATCH, "status": "completed", "answered": 3, "name": name}]
    assert _run("--resume", ID).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"{ID}.answers.jsonl"]


def test_a_network_that_is_gone_for_a_moment_loses_nothing(api: _Api, prompts: Path) -> None:
    def gone() -> dict[str, Any]:
        raise httpx.ConnectError("gone")

    api.looks[1:1] = [gone] * 5
    assert _run(prompts, "--yes").exit_code == 0


def test_a_network_that_stays_away_says_how_to_come_back(api: _Api, prompts: Path) -> None:
    def gone() -> dict[str, Any]:
        raise httpx.ConnectError("gone")

    api.looks = [gone]
    done = _run(prompts, "--yes")
    assert isinstance(done.exception, CommandError)
    assert f"--resume {ID}" in done.output


def test_lines_without_an_answer_fail_the_command(api: _Api, prompts: Path) -> None:
    api.failed = 1
    done = _run(prompts, "--yes")
    assert done.exit_code == 1
    assert "1 lines have no answer" in done.output
    assert prompts.with_name("prompts.answers.jsonl").exists()


def test_the_list_and_the_stop(api: _Api) -> None:
    listed = _run("--list").output
    assert ID in listed and "my [bold] prompts.txt" in listed and "0 of 3" in listed
    assert "You stopped it." in _run("--stop", ID).output


def test_a_price_that_is_not_known_is_not_made_up() -> None:
    unknown = {"minutes_estimate": None, "cost_estimate_usd": None, "cost_at_most_usd": None}
    words = batches.price_in_words({**BATCH, **unknown})
    assert "$" not in words and "is not known" in words
