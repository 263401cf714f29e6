"""Cancels answers: the route, and the watch of an answer for its own cancellation."""

import asyncio
import uuid
from typing import Annotated

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from chat_api.dependencies.errors import ApiError, refusals
from chat_api.dependencies.identity import MayCancel
from chat_api.services.upstream import Answer
from shared.answers import cancellations

log = Logger(service="chat_api")
router = APIRouter(prefix="/v1/answers", tags=["OpenAI"])

HEADER = "X-Answer-Id"
FIRST_LOOK_SECONDS = 0.25
"""When an answer first looks for the mark: once its first words are on their way."""
LOOK_SECONDS = 1.0
"""How often it looks after that: a read of one small item."""


class Cancelled(BaseModel):
    """An answer that ends now, or has ended."""

    answer_id: uuid.UUID
    message: str


@router.post("/{answer_id}/cancel", status_code=202, responses=refusals(404, 422))
def cancel(answer_id: uuid.UUID, caller: MayCancel) -> Cancelled:
    """End an answer of yours, named by its `X-Answer-Id`: what it said so far counts, no more is written.

    It also holds for an answer that has not begun. Cancelling again, or an answer that has ended, changes
    nothing.
    """
    if not cancellations.mark_cancelled(str(answer_id), caller.sub):
        raise ApiError(
            404,
            "not_found",
            f"There is no answer {answer_id} of yours.",
            f"Send the {HEADER} of the response, with the sign-in or key that asked for it.",
        )
    return Cancelled(answer_id=answer_id, message=f"Answer {answer_id} ends within two seconds.")


def answer_cancelled() -> ApiError:
    """Return the error with which a cancelled answer ends, for whoever still reads it."""
    return ApiError(
        409,
        "answer_cancelled",
        "The answer was cancelled.",
        f"What it said so far is kept. Ask again, under another {HEADER}, for a new one.",
        # OpenAI's clients would ask again at once, under the same.
        headers={"x-should-retry": "false"},
    )


class CancelWatch:
    """Looks once a second whether one answer has been cancelled, from `start` to `stop`."""

    def __init__(self, answer_id: uuid.UUID | None, caller: str) -> None:
        """Watch the answer with the id that the client gave it, or with a new one."""
        self.answer_id = str(answer_id or uuid.uuid4())
        self._caller = caller
        self._cancelled = asyncio.Event()
        self._answer: Answer | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the mark has been seen."""
        return self._cancelled.is_set()

    def start(self) -> None:
        """Begin to look, in the background; nothing waits for it."""
        if self._task is None:
            self._task = asyncio.create_task(self._look())

    def end_with(self, answer: Answer) -> None:
        """Cancel this answer when the mark is seen, or now if it has been."""
        self._answer = answer
        if self.cancelled:
            answer.cancel()

    async def sleep(self, seconds: float) -> None:
        """Wait for this time, or until the mark is seen."""
        try:
            async with asyncio.timeout(seconds):
                await self._cancelled.wait()
        except TimeoutError:
            return

    def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()

    async def _look(self) -> None:
        await asyncio.sleep(FIRST_LOOK_SECONDS)
        claimed = False
        while True:
            try:
                if not claimed:
                    await asyncio.to_thread(cancellations.claim, self.answer_id, self._caller)
                    claimed = True
                if await asyncio.to_thread(cancellations.is_cancelled, self.answer_id, self._caller):
                    break
            except (BotoCoreError, ClientError):
                log.exception("Could not look whether an answer is cancelled")
            await asyncio.sleep(LOOK_SECONDS)
        self._cancelled.set()
        if self._answer is not None:
            self._answer.cancel()


def _answer_id(
    answer_id: Annotated[
        uuid.UUID | SkipJsonSchema[None],  # a header is there or not, and never null
        Header(
            alias=HEADER,
            description="A UUID that you make, to cancel the answer by; without it the response names one.",
        ),
    ] = None,
) -> uuid.UUID | None:
    return answer_id


AnswerId = Annotated[uuid.UUID | None, Depends(_answer_id)]
"""The id that the client gives the answer; None if it leaves that to the API."""
