"""Asks the endpoint, and reads its answer as it comes."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, EventStreamError

from chat_api import waking
from chat_api.errors import ApiError
from shared import aws, environment


class AnswerBroke(Exception):  # noqa: N818 - what happened, not a programming error
    """The model died in the middle of its answer."""


class Answer:
    """An answer being written: bytes as SageMaker passes them on.

    boto3 blocks, so a thread reads. Closing stops it at the next token, and that ends the generation.
    """

    def __init__(self, parts: Iterator[dict[str, Any]]) -> None:
        """Take the event stream of `invoke_endpoint_with_response_stream`."""
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._closed = threading.Event()
        threading.Thread(target=self._read, name="answer", daemon=True).start()

    def close(self) -> None:
        """Stop reading; the connection to the endpoint is closed by the thread that reads it."""
        self._closed.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they come.

        Raises:
            AnswerBroke: where the stream ends with an error.
        """
        while (item := await self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise AnswerBroke(str(item)) from item
            yield item

    def _read(self) -> None:
        try:
            for part in self._parts:
                if self._closed.is_set():
                    return
                if "PayloadPart" in part:
                    self._put(part["PayloadPart"]["Bytes"])
            self._put(None)
        except (EventStreamError, BotoCoreError, ClientError, OSError) as error:
            self._put(error)
        finally:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()

    def _put(self, item: bytes | Exception | None) -> None:
        # The loop is closed where the server stops; nobody waits for the item then.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


async def ask(request: dict[str, Any]) -> Answer:
    """Send a request to the endpoint: the model server knows a chat from a completion by its fields.

    Raises:
        ApiError: 503 while the endpoint is not there, 413 and 422 for what the model refuses, 502 else.
    """
    parts = await asyncio.to_thread(_invoke, request)
    return Answer(parts)


def _invoke(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    client = aws.sagemaker_runtime()
    name = environment.read(environment.Api).endpoint_name
    try:
        response: Any = client.invoke_endpoint_with_response_stream(
            EndpointName=name,
            ContentType="application/json",
            Accept="text/event-stream",
            Body=json.dumps(request).encode(),
        )
    except ClientError as error:
        raise _refusal(error) from error
    except BotoCoreError as error:
        raise _unreachable(str(error)) from error
    return response["Body"]  # type: ignore[no-any-return]  # an iterable event stream


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
