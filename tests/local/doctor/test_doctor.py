"""`storyloom doctor` against the local cloud: a new account, a usual one, and one that is half deployed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from contracts.settings import Settings
from local.aws.account import account_file
from stacks.containers import hosting_image
from stacks.quotas import needed
from tests.local.doctor.conftest import Examined, user

pytestmark = pytest.mark.cloud

EMAIL = ("-c", "admin_email=ada@example.com")
OF_THIS_MACHINE = {"make setup", "CDK CLI"}
"""What may be out of date in a checkout that runs the tests."""
SPOT = "ml.g6.xlarge for spot training job usage"


@pytest.fixture
def quotas_set_back(new: Examined) -> Iterator[None]:
    yield
    account_file.write_account(new.cloud.folders.account, account_file.Account("new"))


def test_a_new_account_gets_every_problem_with_its_cure(new: Examined) -> None:
    report = new.report()
    wrong = {
        finding["subject"]: finding
        for finding in report["findings"]
        if finding["status"] != "ok" and finding["subject"] not in OF_THIS_MACHINE
    }
    crosses = {subject for subject, finding in wrong.items() if finding["status"] == "fault"}
    assert crosses == {
        "admin_email",
        "CDK bootstrap",
        SPOT,
        "ml.g6.xlarge for processing job usage",
        "ml.g6.xlarge for endpoint usage",
    }
    assert set(wrong) - crosses == {
        "Credentials",  # the root user's
        "CloudFront",
        "Concurrent executions",
        *(need.name for need in needed(Settings()) if need.optional),
    }
    assert len(wrong) >= 10
    assert all(finding["cure"] for finding in wrong.values())
    assert not any("could not be checked" in finding["message"] for finding in wrong.values())


def test_a_usual_account_has_ticks_only(usual: Examined) -> None:
    report = usual.report(*EMAIL)
    wrong = [
        finding
        for finding in report["findings"]
        if finding["status"] != "ok" and finding["subject"] not in OF_THIS_MACHINE
    ]
    assert wrong == []
    assert report["by_subject"]["Credentials"]["message"].endswith("as user/ada")


def test_a_quota_that_is_granted_becomes_a_tick(usual: Examined) -> None:
    usual.cloud.set_quota(SPOT, 0)
    try:
        assert usual.report(*EMAIL)["by_subject"][SPOT]["status"] == "fault"
    finally:
        usual.cloud.set_quota(SPOT, 1)
    assert usual.report(*EMAIL)["by_subject"][SPOT]["status"] == "ok"


def test_missing_quotas_are_asked_for_once(new: Examined, quotas_set_back: None) -> None:
    first = new.report("--fix", "--yes")
    asked = {finding["subject"]: finding for finding in first["requested"]}
    assert set(asked) == {need.name for need in needed(Settings())}
    assert {finding["status"] for finding in asked.values()} == {"ok"}
    assert "asked for 1001" in asked["Concurrent executions"]["message"]
    second = new.report("--fix", "--yes")
    assert second["requested"] == []
    assert "to 1, pending" in second["by_subject"][SPOT]["cure"]
    for need in needed(Settings()):
        new.cloud.set_quota(need.name, 2000)
    assert new.report()["by_subject"][SPOT]["status"] == "ok"


@pytest.mark.aws_fact
def test_a_reduced_quota_cannot_be_asked_back_to_its_default(new: Examined) -> None:
    quotas = new.client("service-quotas")
    for value in (100, 1000):
        with pytest.raises(ClientError, match="greater than the default quota value of 1000"):
            quotas.request_service_quota_increase(
                ServiceCode="lambda", QuotaCode="L-B99A9384", DesiredValue=value
            )


def test_a_caller_without_permissions_to_read_gets_the_missing_ones(usual: Examined) -> None:
    nobody = user(usual, "nobody")
    report = usual.report(*EMAIL, **nobody)
    findings = report["by_subject"]
    assert findings["Credentials"]["status"] == "ok", "asking who one is needs no permission"
    for subject, action in (
        ("SageMaker's quotas", "servicequotas:ListServiceQuotas"),
        ("CDK bootstrap", "ssm:GetParameter"),
        ("Stacks", "cloudformation:DescribeStacks"),
        ("CloudFront", "cloudfront:ListDistributions"),
        ("Jobs", "sagemaker:ListTrainingJobs"),
    ):
        assert findings[subject]["status"] == "warning", findings[subject]
        assert action in findings[subject]["message"]
    crosses = [finding for finding in report["findings"] if finding["status"] == "fault"]
    assert crosses == [], "what was not seen is not wrong"


def test_a_key_that_aws_does_not_know_and_a_wrong_secret_are_one_cross(usual: Examined) -> None:
    deleted = usual.report(*EMAIL, AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE")["by_subject"]
    assert "does not accept these credentials" in deleted["Credentials"]["message"]
    wrong = usual.report(*EMAIL, AWS_SECRET_ACCESS_KEY="wrong")["by_subject"]
    assert "does not belong to the access key" in wrong["Credentials"]["message"]
    assert "SageMaker's quotas" not in wrong and "Stacks" not in wrong


def test_a_deployment_that_is_half_gone_is_named_with_the_reason(usual: Examined) -> None:
    formation = usual.client("cloudformation")
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "tales-storage-kept"}}
    broken = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"ZipFile": "x"},
            "Role": "arn:aws:iam::123456789012:role/x",
            "MemorySize": 99999,
        },
    }
    for name, resources in (("Tales-Storage", {"Kept": bucket}), ("Tales-Pipeline", {"Assemble": broken})):
        formation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
        _until_settled(formation, name)
    unwatched_endpoint(usual, "tales")
    findings = usual.report(*EMAIL, "-c", "name=tales")["by_subject"]
    pipeline = findings["Tales-Pipeline"]
    assert pipeline["status"] == "warning" and pipeline["message"].startswith("ROLLBACK_COMPLETE")
    assert "at Assemble" in pipeline["message"]
    assert findings["Tales-Storage"]["status"] == "ok"
    assert findings["Endpoint"]["status"] == "fault"
    assert "bills $1.13 an hour" in findings["Endpoint"]["message"]
    assert "delete-endpoint --endpoint-name tales" in findings["Endpoint"]["cure"]


def _until_settled(formation: object, name: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (stack,) = formation.describe_stacks(StackName=name)["Stacks"]  # type: ignore[attr-defined]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} does not settle")


def unwatched_endpoint(examined: Examined, name: str) -> None:
    """Make an endpoint that nobody watches; whether its model ever starts does not matter."""
    iam, sagemaker = examined.client("iam"), examined.client("sagemaker")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sagemaker.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    role = iam.create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    source = {
        "S3DataSource": {"S3Uri": "s3://none/at/all/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    }
    image = hosting_image("us-east-1", "ml.g6.xlarge")
    container = {"Image": image, "ModelDataSource": source}
    sagemaker.create_model(ModelName=f"{name}-v1", PrimaryContainer=container, ExecutionRoleArn=role)
    variant = {
        "VariantName": "All",
        "ModelName": f"{name}-v1",
        "InstanceType": "ml.g6.xlarge",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=f"{name}-v1", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-v1")
