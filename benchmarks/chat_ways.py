"""The two ways to one model: the path that everybody takes, and the engine itself."""

from __future__ import annotations

import math

from benchmarks import chat_engine
from benchmarks.chat_streams import Way
from chat_api.limits import ANSWERS_AT_ONCE
from cli.api import StoryloomApi
from local.cloud import LocalCloud

_REQUESTS_A_MINUTE = 600


def whole_path(api: StoryloomApi, streams: int) -> Way:
    """Through the front door, as programs with API keys: as many as so many streams need."""
    callers = math.ceil(streams / ANSWERS_AT_ONCE)
    keys = [
        api.create_key(f"benchmark {number}", ["chat"], _REQUESTS_A_MINUTE)["key"]
        for number in range(callers)
    ]
    headers = tuple({"Authorization": f"Bearer {key}"} for key in keys)
    return Way("whole path", f"{api.connection.url}/api/v1/chat/completions", "storyloom", headers)


def bare_engine(cloud: LocalCloud, api: StoryloomApi) -> Way:
    """At the port of the process that answers behind the endpoint."""
    version = api.status()["live"]["version"]
    return Way("bare engine", f"http://127.0.0.1:{_engine_port(cloud)}/invocations", version, ({},))


def _engine_port(cloud: LocalCloud) -> int:
    words = chat_engine.engine_command(cloud.folders.state)
    if words is not None:
        return int(words[words.index("--port") + 1])
    raise SystemExit("No engine runs behind the endpoint: is the model awake?")
