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
    """Check how many functions may run at once; no API shows how much memory one may have."""
    # A test of the templates keeps every function below it, so the account's own limit does not matter.
    yield ok(
        "Memory of a function",
        f"no function asks for more than {MEMORY_OF_NEW_ACCOUNTS_MB:,} MB, which new accounts have too; no "
        "API of AWS shows an account's own limit",
    )
    yield compared(concurrency_quota(examination), examination.account)
