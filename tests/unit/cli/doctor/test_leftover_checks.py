"""An earlier deployment under this name: half gone, awake, running, or kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cli.doctor.examination import Check, run_all
from cli.doctor.leftover_checks import endpoint, jobs, kept, stacks
from cli.doctor.name_checks import names
from tests.unit.cli.doctor.conftest import REGION, StubbedAccount, examination, found

NAMES = ("Storyloom-Storage", "Storyloom-Pipeline", "Storyloom-Chat", "Storyloom-Operations")
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def stack(aws: StubbedAccount, name: str, status: str) -> None:
    """Prepare DescribeStacks; without a status there is no such stack."""
    if not status:
        message = f"Stack with id {name} does not exist"
        aws.refuses("cloudformation", "describe_stacks", "ValidationError", message)
        return
    description = {"StackName": name, "StackId": f"arn:{name}", "StackStatus": status, "CreationTime": NOW}
    aws.answers("cloudformation", "describe_stacks", {"Stacks": [description]}, {"StackName": name})


def all_stacks(aws: StubbedAccount, *statuses: str) -> None:
    for name, status in zip(NAMES, statuses, strict=True):
        stack(aws, name, status)


def event(resource: str, status: str, reason: str = "") -> dict[str, Any]:
    return {
        "StackId": "arn",
        "EventId": f"{resource}-{status}",
        "StackName": "x",
        "Timestamp": NOW,
        "LogicalResourceId": resource,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


def events(aws: StubbedAccount, *newest_first: dict[str, Any]) -> None:
    aws.answers("cloudformation", "describe_stack_events", {"StackEvents": list(newest_first)})


def test_no_resources_mean_a_first_deployment(aws: StubbedAccount) -> None:
    all_stacks(aws, "", "", "", "")
    (finding,) = found(stacks, examination(aws)).values()
    assert finding.status == "ok" and "first deployment" in finding.message


def test_a_whole_deployment_is_updated(aws: StubbedAccount) -> None:
    all_stacks(aws, "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "CREATE_COMPLETE")
    findings = found(stacks, examination(aws))
    assert list(findings) == list(NAMES)
    assert {finding.status for finding in findings.values()} == {"ok"}


def test_storage_that_was_kept_is_no_half_deployment(aws: StubbedAccount) -> None:
    all_stacks(aws, "UPDATE_COMPLETE", "", "", "")
    (finding,) = found(stacks, examination(aws)).values()
    assert finding.status == "ok" and "continues with its stories" in finding.message


def test_half_a_deployment_is_a_warning(aws: StubbedAccount) -> None:
    all_stacks(aws, "CREATE_COMPLETE", "CREATE_COMPLETE", "", "DELETE_COMPLETE")
    (finding,) = found(stacks, examination(aws)).values()
    assert finding.status == "warning"
    assert "without Storyloom-Chat, Storyloom-Operations" in finding.message


@pytest.mark.parametrize(
    ("status", "expected", "cure"),
    [
        ("CREATE_FAILED", "fault", "aws cloudformation delete-stack --stack-name Storyloom-Chat"),
        ("DELETE_FAILED", "fault", "storyloom destroy"),
        (
            "UPDATE_ROLLBACK_FAILED",
            "fault",
            "aws cloudformation continue-update-rollback --stack-name Storyloom-Chat",
        ),
        ("UPDATE_FAILED", "fault", "npx --no-install cdk rollback Storyloom-Chat"),
    ],
)
def test_a_state_that_takes_no_deployment_is_a_cross_with_what_failed_first(
    aws: StubbedAccount, status: str, expected: str, cure: str
) -> None:
    all_stacks(aws, "CREATE_COMPLETE", "CREATE_COMPLETE", status, "")
    events(
        aws,
        event("Storyloom-Chat", status),
        event("ApiFunction", "CREATE_FAILED", "Resource creation cancelled"),
        event("Page", "CREATE_FAILED", "Your account must be\nverified"),
        event("Storyloom-Chat", "CREATE_IN_PROGRESS", "User Initiated"),
        event("Old", "UPDATE_FAILED", "of the operation before"),
    )
    finding = found(stacks, examination(aws))["Storyloom-Chat"]
    assert finding.status == expected
    assert (
        finding.message.startswith(f"{status}: ")
        and "at Page: Your account must be verified" in finding.message
    )
    assert cure in finding.cure and finding.link.endswith("?stackId=arn:Storyloom-Chat")


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("status", "cure"),
    [("ROLLBACK_COMPLETE", "delete-stack"), ("ROLLBACK_FAILED", "finish the deletion: storyloom destroy")],
)
def test_a_stack_that_was_rolled_back_at_its_creation_is_deleted_by_the_cdk(
    aws: StubbedAccount, status: str, cure: str
) -> None:
    all_stacks(aws, status, "", "", "")
    events(aws, event("Bucket", "CREATE_FAILED", "TooManyBuckets"))
    (finding,) = found(stacks, examination(aws)).values()
    assert finding.status == "warning"
    assert "at Bucket: TooManyBuckets" in finding.message and "cdk deploy deletes it" in finding.message
    assert cure in finding.cure


@pytest.mark.parametrize(
    "status", ["UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS"]
)
def test_a_stack_that_is_being_changed_is_a_cross(aws: StubbedAccount, status: str) -> None:
    all_stacks(aws, "CREATE_COMPLETE", status, "", "")
    finding = found(stacks, examination(aws))["Storyloom-Pipeline"]
    assert finding.status == "fault" and "an operation on it is in progress" in finding.message


def test_a_change_set_that_was_never_carried_out_is_a_warning(aws: StubbedAccount) -> None:
    all_stacks(aws, "REVIEW_IN_PROGRESS", "", "", "")
    (finding,) = found(stacks, examination(aws)).values()
    assert finding.status == "warning"


def test_events_that_may_not_be_read_do_not_hide_the_state(aws: StubbedAccount) -> None:
    all_stacks(aws, "CREATE_FAILED", "", "", "")
    aws.denies("cloudformation", "describe_stack_events", "cloudformation:DescribeStackEvents")
    (finding,) = found(stacks, examination(aws)).values()
    assert finding.message == "CREATE_FAILED: its creation failed"


ENDPOINT = {
    "EndpointName": "storyloom",
    "EndpointArn": "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/storyloom",
    "EndpointConfigName": "storyloom-v1",
    "EndpointStatus": "InService",
    "CreationTime": NOW,
    "LastModifiedTime": NOW,
}


def awake(aws: StubbedAccount) -> None:
    aws.answers("sagemaker", "describe_endpoint", ENDPOINT)


def test_no_endpoint_bills_nothing(aws: StubbedAccount) -> None:
    aws.refuses(
        "sagemaker", "describe_endpoint", "ValidationException", 'Could not find endpoint "storyloom".'
    )
    (finding,) = found(endpoint, examination(aws)).values()
    assert finding.status == "ok" and "nothing bills" in finding.message


def test_an_endpoint_with_its_endpoint_manager_is_as_it_should_be(aws: StubbedAccount) -> None:
    awake(aws)
    stack(aws, "Storyloom-Chat", "CREATE_COMPLETE")
    (finding,) = found(endpoint, examination(aws)).values()
    assert finding.status == "ok"


LIVE = {
    "CREATE_COMPLETE",
    *(f"UPDATE_{state}" for state in ("IN_PROGRESS", "COMPLETE_CLEANUP_IN_PROGRESS", "COMPLETE", "FAILED")),
    *(
        f"UPDATE_ROLLBACK_{state}"
        for state in ("IN_PROGRESS", "FAILED", "COMPLETE_CLEANUP_IN_PROGRESS", "COMPLETE")
    ),
    *(f"IMPORT_{state}" for state in ("IN_PROGRESS", "COMPLETE")),
    *(f"IMPORT_ROLLBACK_{state}" for state in ("IN_PROGRESS", "FAILED", "COMPLETE")),
}
"""States of a stack that was created once and is not being deleted."""


@pytest.mark.aws_fact
def test_only_a_stack_that_was_created_and_stays_has_an_endpoint_manager(aws: StubbedAccount) -> None:
    model = aws.account.client("cloudformation").meta.service_model
    states = set(model.shape_for("StackStatus").enum)
    assert states > LIVE
    for status in sorted(states):
        awake(aws)
        stack(aws, "Storyloom-Chat", status)
        if status not in LIVE:
            aws.refuses("sagemaker", "describe_endpoint_config", "ValidationException")
        (finding,) = found(endpoint, examination(aws)).values()
        assert finding.status == ("ok" if status in LIVE else "fault"), status


def test_an_endpoint_that_nobody_watches_is_a_cross_with_what_it_costs(aws: StubbedAccount) -> None:
    awake(aws)
    stack(aws, "Storyloom-Chat", "")
    variant = {
        "VariantName": "All",
        "ModelName": "m",
        "InstanceType": "ml.g6.xlarge",
        "InitialInstanceCount": 1,
    }
    config = {
        "EndpointConfigName": "storyloom-v1",
        "EndpointConfigArn": "arn:aws:sagemaker:eu-west-1:111122223333:endpoint-config/storyloom-v1",
        "ProductionVariants": [variant],
        "CreationTime": NOW,
    }
    aws.answers("sagemaker", "describe_endpoint_config", config)
    (finding,) = found(endpoint, examination(aws)).values()
    assert finding.status == "fault" and "bills an ml.g6.xlarge" in finding.message, (
        "its price in eu-west-1 is not known"
    )
    assert finding.cure.endswith(f"aws sagemaker delete-endpoint --endpoint-name storyloom --region {REGION}")


TRAINING = "storyloom-train-20261101-090000-aaaa"


def running(aws: StubbedAccount, *training: str) -> None:
    summaries = [
        {
            "TrainingJobName": name,
            "TrainingJobArn": "a" * 20,
            "CreationTime": NOW,
            "TrainingJobStatus": "InProgress",
        }
        for name in training
    ]
    aws.answers("sagemaker", "list_training_jobs", {"TrainingJobSummaries": summaries})
    aws.answers("sagemaker", "list_processing_jobs", {"ProcessingJobSummaries": []})
    aws.answers("sagemaker", "list_transform_jobs", {"TransformJobSummaries": []})
    aws.answers("sagemaker", "list_hyper_parameter_tuning_jobs", {"HyperParameterTuningJobSummaries": []})


def test_jobs_without_a_pipeline_are_named(aws: StubbedAccount) -> None:
    running(aws, TRAINING, f"my-{TRAINING}", "storyloom-two-train-20261101-090000-aaaa")
    stack(aws, "Storyloom-Pipeline", "")
    (finding,) = found(jobs, examination(aws)).values()
    assert finding.status == "warning"
    assert finding.message.endswith(f"paid for: {TRAINING}"), "a job of another app is none of ours"


@pytest.mark.parametrize(("app", "told"), [("storyloom", True), ("storyloom-two", False)])
def test_whose_a_search_is_its_tag_tells(aws: StubbedAccount, *, app: str, told: bool) -> None:
    """A tuning job's name has room for nine characters of the app's, which two apps may share."""
    running(aws, "storyloom-20261101-090000-aaaa-001-0f3c2a1b")
    aws.answers("sagemaker", "list_tags", {"Tags": [{"Key": "storyloom:app", "Value": app}]})
    if told:
        stack(aws, "Storyloom-Pipeline", "")
    (finding,) = found(jobs, examination(aws)).values()
    assert ("storyloom-20261101-090000-aaaa-001" in finding.message) == told


def test_jobs_of_a_pipeline_go_on(aws: StubbedAccount) -> None:
    running(aws, TRAINING)
    stack(aws, "Storyloom-Pipeline", "UPDATE_COMPLETE")
    (finding,) = found(jobs, examination(aws)).values()
    assert finding.status == "ok"


def tagged(aws: StubbedAccount, *arns: str) -> None:
    filters = [{"Key": "storyloom:app", "Values": ["storyloom"]}]
    asked = {"TagFilters": filters, "ResourceTypeFilters": ["s3", "dynamodb:table"]}
    mapped = {"ResourceTagMappingList": [{"ResourceARN": arn} for arn in arns]}
    aws.answers("resourcegroupstaggingapi", "get_resources", mapped, asked)


def test_storage_whose_stack_is_gone_is_named(aws: StubbedAccount) -> None:
    stack(aws, "Storyloom-Storage", "")
    table = "arn:aws:dynamodb:eu-west-1:111122223333:table/Storyloom-Records"
    tagged(aws, "arn:aws:s3:::storyloom-storage-stories-1", table)
    (finding,) = found(kept, examination(aws)).values()
    assert finding.status == "warning"
    assert "Storyloom-Records, storyloom-storage-stories-1" in finding.message


@pytest.mark.parametrize("status", ["", "CREATE_COMPLETE"])
def test_no_storage_or_one_in_its_stack_is_as_it_should_be(aws: StubbedAccount, status: str) -> None:
    stack(aws, "Storyloom-Storage", status)
    if not status:
        tagged(aws)
    (finding,) = found(kept, examination(aws)).values()
    assert finding.status == "ok"


def group(aws: StubbedAccount, versions: int | None) -> None:
    """Prepare the model package group; None: there is none."""
    arn = "arn:aws:sagemaker:eu-west-1:111122223333:model-package"
    if versions is None:
        message = f"ModelPackageGroup {arn}-group/storyloom does not exist."
        aws.refuses("sagemaker", "describe_model_package_group", "ValidationException", message)
        return
    described = {
        "ModelPackageGroupName": "storyloom",
        "ModelPackageGroupArn": f"{arn}-group/storyloom",
        "CreationTime": NOW,
        "CreatedBy": {},
        "ModelPackageGroupStatus": "Completed",
    }
    aws.answers("sagemaker", "describe_model_package_group", described)
    package = {
        "ModelPackageArn": f"{arn}/storyloom/1",
        "CreationTime": NOW,
        "ModelPackageStatus": "Completed",
    }
    aws.answers("sagemaker", "list_model_packages", {"ModelPackageSummaryList": [package] * versions})


def log_groups(aws: StubbedAccount, prefix: str, *names: str) -> None:
    listed = {"logGroups": [{"logGroupName": name} for name in names]}
    aws.answers("logs", "describe_log_groups", listed, {"logGroupNamePrefix": prefix})


STATES, ENDPOINTS = "/aws/vendedlogs/states/Storyloom-Pipeline-", "/aws/sagemaker/Endpoints/storyloom"


@pytest.mark.aws_fact
@pytest.mark.parametrize("status", ["", "ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"])
def test_a_name_that_is_taken_is_a_cross_for_cloudformation_adopts_nothing(
    aws: StubbedAccount, status: str
) -> None:
    stack(aws, "Storyloom-Pipeline", status)
    group(aws, 2)
    log_groups(aws, STATES, f"{STATES}2e8f354e")
    log_groups(aws, ENDPOINTS, ENDPOINTS, f"{ENDPOINTS}-of-another-app")
    stack(aws, "Storyloom-Chat", "")
    aws.answers(
        "ssm", "get_parameter", {"Parameter": {"Value": "https://x"}}, {"Name": "/storyloom/page-url"}
    )
    (result,) = run_all([Check("names", "Group", "Names", names)], examination(aws))
    said = [(finding.status, finding.subject) for finding in result.findings]
    assert said == [
        ("fault", "Model package group"),
        ("fault", "Log group"),
        ("warning", "Log group"),
        ("fault", "Parameter"),
    ]
    assert "with 2 of its versions" in result.findings[0].message
    assert "delete-log-group --log-group-name /aws/vendedlogs/states/" in result.findings[1].cure


def test_names_that_are_free_are_a_tick(aws: StubbedAccount) -> None:
    stack(aws, "Storyloom-Pipeline", "")
    group(aws, None)
    log_groups(aws, STATES)
    log_groups(aws, ENDPOINTS)
    stack(aws, "Storyloom-Chat", "")
    aws.refuses("ssm", "get_parameter", "ParameterNotFound")
    (finding,) = found(names, examination(aws)).values()
    assert finding.status == "ok"


def test_the_names_of_a_deployed_app_are_its_own(aws: StubbedAccount) -> None:
    stack(aws, "Storyloom-Pipeline", "CREATE_COMPLETE")
    stack(aws, "Storyloom-Chat", "CREATE_COMPLETE")
    (finding,) = found(names, examination(aws)).values()
    assert finding.status == "ok"


def test_what_was_seen_before_a_permission_is_missing_is_kept(aws: StubbedAccount) -> None:
    stack(aws, "Storyloom-Pipeline", "")
    group(aws, 0)
    stack(aws, "Storyloom-Chat", "")
    aws.denies("logs", "describe_log_groups", "logs:DescribeLogGroups")
    findings = list(found(names, examination(aws)).values())
    assert [finding.status for finding in findings] == ["fault", "warning"]
    assert "logs:DescribeLogGroups" in findings[1].message
