"""A small Hugging Face hub over HTTP, whose failures a test chooses."""

import contextlib
import hashlib
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.unit.functions.conftest import BASE_MODEL

COMMIT = "f" * 40
SHARD = "model-00001-of-00002.safetensors"
FILES = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "generation_config.json": b"{}",
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "preprocessor_config.json": b"{}",
    "processor_config.json": b"{}",
    SHARD: b"".join(number.to_bytes(8) for number in range(9 * 2**17)),
    "model-00002-of-00002.safetensors": b"b" * 1000,
    "model.safetensors.index.json": b"{}",
    "consolidated.safetensors": b"twice",
    "pytorch_model.bin": b"pickle",
    "README.md": b"# Hello",
}
NEEDED = set(FILES) - {"consolidated.safetensors", "pytorch_model.bin", "README.md"}


@dataclass(frozen=True)
class Hiccup:
    """What goes wrong with one request."""

    status: int = 0
    """Answered instead of the file."""
    headers: dict[str, str] = field(default_factory=dict)
    breaks_after: int | None = None
    """The connection is cut after so many bytes."""
    ignores_range: bool = False


class SmallHub:
    """What the hub holds, and what it was asked for."""

    def __init__(self) -> None:
        """Serve on a free port."""
        self.asked: list[str] = []
        self.ranges: dict[str, list[str | None]] = defaultdict(list)
        self.status = 200
        self.files = dict(FILES)
        self.damaged: str | None = None
        self.slow: str | None = None
        self.etags: dict[str, str] = {}
        self.hiccups: dict[str, list[Hiccup]] = defaultdict(list)
        """By the last part of the path: each request takes the next."""
        self.always: dict[str, Hiccup] = {}
        self.tokens: set[str | None] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def downloads(self, name: str) -> int:
        """How often a file was asked for."""
        return sum("/resolve/" in path and path.endswith(f"/{name}") for path in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: SmallHub

    def do_GET(self) -> None:
        hub, name = self.hub, self.path.rpartition("/")[2]
        hub.asked.append(self.path)
        hub.tokens.add(self.headers.get("Authorization"))
        hiccup = hub.hiccups[name].pop(0) if hub.hiccups[name] else hub.always.get(name, Hiccup())
        if hub.status != 200 or hiccup.status:
            self._send(hiccup.status or hub.status, b"{}", hiccup)
        elif self.path == f"/api/models/{BASE_MODEL['id']}/revision/r1":
            self._send(200, json.dumps({"sha": COMMIT}).encode(), hiccup)
        elif self.path == f"/api/models/{BASE_MODEL['id']}/tree/{COMMIT}":
            listed = [_entry(*file) for file in hub.files.items()]
            self._send(200, json.dumps(listed).encode(), hiccup)
        elif self.path.startswith(f"/{BASE_MODEL['id']}/resolve/{COMMIT}/"):
            body = hub.files[name]
            self._file(name, b"z" * len(body) if name == hub.damaged else body, hiccup)
        else:
            self._send(404, b"{}", hiccup)

    def _file(self, name: str, body: bytes, hiccup: Hiccup) -> None:
        wanted = self.headers.get("Range")
        self.hub.ranges[name].append(wanted)
        headers = {"ETag": self.hub.etags.get(name, f'"{hashlib.sha256(body).hexdigest()}"')}
        if wanted is None or hiccup.ignores_range:
            self._send(200, body, hiccup, headers)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self._send(206, body[start:], hiccup, headers)

    def _send(self, status: int, body: bytes, hiccup: Hiccup, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), **hiccup.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # The client has disconnected if the test let it time out.
        with contextlib.suppress(OSError):
            if hiccup.breaks_after is not None:
                self.wfile.write(body[: hiccup.breaks_after])
                self.close_connection = True
                return
            half = len(body) // 2
            self.wfile.write(body[:half])
            if self.hub.slow is not None and self.path.endswith(self.hub.slow):
                self.wfile.flush()
                time.sleep(1.5)
            self.wfile.write(body[half:])

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _entry(name: str, body: bytes) -> dict[str, Any]:
    git = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
    entry: dict[str, Any] = {"type": "file", "oid": git, "path": name, "size": len(body)}
    if name.endswith(".safetensors"):
        # As on the hub: git has a pointer to the file, and this is the pointer's.
        entry["oid"] = "0" * 40
        entry["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body)}
    return entry
