"""Without the Chat stack nothing puts an endpoint to sleep, so no run trains and no endpoint is created."""

from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from activate.handler import handler as activate
from preflight.handler import handler as preflight
from shared.aws import clients
from shared.aws.chat_stack import ChatNotDeployedError
from shared.hosting import hosting_state
from shared.models import versions
from shared.runs import lock
from smoke_test import handler as smoke_test
from smoke_test.checks import SmokeTestFailed
from tests.unit.functions.conftest import DeployedResources, page_parameter
from tests.unit.functions.test_endpoint_manager_states import RUN, World, world

__all__ = ["world"]

ASKED = {"run_id": RUN, "estimate": {"training_minutes": 6.0}}


def _forget(resources: DeployedResources) -> None:
    boto3.client("ssm").delete_parameter(Name=page_parameter(resources.table))


class _Denying:
    """A Parameter Store that refuses."""

    def get_parameter(self, **_: str) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetParameter")


@pytest.mark.aws_fact
def test_a_run_ends_before_its_training_if_there_is_no_endpoint_manager(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORYLOOM_QUOTAS", "[]")
    assert preflight(ASKED, context)["enough"]
    _forget(resources)
    told = preflight(ASKED, context)
    assert not told["enough"]
    for part in (
        "The Chat stack is not deployed",
        "npx --no-install cdk deploy --all",
        "stories are kept",
        "storyloom start",
    ):
        assert part in told["message"]


def test_a_preflight_without_permissions_stops_nothing(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORYLOOM_QUOTAS", "[]")
    monkeypatch.setattr(clients, "ssm", _Denying)
    assert preflight(ASKED, context)["enough"]


def test_no_endpoint_is_created_without_an_endpoint_manager(world: World) -> None:
    _forget(world.resources)
    with pytest.raises(ChatNotDeployedError, match=r"storyloom models activate v2"):
        world.deploy("v2")
    assert world.sagemaker.status is None
    model = versions.get("v2")
    assert model is not None and model.status == "approved"


def test_a_deployment_that_may_not_look_fails_with_the_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "ssm", _Denying)
    with pytest.raises(ClientError, match="AccessDenied"):
        world.deploy("v2")
    assert world.sagemaker.status is None


def test_a_version_is_not_activated_without_an_endpoint_manager(
    resources: DeployedResources, context: LambdaContext, world: World
) -> None:
    world.register("v2")
    _forget(resources)
    event = {"run_id": RUN, "version": "v2", "reason": "by hand", "execution_arn": "arn:e"}
    with pytest.raises(ChatNotDeployedError):
        activate(event, context)


@pytest.mark.parametrize("looks", [0, 1])
def test_an_endpoint_is_deleted_if_the_chat_stack_is_deleted_during_its_deployment(
    world: World, looks: int
) -> None:
    assert lock.acquire(RUN, "arn")
    call: dict[str, Any] = {"run_id": RUN, "deployment": world.deploy("v2")}
    for _ in range(looks):
        smoke_test.handler(call, world.context)
    world.sagemaker.go_on(well=True)
    _forget(world.resources)
    with pytest.raises(SmokeTestFailed, match=r"The Chat stack is not deployed.*models activate v2"):
        smoke_test.handler(call, world.context)
    world.sagemaker.go_on(well=True)
    assert world.sagemaker.status is None
    assert hosting_state.state().status != "waking"
    model = versions.get("v2")
    assert model is not None and model.status == "approved"


def test_an_endpoint_in_creation_is_deleted_as_soon_as_sagemaker_allows_it(world: World) -> None:
    assert lock.acquire(RUN, "arn")
    call: dict[str, Any] = {"run_id": RUN, "deployment": world.deploy("v2")}
    _forget(world.resources)
    assert world.sagemaker.status == "Creating"
    assert smoke_test.handler(call, world.context)["status"] == "waiting"
    world.sagemaker.go_on(well=True)
    with pytest.raises(SmokeTestFailed):
        smoke_test.handler(call, world.context)
    assert world.sagemaker.status == "Deleting"
