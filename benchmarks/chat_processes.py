"""How much memory and processor time each process of a local cloud takes while it chats."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import chat_engine
from local.aws.processes import belonging_to, cloud_id

EVERY_SECONDS = 5.0
_ROOMS = {
    chat_engine.SMALL_SERVER: "engine",
    chat_engine.MODULE: "engine",
    "local.aws.web.front_door": "front door",
    "local.aws.server": "AWS on this machine",
    "chat_api.app": "the app",
}
"""By a word of the command line. The others, Lambda's workers, are counted together."""


@dataclass(frozen=True)
class Look:
    """Megabytes and seconds of the processor by room, `seconds` after the first look."""

    seconds: float
    megabytes: Mapping[str, float]
    processor: Mapping[str, float]


async def watch(state: Path, seen: list[Look]) -> None:
    """Look every few seconds, until cancelled."""
    clock = asyncio.get_running_loop().time
    started = clock()
    while True:
        seen.append(await asyncio.to_thread(_look, state, clock() - started))
        await asyncio.sleep(EVERY_SECONDS)


def growth(seen: Sequence[Look], warm_up: float) -> tuple[float, str]:
    """Compare the first third after the warm-up with the last third.

    Returns:
        The share by which all processes together grew, and a table by room.
    """
    warm = [look for look in seen if look.seconds >= warm_up] or list(seen)
    third = max(1, len(warm) // 3)
    early, late = _mean(warm[:third]), _mean(warm[-third:])
    lines = ["| process | MB early | MB late |", "|---|---|---|"]
    lines += [f"| {room} | {early.get(room, 0):.0f} | {late[room]:.0f} |" for room in late]
    minutes = (warm[-1].seconds - warm[0].seconds) / 60
    before, after = sum(early.values()), sum(late.values())
    lines.append(f"| all, over {minutes:.1f} minutes | {before:.0f} | {after:.0f} |")
    return after / before - 1, "\n".join(lines)


def milliseconds_a_token(seen: Sequence[Look], tokens: int) -> dict[str, float]:
    """What a token takes of one processor in each room, from the first look to the last."""
    first, last = seen[0].processor, seen[-1].processor
    return {room: 1000 * (last[room] - first.get(room, 0.0)) / tokens for room in last}


def _mean(seen: Sequence[Look]) -> dict[str, float]:
    rooms = {room for look in seen for room in look.megabytes}
    return {room: sum(look.megabytes.get(room, 0) for look in seen) / len(seen) for room in sorted(rooms)}


def _look(state: Path, seconds: float) -> Look:
    megabytes: dict[str, float] = {}
    processor: dict[str, float] = {}
    for process in belonging_to(cloud_id(state)):
        with contextlib.suppress(psutil.NoSuchProcess):
            room, times = _room(" ".join(process.cmdline())), process.cpu_times()
            megabytes[room] = megabytes.get(room, 0) + process.memory_info().rss / 2**20
            processor[room] = processor.get(room, 0) + times.user + times.system
    return Look(seconds, megabytes, processor)


def _room(command: str) -> str:
    return next((room for word, room in _ROOMS.items() if word in command), "functions")
