"""Checks of what the CDK needs in the account: its bootstrap stack, and a caller who may deploy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from botocore.exceptions import ClientError

from cli.doctor.aws_account import AwsAccount, code_of, is_denied
from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, fault, ok, warning

BOOTSTRAP_PERMISSIONS = ("ssm:GetParameter", "s3:ListBucket")
DEPLOY_PERMISSIONS = ("iam:SimulatePrincipalPolicy", "iam:GetRole", "sts:AssumeRole")
NEEDED_VERSION = 6
"""The version of the bootstrap stack that the CDK library's synthesizer asks for."""
_QUALIFIER_KEY, _QUALIFIER = "@aws-cdk/core:bootstrapQualifier", "hnb659fds"
_TO_BOOTSTRAP = ("cloudformation:CreateChangeSet", "iam:CreateRole", "s3:CreateBucket", "ssm:PutParameter")
_TO_DEPLOY_DIRECTLY = (
    "cloudformation:CreateChangeSet",
    "cloudformation:ExecuteChangeSet",
    "iam:PassRole",
    "s3:PutObject",
)


def _qualifier(examination: Examination) -> str:
    return str(examination.context.get(_QUALIFIER_KEY) or _QUALIFIER)


def _command(account: AwsAccount) -> str:
    return f"npx --no-install cdk bootstrap aws://{account.account_id}/{account.region}"


def bootstrap(examination: Examination) -> Iterator[Finding]:
    """Check that the bootstrap stack exists, is new enough and complete."""
    account, subject = examination.account, "CDK bootstrap"
    version = _version(examination)
    if version is None:
        yield fault(
            subject, f"{account.region} of this account is not bootstrapped", f"Run: {_command(account)}"
        )
        return
    if version < NEEDED_VERSION:
        yield fault(
            subject, f"version {version}, and version {NEEDED_VERSION} is needed", f"Run: {_command(account)}"
        )
        return
    bucket = f"cdk-{_qualifier(examination)}-assets-{account.account_id}-{account.region}"
    try:
        account.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        if code_of(error) not in {"404", "NoSuchBucket", "NotFound"}:
            raise
        yield fault(
            subject,
            f"its version exists, but its bucket {bucket} does not: somebody deleted it",
            f"Delete the stack CDKToolkit, then run: {_command(account)}",
            account.console("cloudformation/home#/stacks?filteringText=CDKToolkit"),
        )
        return
    yield ok(subject, f"version {version}; at least {NEEDED_VERSION} is needed")


def _version(examination: Examination) -> int | None:
    name = f"/cdk-bootstrap/{_qualifier(examination)}/version"
    try:
        return int(examination.account.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])
    except ClientError as error:
        if code_of(error) != "ParameterNotFound":
            raise
        return None


def may_deploy(examination: Examination) -> Iterator[Finding]:
    """Check that the caller may do what `cdk deploy` does, or `cdk bootstrap` if that has to come first."""
    account, subject = examination.account, "Permission to deploy"
    if account.is_root:
        yield ok(subject, "the root user may do everything")
        return
    if _version(examination) is None:
        yield _may_bootstrap(account, subject)
        return
    role = (
        f"arn:{account.partition}:iam::{account.account_id}:role/"
        f"cdk-{_qualifier(examination)}-deploy-role-{account.account_id}-{account.region}"
    )
    try:
        refused = _refused(account, ["sts:AssumeRole"], [role])
        if refused:
            # Without its roles the CDK goes on as the caller.
            refused = _refused(account, _TO_DEPLOY_DIRECTLY, ["*"])
    except ClientError as error:
        if not is_denied(error):
            raise
        yield _assumed(account, subject, role)
        return
    if refused:
        yield fault(
            subject,
            f"the caller may neither assume {role.rsplit('/', 1)[-1]} nor do without: {', '.join(refused)}",
            f"Have sts:AssumeRole allowed on {role.rsplit(':', 1)[0]}:role/cdk-{_qualifier(examination)}-*",
            "https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html",
        )
        return
    yield ok(subject, "by the caller's policies; what an organization forbids is not counted")


def _may_bootstrap(account: AwsAccount, subject: str) -> Finding:
    try:
        refused = _refused(account, _TO_BOOTSTRAP, ["*"])
    except ClientError as error:
        if not is_denied(error):
            raise
        return warning(
            subject,
            "could not be checked: the caller lacks the permission iam:SimulatePrincipalPolicy",
            f"Find out with: {_command(account)}",
        )
    if refused:
        return fault(
            subject,
            f"the caller may not bootstrap the account: {', '.join(refused)} is refused",
            f"Have an administrator run: {_command(account)}",
        )
    return ok(subject, "the caller may bootstrap the account")


def _assumed(account: AwsAccount, subject: str, role: str) -> Finding:
    """Assume the role to see whether it is allowed, as the CDK does; the credentials are discarded."""
    name = role.rsplit("/", 1)[-1]
    try:
        account.client("sts").assume_role(
            RoleArn=role, RoleSessionName="storyloom-doctor", DurationSeconds=900
        )
    except ClientError as error:
        if not is_denied(error):
            raise
        return fault(
            subject,
            f"the caller may not assume {name}",
            f"Have sts:AssumeRole allowed on {role}, or ask who bootstrapped.",
        )
    return ok(subject, f"the caller may assume {name}")


def _refused(account: AwsAccount, actions: Sequence[str], resources: Sequence[str]) -> list[str]:
    answer: dict[str, Any] = account.client("iam").simulate_principal_policy(
        PolicySourceArn=_policy_source(account), ActionNames=list(actions), ResourceArns=list(resources)
    )
    return [
        result["EvalActionName"]
        for result in answer["EvaluationResults"]
        if result["EvalDecision"] != "allowed"
    ]


def _policy_source(account: AwsAccount) -> str:
    """Return the ARN whose policies count: for a session that of its role, which IAM has with its path."""
    arn = account.caller_arn
    if ":assumed-role/" not in arn:
        return arn
    return str(account.client("iam").get_role(RoleName=arn.split("/")[1])["Role"]["Arn"])
