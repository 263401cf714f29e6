"""Sends concurrent chat requests over one route, and records when each piece of the answers arrived."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from chat_api.openai.answers import CHAT
from chat_api.openai.events import DONE, EventReader, parse_chunk

ANSWER_TOKENS = 32, 64
"""Minimum and maximum of the requested `max_tokens`."""
QUESTIONS_EACH = 3
PAUSE_SECONDS = 0.3, 1.5
"""Minimum and maximum pause before each question. Without it, a question would reach the bare server between
two of its steps, and over the whole path during the next step, which does not happen with real users."""
QUESTIONS = (
    "Tell me a story about a lost umbrella.",
    "Who lives at the harbour, and what do they want?",
    "Tell me about the night the bell rang by itself.",
    "What does the baker say when it rains?",
)


@dataclass(frozen=True)
class ChatRoute:
    """A route to the model: the whole path, or the bare inference server."""

    name: str
    url: str
    model: str
    headers: tuple[Mapping[str, str], ...]
    """Headers of each caller. Streams are spread over the callers, because a caller has a limit of concurrent
    answers."""


@dataclass(frozen=True)
class TimedAnswer:
    """One answer: seconds until its first text, seconds in total, and tokens."""

    first_token: float
    seconds: float
    tokens: int

    @property
    def tokens_a_second(self) -> float:
        """Return the rate of the tokens after the first."""
        return (self.tokens - 1) / (self.seconds - self.first_token)


@dataclass(frozen=True)
class AnsweredBatch:
    """Answers of concurrent streams."""

    streams: int
    answers: tuple[TimedAnswer, ...]

    @property
    def tokens_a_second(self) -> float:
        """Return the rate of all streams together, counting only the time of answering."""
        answering = sum(answer.seconds for answer in self.answers)
        return self.streams * sum(answer.tokens for answer in self.answers) / answering


async def ask_all(route: ChatRoute, streams: int, number: int) -> AnsweredBatch:
    """Run concurrent streams that each ask a few questions in turn; `number` selects the questions.

    Like those of several people, the questions come at different moments, for answers of different lengths.
    """
    # With 16 streams some wait for longer than httpx or the server would keep a connection.
    kept = httpx.Limits(keepalive_expiry=60)
    async with httpx.AsyncClient(timeout=600, trust_env=False, limits=kept) as client:
        # Open the connections first, as a page or a program has done.
        await asyncio.gather(*(_ask(client, route, place, number + place, 2) for place in range(streams)))
        answered = await asyncio.gather(*(_stream(client, route, place, number) for place in range(streams)))
    return AnsweredBatch(streams, tuple(answer for answers in answered for answer in answers))


async def _stream(client: httpx.AsyncClient, route: ChatRoute, place: int, number: int) -> list[TimedAnswer]:
    """Ask a few questions; both routes get the same questions after the same pauses."""
    chance = random.Random(f"{number}/{place}")  # noqa: S311 - no secret
    answers = []
    for turn in range(QUESTIONS_EACH):
        await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
        answers.append(
            await _ask(client, route, place, number + place + turn, chance.randint(*ANSWER_TOKENS))
        )
    return answers


async def _ask(
    client: httpx.AsyncClient, route: ChatRoute, place: int, number: int, tokens: int
) -> TimedAnswer:
    body: dict[str, Any] = {
        "model": route.model,
        "messages": [{"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    arrived: list[tuple[float, bytes]] = []
    started = time.perf_counter()
    headers = route.headers[place % len(route.headers)]
    async with client.stream("POST", route.url, json=body, headers=headers) as response:
        if response.is_error:
            raise SystemExit(
                f"{route.name}: {response.status_code} {(await response.aread()).decode()[:300]}"
            )
        async for piece in response.aiter_raw():
            arrived.append((time.perf_counter() - started, piece))
    return _answered(route, arrived)


def _answered(route: ChatRoute, arrived: list[tuple[float, bytes]]) -> TimedAnswer:
    """Parse the pieces after the measurement, because parsing takes processor time."""
    reader, first, tokens = EventReader(), None, 0
    for seconds, piece in arrived:
        for data in reader.feed(piece):
            chunk = None if data == DONE else parse_chunk(data, route.model, CHAT)
            if chunk is None:
                continue
            if "error" in chunk.content:
                raise SystemExit(f"{route.name}: {chunk.content['error']}")
            if first is None and any(choice["delta"].get("content") for choice in chunk.choices):
                first = seconds
            tokens = (chunk.content.get("usage") or {}).get("completion_tokens", tokens)
    if first is None or not tokens:
        raise SystemExit(f"{route.name}: an answer without text")
    return TimedAnswer(first, arrived[-1][0], tokens)
