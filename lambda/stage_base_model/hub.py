"""The Hugging Face hub over HTTPS: which files a model needs, their content, and when to retry."""

import os
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from shared import clock

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 120.0
_TRIES = 8
"""Number of attempts in a row without receiving anything, within one call of the function."""
_NEEDED = re.compile(
    r"config\.json|generation_config\.json|.+\.safetensors|.+\.safetensors\.index\.json"
    r"|tokenizer.*|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt"
    r"|spiece\.model|chat_template.*"
    # For a multimodal model, such as gemma-3-4b, vLLM creates the processor even if nobody sends pictures.
    r"|(pre)?processor_config\.json"
)
# Mistral's repositories contain the same weights a second time, in their own format.
_DUPLICATE_WEIGHTS = re.compile(r"consolidated.*")


class OutOfTime(Exception):  # noqa: N818 - a signal to continue in the next call, not an error
    """The time of this call is over before the work is done."""


class HubUnavailable(Exception):  # noqa: N818 - a signal to continue in the next call, not an error
    """The hub has refused too often in a row; the message is its last refusal."""


class RetryPolicy:
    """Waits between attempts: twice as long each time, or as long as the hub requests."""

    def __init__(self, deadline: float) -> None:
        """Retry until `deadline`, in seconds of the monotonic clock."""
        self.deadline = deadline
        self._failures = 0

    def progressed(self) -> None:
        """Reset the count of failures, because bytes arrived."""
        self._failures = 0

    def check_time(self, what: str) -> None:
        """Raise `OutOfTime` if the deadline is past."""
        if time.monotonic() > self.deadline:
            raise OutOfTime(what)

    def wait(self, why: str, response: httpx.Response | None = None) -> None:
        """Wait before the next attempt.

        Args:
            why: what went wrong, for the message.
            response: the hub's refusal, which may say how long to wait.

        Raises:
            HubUnavailable: too many attempts in a row failed.
            OutOfTime: there is no time left for another attempt.
        """
        self._failures += 1
        if self._failures >= _TRIES:
            raise HubUnavailable(why)
        longest = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2 ** (self._failures - 1))
        seconds = requested_wait_seconds(response) if response is not None else None
        if seconds is None:
            # Jitter: functions that were refused together do not retry together.
            seconds = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
        left = self.deadline - time.monotonic()
        # Sleep until the end of this call even if it is too short, because the next call begins at once.
        _sleep(max(0.0, min(seconds, left)))
        if seconds >= left:
            raise OutOfTime(why)


def requested_wait_seconds(response: httpx.Response) -> float | None:
    """Return how long a refusal asks to wait: `Retry-After`, or `RateLimit`, the hub's own, or None."""
    after = response.headers.get("Retry-After", "").strip()
    if after.isdigit():
        return float(after)
    if after:
        try:
            until = parsedate_to_datetime(after)
        except ValueError:
            return None
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return max(0.0, _seconds_until(until))
    # "RateLimit": "resolvers";r=0;t=55 (nothing is left for 55 seconds)
    limits = dict(
        part.strip().partition("=")[::2] for part in response.headers.get("RateLimit", "").split(";")
    )
    return float(limits["t"]) if limits.get("t", "").isdigit() else None


def _seconds_until(moment: datetime) -> float:
    return (moment - clock.now()).total_seconds()


_sleep = time.sleep


class HubError(Exception):
    """The hub refuses a model or does not have it; the message says what to do."""


@dataclass(frozen=True)
class HubFile:
    """One file of a model's repository."""

    name: str
    size: int
    """Bytes."""
    sha256: str | None
    """Known for large files only."""
    git_sha1: str | None = None
    """Git's hash of the content; of a large file it would be that of a pointer, so it is None."""


class Hub:
    """One model at one revision."""

    def __init__(self, model_id: str, token: str | None, retries: RetryPolicy) -> None:
        """Create the HTTP client.

        Args:
            model_id: `owner/name`.
            token: access token, needed for gated models.
            retries: the retry policy.
        """
        self._retries = retries
        self._model_id = model_id
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # HF_ENDPOINT is the hub's own variable for a mirror.
        self._client = httpx.Client(
            base_url=os.environ.get("HF_ENDPOINT", "https://huggingface.co"),
            headers=headers,
            follow_redirects=True,
            # Shorter than the function's remaining time when it stops receiving.
            timeout=httpx.Timeout(10, read=20),
            transport=httpx.HTTPTransport(retries=3),
        )

    def commit(self, revision: str) -> str:
        """Resolve a branch, a tag or a commit to a commit."""
        response = self._get(f"/api/models/{self._model_id}/revision/{revision}")
        return str(response.json()["sha"])

    def files(self, commit: str) -> list[HubFile]:
        """List the files that training and hosting need, small ones first.

        Raises:
            HubError: the model has no safetensors weights.
        """
        response = self._get(f"/api/models/{self._model_id}/tree/{commit}")
        files = [
            _hub_file(entry)
            for entry in response.json()
            if entry["type"] == "file"
            and _NEEDED.fullmatch(entry["path"])
            and not _DUPLICATE_WEIGHTS.fullmatch(entry["path"])
        ]
        if not any(file.name.endswith(".safetensors") for file in files):
            raise HubError(
                f"{self._model_id} at {commit} has no .safetensors weights, and pickled ones can run code. "
                "Choose a model with safetensors as base_model in cdk.json."
            )
        return sorted(files, key=lambda file: file.size)

    def read(self, commit: str, name: str) -> bytes:
        """Return the content of a small file."""
        return self._get(self._path(commit, name)).content

    def download(self, commit: str, file: HubFile, start: int, etag: str | None) -> "Download":
        """Begin to stream one file, at byte `start`.

        Args:
            commit: the repository's commit.
            file: the file.
            start: number of bytes that are already there.
            etag: ETag of the file that those bytes are from, if it is known.
        """
        return Download(self, self._path(commit, file.name), file, start, etag)

    def open(self, path: str, start: int) -> httpx.Response:
        """Return a response whose body has not been read, and whose status has been checked."""
        # A compressed body could not be resumed in the middle.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        while True:
            request = self._client.build_request("GET", path, headers=headers)
            try:
                response = self._client.send(request, stream=True)
            except httpx.TransportError as error:
                self._retries.wait(connection_error_words(error))
                continue
            if response.status_code not in TRANSIENT:
                break
            response.close()
            self._retries.wait(f"it answered {response.status_code}", response)
        try:
            self._check(response)
        except BaseException:
            response.close()
            raise
        return response

    @property
    def model_id(self) -> str:
        """`owner/name`."""
        return self._model_id

    @property
    def retries(self) -> RetryPolicy:
        """The retry policy."""
        return self._retries

    def _get(self, path: str) -> httpx.Response:
        while True:
            response = self.open(path, 0)
            try:
                response.read()
            except httpx.TransportError as error:
                self._retries.wait(connection_error_words(error))
            else:
                self._retries.progressed()
                return response
            finally:
                response.close()

    def _path(self, commit: str, name: str) -> str:
        return f"/{self._model_id}/resolve/{commit}/{name}"

    def _check(self, response: httpx.Response) -> None:
        if response.status_code in {401, 403}:
            raise HubError(
                f"Hugging Face does not let us read {self._model_id}: it is gated, private, or does not "
                f"exist. Accept its licence at https://huggingface.co/{self._model_id} while signed in, "
                "store an access token in AWS Secrets Manager, set huggingface_token_secret in cdk.json to "
                "the secret's name, and deploy again."
            )
        if response.status_code == 404:
            raise HubError(
                f"Hugging Face has no {response.url.path} for {self._model_id}. Check base_model and "
                "base_model_revision in cdk.json."
            )
        if response.is_error:
            raise HubError(
                f"Hugging Face answered {response.status_code} to {response.url.path}, which is probably "
                "not temporary. Look at https://status.huggingface.co, then start the run again: complete "
                "files are kept."
            )


class Download:
    """The rest of one file, in chunks. It is resumed if the connection breaks."""

    def __init__(self, hub: Hub, path: str, file: HubFile, start: int, etag: str | None) -> None:
        """Begin at byte `start`; the first request is sent for the first chunk."""
        self._hub, self._path, self._file = hub, path, file
        self.position = start
        """Number of bytes of the file so far, including those before `start`."""
        self.etag = etag

    def chunks(self) -> Iterator[bytes]:
        """Yield the rest of the file.

        Raises:
            FileChanged: the hub sends another file than the one that was begun.
            OutOfTime, HubUnavailable: the next call of the function continues.
        """
        while self.position < self._file.size:
            response = self._hub.open(self._path, self.position)
            try:
                yield from self._read(response)
            except httpx.TransportError as error:
                self._hub.retries.wait(connection_error_words(error))
            finally:
                response.close()

    def _read(self, response: httpx.Response) -> Iterator[bytes]:
        etag = _etag(response)
        if self.position and self.etag and etag and etag != self.etag:
            raise FileChanged(self._file.name)
        self.etag = etag or self.etag
        # A server without ranges sends the whole file: skip the bytes that are already there.
        to_skip = 0 if response.status_code == httpx.codes.PARTIAL_CONTENT else self.position
        for chunk in response.iter_raw(2**20):
            self._hub.retries.check_time(self._file.name)
            if to_skip >= len(chunk):
                to_skip -= len(chunk)
                continue
            rest = chunk[to_skip:]
            to_skip = 0
            self.position += len(rest)
            self._hub.retries.progressed()
            yield rest


class FileChanged(Exception):  # noqa: N818 - a signal to start the file again, not an error
    """The hub has another file under this name than before."""


def _hub_file(entry: dict[str, Any]) -> HubFile:
    large = entry.get("lfs")
    if large:
        return HubFile(entry["path"], entry["size"], large["oid"])
    return HubFile(entry["path"], entry["size"], None, entry.get("oid"))


def connection_error_words(error: httpx.TransportError) -> str:
    """Return what happened to a connection, in words."""
    return f"the connection broke off ({type(error).__name__}: {error})"


def _etag(response: httpx.Response) -> str | None:
    """Return the file's ETag: `X-Linked-ETag` if the hub redirects to a store, else the response's own."""
    for answer in (*response.history, response):
        if linked := answer.headers.get("X-Linked-ETag"):
            return str(linked)
    etag = response.headers.get("ETag")
    return str(etag) if etag else None
