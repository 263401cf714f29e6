"""Credentials, account and region: without them nothing else can be asked, so they come first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches

import boto3
import botocore.session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
    UnknownRegionError,
)

from cli.aws_region import REGION_OF_THE_CDK, configured_region
from cli.doctor.aws_account import PATIENCE, AwsAccount, code_of, unseen
from cli.doctor.findings import Finding, fault, ok, warning
from stacks import regions

_SUBJECT = "Credentials"
_IAM = "https://docs.aws.amazon.com/cli/latest/userguide/cli-chap-authentication.html"


class SignInFailed(Exception):  # noqa: N818 (an outcome, with what to say of it)
    """The account cannot be asked anything."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(findings[-1].message)
        self.findings = findings


def sign_in(profile: str, region: str) -> tuple[AwsAccount, list[Finding]]:
    """Ask AWS who the caller is.

    Args:
        profile: of the AWS configuration; empty takes what the AWS CLI would take.
        region: empty takes what the CDK CLI would take.

    Raises:
        SignInFailed: holds one finding that says why, and those before it.
    """
    session = _session(profile)
    chosen = configured_region(region, session)
    findings = [_region(chosen, session)]
    chosen = chosen or REGION_OF_THE_CDK
    try:
        caller = session.client("sts", region_name=chosen, config=PATIENCE).get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise SignInFailed(*findings, _explained(error, profile, chosen)) from error
    account = AwsAccount(session, chosen, caller["Account"], caller["Arn"])
    return account, [*findings, *_caller(account)]


def _session(profile: str) -> boto3.Session:
    try:
        return boto3.Session(profile_name=profile or None)
    except ProfileNotFound as error:
        wanted = profile or os.environ.get("AWS_PROFILE", "")
        known = list(botocore.session.Session().full_config.get("profiles", {}))
        close = get_close_matches(wanted, known, n=1)
        cure = f"Did you mean {close[0]}? " if close else ""
        cure += (
            f"The profiles are: {', '.join(known)}." if known else "There is none yet. Run: aws configure sso"
        )
        raise SignInFailed(
            fault(_SUBJECT, f"there is no profile {wanted!r} in ~/.aws/config", cure, _IAM)
        ) from error


def _region(region: str, session: boto3.Session) -> Finding:
    """Check that the region exists, and has what the app takes from others.

    Raises:
        SignInFailed: there is no such region, so that nothing in it can be asked.
    """
    if not region:
        return warning(
            "Region",
            f"none is set, so the CDK deploys to {REGION_OF_THE_CDK}",
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
    """Say in one line why AWS does not know who asks."""
    sign_in_again = f"aws sso login{f' --profile {profile}' if profile else ''}"
    match error:
        case NoCredentialsError():
            return fault(
                _SUBJECT,
                "none found on this machine",
                "Run aws configure sso (or aws configure), or name a profile with --profile.",
                _IAM,
            )
        case PartialCredentialsError():
            return fault(
                _SUBJECT,
                f"only half of them are there: {error}",
                "Set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither.",
                _IAM,
            )
        case UnauthorizedSSOTokenError() | SSOTokenLoadError() | TokenRetrievalError():
            return fault(
                _SUBJECT, "the sign-in at IAM Identity Center has expired", f"Sign in again: {sign_in_again}"
            )
        case CredentialRetrievalError():
            return fault(
                _SUBJECT,
                f"the program or role of the profile gives none: {' '.join(str(error).split())[:200]}",
                "Correct credential_process or role_arn of the profile in ~/.aws/config.",
                _IAM,
            )
        case ClientError():
            return _refused(error, sign_in_again, region)
        case _:
            return fault(
                "Network",
                f"AWS does not answer from this machine ({type(error).__name__})",
                "Connect to the internet, or set HTTPS_PROXY (and AWS_CA_BUNDLE) if a proxy stands between.",
            )


def _refused(error: ClientError, sign_in_again: str, region: str) -> Finding:
    code, message = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    if code in {"ExpiredToken", "ExpiredTokenException", "RequestExpired"} and "Signature" not in message:
        return fault(
            _SUBJECT, "they have expired", f"Sign in again: {sign_in_again}, or fetch new temporary keys."
        )
    if code in {"InvalidClientTokenId", "UnrecognizedClientException"}:
        return fault(
            _SUBJECT,
            "AWS does not know the access key: it was deleted or deactivated, is a temporary one without its "
            f"AWS_SESSION_TOKEN, or the region {region} is not enabled in the account",
            f"Make new keys, or sign in again: {sign_in_again}. Regions are enabled on the account page.",
            "https://console.aws.amazon.com/billing/home#/account",
        )
    if code in {
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "RequestTimeTooSkewed",
        "RequestExpired",
    }:
        if "xpired" in message or "not yet current" in message or code.startswith("Request"):
            return fault(
                _SUBJECT, "AWS refuses the signature because this machine's clock is wrong", "Set the clock."
            )
        return fault(
            _SUBJECT,
            "the secret access key does not belong to the access key",
            "Copy AWS_SECRET_ACCESS_KEY again, whole, or make new keys: aws configure",
            _IAM,
        )
    seen = unseen(_SUBJECT, error)
    return fault(_SUBJECT, seen.message, seen.cure, _IAM)
