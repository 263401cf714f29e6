"""A new version without a second instance: it replaces the endpoint when nobody uses it."""

import pytest

from shared import clock
from shared.hosting import endpoint_configs, hosting_state, instances
from shared.models import versions
from shared.runs import lock, run_records
from smoke_test import handler as smoke_test
from smoke_test.checks import SmokeTestFailed
from tests.unit.functions.test_endpoint_manager_states import RUN, World, world

__all__ = ["world"]


@pytest.fixture
def one(world: World) -> World:
    """v1 answers, and the account may have one instance of its type and none of another."""
    world.sagemaker.quotas = {**dict.fromkeys(instances.allowed_instances(), 0), "ml.g6.xlarge": 1}
    world.message()
    world.sagemaker.go_on(well=True)
    world.endpoint_manager("tick")
    assert lock.acquire(RUN, "arn")
    return world


def _look(world: World, deployment: dict[str, str], *, minutes: float = 1) -> str:
    """Look once as the state machine does; before it SageMaker goes on and the endpoint manager ticks."""
    world.time.pass_by(minutes=minutes)
    world.sagemaker.go_on(well=True)
    world.endpoint_manager("tick")
    looked = smoke_test.handler({"run_id": RUN, "deployment": deployment}, world.context)
    return str(looked["status"])


def _look_until_passed(world: World, deployment: dict[str, str], *, times: int = 20) -> int:
    """Look until the version is live; returns after how many looks."""
    for number in range(1, times + 1):
        if _look(world, deployment) == "passed":
            return number
    raise AssertionError(f"not live after {times} looks: {hosting_state.state()}")


@pytest.mark.aws_fact
def test_with_a_quota_of_one_instance_a_version_goes_live_by_replacement(one: World) -> None:
    one.time.pass_by(minutes=6)
    deployment = one.deploy("v2")
    _look_until_passed(one, deployment)
    live = versions.live()
    assert live is not None
    assert (live.version, live.previous) == ("v2", "v1")
    state = hosting_state.state()
    assert (state.status, state.version, state.endpoint_config) == ("awake", "v2", one.sagemaker.config)
    assert endpoint_configs.instance_of(one.sagemaker.config) == "ml.g6.xlarge"
    assert state.wake_seconds is not None and state.wake_seconds <= 180, "the next wake is foreseen by it"


def test_a_conversation_is_not_interrupted(one: World) -> None:
    deployment = one.deploy("v2")
    for _ in range(8):
        one.message()
        assert _look(one, deployment) == "waiting"
        assert (hosting_state.state().status, one.sagemaker.status) == ("awake", "InService"), "v1 answers"
    run = run_records.get(RUN)
    assert run is not None and run.message is not None
    assert "nobody has used the model for 5 minutes" in run.message
    _look_until_passed(one, deployment)


def test_new_requests_wait_while_the_last_answer_ends(one: World) -> None:
    deployment = one.deploy("v2")
    for _ in range(16):
        one.message()
        assert _look(one, deployment) == "waiting"
    state = hosting_state.state()
    assert state.status == "waking", "it has waited for a quiet moment for long enough"
    assert "v2" in str(state.message) and "chat pauses" in str(state.message)
    assert one.sagemaker.status == "InService", "an answer may still be on its way"
    used = state.last_used_at
    one.message()
    assert hosting_state.state().last_used_at == used, "nobody is answered any more"
    assert _look_until_passed(one, deployment) < 10


def test_a_question_that_came_at_the_same_moment_is_answered_to_its_end(one: World) -> None:
    one.time.pass_by(minutes=6)
    deployment = one.deploy("v2")
    while hosting_state.state().status != "waking":
        _look(one, deployment)
    assert hosting_state.touch(at_once=True), "it read that the model is awake, and writes that it is used"
    for _ in range(4):
        _look(one, deployment)
        assert one.sagemaker.status == "InService"
    _look_until_passed(one, deployment)


@pytest.mark.parametrize("starts", [True, False], ids=["answers badly", "does not start"])
def test_the_live_version_is_restored_if_the_new_one_fails(one: World, *, starts: bool) -> None:
    one.time.pass_by(minutes=6)
    deployment = one.deploy("v2")
    one.sound = False
    while one.sagemaker.status != "Creating":
        _look(one, deployment)
    one.sagemaker.go_on(well=starts)
    with pytest.raises(SmokeTestFailed):
        smoke_test.handler({"run_id": RUN, "deployment": deployment}, one.context)
    lock.force_release(RUN)
    live = versions.live()
    assert live is not None and live.version == "v1"
    assert hosting_state.state().version == "v1"
    for _ in range(4):
        one.sagemaker.go_on(well=True)
        one.endpoint_manager("tick")
        one.time.pass_by(minutes=1)
    assert (hosting_state.state().status, one.sagemaker.status) == ("awake", "InService")
    assert "-v1-" in one.sagemaker.config


@pytest.mark.parametrize("after", range(1, 9), ids=lambda looks: f"{looks} looks")
def test_the_live_version_is_restored_if_the_run_is_stopped(one: World, after: int) -> None:
    one.time.pass_by(minutes=6)
    deployment = one.deploy("v2")
    one.sound = False
    for _ in range(after):
        try:
            _look(one, deployment)
        except SmokeTestFailed:
            break
    lock.force_release(RUN)
    for _ in range(8):
        one.message()
        one.sagemaker.go_on(well=True)
        one.endpoint_manager("tick")
        one.time.pass_by(minutes=1)
    state = hosting_state.state()
    assert (state.status, state.version) == ("awake", "v1")
    assert "-v1-" in one.sagemaker.config


def test_without_capacity_for_a_second_instance_it_goes_live_when_the_first_has_slept(world: World) -> None:
    """Whoever gives up the only instance while AWS has none free may not get it back."""
    world.message()
    world.sagemaker.go_on(well=True)
    world.endpoint_manager("tick")
    assert lock.acquire(RUN, "arn")
    world.sagemaker.short = dict.fromkeys(instances.allowed_instances(), "capacity")
    deployment = world.deploy("v2")
    for _ in range(14):
        assert _look(world, deployment) == "waiting"
    assert (hosting_state.state().version, "-v1-" in world.sagemaker.config) == ("v1", True)
    world.sagemaker.short.clear()
    _look_until_passed(world, deployment, times=25)


def test_a_shortage_does_not_fail_the_version(world: World) -> None:
    assert lock.acquire(RUN, "arn")
    world.sagemaker.short = dict.fromkeys(instances.allowed_instances(), "quota")
    deployment = world.deploy("v2")
    with pytest.raises(SmokeTestFailed, match=r"storyloom models activate v2") as failed:
        for _ in range(8):
            _look(world, deployment)
    assert "nothing has to be trained again" in str(failed.value)
    model = versions.get("v2")
    assert model is not None and model.status == "approved"
    assert clock.now() > clock.instant(deployment["started_at"])
