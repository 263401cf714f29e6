"""Every request is validated and authorized as on AWS, before anything happens."""

from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.aws.cloud_environment import ACCOUNT
from tests.local.sagemaker.conftest import BUCKET, Aws, training_request, until

pytestmark = pytest.mark.cloud

INVALID = {
    "an unknown instance": (
        {"ResourceConfig": {"InstanceType": "ml.g99.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10}},
        "'resourceConfig.instanceType' failed to satisfy constraint: Member must satisfy enum value set",
    ),
    "a name with a space": (
        {"TrainingJobName": "my job"},
        "'my job' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression",
    ),
    "an ARN that is none": ({"RoleArn": "not-an-arn-of-a-role"}, "'roleArn' failed to satisfy constraint"),
    "spot without a longest wait": (
        {"EnableManagedSpotTraining": True},
        "Invalid MaxWaitTimeInSeconds",
    ),
    "spot that waits less than it runs": (
        {
            "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59},
        },
        "Invalid MaxWaitTimeInSeconds",
    ),
    "a role of another service": (
        {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/of-lambda"},
        "Could not assume role",
    ),
    "a role that is not there": (
        {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/nobody"},
        "Could not assume role",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _role_of_lambda(aws: Aws) -> None:
    aws.role("lambda.amazonaws.com", {"s3:*": "*"}, name="of-lambda")


@pytest.mark.parametrize(("changes", "message"), INVALID.values(), ids=INVALID.keys())
def test_an_invalid_training_job_is_refused(
    aws: Aws, job_role: str, changes: dict[str, Any], message: str
) -> None:
    request = {**training_request(f"job-{uuid4().hex[:8]}", job_role), **changes}
    with pytest.raises(ClientError) as refused:
        aws.client("sagemaker").create_training_job(**request)
    error = refused.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert message in error["Message"]


def test_what_is_not_there_is_a_validation_error(aws: Aws) -> None:
    with pytest.raises(ClientError, match="Requested resource not found"):
        aws.client("sagemaker").describe_training_job(TrainingJobName="nobody")


def test_an_operation_that_is_not_here_says_so(aws: Aws) -> None:
    with pytest.raises(ClientError, match="does not have ListNotebookInstances"):
        aws.client("sagemaker").list_notebook_instances()


CALLER = {
    "sagemaker:CreateTrainingJob": "*",
    "sagemaker:AddTags": "*",
    "iam:PassRole": "*",
}


@pytest.mark.parametrize("missing", CALLER)
def test_a_caller_needs_every_permission(aws: Aws, job_role: str, missing: str) -> None:
    caller = aws.user("sagemaker", {action: on for action, on in CALLER.items() if action != missing})
    request = training_request(f"job-{uuid4().hex[:8]}", job_role)
    with pytest.raises(ClientError) as refused:
        caller.create_training_job(**request, Tags=[{"Key": "app", "Value": "test"}])
    error = refused.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert f"not authorized to perform: {missing}" in error["Message"]


def test_a_caller_with_the_permissions_may(aws: Aws, job_role: str) -> None:
    caller = aws.user("sagemaker", CALLER)
    name = f"job-{uuid4().hex[:8]}"
    arn = caller.create_training_job(
        **training_request(name, job_role), Tags=[{"Key": "app", "Value": "test"}]
    )["TrainingJobArn"]
    assert aws.client("sagemaker").list_tags(ResourceArn=arn)["Tags"] == [{"Key": "app", "Value": "test"}]
    with pytest.raises(
        ClientError, match=f"not authorized to perform: sagemaker:DescribeTrainingJob on .*{name}"
    ):
        caller.describe_training_job(TrainingJobName=name)


def test_model_packages_have_versions_and_an_approval(aws: Aws) -> None:
    sagemaker = aws.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="stories")
    image = {"Image": "x", "ModelDataUrl": f"s3://{BUCKET}/m.tar.gz"}
    specification = {
        "Containers": [image],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    first, second = (
        sagemaker.create_model_package(ModelPackageGroupName="stories", InferenceSpecification=specification)[
            "ModelPackageArn"
        ]
        for _ in range(2)
    )
    assert (first[-9:], second[-9:]) == ("stories/1", "stories/2")

    sagemaker.update_model_package(ModelPackageArn=second, ModelApprovalStatus="Approved")
    described = sagemaker.describe_model_package(ModelPackageName=second)
    assert (described["ModelApprovalStatus"], described["ModelPackageVersion"]) == ("Approved", 2)
    approved = sagemaker.list_model_packages(ModelPackageGroupName="stories", ModelApprovalStatus="Approved")[
        "ModelPackageSummaryList"
    ]
    assert [package["ModelPackageArn"] for package in approved] == [second]
    with pytest.raises(ClientError, match="still contains Model Packages"):
        sagemaker.delete_model_package_group(ModelPackageGroupName="stories")


def test_a_processing_job_reads_and_writes(aws: Aws, job_role: str) -> None:
    name = f"count-{uuid4().hex[:8]}"
    sagemaker = aws.client("sagemaker")
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=job_role,
        AppSpecification={
            "ImageUri": "any",
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/process.py"],
        },
        ProcessingResources={
            "ClusterConfig": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10}
        },
        ProcessingInputs=[_input("code", "code/"), _input("words", "words/")],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "count",
                    "S3Output": {
                        "S3Uri": f"s3://{BUCKET}/counted/{name}",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    )
    job = until(
        lambda: sagemaker.describe_processing_job(ProcessingJobName=name),
        lambda seen: seen["ProcessingJobStatus"] in ("Completed", "Failed"),
    )
    assert job["ProcessingJobStatus"] == "Completed", job.get("FailureReason")
    body = aws.client("s3").get_object(Bucket=BUCKET, Key=f"counted/{name}/count.txt")["Body"].read()
    assert body == b"4"


def _input(name: str, prefix: str) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": f"s3://{BUCKET}/{prefix}",
            "LocalPath": f"/opt/ml/processing/input/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }
