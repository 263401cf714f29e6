"""An answer that is left before its end is cancelled: closing the connection does not end it on AWS."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from cli.api.client import StoryloomApi
from cli.api.connection import Connection
from cli.console import CommandError

HELLO = [{"role": "user", "content": "Tell me of the hill."}]


def _event(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "v1", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


class _Api(BaseHTTPRequestHandler):
    """Streams two words, and the end unless it is `endless`; remembers what it was asked."""

    asked: ClassVar[list[tuple[str, str | None]]] = []
    endless = True
    status = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.path, self.headers["X-Answer-Id"]))
        chat = self.path.endswith("completions")
        self.send_response(self.status if chat else 202)
        self.send_header("Content-Type", "text/event-stream" if chat else "application/json")
        self.end_headers()
        if not chat or self.status != 200:
            self.wfile.write(b'{"error": {"message": "No.", "cure": "Wait."}}' if chat else b"{}")
            return
        self.wfile.write(_event("The ") + _event("hill "))
        if not self.endless:
            self.wfile.write(_event("", "stop") + b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[type[_Api]]:
    """What the API of `server.url` was asked."""
    handler = type("Handler", (_Api,), {"asked": []})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    handler.url = f"http://127.0.0.1:{running.server_address[1]}"  # type: ignore[attr-defined]
    yield handler
    running.shutdown()
    running.server_close()


def _api(server: type[_Api]) -> StoryloomApi:
    return StoryloomApi(Connection(server.url, "token"))  # type: ignore[attr-defined]


def test_ctrl_c_cancels_the_answer(server: type[_Api]) -> None:
    def interrupted() -> None:
        for piece, _ in _api(server).chat(HELLO):
            assert piece == "The "
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (chat, answer_id), (cancel, _) = server.asked
    assert chat == "/api/v1/chat/completions"
    assert cancel == f"/api/v1/answers/{answer_id}/cancel"


def test_an_answer_that_ended_is_not_cancelled(server: type[_Api]) -> None:
    server.endless = False
    *_, (_, answer) = _api(server).chat(HELLO)
    assert answer is not None and answer.text == "The hill "
    assert len(server.asked) == 1


def test_what_was_refused_is_not_cancelled(server: type[_Api]) -> None:
    server.status = 404
    with pytest.raises(CommandError, match="No"):
        list(_api(server).chat(HELLO))
    assert len(server.asked) == 1
