"""A deployment without a free instance: the version moves to the next, and the live one stays."""

import pytest

from shared.hosting import endpoint_configs, hosting_state, instances
from shared.models import versions
from shared.runs import lock
from smoke_test import handler as smoke_test
from smoke_test.checks import SmokeTestFailed
from tests.unit.functions.test_endpoint_manager_states import RUN, World, world

__all__ = ["world"]


def _looks(world: World, deployment: dict[str, str], *, times: int = 8) -> str:
    """Look as the state machine does, while SageMaker and the endpoint manager go on; returns the end."""
    status = "waiting"
    for _ in range(times):
        world.time.pass_by(minutes=1)
        world.sagemaker.go_on(well=True)
        world.endpoint_manager("tick")
        status = smoke_test.handler({"run_id": RUN, "deployment": deployment}, world.context)["status"]
        if status == "passed":
            break
    return status


@pytest.mark.parametrize("why", ["capacity", "quota"])
@pytest.mark.parametrize("awake", [True, False])
def test_a_version_is_deployed_to_the_next_instance(world: World, why: str, awake: bool) -> None:
    if awake:
        world.message()
        world.sagemaker.go_on(well=True)
        world.endpoint_manager("tick")
    assert lock.acquire(RUN, "arn")
    world.sagemaker.short["ml.g6.xlarge"] = why
    deployment = world.deploy("v2")
    assert _looks(world, deployment) == "passed"
    state = hosting_state.state()
    assert (state.status, state.version) == ("awake", "v2")
    assert endpoint_configs.instance_of(world.sagemaker.config) == "ml.g5.xlarge"
    assert state.endpoint_config == world.sagemaker.config
    live = versions.live()
    assert live is not None and live.version == "v2"


def test_without_any_instance_the_message_says_what_was_tried(world: World) -> None:
    assert lock.acquire(RUN, "arn")
    world.sagemaker.short = dict.fromkeys(instances.allowed_instances(), "quota")
    deployment = world.deploy("v2")
    with pytest.raises(
        SmokeTestFailed, match=r"could not host v2: .*ml\.g6e\.xlarge \(over the account's quota\)"
    ):
        _looks(world, deployment)
    live = versions.live()
    assert (live is not None and live.version, hosting_state.state().version) == ("v1", "v1")


@pytest.mark.parametrize(
    ("reason", "short"),
    [
        (
            "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error.",
            "capacity",
        ),
        ("CapacityError: Unable to provision requested ML compute capacity. Please retry.", "capacity"),
        (
            "ResourceLimitExceeded: The account-level service limit 'ml.g6.xlarge for endpoint usage' is 0.",
            "quota",
        ),
        ("CannotStartContainerError: driver too old.", None),
        (None, None),
    ],
)
def test_a_shortage_is_distinguished_from_other_failures(reason: str | None, short: str | None) -> None:
    assert instances.shortage(reason) == short


def test_the_table_names_the_version_that_answers_if_no_second_instance_is_available(world: World) -> None:
    world.message()
    world.sagemaker.go_on(well=True)
    world.endpoint_manager("tick")
    world.live("v2")
    world.sagemaker.short["ml.g6.xlarge"] = "quota"
    world.endpoint_manager("tick")
    world.sagemaker.short.clear()
    world.endpoint_manager("tick")
    assert hosting_state.state().endpoint_config == world.sagemaker.config
    world.endpoint_manager("sleep")
    world.sagemaker.go_on(well=True)
    world.message()
    assert "-v2-g6-xlarge-" in world.sagemaker.config


def test_the_table_names_the_version_that_answers_after_a_change_by_the_endpoint_manager(
    world: World,
) -> None:
    world.message()
    world.sagemaker.go_on(well=True)
    world.endpoint_manager("tick")
    world.live("v2")
    world.endpoint_manager("tick")
    world.sagemaker.go_on(well=True)
    world.endpoint_manager("tick")
    state = hosting_state.state()
    assert (state.version, state.endpoint_config) == ("v2", world.sagemaker.config)
