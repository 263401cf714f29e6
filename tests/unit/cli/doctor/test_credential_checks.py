"""Credentials and region: one clear message each, and no traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
    UnauthorizedSSOTokenError,
)

from cli.aws import target as aws_target
from cli.aws.target import REGION_VARIABLES
from cli.doctor.credential_checks import SignInFailed, sign_in


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in (
        *REGION_VARIABLES,
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "config").write_text(
        "[profile work]\nregion = eu-central-1\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def answering(monkeypatch: pytest.MonkeyPatch, answer: dict[str, str] | Exception) -> list[str]:
    """Have STS answer so; returns the regions in which it is asked."""
    asked: list[str] = []

    class Sts:
        def get_caller_identity(self) -> dict[str, str]:
            if isinstance(answer, Exception):
                raise answer
            return answer

    def client(_self: boto3.Session, service: str, region_name: str, **_: Any) -> Sts:
        assert service == "sts"
        asked.append(region_name)
        return Sts()

    monkeypatch.setattr(boto3.Session, "client", client)
    return asked


IDENTITY = {"Account": "111122223333", "Arn": "arn:aws:iam::111122223333:user/ada"}


def refused(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetCallerIdentity")


def test_who_asks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, IDENTITY)
    account, findings = sign_in("", "eu-west-1")
    assert (account.account_id, account.region) == ("111122223333", "eu-west-1")
    assert [(finding.status, finding.message) for finding in findings] == [
        ("ok", "eu-west-1"),
        ("ok", "account 111122223333, as user/ada"),
    ]


def test_the_root_user_works_and_is_advised_against(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {"Account": "1", "Arn": "arn:aws:iam::1:root"})
    account, findings = sign_in("", "us-east-1")
    assert account.is_root and findings[-1].status == "warning"


@pytest.mark.parametrize(
    ("error", "subject", "said"),
    [
        (NoCredentialsError(), "Credentials", "no usable AWS credentials"),
        (
            PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            "Credentials",
            "only half",
        ),
        (UnauthorizedSSOTokenError(), "Credentials", "has expired"),
        (
            refused("ExpiredToken", "The security token included in the request is expired"),
            "Credentials",
            "expired",
        ),
        (refused("InvalidClientTokenId"), "Credentials", "does not accept these credentials"),
        (refused("UnrecognizedClientException"), "Credentials", "does not accept these credentials"),
        (
            refused("SignatureDoesNotMatch", "The request signature we calculated"),
            "Credentials",
            "does not belong",
        ),
        (
            refused("SignatureDoesNotMatch", "Signature expired: 20200101 is now earlier"),
            "Credentials",
            "clock",
        ),
        (refused("SignatureDoesNotMatch", "Signature not yet current: 2040"), "Credentials", "clock"),
        (refused("InternalFailure", "oops"), "Credentials", "InternalFailure"),
        (
            EndpointConnectionError(endpoint_url="https://sts.eu-west-1.amazonaws.com"),
            "Network",
            "cannot be reached",
        ),
        (
            SSLError(endpoint_url="https://sts", error=OSError("certificate verify failed")),
            "Network",
            "cannot be reached",
        ),
    ],
)
def test_each_way_to_fail_has_one_message_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, error: Exception, subject: str, said: str
) -> None:
    answering(monkeypatch, error)
    with pytest.raises(SignInFailed) as failed:
        sign_in("", "eu-west-1")
    region, finding = failed.value.findings
    assert region.status == "ok"
    assert (finding.status, finding.subject) == ("fault", subject)
    assert said in finding.message and finding.cure
    assert "\n" not in finding.message


def test_an_sso_profile_is_named_in_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, UnauthorizedSSOTokenError())
    with pytest.raises(SignInFailed) as failed:
        sign_in("work", "")
    assert failed.value.findings[-1].cure.endswith("aws sso login --profile work")


@pytest.mark.parametrize("through_variable", [False, True])
def test_an_unknown_profile_lists_those_there_are(
    monkeypatch: pytest.MonkeyPatch, through_variable: bool
) -> None:
    if through_variable:
        monkeypatch.setenv("AWS_PROFILE", "wrok")
    with pytest.raises(SignInFailed) as failed:
        sign_in("" if through_variable else "wrok", "")
    (finding,) = failed.value.findings
    assert "wrok" in finding.message and "The profiles are: work." in finding.cure
    assert "Did you mean work?" in finding.cure


def test_a_region_that_does_not_exist_is_found_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = answering(monkeypatch, IDENTITY)
    with pytest.raises(SignInFailed) as failed:
        sign_in("", "eu-west-11")
    (finding,) = failed.value.findings
    assert (finding.status, finding.subject) == ("fault", "Region")
    assert "eu-west-1" in finding.cure
    assert asked == []


def test_a_region_that_lacks_a_container_is_a_cross_and_the_rest_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answering(monkeypatch, IDENTITY)
    account, findings = sign_in("", "eu-south-2")
    assert account.region == "eu-south-2"
    assert [finding.status for finding in findings] == ["fault", "ok"]
    assert "training container is not published there" in findings[0].message
    assert "eu-west-1" in findings[0].cure


@pytest.mark.aws_fact
def test_destroying_and_verifying_look_where_the_cdk_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_target, "_identified", lambda target: target)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert aws_target.on_aws("work", "").region == "eu-north-1"
    assert aws_target.on_aws("work", "us-west-2").region == "us-west-2"


@pytest.mark.aws_fact
def test_the_region_is_the_one_that_the_cdk_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, IDENTITY)
    _, findings = sign_in("", "")
    assert findings[0].status == "warning" and "us-east-1" in findings[0].message
    sign_in("work", "")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    sign_in("work", "")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")  # which boto3 alone would not see
    sign_in("work", "")
    sign_in("work", "us-west-2")
    assert asked == ["us-east-1", "eu-central-1", "ap-south-1", "eu-north-1", "us-west-2"]
