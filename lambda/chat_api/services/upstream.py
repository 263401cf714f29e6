"""Asks the endpoint, and reads its answer as it comes."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, EventStreamError
from urllib3.exceptions import HTTPError

from chat_api.dependencies.errors import ApiError
from chat_api.services import waking
from contracts import environment
from shared.aws import clients


class StreamInterrupted(Exception):  # noqa: N818 - what happened, not a programming error
    """The model died in the middle of its answer."""


class AnswerCancelled(Exception):  # noqa: N818 - what happened, not a programming error
    """The caller no longer wants the answer."""


LONGEST_ANSWER_SECONDS = 470.0
"""SageMaker breaks a streamed answer off after eight minutes; the API ends it properly before that."""
_ENDING_SECONDS = 1.0
_CANCELLING_SECONDS = 2.5
"""How long the instance that writes is looked for: SageMaker gives a request to the least busy one, and
lets nobody choose it."""
_PAUSE_SECONDS = 0.1
_MOST_CANCELS = 64


class Answer:
    """An answer being written: bytes as SageMaker passes them on. boto3 blocks, so a thread reads."""

    def __init__(self, answer_id: str, parts: Iterator[dict[str, Any]]) -> None:
        """Take the answer's name and the event stream of `invoke_endpoint_with_response_stream`."""
        self._id = answer_id
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._closed = threading.Event()
        self._read_out = asyncio.Event()
        threading.Thread(target=self._read, name="answer", daemon=True).start()

    def cancel(self) -> None:
        """Have `chunks` end at once with `AnswerCancelled`."""
        self._queue.put_nowait(AnswerCancelled())

    async def close(self, *, by_itself: bool) -> None:
        """Have the model write no more, and close the connection to the endpoint.

        This waits until it is closed: Lambda stops a function's threads with its response, and one that was
        stopped while it reads would hold the connection, and perhaps the generation, for as long.

        Args:
            by_itself: the answer is whole, so the connection is read to its end, and can be used again.
        """
        if not by_itself and not self._read_out.is_set():
            await self._end_generation()
        self._closed.set()
        if by_itself or self._read_out.is_set():
            return
        # botocore hides the response, and only urllib3 2.3 or newer can end another thread's reading.
        shutdown = getattr(getattr(self._parts, "_raw_stream", None), "shutdown", None)
        if shutdown is not None:
            with suppress(OSError, ValueError, RuntimeError):  # it has just ended by itself
                shutdown()
        await self._wait_until_read_out()

    async def _end_generation(self) -> None:
        """Ask the model's server to stop: closing the connection on this side may not reach it."""
        give_up_at = self._loop.time() + _CANCELLING_SECONDS
        counts = _cancel_counts()
        while not self._read_out.is_set() and (left := give_up_at - self._loop.time()) > 0:
            cancelled = await _cancel_at_once(self._id, next(counts), left)
            if cancelled is None:
                return
            if cancelled:
                await self._wait_until_read_out()
                return
            await asyncio.sleep(_PAUSE_SECONDS)  # a bundle of before holds no cancel

    async def _wait_until_read_out(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDING_SECONDS):
                await self._read_out.wait()

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the bytes as they come.

        Raises:
            StreamInterrupted: the stream ended with an error.
            AnswerCancelled: `cancel` was called.
        """
        while (item := await self._queue.get()) is not None:
            if isinstance(item, AnswerCancelled):
                raise item
            if isinstance(item, Exception):
                raise StreamInterrupted(str(item)) from item
            yield item

    def _read(self) -> None:
        try:
            for part in self._parts:
                if self._closed.is_set():
                    return
                if "PayloadPart" in part:
                    self._tell(self._queue.put_nowait, part["PayloadPart"]["Bytes"])
            self._tell(self._queue.put_nowait, None)
        except (EventStreamError, BotoCoreError, ClientError, HTTPError, OSError) as error:
            self._tell(self._queue.put_nowait, error)
        finally:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
            self._tell(self._read_out.set)

    def _tell(self, tell: Callable[..., None], *news: bytes | Exception | None) -> None:
        # The loop is closed when the server stops; nobody waits for the news then.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(tell, *news)


async def ask(request: dict[str, Any], answer_id: str) -> Answer:
    """Send a request to the endpoint: the model server knows a chat from a completion by its fields.

    Raises:
        ApiError: 503 while the endpoint is not there, 413 and 422 for what the model refuses, 502 else.
    """
    parts = await asyncio.to_thread(_invoke, request, answer_id)
    return Answer(answer_id, parts)


def _invoke(request: dict[str, Any], answer_id: str) -> Iterator[dict[str, Any]]:
    client = clients.sagemaker_runtime()
    name = environment.read(environment.Api).endpoint_name
    try:
        response: Any = client.invoke_endpoint_with_response_stream(
            EndpointName=name,
            ContentType="application/json",
            Accept="text/event-stream",
            # For the bundle's own code in the container: deploy/name_adapter.py.
            CustomAttributes=f"storyloom-answer={answer_id}",
            Body=json.dumps(request).encode(),
        )
    except ClientError as error:
        raise _refusal(error) from error
    except BotoCoreError as error:
        raise _unreachable(str(error)) from error
    return response["Body"]  # type: ignore[no-any-return]  # an iterable event stream


def _cancel_counts() -> Iterator[int]:
    """Yield how many cancels are sent at once, so that one reaches the instance that writes.

    First as many as there are instances. One that writes more answers than the others is reached once each
    of those has been given as many cancels as it lacks answers, and one more.
    """
    settings = environment.read(environment.Api)
    yield settings.hosting_max_instances
    others = settings.hosting_max_instances - 1
    while True:
        yield min(_MOST_CANCELS, others * (int(settings.answers_per_instance) + 1) + 1)


async def _cancel_at_once(answer_id: str, count: int, seconds: float) -> bool | None:
    """Send several cancels at the same time; they stay outstanding until they have found the answer, or not.

    Returns:
        Whether one of them ended the answer within these seconds; None if none can, as with an older bundle.
    """
    loop = asyncio.get_running_loop()
    replies: asyncio.Queue[bool | None] = asyncio.Queue()

    def send() -> None:
        reply = _cancel(answer_id)
        with suppress(RuntimeError):  # the loop is closed when the server stops
            loop.call_soon_threadsafe(replies.put_nowait, reply)

    for _ in range(count):
        threading.Thread(target=send, name="cancel", daemon=True).start()
    heard: list[bool | None] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while len(heard) < count:
                heard.append(await replies.get())
                if heard[-1]:
                    return True
    return None if heard == [None] * count else False


def _cancel(answer_id: str) -> bool | None:
    """End an answer in the container that writes it.

    Returns:
        Whether this was the container; None if none can be asked, as with an older bundle.
    """
    try:
        response = clients.sagemaker_runtime().invoke_endpoint(
            EndpointName=environment.read(environment.Api).endpoint_name,
            ContentType="application/json",
            CustomAttributes=f"storyloom-cancel={answer_id}",
            Body=b"{}",
        )
        return bool(json.loads(response["Body"].read())["cancelled"])
    except (BotoCoreError, ClientError, HTTPError, OSError, ValueError, LookupError, TypeError):
        return None


def _refusal(error: ClientError) -> ApiError:
    said: dict[str, Any] = dict(error.response)
    code, message = said["Error"]["Code"], said["Error"]["Message"]
    if code == "ModelError":
        return _model_refusal(
            int(said.get("OriginalStatusCode", 500)), said.get("OriginalMessage") or message
        )
    if code in {"ValidationError", "ValidationException"} and "not found" in message.lower():
        # The table said awake, but there is no endpoint: have it made.
        return waking.wake()
    return _unreachable(message)


def _model_refusal(status: int, message: str) -> ApiError:
    said = _openai_message(message)
    if status == 404:
        return ApiError(
            404, "model_not_found", said, "GET /api/v1/models lists the models that can be asked."
        )
    if status in {400, 413, 422}:
        if "context length" in said or "maximum model length" in said or "too long" in said:
            return ApiError(413, "prompt_too_long", said, "Shorten the prompt or start a new chat.")
        return ApiError(422, "invalid_request", said, "Correct the request.")
    return ApiError(
        502,
        "model_error",
        "The model could not answer.",
        "Try again. If it goes on, look at the endpoint's log in CloudWatch Logs.",
    )


def _openai_message(message: str) -> str:
    try:
        body = json.loads(message)
        return str((body.get("error") or body)["message"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return message


def _unreachable(message: str) -> ApiError:
    return ApiError(
        503,
        "model_unavailable",
        f"The model cannot be reached: {message}",
        "Try again in a few seconds.",
        headers={"Retry-After": "5"},
        stage="unavailable",
        expected_seconds=5,
    )
