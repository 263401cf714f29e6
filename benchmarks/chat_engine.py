"""Gives the engine a processor of its own, as on AWS, where it has a machine of its own.

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
    """Serve as `local.endpoint_server` does, on one processor."""
    os.sched_setaffinity(0, {_PROCESSOR})
    # Imported here: torch counts the processors when it is imported.
    from local.endpoint_server.__main__ import main as serve  # noqa: PLC0415

    return serve()


def engine_command(state: Path) -> list[str] | None:
    """Return the command line of the process that answers behind the endpoint; None where there is none."""
    found = [
        process for module in (MODULE, SMALL_SERVER) for process in running_module(cloud_id(state), module)
    ]
    return found[0].cmdline() if found else None


def keep_others_off(state: Path) -> None:
    """Have this process and every process of the cloud but the engine run on the other processors."""
    others = os.sched_getaffinity(0) - {_PROCESSOR}
    engines = {process.pid for process in running_module(cloud_id(state), MODULE)}
    if not engines or not others:
        raise SystemExit("The engine has no processor of its own: use --shared on a machine with only one.")
    for process in [os.getpid(), *(found.pid for found in belonging_to(cloud_id(state)))]:
        if process not in engines:
            _move(process, others)


def _move(process: int, processors: set[int]) -> None:
    # A process's threads are moved one by one; new ones follow the thread that starts them.
    for thread in Path(f"/proc/{process}/task").glob("*"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), processors)


if __name__ == "__main__":
    raise SystemExit(main())
