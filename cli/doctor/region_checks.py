"""The region and what a new account gets of it: containers, Lambda's layer and concurrency, CloudFront."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from cli.doctor.aws_account import AwsAccount, code_of
from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, fault, ok, warning
from cli.doctor.quota_checks import compared, concurrency_quota
from stacks import regions

IMAGE_PERMISSIONS = ("ecr:BatchGetImage",)
LAYER_PERMISSIONS = ("lambda:GetLayerVersion",)
CONCURRENCY_PERMISSIONS = (
    "lambda:GetAccountSettings",
    "servicequotas:GetAWSDefaultServiceQuota",
    "servicequotas:ListRequestedServiceQuotaChangeHistory",
)
MEMORY_OF_NEW_ACCOUNTS_MB = 3008
CLOUDFRONT_PERMISSIONS = ("cloudfront:ListDistributions",)
_OTHER_REGION = "Deploy to another region, such as us-east-1, us-west-2 or eu-west-1: set AWS_REGION."


def images(examination: Examination) -> Iterator[Finding]:
    """Check that AWS publishes both containers in the region."""
    from stacks.containers import hosting_image, training_image  # noqa: PLC0415 (a second at its first use)

    settings, account = examination.settings, examination.account
    if account.region not in regions.REGIONS:
        return  # the check of the region reports what is missing there
    for subject, find, instance in (
        ("Training container", training_image, settings.training_instance),
        ("Hosting container", hosting_image, settings.hosting_instance),
    ):
        image = find(account.region, instance)
        yield _published(subject, image, account)


def _published(subject: str, image: str, account: AwsAccount) -> Finding:
    registry, _, rest = image.partition("/")
    repository, _, tag = rest.partition(":")
    try:
        answer: dict[str, Any] = account.client("ecr").batch_get_image(
            registryId=registry.split(".")[0], repositoryName=repository, imageIds=[{"imageTag": tag}]
        )
    except ClientError as error:
        if code_of(error) != "RepositoryNotFoundException":
            raise
        return fault(subject, f"AWS has no repository {repository} in {account.region}", _OTHER_REGION)
    if answer.get("images"):
        return ok(subject, f"{repository}:{tag}")
    return fault(subject, f"AWS has not published {repository}:{tag} in {account.region}", _OTHER_REGION)


def web_adapter(examination: Examination) -> Iterator[Finding]:
    """Check that the layer of the API's function is published in the region."""
    account = examination.account
    subject = "Lambda Web Adapter"
    arn = regions.web_adapter_layer(account.partition, account.region)
    try:
        account.client("lambda").get_layer_version_by_arn(Arn=arn)
    except ClientError as error:
        message = str(error.response.get("Error", {}).get("Message", ""))
        # If a layer does not exist, AWS answers that no resource-based policy allows the call.
        not_there = code_of(error) == "ResourceNotFoundException" or "no resource-based policy" in message
        if not not_there:
            raise
        yield fault(
            subject,
            f"its publisher has no version {arn.rsplit(':', 1)[-1]} in {account.region}",
            _OTHER_REGION,
        )
        return
    yield ok(subject, arn.split(":layer:")[1])


def concurrency(examination: Examination) -> Iterator[Finding]:
    """Check how many functions may run at once; no API shows how much memory one may have."""
    # A test of the templates keeps every function below it, so the account's own limit does not matter.
    yield ok(
        "Memory of a function",
        f"no function asks for more than {MEMORY_OF_NEW_ACCOUNTS_MB:,} MB, which new accounts have too; no "
        "API of AWS shows an account's own limit",
    )
    yield compared(concurrency_quota(examination), examination.account)


def cloudfront(examination: Examination) -> Iterator[Finding]:
    """Check whether the account has a distribution; no API shows whether it may make its first."""
    subject = "CloudFront"
    listed = examination.account.client("cloudfront").list_distributions(MaxItems="1")["DistributionList"]
    if listed.get("Quantity", 0):
        yield ok(subject, "the account has a distribution, so AWS lets it make more")
        return
    yield warning(
        subject,
        "the account has no distribution yet. AWS lets some new accounts make none before they are verified, "
        'and says so only while deploying: "Your account must be verified before you can add new CloudFront '
        'resources"',
        "Make any distribution once in the console. If that is refused, open a case, Account and billing: "
        "please verify this account for CloudFront.",
        "https://console.aws.amazon.com/support/home#/case/create",
    )
