"""Compares chats over the whole path with the bare inference server: first token, tokens/s, memory.

    PYTHONPATH=lambda python -m benchmarks.chat [--stories FOLDER] [--rounds 4] [--minutes 5] [--shared]

Deploys the app to AWS on this machine, trains a model on the stories, and asks it the same questions over two
routes, in
turns: through the front door (in CloudFront's place), API Gateway, the Web Adapter, the app and the SageMaker
    runtime; and directly at the inference server's port. Then it chats for some minutes and measures the
    memory of all processes.

On AWS the inference server has a machine of its own. Here it has a processor of its own over both routes, and
everything else shares the other processors; with `--shared` all share all, as for a user of `make run`. With
`--state` it uses a cloud that is already up. The last line is JSON; the exit status is 0 if the promises
hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import secrets
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import boto3
from rich.console import Console

from benchmarks import chat_engine
from benchmarks.chat_processes import (
    ProcessSample,
    cpu_milliseconds_per_token,
    memory_growth,
    sample_processes,
)
from benchmarks.chat_streams import AnsweredBatch, ChatRoute, ask_all
from chat_api.services.limits import MAX_CONCURRENT_ANSWERS
from cli import journey
from cli.api.client import StoryloomApi
from cli.api.connection import connect, sign_in
from local.aws.cloud_environment import SERVER_VARIABLE
from local.cloud import LocalCloud

CHECKOUT = Path(__file__).resolve().parent.parent
STATE = CHECKOUT / ".local-cloud-bench"
STREAMS = {1: 3, 4: 2, 16: 1}
"""Number of concurrent streams, and the factor of `--rounds`: fewer streams need more rounds against
noise."""
FIRST_TOKEN_SECONDS = 0.030
"""Maximum that the path may add to the median time to the first token."""
THROUGHPUT_SHARE = 0.05
"""Maximum share of the throughput that the path may cost."""
MEMORY_GROWTH = 0.05
"""Maximum growth of all processes' memory after minutes of chats."""
WARM_UP_SECONDS = 30.0
"""Seconds after which everything that is loaded on first use is loaded."""
_REQUESTS_A_MINUTE = 600


def main() -> None:
    """Measure everything; exit with 0 if the promises hold."""
    given = _arguments()
    console = Console(stderr=True)
    with _deployed(given, console) as (cloud, api):
        path, server = whole_path(cloud, api, max(STREAMS)), bare_server(cloud, api)
        asyncio.run(in_turns(path, server, 1, 1))
        compared = {}
        for streams, times in STREAMS.items():
            rounds = given.rounds * times
            console.print(f"{streams} concurrent streams, both routes, {rounds} rounds")
            compared[streams] = asyncio.run(in_turns(path, server, streams, rounds))
        console.print(f"Four concurrent streams for {given.minutes:g} minutes, measuring memory")
        samples, tokens = asyncio.run(_chat_and_sample(path, cloud, given.minutes * 60))
    _table(compared)
    _print_token_cost(samples, tokens)
    failures = _verdict(compared, samples)
    raise SystemExit(1 if failures else 0)


def whole_path(cloud: LocalCloud, api: StoryloomApi, streams: int) -> ChatRoute:
    """Return the route through the front door, with API keys of as many people as the streams need."""
    people = math.ceil(streams / MAX_CONCURRENT_ANSWERS)
    headers = tuple(
        {"Authorization": f"Bearer {_key_of_a_person(cloud, number)}"} for number in range(people)
    )
    return ChatRoute("whole path", f"{api.connection.url}/api/v1/chat/completions", "storyloom", headers)


def _key_of_a_person(cloud: LocalCloud, number: int) -> str:
    """Create a user if needed, and an API key for it: a key counts toward its user's daily limit."""
    described, email = cloud.description(), f"benchmark-{number}@example.com"
    password, pool = f"{secrets.token_urlsafe(12)}-aA1", described["outputs"]["UserPoolId"]
    environment = cloud.environment()
    cognito = boto3.client(
        "cognito-idp",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        verify=environment["AWS_CA_BUNDLE"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    with suppress(cognito.exceptions.UsernameExistsException):
        cognito.admin_create_user(UserPoolId=pool, Username=email, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username=email, Password=password, Permanent=True)
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=email, GroupName="author")
    own = StoryloomApi(sign_in(described["url"], email, password))
    return str(own.create_key(f"benchmark {number}", ["chat"], _REQUESTS_A_MINUTE)["key"])


def bare_server(cloud: LocalCloud, api: StoryloomApi) -> ChatRoute:
    """Return the route to the port of the inference server behind the endpoint."""
    version = api.status()["live"]["version"]
    return ChatRoute("bare server", f"http://127.0.0.1:{_engine_port(cloud)}/invocations", version, ({},))


def _engine_port(cloud: LocalCloud) -> int:
    words = chat_engine.engine_command(cloud.folders.state)
    if words is not None:
        return int(words[words.index("--port") + 1])
    raise SystemExit("No inference server is running behind the endpoint. Wake the model first.")


async def in_turns(
    path: ChatRoute, server: ChatRoute, streams: int, rounds: int
) -> dict[str, list[AnsweredBatch]]:
    """Ask both routes the same in turns, so that other load on the machine affects both alike."""
    ran: dict[str, list[AnsweredBatch]] = {path.name: [], server.name: []}
    for number in range(rounds):
        for route in (path, server) if number % 2 else (server, path):
            ran[route.name].append(await ask_all(route, streams, number))
    return ran


async def _chat_and_sample(
    path: ChatRoute, cloud: LocalCloud, seconds: float
) -> tuple[list[ProcessSample], int]:
    """Chat in four streams for some time; return samples of the processes, and the number of tokens."""
    samples: list[ProcessSample] = []
    sampling = asyncio.create_task(sample_processes(cloud.folders.state, samples))
    until = asyncio.get_running_loop().time() + seconds
    number = tokens = 0
    while asyncio.get_running_loop().time() < until:
        batch = await ask_all(path, 4, number)
        tokens += sum(answer.tokens for answer in batch.answers)
        number += 1
    sampling.cancel()
    return samples, tokens


def _table(compared: dict[int, dict[str, list[AnsweredBatch]]]) -> None:
    print(
        "\n| streams | route | first token p50, ms | p95, ms | tokens/s | a stream's tokens/s p50 | slowest |"
    )
    print("|---|---|---|---|---|---|---|")
    for streams, routes in compared.items():
        for name, batches in routes.items():
            first = [answer.first_token for batch in batches for answer in batch.answers]
            speeds = sorted(answer.tokens_a_second for batch in batches for answer in batch.answers)
            print(
                f"| {streams} | {name} | {1000 * statistics.median(first):.0f} | {1000 * _p95(first):.0f} "
                f"| {statistics.median(batch.tokens_a_second for batch in batches):.1f} "
                f"| {statistics.median(speeds):.1f} | {speeds[0]:.1f} |"
            )


def _print_token_cost(samples: Sequence[ProcessSample], tokens: int) -> None:
    cost = cpu_milliseconds_per_token(samples, tokens)
    by_name = ", ".join(f"{name} {value:.1f}" for name, value in sorted(cost.items(), key=lambda of: -of[1]))
    print(f"\nProcessor time per token in ms (four streams, {tokens} tokens): {by_name}.")


def _verdict(
    compared: dict[int, dict[str, list[AnsweredBatch]]], samples: Sequence[ProcessSample]
) -> list[str]:
    result: dict[str, float] = {}
    for streams, (path, server) in ((streams, routes.values()) for streams, routes in compared.items()):
        later = [_first_token(a) - _first_token(b) for a, b in zip(path, server, strict=True)]
        slower = [1 - a.tokens_a_second / b.tokens_a_second for a, b in zip(path, server, strict=True)]
        result[f"first_token_later_s_{streams}"] = statistics.median(later)
        result[f"throughput_lost_{streams}"] = statistics.median(slower)
    grown, table = memory_growth(samples, WARM_UP_SECONDS)
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


def _first_token(batch: AnsweredBatch) -> float:
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
    ports = journey.port_or_free_port(4766), journey.port_or_free_port(8520)
    with journey.running_cloud(journey.LocalCloudConfig(CHECKOUT, STATE, *ports, settings), console) as cloud:
        api = journey.signed_in_api(cloud)
        run = journey.upload_and_follow(api, given.stories, console)
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
    parser.add_argument("--minutes", type=float, default=5, help="of chats for the memory measurement")
    parser.add_argument(
        "--shared", action="store_true", help="give the inference server no processor of its own"
    )
    parser.add_argument("--state", type=Path, help="the state folder of a cloud that is up, with a model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
