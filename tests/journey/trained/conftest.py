"""A deployment whose first version was trained: dropping stories started the run that made it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page
from rich.console import Console

from cli import journey
from cli.run_progress import follow_run, wait_for_new_run
from tests.browser.pages import SignInPage
from tests.journey.deployed_app import (
    CHECKOUT,
    PATIENCE_S,
    RUN_SECONDS,
    STORIES,
    Deployed,
    deployed_app,
    wait_for,
)
from tests.journey.versions import copy_of

STATE = CHECKOUT / ".local-cloud-journey"


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    """The unmodified app on AWS on this machine."""
    with deployed_app(STATE, 4676, 8510) as app:
        yield app


@dataclass(frozen=True)
class FirstDrop:
    """What came of dropping the sample stories, and one late file while they trained."""

    run: dict[str, Any]
    executions: list[dict[str, Any]]
    """Every execution of the state machine, newest first, once nothing more can start."""


@pytest.fixture(scope="session")
def first_drop(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> FirstDrop:
    """Drops stories and, while they train, one late file instead; waits for both runs."""
    console = Console(stderr=True)
    folder = tmp_path_factory.mktemp("writer") / STORIES[0].parent.name
    folder.mkdir()
    for story in STORIES:
        shutil.copy(story, folder)
    journey.upload_stories(deployed.api, folder, console)
    run_id = wait_for_new_run(deployed.api, set(), PATIENCE_S)
    wait_for(lambda: "Train" in [s["name"] for s in deployed.api.run(run_id)["states"]] or None)
    deployed.empty_bucket()
    deployed.drop({"late.txt": b"A late story, and a short one. " * 10})
    run = follow_run(deployed.api, run_id, console, RUN_SECONDS)
    deployed.finished_run(wait_for_new_run(deployed.api, {run_id}, PATIENCE_S))
    deployed.wait_for_rest()
    return FirstDrop(run, deployed.executions())


@pytest.fixture(scope="session")
def first_run(first_drop: FirstDrop) -> dict[str, Any]:
    """The record of the run that dropping the stories started, once it has ended."""
    return first_drop.run


@pytest.fixture
def another_version(deployed: Deployed, first_run: dict[str, Any]) -> str:
    """A further approved version, of its own for each test."""
    return copy_of(deployed, first_run["version"])


@pytest.fixture
def writer(page: Page, deployed: Deployed, first_run: dict[str, Any]) -> Page:
    """A tab in which the first person of the deployment is signed in."""
    record = deployed.cloud.description()
    SignInPage(page).open(record["url"]).sign_in(record["sign_in"]["email"], record["sign_in"]["password"])
    page.get_by_role("navigation", name="Main").wait_for()
    return page
