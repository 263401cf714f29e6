"""Lambda: how much a new account gets of it."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.checks import Examination
from cli.doctor.findings import Finding, ok, warning
from cli.doctor.quota_checks import HeldQuota, compared, concurrency_quota

LARGEST_FUNCTION_MB = 4096
"""Memory of the app's largest function."""
MEMORY_OF_NEW_ACCOUNTS_MB = 3008
_NEW_ACCOUNTS = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"


def concurrency(examination: Examination) -> Iterator[Finding]:
    """Check how many functions may run at once."""
    yield compared(concurrency_quota(examination), examination.account)


def memory(examination: Examination) -> Iterator[Finding]:
    """Infer whether a function may have the memory that the largest one asks for: no API says it."""
    subject = "Memory of a function"
    if LARGEST_FUNCTION_MB <= MEMORY_OF_NEW_ACCOUNTS_MB:
        yield ok(
            subject,
            f"the largest function asks for {LARGEST_FUNCTION_MB:,} MB, which new accounts have too "
            f"(their limit is {MEMORY_OF_NEW_ACCOUNTS_MB:,})",
        )
        return
    pages = examination.account.client("lambda").get_paginator("list_functions").paginate()
    largest = max((function["MemorySize"] for page in pages for function in page["Functions"]), default=0)
    if largest >= LARGEST_FUNCTION_MB:
        yield ok(subject, f"a function of this account has {largest:,} MB")
        return
    quota: HeldQuota = concurrency_quota(examination)
    asks = f"the largest function asks for {LARGEST_FUNCTION_MB:,} MB"
    if quota.value >= quota.default:
        yield ok(
            subject, f"{asks}; AWS shows no limit, and this account's concurrency is not that of a new one"
        )
        return
    yield warning(
        subject,
        f"{asks}; AWS shows no limit, but accounts with a concurrency of {quota.value:g} often have "
        f"{MEMORY_OF_NEW_ACCOUNTS_MB:,} MB at most, and the deployment would be rolled back",
        "Ask AWS Support to lift the limits of new accounts, for memory and concurrency of Lambda.",
        _NEW_ACCOUNTS,
    )
