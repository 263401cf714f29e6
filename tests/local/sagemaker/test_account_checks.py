"""What checks before a deployment and after a removal read: permissions, tags, names, refusals."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.aws.account import account_file
from local.aws.cloud_environment import ACCOUNT, REGION
from tests.local.sagemaker.conftest import BUCKET, Aws, until
from tests.local.sagemaker.test_endpoints import _config
from tests.local.sagemaker.test_tuning import _request as tuning_request

pytestmark = pytest.mark.cloud


@pytest.fixture
def tag() -> dict[str, str]:
    """Return a tag that nothing else carries."""
    return {"Key": "storyloom:app", "Value": f"app-{uuid4().hex[:8]}"}


def _error(call: Any, **request: Any) -> dict[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**request)
    error = refused.value.response["Error"]
    return {"Code": error["Code"], "Message": error["Message"]}


@pytest.mark.aws_fact
def test_only_users_groups_and_roles_can_be_simulated(aws: Aws) -> None:
    iam = aws.client("iam")
    role = aws.role("lambda.amazonaws.com", {"s3:GetObject": f"arn:aws:s3:::{BUCKET}/yes"})
    for other in (
        f"arn:aws:iam::{ACCOUNT}:root",
        role.replace("iam", "sts").replace("role/", "assumed-role/"),
    ):
        error = _error(iam.simulate_principal_policy, PolicySourceArn=other, ActionNames=["s3:GetObject"])
        assert error["Code"] == "InvalidInput"
        assert "does not clearly define entity type and name" in error["Message"]
    missing = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    error = _error(iam.simulate_principal_policy, PolicySourceArn=missing, ActionNames=["s3:GetObject"])
    assert error["Code"] == "NoSuchEntity"


def test_each_action_is_simulated_on_each_resource(aws: Aws) -> None:
    yes, no = (f"arn:aws:s3:::{BUCKET}/{name}" for name in ("yes", "no"))
    role = aws.role("lambda.amazonaws.com", {"s3:GetObject": yes})
    results = aws.client("iam").simulate_principal_policy(
        PolicySourceArn=role, ActionNames=["s3:GetObject", "s3:PutObject"], ResourceArns=[yes, no]
    )["EvaluationResults"]
    decisions = {(one["EvalActionName"], one["EvalResourceName"]): one["EvalDecision"] for one in results}
    assert decisions == {
        ("s3:GetObject", yes): "allowed",
        ("s3:GetObject", no): "implicitDeny",
        ("s3:PutObject", yes): "implicitDeny",
        ("s3:PutObject", no): "implicitDeny",
    }


@pytest.mark.aws_fact
def test_resources_of_all_services_are_found_by_a_tag_fifty_a_page(
    aws: Aws, job_role: str, tag: dict[str, str]
) -> None:
    logs, sagemaker = aws.client("logs"), aws.client("sagemaker")
    groups = [f"/aws/sagemaker/{tag['Value']}-{number}" for number in range(51)]
    for group in groups:
        logs.create_log_group(logGroupName=group, tags={tag["Key"]: tag["Value"]})
    kept, gone = _config(aws, job_role, "kept"), _config(aws, job_role, "gone")
    arns = [f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint-config/{name}" for name in (kept, gone)]
    for arn in arns:
        sagemaker.add_tags(ResourceArn=arn, Tags=[tag])
    sagemaker.delete_endpoint_config(EndpointConfigName=gone)

    tagging = aws.client("resourcegroupstaggingapi")
    wanted = [{"Key": tag["Key"], "Values": [tag["Value"]]}]
    first = tagging.get_resources(TagFilters=wanted)
    assert len(first["ResourceTagMappingList"]) == 50
    pages = tagging.get_paginator("get_resources").paginate(TagFilters=wanted)
    found = [one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"]]
    of_logs = [f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}" for group in groups]
    assert sorted(found) == sorted([arns[0], *of_logs])


@pytest.mark.aws_fact
def test_the_trials_of_a_tuning_job_carry_its_tags(aws: Aws, job_role: str, tag: dict[str, str]) -> None:
    sagemaker, request = aws.client("sagemaker"), tuning_request(job_role)
    name = request["HyperParameterTuningJobName"]
    sagemaker.create_hyper_parameter_tuning_job(**request, Tags=[tag])
    trials = until(
        lambda: sagemaker.list_training_jobs(NameContains=name),
        lambda seen: bool(seen["TrainingJobSummaries"]),
    )["TrainingJobSummaries"]
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert tag in sagemaker.list_tags(ResourceArn=trials[0]["TrainingJobArn"])["Tags"]


@pytest.fixture
def unverified(aws: Aws) -> Iterator[None]:
    """Return an account that CloudFront refuses until support has looked at it."""
    path = aws.cloud.folders.account
    before = account_file.read_account(path)
    account_file.write_account(path, replace(before, cloudfront_verified=False))
    yield
    account_file.write_account(path, before)


@pytest.mark.aws_fact
@pytest.mark.usefixtures("unverified")
def test_an_account_that_is_not_verified_gets_no_distribution(aws: Aws) -> None:
    refused = _error(aws.client("cloudfront").create_distribution, DistributionConfig=_DISTRIBUTION)
    assert refused["Code"] == "AccessDenied"
    assert refused["Message"].startswith("Your account must be verified before you can add new CloudFront")

    formation, name = aws.client("cloudformation"), f"page-{uuid4().hex[:8]}"
    properties = {"DistributionConfig": {**_DISTRIBUTION, "Origins": _DISTRIBUTION["Origins"]["Items"]}}
    resource = {"Type": "AWS::CloudFront::Distribution", "Properties": properties}
    formation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Page": resource}}))
    ended = until(
        lambda: formation.describe_stacks(StackName=name)["Stacks"][0],
        lambda stack: not stack["StackStatus"].endswith("IN_PROGRESS"),
    )
    assert ended["StackStatus"] == "ROLLBACK_COMPLETE"
    events = formation.describe_stack_events(StackName=name)["StackEvents"]
    assert any("must be verified" in event.get("ResourceStatusReason", "") for event in events)
    formation.delete_stack(StackName=name)


_DISTRIBUTION: dict[str, Any] = {
    "CallerReference": "once",
    "Comment": "",
    "Enabled": True,
    "Origins": {
        "Quantity": 1,
        "Items": [
            {
                "Id": "only",
                "DomainName": "example.com",
                "CustomOriginConfig": {
                    "HTTPPort": 80,
                    "HTTPSPort": 443,
                    "OriginProtocolPolicy": "https-only",
                },
            }
        ],
    },
    "DefaultCacheBehavior": {
        "TargetOriginId": "only",
        "ViewerProtocolPolicy": "https-only",
        "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
    },
}

LISTS = {
    "list_training_jobs": "TrainingJobSummaries",
    "list_hyper_parameter_tuning_jobs": "HyperParameterTuningJobSummaries",
    "list_processing_jobs": "ProcessingJobSummaries",
    "list_transform_jobs": "TransformJobSummaries",
    "list_models": "Models",
    "list_endpoint_configs": "EndpointConfigs",
    "list_endpoints": "Endpoints",
    "list_model_package_groups": "ModelPackageGroupSummaryList",
    "list_model_packages": "ModelPackageSummaryList",
}


@pytest.mark.parametrize(("operation", "member"), LISTS.items(), ids=LISTS.keys())
def test_every_kind_is_listed_by_a_part_of_its_name(aws: Aws, operation: str, member: str) -> None:
    ask = getattr(aws.client("sagemaker"), operation)
    assert ask(NameContains="nobody-has-this-name", MaxResults=1)[member] == []
    pages = aws.client("sagemaker").get_paginator(operation).paginate(PaginationConfig={"PageSize": 1})
    names = [json.dumps(item, default=str) for page in pages for item in page[member]]
    assert len(names) == len(set(names))
