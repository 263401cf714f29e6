"""Samples memory and processor time of the processes of a local cloud during chats."""

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
_PROCESS_NAMES = {
    chat_engine.SMALL_SERVER: "inference server",
    chat_engine.MODULE: "inference server",
    "local.aws.web.front_door": "front door",
    "local.aws.server": "AWS on this machine",
    "chat_api.app": "the app",
}
"""Names of processes, by a word of the command line. All others, Lambda's workers, count as functions."""


@dataclass(frozen=True)
class ProcessSample:
    """Memory and processor seconds by process name, `seconds` after the first sample."""

    seconds: float
    megabytes: Mapping[str, float]
    cpu_seconds: Mapping[str, float]


async def sample_processes(state: Path, samples: list[ProcessSample]) -> None:
    """Take a sample every few seconds, until cancelled."""
    clock = asyncio.get_running_loop().time
    started = clock()
    while True:
        samples.append(await asyncio.to_thread(_sample, state, clock() - started))
        await asyncio.sleep(EVERY_SECONDS)


def memory_growth(samples: Sequence[ProcessSample], warm_up: float) -> tuple[float, str]:
    """Compare the first third after the warm-up with the last third.

    Returns:
        The share by which all processes together grew, and a table by process name.
    """
    warm = [sample for sample in samples if sample.seconds >= warm_up] or list(samples)
    third = max(1, len(warm) // 3)
    early, late = _mean(warm[:third]), _mean(warm[-third:])
    lines = ["| process | MB early | MB late |", "|---|---|---|"]
    lines += [f"| {name} | {early.get(name, 0):.0f} | {late[name]:.0f} |" for name in late]
    minutes = (warm[-1].seconds - warm[0].seconds) / 60
    before, after = sum(early.values()), sum(late.values())
    lines.append(f"| all, over {minutes:.1f} minutes | {before:.0f} | {after:.0f} |")
    return after / before - 1, "\n".join(lines)


def cpu_milliseconds_per_token(samples: Sequence[ProcessSample], tokens: int) -> dict[str, float]:
    """Return the processor time per token by process name, from the first sample to the last."""
    first, last = samples[0].cpu_seconds, samples[-1].cpu_seconds
    return {name: 1000 * (last[name] - first.get(name, 0.0)) / tokens for name in last}


def _mean(samples: Sequence[ProcessSample]) -> dict[str, float]:
    names = {name for sample in samples for name in sample.megabytes}
    return {
        name: sum(sample.megabytes.get(name, 0) for sample in samples) / len(samples)
        for name in sorted(names)
    }


def _sample(state: Path, seconds: float) -> ProcessSample:
    megabytes: dict[str, float] = {}
    cpu_seconds: dict[str, float] = {}
    for process in belonging_to(cloud_id(state)):
        with contextlib.suppress(psutil.NoSuchProcess):
            name, times = _process_name(" ".join(process.cmdline())), process.cpu_times()
            megabytes[name] = megabytes.get(name, 0) + process.memory_info().rss / 2**20
            cpu_seconds[name] = cpu_seconds.get(name, 0) + times.user + times.system
    return ProcessSample(seconds, megabytes, cpu_seconds)


def _process_name(command: str) -> str:
    return next((name for word, name in _PROCESS_NAMES.items() if word in command), "functions")
