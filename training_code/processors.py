"""The processors and main memory of the machine, and how many training processes share them without a GPU.

Loads none of the libraries that take seconds: a process that only starts others asks here.
"""

import os
from pathlib import Path

GIBIBYTE = 2**30

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

_SHARED_BY = 2
"""Processes, each with its half of the processors. One process's threads wait for the slowest of them after
each of a step's thousands of small operations; two processes wait for each other once a step."""
_WORTHWHILE_BYTES = 100 * 2**20
"""A smaller base model is trained before a second process has started."""
_COPIES = 4
"""Of the base model's file in each process: twice as wide in fp32, and once more with the adapter merged."""
_ACTIVATIONS_BYTES = 2.5 * GIBIBYTE
"""What a process takes beside them: the libraries, and what the backward pass finds again."""
USABLE = 0.85
"""Share of the memory that may be planned with; the rest is fragments and what libraries take."""


def count() -> int:
    """Processors that this job may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of_each(processes: int) -> int:
    """Threads of each of several processes that share the processors."""
    return max(1, count() // processes)


def memory() -> int:
    """Bytes of main memory that this job may use."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [
        Path(name).read_text(encoding="ascii").strip() for name in _CGROUP_LIMITS if Path(name).exists()
    ]
    return min([installed, *(int(limit) for limit in limits if limit.isdigit())])


def worthwhile_processes(base_model: Path) -> int:
    """How many processes train fastest on processors alone: two where the base is worth it and fits twice.

    Args:
        base_model: its folder.
    """
    weights = sum(file.stat().st_size for file in base_model.glob("*.safetensors"))
    needed = _SHARED_BY * (_COPIES * weights + _ACTIVATIONS_BYTES)
    if count() < _SHARED_BY or weights < _WORTHWHILE_BYTES or needed > USABLE * memory():
        return 1
    return _SHARED_BY
