"""The page's CloudFront distribution, which AWS refuses to accounts that it has not verified."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, ok, warning

PERMISSIONS = ("cloudfront:ListDistributions",)


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
