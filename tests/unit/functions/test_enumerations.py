"""The requests of the functions are checked as SageMaker checks them, in every test."""

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from shared.aws import clients
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.sagemaker_stand_in import StandIn

WRONG = {
    "EndpointConfigName": "c",
    "ProductionVariants": [
        {"VariantName": "live", "ModelName": "m", "InstanceType": "ml.g6.nano", "InitialInstanceCount": 1}
    ],
}


@pytest.mark.aws_fact
def test_an_enumeration_is_checked_by_sagemaker_and_not_by_boto3(
    resources: DeployedResources, sagemaker: StandIn
) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model("CreateEndpointConfig").input_shape
    assert shape is not None
    assert not ParamValidator().validate(WRONG, shape).has_errors()
    with pytest.raises(ClientError) as refused:
        clients.sagemaker().create_endpoint_config(**WRONG)  # type: ignore[arg-type]
    error = refused.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert "'productionVariants.1.member.instanceType' failed to satisfy constraint" in error["Message"]
    assert "Member must satisfy enum value set: [ml.t2.medium" in error["Message"]
