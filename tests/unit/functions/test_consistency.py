"""SageMaker may not find at once what was just created; nothing fails because of that."""

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from endpoint_manager.handler import handler as endpoint_manager
from shared.aws import clients, sagemaker_calls
from shared.hosting import endpoint, endpoint_configs, hosting_state
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.sagemaker_stand_in import StandIn


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have waited between attempts."""
    seconds: list[float] = []
    monkeypatch.setattr(sagemaker_calls, "_sleep", seconds.append)
    return seconds


@pytest.mark.aws_fact
def test_an_endpoint_is_created_from_a_configuration_that_is_not_visible_yet(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext, waits: list[float]
) -> None:
    endpoint_configs.ensure_config(live_v1, "ml.g6.xlarge")
    sagemaker.unseen = 2
    assert endpoint_manager({"action": "wake"}, context)["status"] == "waking"
    assert sagemaker.endpoint is None
    assert hosting_state.state().requested is None, "SageMaker has not taken it"
    for _ in range(2):
        assert endpoint_manager({}, context)["status"] == "waking"
    assert sagemaker.created() == 1


def test_an_endpoint_is_updated_to_a_configuration_that_is_not_visible_yet(
    awake_v1: StandIn, resources: DeployedResources, live_v1: str, waits: list[float]
) -> None:
    wanted = endpoint_configs.ensure_config(live_v1.replace("v1", "v2"), "ml.g6.xlarge")
    awake_v1.unseen = 1
    assert endpoint.converge(wanted).state == "waiting"
    assert hosting_state.state().requested != wanted
    assert endpoint.converge(wanted).state == "waiting"
    assert (hosting_state.state().requested, awake_v1.calls.count("UpdateEndpoint")) == (wanted, 1)


def test_a_configuration_is_made_of_a_model_that_is_not_visible_yet(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, waits: list[float]
) -> None:
    sagemaker.unseen = 3
    assert endpoint_configs.ensure_config(live_v1, "ml.g6.xlarge") in sagemaker.configs
    assert waits == [1, 2, 4]


def test_what_is_really_missing_is_an_error_in_the_end(
    resources: DeployedResources, sagemaker: StandIn, waits: list[float]
) -> None:
    sagemaker.unseen = 99
    with pytest.raises(ClientError, match="Could not find"):
        sagemaker_calls.retry_until_visible(
            clients.sagemaker().create_endpoint_config,
            EndpointConfigName="any",
            ProductionVariants=[{"VariantName": "main", "ModelName": "none"}],
        )
    assert sum(waits) == 15
