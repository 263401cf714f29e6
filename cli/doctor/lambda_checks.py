"""Lambda: how much a new account gets of it."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, ok
from cli.doctor.quota_checks import compared, concurrency_quota

PERMISSIONS = (
    "lambda:GetAccountSettings",
    "servicequotas:GetAWSDefaultServiceQuota",
    "servicequotas:ListRequestedServiceQuotaChangeHistory",
)
MEMORY_OF_NEW_ACCOUNTS_MB = 3008


def concurrency(examination: Examination) -> Iterator[Finding]:
    """Check how many functions may run at once; how much memory one may have no API says."""
    # A test of the templates holds every function to it, so that the account's limit need not be known.
    yield ok(
        "Memory of a function",
        f"no function asks for more than {MEMORY_OF_NEW_ACCOUNTS_MB:,} MB, which new accounts have too; no "
        "API of AWS shows an account's own limit",
    )
    yield compared(concurrency_quota(examination), examination.account)
