"""Checks for resources of an earlier deployment whose names a new one would use."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from botocore.exceptions import ClientError

from cli.doctor.aws_account import AwsAccount, code_of
from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, fault, ok, warning
from cli.doctor.leftover_checks import DESTROY, holds_resources
from contracts.resource_names import STATE_MACHINE_LOGS, AppNames

PERMISSIONS = (
    "cloudformation:DescribeStacks",
    "logs:DescribeLogGroups",
    "sagemaker:DescribeModelPackageGroup",
    "sagemaker:ListModelPackages",
    "ssm:GetParameter",
)
_REFUSED = "CloudFormation cannot create a resource whose name is in use, and rolls the stack back"


def names(examination: Examination) -> Iterator[Finding]:
    """Look for resources with names that the stacks use, although their own stack is deleted."""
    account, app = examination.account, examination.settings.names
    looks: list[Iterator[Finding]] = []
    if not holds_resources(account, app.pipeline_stack):
        looks += [_model_package_group(account, app.name), _log_groups(account, app)]
        looks += [_endpoint_log(account, app)]
    if not holds_resources(account, app.chat_stack):
        looks += [_page_address(account, app)]
    taken = False
    for finding in chain.from_iterable(looks):
        taken = taken or finding.status == "fault"
        yield finding
    if not taken:
        yield ok("Names", "none of the names that the stacks need is in use")


def _model_package_group(account: AwsAccount, name: str) -> Iterator[Finding]:
    client = account.client("sagemaker")
    try:
        client.describe_model_package_group(ModelPackageGroupName=name)
    except ClientError as error:
        if code_of(error) == "ValidationException" and "does not exist" in str(error):
            return
        raise
    pages = client.get_paginator("list_model_packages").paginate(ModelPackageGroupName=name)
    versions = sum(len(page["ModelPackageSummaryList"]) for page in pages)
    yield fault(
        "Model package group",
        f"{name} of an earlier deployment is there, with {versions} of its versions: {_REFUSED}",
        f"Have it deleted: {DESTROY}",
        account.console(f"sagemaker/home#/model-packages/{name}"),
    )


def _log_groups(account: AwsAccount, app: AppNames) -> Iterator[Finding]:
    """Find log groups of a state machine that is gone; its name ends in a hash of the stack."""
    prefix = f"{STATE_MACHINE_LOGS}/{app.pipeline_stack}-"
    for group in account.client("logs").describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]:
        name = group["logGroupName"]
        yield fault(
            "Log group",
            f"{name} of an earlier deployment is there: {_REFUSED}",
            f"Delete it: aws logs delete-log-group --log-group-name {name} --region {account.region}",
        )


def _endpoint_log(account: AwsAccount, app: AppNames) -> Iterator[Finding]:
    log = app.endpoint_log
    groups = account.client("logs").describe_log_groups(logGroupNamePrefix=log)["logGroups"]
    if any(group["logGroupName"] == log for group in groups):
        yield warning(
            "Log group",
            f"{log} of an earlier deployment is there, and its lines are kept and billed",
            f"Delete it: aws logs delete-log-group --log-group-name {log} --region {account.region}",
        )


def _page_address(account: AwsAccount, app: AppNames) -> Iterator[Finding]:
    parameter = app.page_url_parameter
    try:
        account.client("ssm").get_parameter(Name=parameter)
    except ClientError as error:
        if code_of(error) == "ParameterNotFound":
            return
        raise
    yield fault(
        "Parameter",
        f"{parameter} of an earlier deployment is there: {_REFUSED}",
        f"Delete it: aws ssm delete-parameter --name {parameter} --region {account.region}",
    )
