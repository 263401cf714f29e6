"""Storyloom's REST API as typed calls; the wire format is docs/openapi.json."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast
from urllib.parse import quote

import httpx

from cli.api.addresses import bucket_address, use_proxies
from cli.api.connection import TIMEOUT, Connection
from cli.console import CommandError

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

MAXIMUM_UPLOAD_BYTES = 50 * 1024 * 1024
LONG_TIMEOUT = httpx.Timeout(300.0, connect=10.0)
"""For requests that read or write thousands of lines."""
CANCEL_TIMEOUT = httpx.Timeout(5.0)
"""Short, because the command is about to end when it cancels an answer."""


@dataclass(frozen=True)
class ChatReply:
    """One reply of the model; times are seconds from the request to the first and the last piece of text."""

    text: str
    first_token_s: float
    last_token_s: float
    model: str
    fingerprint: str


class StoryloomApi:
    """The REST API for one sign-in; a failed call raises `CommandError` with the API's message and cure."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._http = httpx.Client(
            base_url=f"{connection.url}/api",
            headers=connection.headers,
            timeout=TIMEOUT,
            trust_env=use_proxies(connection.url),
        )

    def status(self) -> dict[str, Any]:
        """Return hosting, the live version, the newest run, limits and usage (`GET /api/status`)."""
        return self._get("/status")

    def runs(self) -> list[dict[str, Any]]:
        """List the runs, newest first."""
        listed: list[dict[str, Any]] = self._get("/runs")["runs"]
        return listed

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run with its states and figures."""
        return self._get(f"/runs/{run_id}")

    def wake(self) -> dict[str, Any]:
        """Wake the model; return its hosting status."""
        return self._answer(self._http.post("/wake"))

    def sleep(self) -> dict[str, Any]:
        """Put the model to sleep; return its hosting status."""
        return self._answer(self._http.post("/sleep"))

    def start_run(self, *, again: bool = False) -> dict[str, Any]:
        """Start a run with all stories; return what happened, with a message."""
        return self._answer(self._http.post("/runs", json={"again": again}))

    def resume_run(self, run_id: str) -> dict[str, Any]:
        """Resume a failed run at the step that failed."""
        return self._answer(self._http.post(f"/runs/{quote(run_id)}/resume"))

    def stop_run(self, run_id: str) -> dict[str, Any]:
        """Stop a run in progress; its record changes a moment later."""
        return self._answer(self._http.post(f"/runs/{run_id}/stop"))

    def approve(self, run_id: str) -> dict[str, Any]:
        """Approve a run that waits; return its record."""
        return self._answer(self._http.post(f"/runs/{run_id}/approve"))

    def decline(self, run_id: str) -> dict[str, Any]:
        """Decline a run that waits; return its record."""
        return self._answer(self._http.post(f"/runs/{run_id}/decline"))

    def models(self) -> list[dict[str, Any]]:
        """List the versions of the model, newest first."""
        listed: list[dict[str, Any]] = self._get("/models")["models"]
        return listed

    def decide_version(
        self, version: str, decision: Literal["activate", "approve", "reject"]
    ) -> dict[str, Any]:
        """Activate, approve or reject a version; return a message and the version."""
        return self._answer(self._http.post(f"/models/{version}/{decision}"))

    def costs(self, month: str) -> dict[str, Any]:
        """Return the costs of a month by kind and day, with prices; an empty `month` is the current one."""
        return self._get(f"/costs?month={month}" if month else "/costs")

    def keys(self) -> list[dict[str, Any]]:
        """List your API keys, newest first, without the secret itself; an owner gets everybody's."""
        listed: list[dict[str, Any]] = self._get("/keys")["keys"]
        return listed

    def create_key(
        self, name: str, scopes: list[str], requests_per_minute: int, days: int = 90
    ) -> dict[str, Any]:
        """Create a key; `key` of the result is the secret, which the API returns only once."""
        wanted = {"name": name, "scopes": scopes, "requests_per_minute": requests_per_minute, "days": days}
        return self._answer(self._http.post("/keys", json=wanted))

    def revoke_key(self, key_id: str) -> dict[str, Any]:
        """Revoke a key; return it."""
        return self._answer(self._http.delete(f"/keys/{key_id}"))

    def people(self) -> list[dict[str, Any]]:
        """Return everybody who may sign in."""
        listed: list[dict[str, Any]] = self._get("/people")["people"]
        return listed

    def invite_person(self, email: str, role: str) -> dict[str, Any]:
        """Invite somebody; returns the person."""
        return self._answer(self._http.post("/people", json={"email": email, "role": role}))

    def change_role(self, person_id: str, role: str) -> dict[str, Any]:
        """Give somebody another role; returns the person."""
        return self._answer(self._http.patch(f"/people/{quote(person_id)}", json={"role": role}))

    def remove_person(self, person_id: str) -> dict[str, Any]:
        """Remove somebody, and their keys with them; returns who it was."""
        return self._answer(self._http.delete(f"/people/{quote(person_id)}"))

    def audit_trail(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest entries of the audit trail, as many pages as it takes."""
        entries: list[dict[str, Any]] = []
        before = ""
        while len(entries) < limit:
            most = min(limit - len(entries), 200)
            page = self._answer(self._http.get("/audit", params={"limit": most, "before": before}))
            entries += page["entries"]
            before = page["next_before"] or ""
            if not before:
                break
        return entries

    def stories(self) -> list[dict[str, Any]]:
        """List the stories in the bucket."""
        listed: list[dict[str, Any]] = self._get("/stories")["stories"]
        return listed

    def delete_story(self, key: str) -> dict[str, Any]:
        """Delete a story from the bucket; the returned message explains how to restore it."""
        return self._answer(self._http.delete(f"/stories/{quote(key)}"))

    def upload(self, content: BinaryIO, size: int, name: str) -> str:
        """Upload `size` bytes into the stories bucket as `name`; return the key.

        Wrap `content` with `rich.progress.wrap_file` to show the progress.
        """
        if size > MAXIMUM_UPLOAD_BYTES:
            raise CommandError(
                f"{name} is too large: {size / 1e6:.0f} MB. "
                f"The limit of one file is {MAXIMUM_UPLOAD_BYTES / 1e6:.0f} MB.",
                "Split it, zip it, or copy it into the bucket with `aws s3 cp`.",
            )
        form = self._answer(self._http.post("/stories", json={"name": name, "size": size}))
        return self._send(form, content, name)

    def batches(self) -> list[dict[str, Any]]:
        """List your batches, newest first."""
        listed: list[dict[str, Any]] = self._get("/batches")["batches"]
        return listed

    def create_batch(self, wanted: dict[str, Any], content: BinaryIO) -> dict[str, Any]:
        """Create a batch and upload its file of prompts; nothing is spent. Return the batch."""
        made = self._answer(self._http.post("/batches", json=wanted))
        self._send(made["upload"], content, wanted["name"])
        batch: dict[str, Any] = made["batch"]
        return batch

    def batch(self, batch_id: str) -> dict[str, Any]:
        """Return a batch."""
        return self._get(f"/batches/{quote(batch_id)}")

    def check_batch(self, batch_id: str) -> dict[str, Any]:
        """Have the API read the lines of a batch and estimate its cost; return the batch."""
        return self._answer(self._http.post(f"/batches/{quote(batch_id)}/check", timeout=LONG_TIMEOUT))

    def start_batch(self, batch_id: str) -> dict[str, Any]:
        """Start a batch that has been checked: from here on it costs."""
        return self._answer(self._http.post(f"/batches/{quote(batch_id)}/start"))

    def stop_batch(self, batch_id: str) -> dict[str, Any]:
        """Stop a batch; the answers so far are kept."""
        return self._answer(self._http.post(f"/batches/{quote(batch_id)}/stop"))

    def batch_results(self, batch_id: str) -> dict[str, Any]:
        """Return the counts of a finished batch, and the link to its answers."""
        found = self._answer(self._http.get(f"/batches/{quote(batch_id)}/results", timeout=LONG_TIMEOUT))
        return {**found, "url": bucket_address(self.connection.url, found["url"])}

    def chat(
        self, messages: list[dict[str, str]], model: str = "storyloom", max_tokens: int = 400
    ) -> Iterator[tuple[str, ChatReply | None]]:
        """Stream a reply: pieces of text, and with the last, empty piece the whole `ChatReply`.

        While the model wakes, the `openai` client retries after the API's Retry-After. A reply that is not
        read to its end, as after Ctrl-C, is cancelled: on AWS closing the connection does not end it.
        """
        import openai  # noqa: PLC0415 (most of a second, which no other command has to wait)

        url = self.connection.url
        client = openai.OpenAI(
            base_url=f"{url}/api/v1",
            api_key=self.connection.id_token,
            max_retries=60,
            # A redirection would take the conversation to another address.
            http_client=openai.DefaultHttpxClient(follow_redirects=False, trust_env=use_proxies(url)),
        )
        started = time.monotonic()
        first = 0.0
        pieces: list[str] = []
        answering_model, fingerprint = model, ""
        answer_id, ended = str(uuid.uuid4()), False
        try:
            stream = client.chat.completions.create(
                model=model,
                messages=cast("list[ChatCompletionMessageParam]", messages),
                max_tokens=max_tokens,
                stream=True,
                extra_headers={"X-Answer-Id": answer_id},
            )
            for chunk in stream:
                answering_model = chunk.model or answering_model
                fingerprint = chunk.system_fingerprint or fingerprint
                piece = (chunk.choices[0].delta.content or "") if chunk.choices else ""
                if piece:
                    first = first or time.monotonic() - started
                    pieces.append(piece)
                    yield piece, None
            ended = True
        except openai.APIStatusError as error:
            ended = True
            raise _api_error(error.status_code, error.response.text) from error
        except openai.APIError as error:
            raise CommandError(f"The answer was interrupted: {error}.", "Ask again.") from error
        finally:
            if not ended:
                self.cancel_answer(answer_id)
        yield "", ChatReply("".join(pieces), first, time.monotonic() - started, answering_model, fingerprint)

    def cancel_answer(self, answer_id: str) -> None:
        """Cancel an answer. If the API cannot be reached, the answer ends by itself."""
        with suppress(httpx.HTTPError):
            self._http.post(f"/v1/answers/{answer_id}/cancel", timeout=CANCEL_TIMEOUT)

    def _send(self, form: dict[str, Any], content: BinaryIO, name: str) -> str:
        """Upload a file with a presigned form; return its key."""
        address = bucket_address(self.connection.url, form["url"])
        response = httpx.post(
            address,
            data=form["fields"],
            files={"file": (name, content)},
            timeout=TIMEOUT,
            trust_env=use_proxies(address),
        )
        if response.is_error:
            raise CommandError(f"The bucket refused {name}: {response.status_code} {response.text[:300]}")
        key: str = form["key"]
        return key

    def _get(self, path: str) -> dict[str, Any]:
        return self._answer(self._http.get(path))

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            raise _api_error(response.status_code, response.text)
        content: dict[str, Any] = response.json()
        if "error" in content:  # it failed after its status 200 had been sent
            raise _api_error(response.status_code, response.text)
        return content


def _api_error(status: int, body: str) -> CommandError:
    """Return an error with the message and cure of the API's JSON error."""
    try:
        error = json.loads(body)["error"]
        return CommandError(error["message"], error.get("cure", ""))
    except (ValueError, KeyError, TypeError):
        return CommandError(f"The API answered {status}: {body[:300]}")
