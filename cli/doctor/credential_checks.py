"""Checks of credentials, account and region, which come first because all others need them."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

import boto3
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound, UnknownRegionError

from cli.aws.credential_problems import credential_problem, unknown_profile
from cli.aws.target import CDK_DEFAULT_REGION, configured_region
from cli.doctor.aws_account import CLIENT_CONFIG, AwsAccount, not_checked
from cli.doctor.findings import Finding, fault, ok, warning
from stacks import regions

_SUBJECT = "Credentials"


class SignInFailed(Exception):  # noqa: N818 (an outcome, with its findings)
    """The credentials or the region do not work."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(findings[-1].message)
        self.findings = findings


def sign_in(profile: str, region: str) -> tuple[AwsAccount, list[Finding]]:
    """Ask AWS who the caller is.

    Args:
        profile: of the AWS configuration; empty for the AWS CLI's default.
        region: empty for the CDK CLI's default.

    Raises:
        SignInFailed: has the finding with the reason, and those before it.
    """
    session = _session(profile)
    chosen = configured_region(region, session)
    findings = [_region(chosen, session)]
    chosen = chosen or CDK_DEFAULT_REGION
    try:
        caller = session.client("sts", region_name=chosen, config=CLIENT_CONFIG).get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise SignInFailed(*findings, _explained(error, profile, chosen)) from error
    account = AwsAccount(session, chosen, caller["Account"], caller["Arn"])
    return account, [*findings, *_caller(account)]


def _session(profile: str) -> boto3.Session:
    try:
        return boto3.Session(profile_name=profile or None)
    except ProfileNotFound as error:
        problem = unknown_profile(profile)
        raise SignInFailed(fault(_SUBJECT, problem.message, problem.cure, problem.link)) from error


def _region(region: str, session: boto3.Session) -> Finding:
    """Check that the region exists, and that the app supports it.

    Raises:
        SignInFailed: there is no such region.
    """
    if not region:
        return warning(
            "Region",
            f"none is set, so the CDK deploys to {CDK_DEFAULT_REGION}",
            "Set AWS_REGION to the region nearest to you that has your instances, such as eu-west-1.",
        )
    if region in _with_sagemaker(session, _partition(session, region)):
        return _supported(region)
    known = [
        name
        for partition in session.get_available_partitions()
        for name in _with_sagemaker(session, partition)
    ]
    close = get_close_matches(region, known, n=2)
    raise SignInFailed(
        fault(
            "Region",
            f"{region!r} is not a region of AWS that has SageMaker",
            f"Did you mean {' or '.join(close)}?" if close else "Give one such as us-east-1 or eu-west-1.",
            "https://docs.aws.amazon.com/general/latest/gr/sagemaker.html",
        )
    )


def _supported(region: str) -> Finding:
    try:
        regions.check(region)
    except regions.UnsupportedRegionError as error:
        reason, _, cure = str(error).partition(". ")
        return fault("Region", reason, cure)
    return ok("Region", region)


def _partition(session: boto3.Session, region: str) -> str:
    """Return the partition that a region of this form would be in, whether it exists or not."""
    try:
        return session.get_partition_for_region(region)
    except UnknownRegionError:
        return "aws"


def _with_sagemaker(session: boto3.Session, partition: str) -> list[str]:
    return session.get_available_regions("sagemaker", partition)


def _caller(account: AwsAccount) -> Iterator[Finding]:
    who = account.caller_arn.rsplit(":", 1)[-1]
    if account.is_root:
        yield warning(
            _SUBJECT,
            f"account {account.account_id}, as its root user, whom no policy limits",
            "It works. Safer is a user of IAM Identity Center: aws configure sso",
            "https://docs.aws.amazon.com/IAM/latest/UserGuide/root-user-best-practices.html",
        )
        return
    yield ok(_SUBJECT, f"account {account.account_id}, as {who}")


def _explained(error: BotoCoreError | ClientError, profile: str, region: str) -> Finding:
    problem = credential_problem(error, profile, region)
    if problem is None:
        seen = not_checked(_SUBJECT, error)
        return fault(_SUBJECT, seen.message, seen.cure)
    return fault("Network" if problem.is_network else _SUBJECT, problem.message, problem.cure, problem.link)
