"""The chat benchmark: how it measures answers, and that both routes are asked the same in turns."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import chat_engine, chat_streams
from benchmarks.chat import in_turns
from benchmarks.chat_processes import ProcessSample, cpu_milliseconds_per_token, memory_growth
from benchmarks.chat_streams import QUESTIONS_EACH, ChatRoute, ask_all
from tests.unit.coroutines import outcome


class _Model(BaseHTTPRequestHandler):
    """Answers every question with three words and the requested number of tokens."""

    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({**request, "path": self.path, "caller": self.headers.get("X-Caller")})
        self.send_response(200)
        self.end_headers()
        opening = {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
        words = [{"choices": [{"delta": {"content": word}}]} for word in ("é", " b", " c")]
        usage = {"choices": [], "usage": {"completion_tokens": request["max_tokens"]}}
        for chunk in (opening, *words, usage):
            self.wfile.write(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def model() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Start a fake model; yields its address and the requests it gets."""
    asked: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Model,), {"asked": asked}))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams ask at once."""
    monkeypatch.setattr(chat_streams, "PAUSE_SECONDS", (0.0, 0.01))


def test_tokens_of_an_answer_are_those_that_the_model_counts(model: tuple[str, list[dict[str, Any]]]) -> None:
    url, asked = model
    batch = outcome(ask_all(ChatRoute("a route", url, "v1", ({"X-Caller": "a"}, {"X-Caller": "b"})), 3, 0))
    counted = [request["max_tokens"] for request in asked if request["max_tokens"] > 2]
    assert sorted(answer.tokens for answer in batch.answers) == sorted(counted)
    assert len(set(counted)) > 3, "answers of different lengths"
    assert all(0 < answer.first_token <= answer.seconds for answer in batch.answers)
    answering = sum(answer.seconds for answer in batch.answers)
    assert batch.tokens_a_second == pytest.approx(3 * sum(counted) / answering)
    each = 1 + QUESTIONS_EACH
    assert sorted(request["caller"] for request in asked) == ["a"] * 2 * each + ["b"] * each
    assert all(request["temperature"] == 0 and request["stream"] for request in asked)


def test_both_routes_are_asked_the_same_in_turns(model: tuple[str, list[dict[str, Any]]]) -> None:
    url, asked = model
    path, engine = (
        ChatRoute("path", f"{url}/path", "v1", ({},)),
        ChatRoute("engine", f"{url}/engine", "v1", ({},)),
    )
    ran = outcome(in_turns(path, engine, 2, 3))
    assert {name: len(batches) for name, batches in ran.items()} == {"path": 3, "engine": 3}

    def questions(route: str) -> list[str]:
        return sorted(
            json.dumps([request["messages"], request["max_tokens"]])
            for request in asked
            if request["path"] == route
        )

    assert questions("/path") == questions("/engine")
    order = [request["path"] for request in asked[:: 2 * (1 + QUESTIONS_EACH)]]
    assert order == ["/engine", "/path", "/path", "/engine", "/engine", "/path"]


@pytest.mark.parametrize(("leak", "grown"), [(0.0, 0.0), (1.0, 0.4)])
def test_a_warm_up_does_not_count_as_growth(leak: float, grown: float) -> None:
    def at(second: int) -> ProcessSample:
        warming = 50.0 if second < 10 else 100.0
        megabytes = {"inference server": warming + leak * max(0, second - 10), "front door": 50.0}
        return ProcessSample(second, megabytes, {"inference server": 0.5 * second})

    seen = [at(second) for second in range(101)]
    share, table = memory_growth(seen, warm_up=10)
    assert share == pytest.approx(grown, abs=0.05)
    assert "inference server" in table and "front door" in table
    assert cpu_milliseconds_per_token(seen, 1000) == {"inference server": pytest.approx(50.0)}


_TWO_THREADS = """
import threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("both", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor only")
def test_other_processes_leave_the_inference_servers_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", _TWO_THREADS], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            monkeypatch.setattr(chat_engine, "running_module", lambda *_: [SimpleNamespace(pid=-1)])
            monkeypatch.setattr(chat_engine, "belonging_to", lambda *_: [process])
            # The test's own process is not moved.
            monkeypatch.setattr(os, "getpid", lambda: process.pid)
            monkeypatch.setattr(chat_engine, "_PROCESSOR", min(os.sched_getaffinity(0)))
            chat_engine.keep_others_off(tmp_path)
            others = os.sched_getaffinity(0) - {min(os.sched_getaffinity(0))}
            threads = [int(thread.name) for thread in Path(f"/proc/{process.pid}/task").iterdir()]
            assert [os.sched_getaffinity(thread) for thread in threads] == [others, others]
        finally:
            process.kill()


def test_an_inference_server_without_its_own_processor_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(chat_engine, "running_module", lambda *_: [])
    with pytest.raises(SystemExit, match="--shared"):
        chat_engine.keep_others_off(tmp_path)
