"""Runs the inference server on a processor of its own, because on AWS it has a machine of its own.

LOCAL_AWS_ENDPOINT_SERVER=benchmarks.chat_engine python -m local.aws.supervisor …
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from local.aws.processes import belonging_to, cloud_id, running_module

MODULE = "benchmarks.chat_engine"
SMALL_SERVER = "local.endpoint_server"
_PROCESSOR = 0


def main() -> int:
    """Run `local.endpoint_server` on one processor."""
    os.sched_setaffinity(0, {_PROCESSOR})
    # Imported here, because torch counts the processors on import.
    from local.endpoint_server.__main__ import main as serve  # noqa: PLC0415

    return serve()


def engine_command(state: Path) -> list[str] | None:
    """Return the command line of the endpoint's inference server; None if there is none."""
    found = [
        process for module in (MODULE, SMALL_SERVER) for process in running_module(cloud_id(state), module)
    ]
    return found[0].cmdline() if found else None


def keep_others_off(state: Path) -> None:
    """Move this process and the cloud's, except the inference server, to the other processors."""
    others = os.sched_getaffinity(0) - {_PROCESSOR}
    engines = {process.pid for process in running_module(cloud_id(state), MODULE)}
    if not engines or not others:
        raise SystemExit(
            "The inference server has no processor of its own. On a machine with one processor, use --shared."
        )
    for process in [os.getpid(), *(found.pid for found in belonging_to(cloud_id(state)))]:
        if process not in engines:
            _move(process, others)


def _move(process: int, processors: set[int]) -> None:
    # Threads are moved one by one; a new thread inherits from the thread that starts it.
    for thread in Path(f"/proc/{process}/task").glob("*"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), processors)


if __name__ == "__main__":
    raise SystemExit(main())
