"""The deadline of the endpoint, after which the guard deletes it."""

from datetime import timedelta

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from endpoint_manager.handler import handler as endpoint_manager
from shared import clock
from shared.hosting import endpoint_configs, hosting_state
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.sagemaker_stand_in import StandIn

IDLE, AFTER = timedelta(minutes=15), timedelta(minutes=15)


def _left() -> timedelta:
    sleep_by = hosting_state.state().sleep_by
    assert sleep_by is not None
    return clock.instant(sleep_by) - clock.now()


def _about(expected: timedelta) -> object:
    return pytest.approx(expected.total_seconds(), abs=30)


def test_use_extends_the_deadline(
    resources: DeployedResources, awake_v1: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _left().total_seconds() == _about(IDLE + AFTER)
    later = clock.now() + timedelta(minutes=10)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert _left().total_seconds() == _about(IDLE + AFTER - timedelta(minutes=10))
    assert hosting_state.touch()
    assert _left().total_seconds() == _about(IDLE + AFTER)


def test_a_start_may_take_as_long_as_the_endpoint_manager_allows(
    resources: DeployedResources, live_v1: str
) -> None:
    config = endpoint_configs.ensure_config(live_v1, "ml.g6.xlarge")
    assert hosting_state.claim_waking("v1", config)
    assert _left().total_seconds() == _about(hosting_state.LONGEST_CHANGE + AFTER)
    assert hosting_state.touch(at_once=True)
    assert _left().total_seconds() == _about(hosting_state.LONGEST_CHANGE + AFTER), "waiting shortens nothing"


def test_the_endpoint_manager_acts_before_the_guard(
    resources: DeployedResources, awake_v1: StandIn, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + IDLE + timedelta(minutes=10))
    endpoint_manager({"action": "tick"}, context)
    assert hosting_state.state().status == "asleep"
    assert awake_v1.endpoint is None or awake_v1.endpoint["EndpointStatus"] == "Deleting"
    assert _left() > timedelta(0), "the guard has yet to act, if the deletion came to nothing"


def test_without_an_endpoint_the_guard_has_nothing_to_do(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    hosting_state.claim_waking("v1", endpoint_configs.ensure_config(live_v1, "ml.g6.xlarge"))
    assert hosting_state.mark_asleep(hosting_state.state(), "Put to sleep by hand.")
    assert hosting_state.state().sleep_by is not None
    endpoint_manager({"action": "tick"}, context)
    assert hosting_state.state().sleep_by is None
