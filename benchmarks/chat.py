"""Chats through the whole path against the bare engine: time to the first token, tokens/s, memory.

    PYTHONPATH=lambda python -m benchmarks.chat [--stories FOLDER] [--rounds 4] [--minutes 5] [--shared]

Deploys the app to AWS on this machine, makes a model from the stories, and asks it the same questions in two
ways, in turns: through the front door (CloudFront's place), API Gateway, the Web Adapter, the app and the
SageMaker runtime; and at the engine's own port. Then it chats for some minutes while the memory of every
process of the path is watched.

On AWS the engine has a machine of its own. Here it gets a processor of its own, both ways, and all else gets
the others; with `--shared` they take from each other, as they do for a user of `make run`. With `--state` a
cloud that is up already is asked, as it is. The last line is JSON; the exit status says whether the promises
hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks import chat_engine
from benchmarks.chat_processes import Look, growth, milliseconds_a_token, watch
from benchmarks.chat_streams import Batch, Way, ask_all
from benchmarks.chat_ways import bare_engine, whole_path
from cli import journey
from cli.api import StoryloomApi
from cli.connection import connect
from local.aws.cloud_environment import SERVER_VARIABLE
from local.cloud import LocalCloud

CHECKOUT = Path(__file__).resolve().parent.parent
STATE = CHECKOUT / ".local-cloud-bench"
STREAMS = {1: 3, 4: 2, 16: 1}
"""How many at once, and for how many rounds each of `--rounds` counts: the fewer, the more chance decides."""
FIRST_TOKEN_SECONDS = 0.030
"""What the path may add until the first token, at the median."""
THROUGHPUT_SHARE = 0.05
"""What the path may take of the engine's tokens a second."""
MEMORY_GROWTH = 0.05
"""What all processes of the path may have grown by after minutes of chats."""
WARM_UP_SECONDS = 30.0
"""What is loaded on first use is loaded by then."""


def main() -> None:
    """Measure everything; the exit status says whether the promises hold."""
    given = _arguments()
    console = Console(stderr=True)
    with _deployed(given, console) as (cloud, api):
        path, engine = whole_path(cloud, api, max(STREAMS)), bare_engine(cloud, api)
        asyncio.run(in_turns(path, engine, 1, 1))
        compared = {}
        for streams, times in STREAMS.items():
            rounds = given.rounds * times
            console.print(f"{streams} at once, both ways, {rounds} rounds")
            compared[streams] = asyncio.run(in_turns(path, engine, streams, rounds))
        console.print(f"Four at once for {given.minutes:g} minutes, with an eye on the memory")
        seen, tokens = asyncio.run(_watched(path, cloud, given.minutes * 60))
    _table(compared)
    _say_what_a_token_takes(seen, tokens)
    failures = _verdict(compared, seen)
    raise SystemExit(1 if failures else 0)


async def in_turns(path: Way, engine: Way, streams: int, rounds: int) -> dict[str, list[Batch]]:
    """Ask the same of both, one after the other, so that whatever else the machine does meets both alike."""
    ran: dict[str, list[Batch]] = {path.name: [], engine.name: []}
    for number in range(rounds):
        for way in (path, engine) if number % 2 else (engine, path):
            ran[way.name].append(await ask_all(way, streams, number))
    return ran


async def _watched(path: Way, cloud: LocalCloud, seconds: float) -> tuple[list[Look], int]:
    """Chat in four streams for so long, and look at the processes meanwhile; returns the tokens too."""
    seen: list[Look] = []
    watching = asyncio.create_task(watch(cloud.folders.state, seen))
    until = asyncio.get_running_loop().time() + seconds
    number = tokens = 0
    while asyncio.get_running_loop().time() < until:
        batch = await ask_all(path, 4, number)
        tokens += sum(answer.tokens for answer in batch.answers)
        number += 1
    watching.cancel()
    return seen, tokens


def _table(compared: dict[int, dict[str, list[Batch]]]) -> None:
    print(
        "\n| streams | way | first token p50, ms | p95, ms | tokens/s | a stream's tokens/s p50 | slowest |"
    )
    print("|---|---|---|---|---|---|---|")
    for streams, ways in compared.items():
        for name, batches in ways.items():
            first = [answer.first_token for batch in batches for answer in batch.answers]
            speeds = sorted(answer.tokens_a_second for batch in batches for answer in batch.answers)
            print(
                f"| {streams} | {name} | {1000 * statistics.median(first):.0f} | {1000 * _p95(first):.0f} "
                f"| {statistics.median(batch.tokens_a_second for batch in batches):.1f} "
                f"| {statistics.median(speeds):.1f} | {speeds[0]:.1f} |"
            )


def _say_what_a_token_takes(seen: Sequence[Look], tokens: int) -> None:
    taken = milliseconds_a_token(seen, tokens)
    by_room = ", ".join(f"{room} {value:.1f}" for room, value in sorted(taken.items(), key=lambda of: -of[1]))
    print(f"\nA token takes, in ms of one processor (four streams, {tokens} tokens): {by_room}.")


def _verdict(compared: dict[int, dict[str, list[Batch]]], seen: Sequence[Look]) -> list[str]:
    result: dict[str, float] = {}
    for streams, (path, engine) in ((streams, ways.values()) for streams, ways in compared.items()):
        later = [_first_token(a) - _first_token(b) for a, b in zip(path, engine, strict=True)]
        slower = [1 - a.tokens_a_second / b.tokens_a_second for a, b in zip(path, engine, strict=True)]
        result[f"first_token_later_s_{streams}"] = statistics.median(later)
        result[f"throughput_lost_{streams}"] = statistics.median(slower)
    grown, table = growth(seen, WARM_UP_SECONDS)
    result["memory_growth"] = grown
    print("\n" + table)
    failures = [
        *(
            f"{1000 * value:.0f} ms more to the first token ({name.rpartition('_')[2]} streams)"
            for name, value in result.items()
            if name.startswith("first_token") and value > FIRST_TOKEN_SECONDS
        ),
        *(
            f"{value:.0%} less throughput ({name.rpartition('_')[2]} streams)"
            for name, value in result.items()
            if name.startswith("throughput") and value > THROUGHPUT_SHARE
        ),
        *([f"memory grew by {grown:.0%}"] if grown > MEMORY_GROWTH else []),
    ]
    print(json.dumps({**{name: round(value, 4) for name, value in result.items()}, "failures": failures}))
    return failures


def _first_token(batch: Batch) -> float:
    return statistics.median(answer.first_token for answer in batch.answers)


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, round(0.95 * len(values)) - 1)]


@contextmanager
def _deployed(given: argparse.Namespace, console: Console) -> Iterator[tuple[LocalCloud, StoryloomApi]]:
    if given.state:
        record = json.loads((given.state / "cloud.json").read_text())
        yield (
            LocalCloud(CHECKOUT, given.state, record["port"], record["page_port"]),
            StoryloomApi(connect(given.state)),
        )
        return
    if not given.shared:
        os.environ[SERVER_VARIABLE] = chat_engine.MODULE
    settings = {"max_training_minutes": "1", "daily_tokens_per_person": "10000000"}
    ports = journey.free_port(4766), journey.free_port(8520)
    with journey.running_cloud(journey.Places(CHECKOUT, STATE, *ports, settings), console) as cloud:
        api = journey.signed_in(cloud)
        run = journey.drop_and_follow(api, given.stories, console)
        if run["status"] != "succeeded":
            raise SystemExit(f"The run ended as {run['status']}: {run.get('message', '')}")
        if not given.shared:
            chat_engine.keep_others_off(cloud.folders.state)
        yield cloud, api


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stories", type=Path, default=CHECKOUT / "sample_stories")
    parser.add_argument(
        "--rounds", type=int, default=4, help="for 16 streams; twice as many for 4, and 3 times for 1"
    )
    parser.add_argument("--minutes", type=float, default=5, help="for which the memory is watched")
    parser.add_argument("--shared", action="store_true", help="no processor for the engine alone")
    parser.add_argument("--state", type=Path, help="the state folder of a cloud that is up, with a model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
