"""Storyloom's REST API as typed calls; the wire format is docs/openapi.json."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import openai

from cli.connection import TIMEOUT, Connection
from cli.errors import CommandError

MAXIMUM_UPLOAD_BYTES = 50 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """One answer of the model. Times are seconds from the request to the first and the last piece of text."""

    text: str
    first_token_s: float
    last_token_s: float
    model: str
    fingerprint: str


class StoryloomApi:
    """One signed-in client. Every call raises `CommandError` with the API's own words where it refuses."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._http = httpx.Client(
            base_url=f"{connection.url}/api", headers=connection.headers, timeout=TIMEOUT
        )

    def status(self) -> dict[str, Any]:
        return self._get("/status")

    def runs(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self._get("/runs")["runs"]
        return listed

    def run(self, run_id: str) -> dict[str, Any]:
        return self._get(f"/runs/{run_id}")

    def stories(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self._get("/stories")["stories"]
        return listed

    def upload(self, path: Path, name: str, on_bytes: Callable[[int], None] = lambda _: None) -> str:
        """Sends one file into the bucket as `name`, reporting bytes as they leave; gives its key."""
        size = path.stat().st_size
        if size > MAXIMUM_UPLOAD_BYTES:
            raise CommandError(
                f"{path} has {size / 1e6:.0f} MB; one file may have {MAXIMUM_UPLOAD_BYTES / 1e6:.0f} MB.",
                "Split it, zip it, or copy it into the bucket with `aws s3 cp`.",
            )
        form = self._answer(self._http.post("/stories", json={"name": name, "size": size}))
        with path.open("rb") as content:
            reported = _ReportingFile(content, on_bytes)
            response = httpx.post(
                form["url"], data=form["fields"], files={"file": (path.name, reported)}, timeout=TIMEOUT
            )
        if response.is_error:
            raise CommandError(f"The bucket refused {name}: {response.status_code} {response.text[:300]}")
        key: str = form["key"]
        return key

    def chat(
        self, messages: list[dict[str, str]], model: str = "storyloom", max_tokens: int = 400
    ) -> Iterator[tuple[str, Answer | None]]:
        """Streams an answer: pieces of text, and with the last, empty piece the whole `Answer`.

        While the model wakes, the `openai` client waits as the API's Retry-After says, and asks again.
        """
        client = openai.OpenAI(
            base_url=f"{self.connection.url}/api/v1", api_key=self.connection.id_token, max_retries=60
        )
        started = time.monotonic()
        first = 0.0
        pieces: list[str] = []
        answered_by, fingerprint = model, ""
        try:
            stream = client.chat.completions.create(
                model=model,
                messages=messages,  # type: ignore[arg-type]  # the openai types want one class a role
                max_tokens=max_tokens,
                stream=True,
            )
            for chunk in stream:
                answered_by = chunk.model or answered_by
                fingerprint = chunk.system_fingerprint or fingerprint
                piece = (chunk.choices[0].delta.content or "") if chunk.choices else ""
                if piece:
                    first = first or time.monotonic() - started
                    pieces.append(piece)
                    yield piece, None
        except openai.APIStatusError as error:
            raise _refused(error.response) from error
        except openai.APIError as error:
            raise CommandError(f"The answer broke off: {error}.", "Ask again.") from error
        yield "", Answer("".join(pieces), first, time.monotonic() - started, answered_by, fingerprint)

    def _get(self, path: str) -> dict[str, Any]:
        return self._answer(self._http.get(path))

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            raise _refused(response)
        content: dict[str, Any] = response.json()
        return content


class _ReportingFile:
    """A file that says how many bytes were read from it, for a progress bar."""

    def __init__(self, content: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self._content = content
        self._on_bytes = on_bytes

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(size)
        self._on_bytes(len(piece))
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()

    def fileno(self) -> int:
        return self._content.fileno()

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(64 * 1024):
            yield piece


def _refused(response: httpx.Response) -> CommandError:
    try:
        error = response.json()["error"]
        return CommandError(error["message"], error.get("cure", ""))
    except (ValueError, KeyError, TypeError):
        return CommandError(f"{response.request.url} answered {response.status_code}: {response.text[:300]}")
