"""`storyloom doctor --fix`: asks AWS for the quotas that are missing, after a confirmation."""

from __future__ import annotations

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, fault
from cli.doctor.findings_report import findings_table
from cli.doctor.quota_checks import (
    HeldQuota,
    concurrency_quota,
    held_quotas,
    request_increase,
    unseen_request,
)


def request_missing(examination: Examination, *, yes: bool, console: Console) -> list[Finding]:
    """Ask for each quota that has less than is recommended, unless that was asked for already.

    Args:
        examination: what the settings need, and of which account.
        yes: whether the question is answered already.
        console: where the question and AWS's answers are shown.
    """
    try:
        held = [*held_quotas(examination), concurrency_quota(examination)]
    except (ClientError, BotoCoreError) as error:
        return _shown([_not_seen(error)], console)
    missing = [quota for quota in held if isinstance(quota, HeldQuota) and not quota.suffices]
    asked_for = [quota for quota in missing if not quota.open_request and quota.adjustable]
    for quota in missing:
        if quota.open_request:
            console.print(f"asked for already: {quota.need.name} {quota.open_request}", highlight=False)
    if not asked_for:
        console.print("There is no quota to ask for.", highlight=False)
        return []
    console.print(_table(asked_for))
    if not yes and not typer.confirm(f"Ask AWS for these in {examination.account.region}?", err=True):
        console.print("Nothing was asked for.", highlight=False)
        return []
    return _shown([request_increase(quota, examination.account) for quota in asked_for], console)


def _shown(findings: list[Finding], console: Console) -> list[Finding]:
    console.print(findings_table(findings))
    return findings


def _table(quotas: list[HeldQuota]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("quota", "now", "asked for", "for"):
        table.add_column(column)
    for quota in quotas:
        table.add_row(quota.need.name, f"{quota.value:g}", f"{quota.desired:g}", quota.need.purpose)
    return table


def _not_seen(error: ClientError | BotoCoreError) -> Finding:
    if isinstance(error, ClientError):
        return unseen_request("Quotas", error)
    return fault(
        "Quotas", f"could not be asked for: {error}", "See whether this machine reaches AWS, and try again."
    )
