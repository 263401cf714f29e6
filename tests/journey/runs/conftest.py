"""A deployment whose first version was made by hand: how further runs go, and how the app is removed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journey.deployed_app import CHECKOUT, Deployed, deployed_app
from tests.journey.versions import copy_of, make_v1_live

STATE = CHECKOUT / ".local-cloud-runs"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last what removes the deployment."""
    items.sort(key=lambda item: item.path.name == "test_destroy.py")


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    """The unmodified app on AWS on this machine, and a version that answers."""
    with deployed_app(STATE, 4776, 8610) as app:
        make_v1_live(app)
        yield app


@pytest.fixture
def live_version(deployed: Deployed) -> str:
    """The version that answers when the test begins."""
    return str(deployed.api.status()["live"]["version"])


@pytest.fixture
def another_version(deployed: Deployed, live_version: str) -> str:
    """A further approved version, of its own for each test."""
    return copy_of(deployed, live_version)
