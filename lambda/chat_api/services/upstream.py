"""Send requests to the endpoint, read its answers as they arrive, and cancel them."""

import asyncio
import json
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError, EventStreamError
from urllib3.exceptions import HTTPError

from chat_api.errors import ApiError
from chat_api.services import model_access
from contracts import environment
from shared.answers import cancellations
from shared.aws import clients

log = Logger(service="chat_api")

ANSWER_ID_HEADER = "X-Answer-Id"
FIRST_POLL_SECONDS = 0.25
"""The delay before the first check for a cancellation; by then the first words have usually been sent."""
POLL_SECONDS = 1.0
"""The interval of the checks after that; each reads one small item."""


class StreamInterrupted(Exception):  # noqa: N818 - what happened, not a programming error
    """The model stopped in the middle of its answer."""


class AnswerCancelled(Exception):  # noqa: N818 - what happened, not a programming error
    """The caller no longer wants the answer."""


LONGEST_ANSWER_SECONDS = 470.0
"""The longest answer. SageMaker interrupts a stream after eight minutes; the API ends it properly before."""
_CLOSE_SECONDS = 1.0
_CANCEL_SECONDS = 2.5
"""How long to try to reach the instance that writes the answer, because SageMaker chooses the instance."""
_PAUSE_SECONDS = 0.1
_MAX_CANCELS = 64


class AnswerStream:
    """The byte stream of an answer that is being written. boto3 blocks, so a thread reads it."""

    def __init__(self, answer_id: str, parts: Iterator[dict[str, Any]]) -> None:
        """Take the answer's id and the event stream of `invoke_endpoint_with_response_stream`."""
        self._id = answer_id
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._closed = threading.Event()
        self._fully_read = asyncio.Event()
        threading.Thread(target=self._read, name="answer", daemon=True).start()

    def cancel(self) -> None:
        """End `parts` at once with `AnswerCancelled`."""
        self._queue.put_nowait(AnswerCancelled())

    async def close(self, *, complete: bool) -> None:
        """Stop the generation, and close the connection to the endpoint.

        This waits until the connection is closed. Lambda stops a function's threads with its response, and a
        thread that is stopped while it reads would keep the connection, and perhaps the generation, open.

        Args:
            complete: if the answer is complete, the connection is read to its end and can be reused.
        """
        if not complete and not self._fully_read.is_set():
            await self._cancel_generation()
        self._closed.set()
        if complete or self._fully_read.is_set():
            return
        # botocore hides the response, and only urllib3 2.3 or newer can interrupt another thread's read.
        shutdown = getattr(getattr(self._parts, "_raw_stream", None), "shutdown", None)
        if shutdown is not None:
            with suppress(OSError, ValueError, RuntimeError):  # it has just ended
                shutdown()
        await self._wait_until_read()

    async def _cancel_generation(self) -> None:
        """Cancel at the model server, which may not notice that the connection is closed."""
        deadline = self._loop.time() + _CANCEL_SECONDS
        counts = _cancel_counts()
        while not self._fully_read.is_set() and (left := deadline - self._loop.time()) > 0:
            cancelled = await _cancel_at_once(self._id, next(counts), left)
            if cancelled is None:
                return
            if cancelled:
                await self._wait_until_read()
                return
            await asyncio.sleep(_PAUSE_SECONDS)  # an older bundle does not keep a cancel outstanding

    async def _wait_until_read(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._fully_read.wait()

    async def parts(self) -> AsyncGenerator[bytes]:
        """Yield the bytes as they arrive.

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
                    self._call_in_loop(self._queue.put_nowait, part["PayloadPart"]["Bytes"])
            self._call_in_loop(self._queue.put_nowait, None)
        except (EventStreamError, BotoCoreError, ClientError, HTTPError, OSError) as error:
            self._call_in_loop(self._queue.put_nowait, error)
        finally:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
            self._call_in_loop(self._fully_read.set)

    def _call_in_loop(self, call: Callable[..., None], *arguments: bytes | Exception | None) -> None:
        # The loop is closed when the server stops; nothing awaits the call then.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)


class CancellationWatch:
    """Checks once a second whether one answer has been cancelled, from `start` to `stop`."""

    def __init__(self, answer_id: uuid.UUID | None, caller: str) -> None:
        """Watch the answer with the id that the client gave it, or with a new one."""
        self.answer_id = str(answer_id or uuid.uuid4())
        self._caller = caller
        self._cancelled = asyncio.Event()
        self._answer: AnswerStream | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the answer has been cancelled, as of the last check."""
        return self._cancelled.is_set()

    def start(self) -> None:
        """Start the checks in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._poll())

    def attach(self, answer: AnswerStream) -> None:
        """Cancel this stream when the answer is cancelled, or now if it has been."""
        self._answer = answer
        if self.cancelled:
            answer.cancel()

    async def sleep(self, seconds: float) -> None:
        """Wait for this time, or until the answer is cancelled."""
        try:
            async with asyncio.timeout(seconds):
                await self._cancelled.wait()
        except TimeoutError:
            return

    def stop(self) -> None:
        """Stop the checks."""
        if self._task is not None:
            self._task.cancel()

    async def _poll(self) -> None:
        await asyncio.sleep(FIRST_POLL_SECONDS)
        claimed = False
        while True:
            try:
                if not claimed:
                    await asyncio.to_thread(cancellations.claim, self.answer_id, self._caller)
                    claimed = True
                if await asyncio.to_thread(cancellations.is_cancelled, self.answer_id, self._caller):
                    break
            except (BotoCoreError, ClientError):
                log.exception("Could not check whether an answer has been cancelled")
            await asyncio.sleep(POLL_SECONDS)
        self._cancelled.set()
        if self._answer is not None:
            self._answer.cancel()


def answer_cancelled_error() -> ApiError:
    """Return the error with which a cancelled answer ends, for a client that still reads it."""
    return ApiError(
        "answer_cancelled",
        "The answer was cancelled.",
        f"The text so far is kept. For a new answer send the request again with another {ANSWER_ID_HEADER}.",
        # OpenAI's clients would repeat the request at once, with the same id.
        should_retry=False,
    )


async def invoke(request: dict[str, Any], answer_id: str) -> AnswerStream:
    """Send a request to the endpoint; the model server tells a chat from a completion by its fields.

    Raises:
        ApiError: the endpoint does not exist, or the model server refuses the request or fails.
    """
    parts = await asyncio.to_thread(_invoke, request, answer_id)
    return AnswerStream(answer_id, parts)


def _invoke(request: dict[str, Any], answer_id: str) -> Iterator[dict[str, Any]]:
    client = clients.sagemaker_runtime()
    name = environment.read(environment.EndpointName).endpoint_name
    try:
        response: Any = client.invoke_endpoint_with_response_stream(
            EndpointName=name,
            ContentType="application/json",
            Accept="text/event-stream",
            # Read by the bundle's own code in the container, deploy/name_adapter.py.
            CustomAttributes=f"storyloom-answer={answer_id}",
            Body=json.dumps(request).encode(),
        )
    except ClientError as error:
        raise _invocation_error(error) from error
    except BotoCoreError as error:
        raise _unreachable_error(str(error)) from error
    return response["Body"]  # type: ignore[no-any-return]  # an iterable event stream


def _cancel_counts() -> Iterator[int]:
    """Yield how many cancels to send at once, so that one reaches the instance that writes the answer.

    SageMaker sends each request to the least busy instance. The first round has one cancel for each instance.
    If the instance is busier than the others, they first have to be given as many cancels as they have fewer
    answers, and one more.
    """
    settings = environment.read(environment.Api)
    yield settings.hosting_max_instances
    others = settings.hosting_max_instances - 1
    while True:
        yield min(_MAX_CANCELS, others * (int(settings.answers_per_instance) + 1) + 1)


async def _cancel_at_once(answer_id: str, count: int, seconds: float) -> bool | None:
    """Send several cancels at the same time; each stays outstanding until it has been matched to an answer.

    Returns:
        Whether one of them ended the answer within these seconds; None if the bundle is too old for it.
    """
    loop = asyncio.get_running_loop()
    replies: asyncio.Queue[bool | None] = asyncio.Queue()

    def send() -> None:
        reply = _cancel(answer_id)
        with suppress(RuntimeError):  # the loop is closed when the server stops
            loop.call_soon_threadsafe(replies.put_nowait, reply)

    for _ in range(count):
        threading.Thread(target=send, name="cancel", daemon=True).start()
    results: list[bool | None] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while len(results) < count:
                results.append(await replies.get())
                if results[-1]:
                    return True
    return None if results == [None] * count else False


def _cancel(answer_id: str) -> bool | None:
    """Send one cancel.

    Returns:
        Whether it reached the container that writes the answer; None if the bundle is too old for it.
    """
    try:
        response = clients.sagemaker_runtime().invoke_endpoint(
            EndpointName=environment.read(environment.EndpointName).endpoint_name,
            ContentType="application/json",
            CustomAttributes=f"storyloom-cancel={answer_id}",
            Body=b"{}",
        )
        return bool(json.loads(response["Body"].read())["cancelled"])
    except (BotoCoreError, ClientError, HTTPError, OSError, ValueError, LookupError, TypeError):
        return None


def _invocation_error(error: ClientError) -> ApiError:
    response: dict[str, Any] = dict(error.response)
    code, message = response["Error"]["Code"], response["Error"]["Message"]
    if code == "ModelError":
        return _model_error(
            int(response.get("OriginalStatusCode", 500)), response.get("OriginalMessage") or message
        )
    if code in {"ValidationError", "ValidationException"} and "not found" in message.lower():
        # The table says awake, but there is no endpoint, so it has to be created.
        return model_access.wake_for_request()
    return _unreachable_error(message)


def _model_error(status: int, message: str) -> ApiError:
    text = _openai_message(message)
    if status == 404:
        return ApiError("model_not_found", text, "GET /api/v1/models lists the models.")
    if status in {400, 413, 422}:
        if "context length" in text or "maximum model length" in text or "too long" in text:
            return ApiError("prompt_too_long", text, "Shorten the prompt or start a new chat.")
        return ApiError("invalid_request", text, "Correct the request.")
    return ApiError(
        "model_error",
        "The model could not answer.",
        "Try again. If it happens again, look at the endpoint's log in CloudWatch Logs.",
    )


def _openai_message(message: str) -> str:
    try:
        body = json.loads(message)
        return str((body.get("error") or body)["message"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return message


def _unreachable_error(message: str) -> ApiError:
    return ApiError(
        "model_unavailable",
        f"The model cannot be reached: {message}",
        "Try again in a few seconds.",
        retry_after_seconds=5,
        stage="unavailable",
        expected_seconds=5,
    )
