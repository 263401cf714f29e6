"""Asks one way for many answers at once, and keeps when each piece of them came."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from chat_api.events import DONE, EventReader, as_chunk
from chat_api.forms import CHAT

ANSWER_TOKENS = 32, 64
"""The shortest and the longest answer that is asked for."""
QUESTIONS_EACH = 3
PAUSE_SECONDS = 0.3, 1.5
"""Before each question, the shortest and the longest. Nobody asks in the very moment in which an answer ends;
a question that did would reach the bare engine between two of its steps, and by the path during the next."""
QUESTIONS = (
    "Tell me a story about a lost umbrella.",
    "Who lives at the harbour, and what do they want?",
    "Tell me about the night the bell rang by itself.",
    "What does the baker say when it rains?",
)


@dataclass(frozen=True)
class Way:
    """One way to the model."""

    name: str
    url: str
    model: str
    headers: tuple[Mapping[str, str], ...]
    """Each caller's: a stream takes the next, because a caller may have a few answers at once only."""


@dataclass(frozen=True)
class Answered:
    """One answer: seconds until its first text, and how fast the rest came."""

    first_token: float
    seconds: float
    tokens: int

    @property
    def tokens_a_second(self) -> float:
        """Of the tokens after the first."""
        return (self.tokens - 1) / (self.seconds - self.first_token)


@dataclass(frozen=True)
class Batch:
    """The answers of streams that ran beside each other."""

    streams: int
    answers: tuple[Answered, ...]

    @property
    def tokens_a_second(self) -> float:
        """Of all streams together, each while it is answered: from the question to the last token."""
        answering = sum(answer.seconds for answer in self.answers)
        return self.streams * sum(answer.tokens for answer in self.answers) / answering


async def ask_all(way: Way, streams: int, number: int) -> Batch:
    """Have so many streams ask, each a few questions, one after the other; `number` chooses what they ask.

    As those of several people do, they ask at different moments, for answers of different lengths: a question
    comes while the others are being answered.
    """
    # With 16 at once some wait for longer than httpx would keep a connection, or the engine's server.
    kept = httpx.Limits(keepalive_expiry=60)
    async with httpx.AsyncClient(timeout=600, trust_env=False, limits=kept) as client:
        # The connections are there already, as a page's or a program's are.
        await asyncio.gather(*(_ask(client, way, place, number + place, 2) for place in range(streams)))
        answered = await asyncio.gather(*(_stream(client, way, place, number) for place in range(streams)))
    return Batch(streams, tuple(answer for answers in answered for answer in answers))


async def _stream(client: httpx.AsyncClient, way: Way, place: int, number: int) -> list[Answered]:
    """Ask a few questions; each way is asked the same, after the same pauses."""
    chance = random.Random(f"{number}/{place}")  # noqa: S311 - no secret
    answers = []
    for turn in range(QUESTIONS_EACH):
        await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
        answers.append(await _ask(client, way, place, number + place + turn, chance.randint(*ANSWER_TOKENS)))
    return answers


async def _ask(client: httpx.AsyncClient, way: Way, place: int, number: int, tokens: int) -> Answered:
    body: dict[str, Any] = {
        "model": way.model,
        "messages": [{"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    arrived: list[tuple[float, bytes]] = []
    started = time.perf_counter()
    headers = way.headers[place % len(way.headers)]
    async with client.stream("POST", way.url, json=body, headers=headers) as response:
        if response.is_error:
            raise SystemExit(f"{way.name}: {response.status_code} {(await response.aread()).decode()[:300]}")
        async for piece in response.aiter_raw():
            arrived.append((time.perf_counter() - started, piece))
    return _answered(way, arrived)


def _answered(way: Way, arrived: list[tuple[float, bytes]]) -> Answered:
    """Read the pieces after the clock has stopped: this costs the processor what the engine needs."""
    reader, first, tokens = EventReader(), None, 0
    for seconds, piece in arrived:
        for data in reader.feed(piece):
            chunk = None if data == DONE else as_chunk(data, way.model, CHAT)
            if chunk is None:
                continue
            if "error" in chunk:
                raise SystemExit(f"{way.name}: {chunk['error']}")
            if first is None and any(choice["delta"].get("content") for choice in chunk["choices"]):
                first = seconds
            tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
    if first is None or not tokens:
        raise SystemExit(f"{way.name}: an answer without text")
    return Answered(first, arrived[-1][0], tokens)
