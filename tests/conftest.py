"""How the tests are shared out when they run in two processes."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of one folder stay in one process: they share what is slow to start (a cloud, a synth)."""
    for item in items:
        folder = item.path.parent.relative_to(TESTS)
        item.add_marker(pytest.mark.xdist_group(folder.as_posix()))
