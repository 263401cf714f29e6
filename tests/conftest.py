"""What all tests share: one browser for page and journey, patience on a busy machine, ears for Ctrl-C."""

import os
import signal
from pathlib import Path

from hypothesis import HealthCheck, settings

from tests.browser.chromium import chromium, context, page

__all__ = ["chromium", "context", "page"]

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Unpacking the CDK takes jsii ten seconds and compiling it takes node three, for every new home folder.
_CACHES = Path(__file__).resolve().parents[1] / ".cache"
os.environ.setdefault("JSII_RUNTIME_PACKAGE_CACHE_ROOT", str(_CACHES / "jsii"))
os.environ.setdefault("NODE_COMPILE_CACHE", str(_CACHES / "node-compile"))

# The groups of `make test` share two processors: that an example took long says nothing of what it tests.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
