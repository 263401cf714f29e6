"""The smallest server that an endpoint can have: it streams its model's words back, slowly.

Started by the local SageMaker with ``--model-dir`` and ``--port``. What it was asked decides what it does.
"""

import argparse
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PIECE_SECONDS = 0.3
TOGETHER_SECONDS = 30.0


def handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    """Return a request handler that answers with the words of ``words.txt``, or with what it is to echo."""
    pace = folder / "seconds_a_token.txt"
    seconds_a_token = float(pace.read_text()) if pace.exists() else 0.0
    barriers: dict[int, threading.Barrier] = {}
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._whole(200, b"{}")

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if asked.get("refuse"):
                self._whole(400, b'{"error":{"message":"no such model"}}')
            elif asked.get("break"):
                self._whole(500, b'{"error":{"message":"out of memory"}}')
            elif asked.get("die"):
                sys.stdout.flush()
                self.server.shutdown()
            elif "echo" in asked:
                self._echo(asked)
            elif asked.get("stream"):
                self._stream()
            else:
                time.sleep(asked.get("max_tokens", 0) * seconds_a_token)
                self._whole(200, (folder / "words.txt").read_bytes())

        def _echo(self, asked: dict[str, Any]) -> None:
            time.sleep(asked.get("seconds", 0))
            if parties := asked.get("together"):
                with lock:
                    barrier = barriers.setdefault(parties, threading.Barrier(parties))
                try:
                    barrier.wait(TOGETHER_SECONDS)
                except threading.BrokenBarrierError:
                    self._whole(400, b"not so many came together")
                    return
            self._whole(200, json.dumps({"echo": asked["echo"]}).encode())

        def _whole(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                for word in (folder / "words.txt").read_text().split():
                    piece = f"data: {word}\n\n".encode()
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.wfile.flush()
                    time.sleep(PIECE_SECONDS)
                self.wfile.write(b"0\r\n\r\n")
                print("stream finished", flush=True)
            except OSError:
                print("caller hung up", flush=True)

    return Handler


def main() -> None:
    """Serve until stopped; a model without words is a model that cannot be loaded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    if not (options.model_dir / "words.txt").exists():
        raise SystemExit("this model has no words")
    ThreadingHTTPServer(("127.0.0.1", options.port), handler(options.model_dir)).serve_forever()


if __name__ == "__main__":
    main()
