"""A run waits until no more stories arrive, but not longer than the maximum."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from debounce_uploads.handler import handler as debounce_uploads
from shared import clock
from shared.aws import clients
from start_run.handler import handler as start_run
from tests.unit.functions.conftest import DeployedResources

FIRST = datetime(2030, 1, 1, 12, tzinfo=UTC)
"""In the future: EventBridge Scheduler refuses nothing that the test sets."""


class _Clock:
    def __init__(self) -> None:
        self.now = FIRST

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    time = _Clock()
    monkeypatch.setattr(clock, "now", time)
    return time


def _story_arrives(resources: DeployedResources, context: LambdaContext) -> datetime:
    """Drop a story; returns when the schedule fires."""
    debounce_uploads({"detail": {"object": {"key": "a.txt"}}}, context)
    return _scheduled(resources)[0]


def _scheduled(resources: DeployedResources) -> tuple[datetime, dict[str, Any]]:
    schedule = clients.scheduler().get_schedule(Name="quiet", GroupName=resources.schedule_group)
    at = schedule["ScheduleExpression"].removeprefix("at(").removesuffix(")")
    return datetime.fromisoformat(at).replace(tzinfo=UTC), json.loads(schedule["Target"]["Input"])


def _fires(resources: DeployedResources, context: LambdaContext) -> None:
    """Call start_run as the schedule does, which then is gone."""
    told = _scheduled(resources)[1]
    clients.scheduler().delete_schedule(Name="quiet", GroupName=resources.schedule_group)
    start_run(told, context)


@pytest.mark.parametrize("every", [1, 20, 61, 299])
def test_steady_uploads_postpone_a_run_up_to_the_maximum_wait(
    resources: DeployedResources, context: LambdaContext, time: _Clock, every: int
) -> None:
    latest = FIRST + timedelta(seconds=1800)
    while time.now < latest + timedelta(minutes=2):
        assert _story_arrives(resources, context) <= latest, "a schedule that is late is not moved either"
        # Uploads every second would be 1,900 calls that show nothing more.
        left = (latest - time.now).total_seconds()
        time.now += timedelta(seconds=every if every > 1 or -5 < left < 20 else 20)
    assert _scheduled(resources)[0] == latest


def test_a_run_that_started_ends_the_period(
    resources: DeployedResources, context: LambdaContext, time: _Clock
) -> None:
    _story_arrives(resources, context)
    time.now += timedelta(seconds=310)
    _fires(resources, context)
    time.now += timedelta(seconds=1600)
    assert _story_arrives(resources, context) == time.now + timedelta(seconds=300)
    time.now += timedelta(seconds=200)
    assert _story_arrives(resources, context) == time.now + timedelta(seconds=300), "a period of its own"


def test_a_lost_schedule_does_not_prevent_later_runs(
    resources: DeployedResources, context: LambdaContext, time: _Clock
) -> None:
    _story_arrives(resources, context)
    clients.scheduler().delete_schedule(Name="quiet", GroupName=resources.schedule_group)
    time.now += timedelta(hours=2)
    assert _story_arrives(resources, context) == time.now + timedelta(seconds=300)


def test_a_maximum_wait_below_the_quiet_period_is_raised_to_it(
    resources: DeployedResources, context: LambdaContext, time: _Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORYLOOM_QUIET_SECONDS", "3600")
    assert _story_arrives(resources, context) == FIRST + timedelta(seconds=3600)
    time.now += timedelta(seconds=60)
    assert _story_arrives(resources, context) == FIRST + timedelta(seconds=3600)
