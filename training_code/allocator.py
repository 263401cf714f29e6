"""Keeps the memory that one training step frees for the next, which wants the same amounts again.

A step on a CPU takes and frees some gigabytes of large buffers. glibc gives each of them back to the system
and gets it anew, zeroed, page by page, which costs about a quarter of the step. Keeping it is what
tcmalloc and jemalloc are preloaded for elsewhere; two settings of glibc's own allocator need no such file.
"""

import ctypes
import os
import platform

# The names and numbers are those of <malloc.h>, see mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_NEVER = 2**31 - 1
_GROW_BY_BYTES = 256 * 1024**2
_OTHER_ALLOCATORS = ("tcmalloc", "jemalloc", "mimalloc")


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed; False where another allocator or C library is in use.

    To be called before the first large allocation. The process's peak stays the same, but it holds on to it.
    """
    preloaded = os.environ.get("LD_PRELOAD", "")
    if platform.libc_ver()[0] != "glibc" or any(name in preloaded for name in _OTHER_ALLOCATORS):
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _GROW_BY_BYTES))
    return all(libc.mallopt(name, value) == 1 for name, value in settings)
