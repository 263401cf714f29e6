"""The account's quotas: what exceeds one is refused at once, and what runs goes on."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.aws.account import account_file
from tests.local.sagemaker.conftest import Aws, training_request, until
from tests.local.sagemaker.test_endpoints import _config, _settled, _until_gone
from tests.local.sagemaker.test_transform import _model
from tests.local.sagemaker.test_transform import _request as transform_request
from tests.local.sagemaker.test_tuning import _request as tuning_request

pytestmark = pytest.mark.cloud

GPU = "ml.g6.xlarge"
SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
}


@pytest.fixture(autouse=True)
def _restore_quotas(aws: Aws) -> Iterator[None]:
    """Restore the quotas of the usual account for other tests."""
    before = account_file.read_account(aws.cloud.folders.account)
    yield
    account_file.write_account(aws.cloud.folders.account, before)


@pytest.fixture
def allow(aws: Aws) -> Callable[[str, int], None]:
    """Set how many instances the account may have for a usage."""
    return lambda usage, count: aws.cloud.set_quota(f"{GPU} for {usage} usage", count)


def _refused(call: Callable[..., Any], **request: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**request)
    error = refused.value.response["Error"]
    assert error["Code"] == "ResourceLimitExceeded"
    return error["Message"]


@pytest.mark.aws_fact
def test_spot_on_demand_processing_and_transform_are_quotas_of_their_own(
    aws: Aws, job_role: str, allow: Callable[[str, int], None]
) -> None:
    sagemaker = aws.client("sagemaker")
    model = _model(aws, job_role, {"words.txt": b"any"})
    calls: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
        "training job": lambda: (sagemaker.create_training_job, _training(job_role)),
        "spot training job": lambda: (sagemaker.create_training_job, _training(job_role, **SPOT)),
        "processing job": lambda: (sagemaker.create_processing_job, _processing(job_role)),
        "transform job": lambda: (sagemaker.create_transform_job, transform_request(model)),
    }
    for closed in calls:
        for usage in calls:
            allow(usage, 0 if usage == closed else 20)
        for usage, prepare in calls.items():
            call, request = prepare()
            if usage == closed:
                message = _refused(call, **request)
                assert f"'{GPU} for {usage} usage' is 0 Instances" in message
                allow(closed, 20)  # what was refused has left nothing: its name is free
            call(**request)


def test_an_instance_is_free_when_its_job_has_ended(
    aws: Aws, job_role: str, allow: Callable[[str, int], None]
) -> None:
    sagemaker = aws.client("sagemaker")
    until(lambda: {"free": _is_idle(aws)}, lambda seen: seen["free"])
    allow("training job", 1)
    first = aws.training_job(job_role, {"seconds": "60"})
    message = _refused(sagemaker.create_training_job, **_training(job_role))
    assert "current utilization of 1 Instances and a request delta of 1 Instances" in message
    sagemaker.stop_training_job(TrainingJobName=first)
    aws.ended(first)
    aws.ended(aws.training_job(job_role))


@pytest.mark.aws_fact
def test_an_update_needs_the_quota_for_both_fleets(
    aws: Aws, job_role: str, allow: Callable[[str, int], None]
) -> None:
    sagemaker, name = aws.client("sagemaker"), f"endpoint-{uuid4().hex[:8]}"
    in_use = _instances_in_use(aws)
    first, second = _config(aws, job_role, "first"), _config(aws, job_role, "second")
    allow("endpoint", in_use + 1)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=first)
    _settled(aws, name)
    message = _refused(sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=second)
    assert f"current utilization of {in_use + 1} Instances and a request delta of 1 Instances" in message
    described = sagemaker.describe_endpoint(EndpointName=name)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", first)

    more = [{"VariantName": "only", "DesiredInstanceCount": 2}]
    _refused(
        sagemaker.update_endpoint_weights_and_capacities, EndpointName=name, DesiredWeightsAndCapacities=more
    )
    allow("endpoint", in_use + 2)
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=second)
    assert _settled(aws, name)["EndpointConfigName"] == second
    # The first fleet has given its instance back, so another update fits again.
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=first)
    assert _settled(aws, name)["EndpointConfigName"] == first
    sagemaker.delete_endpoint(EndpointName=name)
    _until_gone(aws, name)
    allow("endpoint", in_use)
    _refused(sagemaker.create_endpoint, EndpointName=name, EndpointConfigName=first)


@pytest.mark.aws_fact
def test_a_tuning_job_needs_the_quota_for_all_parallel_trials(
    aws: Aws, job_role: str, allow: Callable[[str, int], None]
) -> None:
    until(lambda: {"free": _is_idle(aws)}, lambda seen: seen["free"])
    allow("training job", 1)
    message = _refused(aws.client("sagemaker").create_hyper_parameter_tuning_job, **tuning_request(job_role))
    assert "is 1 Instances" in message
    assert "a request delta of 2 Instances" in message


def _training(role: str, **changes: Any) -> dict[str, Any]:
    return {**training_request(f"job-{uuid4().hex[:8]}", role), **changes}


def _processing(role: str) -> dict[str, Any]:
    cluster = {"InstanceCount": 1, "InstanceType": GPU, "VolumeSizeInGB": 10}
    return {
        "ProcessingJobName": f"job-{uuid4().hex[:8]}",
        "RoleArn": role,
        "AppSpecification": {"ImageUri": "any", "ContainerEntrypoint": ["true"]},
        "ProcessingResources": {"ClusterConfig": cluster},
    }


def _is_idle(aws: Aws) -> bool:
    listed = aws.client("sagemaker").list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    return all(job["TrainingJobStatus"] not in ("InProgress", "Stopping") for job in listed)


def _instances_in_use(aws: Aws) -> int:
    """Count the instances of other tests' endpoints, once none of them is being created or deleted."""
    sagemaker = aws.client("sagemaker")

    def endpoints() -> dict[str, Any]:
        names = [one["EndpointName"] for one in sagemaker.list_endpoints()["Endpoints"]]
        return {name: described for name in names if (described := _described(aws, name))}

    def settled(seen: dict[str, Any]) -> bool:
        return all(one["EndpointStatus"] in ("InService", "Failed") for one in seen.values())

    return sum(
        variant["CurrentInstanceCount"]
        for one in until(endpoints, settled).values()
        if one["EndpointStatus"] == "InService"
        for variant in one["ProductionVariants"]
    )


def _described(aws: Aws, name: str) -> dict[str, Any] | None:
    """Return the endpoint, or None if it was deleted since it was listed."""
    try:
        return dict(aws.client("sagemaker").describe_endpoint(EndpointName=name))
    except ClientError:
        return None
