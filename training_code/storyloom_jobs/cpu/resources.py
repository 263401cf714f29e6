"""Processors and main memory: how much there is, how to share it among processes, how to tune malloc.

Imports none of the libraries that take seconds, because the launcher needs this before it starts others.
"""

import ctypes
import os
import platform
from pathlib import Path

GIBIBYTE = 2**30

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

_CPU_PROCESSES = 2
"""Processes that train together without a GPU. One process's threads wait for the slowest of them after each
of a step's thousands of small operations; two processes wait for each other once a step."""
_MIN_WEIGHT_BYTES = 100 * 2**20
"""A smaller base model is trained before a second process has started."""
_WEIGHT_COPIES = 4
"""Copies of the base model's file in each process: twice the width in fp32, and the same with the adapter
merged."""
_ACTIVATION_BYTES = 2.5 * GIBIBYTE
"""Memory of a process besides the weights: libraries, and activations kept for the backward pass."""
USABLE_SHARE = 0.85
"""Share of the memory to plan with; the rest is for fragmentation and libraries."""

# Names and numbers of <malloc.h>, see mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_NEVER = 2**31 - 1
_GROW_BY_BYTES = 256 * 1024**2
_OTHER_ALLOCATORS = ("tcmalloc", "jemalloc", "mimalloc")


def cpu_count() -> int:
    """Count the processors that this job may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_per_process(processes: int) -> int:
    """Divide the processors among several processes."""
    return max(1, cpu_count() // processes)


def memory_bytes() -> int:
    """Return the main memory that this job may use, in bytes."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [
        Path(name).read_text(encoding="ascii").strip() for name in _CGROUP_LIMITS if Path(name).exists()
    ]
    return min([installed, *(int(limit) for limit in limits if limit.isdigit())])


def fastest_process_count(base_model: Path) -> int:
    """Return how many processes train fastest without a GPU: two if the base model is large and fits twice.

    Args:
        base_model: folder of the base model.
    """
    weights = sum(file.stat().st_size for file in base_model.glob("*.safetensors"))
    needed = _CPU_PROCESSES * (_WEIGHT_COPIES * weights + _ACTIVATION_BYTES)
    if cpu_count() < _CPU_PROCESSES or weights < _MIN_WEIGHT_BYTES or needed > USABLE_SHARE * memory_bytes():
        return 1
    return _CPU_PROCESSES


def tune_malloc() -> bool:
    """Make glibc keep freed memory; return False if another allocator or C library is in use.

    A step on a CPU allocates and frees some gigabytes of large buffers. By default glibc returns each of them
    to the system and gets it anew, zeroed, page by page, which costs about a quarter of the step. Preloading
    tcmalloc or jemalloc is the usual cure; two settings of glibc's own allocator do the same without an extra
    file.

    Call this before the first large allocation. Peak memory stays the same, but is never given back.
    """
    preloaded = os.environ.get("LD_PRELOAD", "")
    if platform.libc_ver()[0] != "glibc" or any(name in preloaded for name in _OTHER_ALLOCATORS):
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _GROW_BY_BYTES))
    return all(libc.mallopt(name, value) == 1 for name, value in settings)
