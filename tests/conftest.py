"""What all tests share: the browser, and how they are shared out when they run in two processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.chromium import chromium, context, page

# One browser for the page's own tests and for the journey's: Playwright starts once in a process.
__all__ = ["chromium", "context", "page"]

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of one folder stay in one process: they share what is slow to start (a cloud, a synth)."""
    for item in items:
        folder = item.path.parent.relative_to(TESTS)
        item.add_marker(pytest.mark.xdist_group(folder.as_posix()))
