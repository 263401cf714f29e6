"""The service quotas that the settings need: checked, and requested with `storyloom doctor --fix`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from cli.doctor.aws_account import AwsAccount, code_of, not_checked
from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, fault, findings_table, ok, warning
from stacks.quotas import LAMBDA_CONCURRENCY, QuotaNeed, needed

LIST_PERMISSIONS = (
    "servicequotas:ListServiceQuotas",
    "servicequotas:ListAWSDefaultServiceQuotas",
    "servicequotas:ListRequestedServiceQuotaChangeHistory",
)
LAMBDA_CONCURRENCY_CODE = "L-B99A9384"
_OPEN = {"PENDING": "pending", "CASE_OPENED": "a support case is open"}
"""States of a request that has no answer yet."""
_FIX = "Ask for it with: storyloom doctor --fix"


@dataclass(frozen=True)
class HeldQuota:
    """One quota of the account."""

    need: QuotaNeed
    code: str
    value: float
    default: float
    adjustable: bool
    open_request: str = ""
    """How an increase that was asked for stands; empty if none is open."""

    @property
    def desired(self) -> float:
        """What to ask for. Service Quotas takes nothing that is not above its default."""
        return self.need.recommended if self.need.recommended > self.default else self.default + 1

    @property
    def suffices(self) -> bool:
        """Whether there is nothing to ask for."""
        return self.value >= self.need.recommended


def held_quotas(examination: Examination) -> Iterator[HeldQuota | QuotaNeed]:
    """Look up each quota that is needed; a need is returned as it is if AWS lists no such quota here."""
    account = examination.account
    applied: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    needs = [need for need in needed(examination.settings) if need.name != LAMBDA_CONCURRENCY]
    for service in sorted({need.service for need in needs}):
        applied |= _listed(account, "list_service_quotas", service)
        # An account that never asked for anything may have no value of its own.
        defaults |= _listed(account, "list_aws_default_service_quotas", service)
    requests = _open_requests(account, {need.service for need in needs})
    seen = set[str]()
    for need in needs:
        if need.name in seen:
            continue
        seen.add(need.name)
        default = defaults.get(need.name)
        quota = applied.get(need.name) or default
        if quota is None:
            yield need
            continue
        yield HeldQuota(
            need,
            quota["QuotaCode"],
            float(quota["Value"]),
            float(default["Value"]) if default else 0.0,
            bool(quota.get("Adjustable", True)),
            requests.get(quota["QuotaCode"], ""),
        )


def concurrency_quota(examination: Examination) -> HeldQuota:
    """Look up how many functions the account may run at once; Lambda itself has the exact number."""
    account = examination.account
    limits = account.client("lambda").get_account_settings()["AccountLimit"]
    (need,) = (need for need in needed(examination.settings) if need.name == LAMBDA_CONCURRENCY)
    quota = account.client("service-quotas").get_aws_default_service_quota(
        ServiceCode="lambda", QuotaCode=LAMBDA_CONCURRENCY_CODE
    )["Quota"]
    requests = _open_requests(account, {"lambda"})
    return HeldQuota(
        need,
        LAMBDA_CONCURRENCY_CODE,
        float(limits["ConcurrentExecutions"]),
        float(quota["Value"]),
        bool(quota.get("Adjustable", True)),
        requests.get(LAMBDA_CONCURRENCY_CODE, ""),
    )


def instance_quotas(examination: Examination) -> Iterator[Finding]:
    """Compare what the settings need of SageMaker with what the account has."""
    region = examination.account.region
    looked_up = list(held_quotas(examination))
    stand_ins = {
        held.need.stands_in_for: held.need.name.split()[0]
        for held in reversed(looked_up)
        if isinstance(held, HeldQuota) and held.value >= held.need.minimum
    }
    for held in looked_up:
        if isinstance(held, HeldQuota):
            yield compared(held, examination.account, stand_ins.get(held.need.name, ""))
            continue
        instance = held.name.split()[0]
        message = f"{region} has no such quota, so {instance} is not offered there for {held.purpose}"
        cure = "Choose another instance in cdk.json, or another region."
        spared = held.optional or held.name in stand_ins
        yield warning(held.name, message, cure) if spared else fault(held.name, message, cure)


def compared(held: HeldQuota, account: AwsAccount, stand_in: str = "") -> Finding:
    """Say what a quota's value means for the app.

    Args:
        held: the quota.
        account: whose it is.
        stand_in: an instance that takes the place of this one, if there is one with a quota.
    """
    need = held.need
    link = account.console(f"servicequotas/home/services/{need.service}/quotas/{held.code}")
    if held.suffices:
        return ok(need.name, f"{held.value:g}, for {need.purpose}")
    cure = _cure(held)
    if held.value >= need.minimum:
        message = f"{held.value:g} of {need.recommended:g} for {need.purpose}: {need.if_less}"
        return warning(need.name, message, cure, link)
    message = f"{held.value:g}; {need.minimum:g} is needed for {need.purpose}"
    if need.optional:
        return warning(need.name, f"{message}, and the app works without", cure, link)
    if stand_in:
        return warning(need.name, f"{message}, and {stand_in} takes its place", cure, link)
    return fault(need.name, message, cure, link)


def _cure(held: HeldQuota) -> str:
    if held.open_request:
        return f"An increase was asked for ({held.open_request}). Wait for AWS's e-mail, or see the page."
    if not held.adjustable:
        return "Service Quotas cannot raise it: open a case with AWS Support."
    if held.default >= held.need.recommended:
        why = f"AWS takes no request for its default of {held.default:g} or less"
        return f"{_FIX} (for {held.desired:g}: {why})."
    return f"{_FIX}, or on the page."


def request_increase(held: HeldQuota, account: AwsAccount) -> Finding:
    """Ask AWS for an increase; returns what AWS answered."""
    subject = held.need.name
    try:
        asked = account.client("service-quotas").request_service_quota_increase(
            ServiceCode=held.need.service, QuotaCode=held.code, DesiredValue=float(held.desired)
        )["RequestedQuota"]
    except ClientError as error:
        if code_of(error) == "ResourceAlreadyExistsException":
            return ok(subject, "an increase was asked for before, and AWS has not answered yet")
        return unseen_request(subject, error)
    status = str(asked.get("Status", "PENDING")).lower().replace("_", " ")
    return ok(
        subject, f"asked for {held.desired:g} ({status}); AWS answers by e-mail, mostly within two days"
    )


def request_missing(examination: Examination, *, yes: bool, console: Console) -> list[Finding]:
    """Request each quota that is lower than recommended, unless a request is open.

    Args:
        examination: what the settings need, and of which account.
        yes: whether the user has confirmed already.
        console: shows the question and AWS's answers.
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


def unseen_request(subject: str, error: ClientError) -> Finding:
    """Say why AWS did not take a request."""
    seen = not_checked(subject, error, ("servicequotas:RequestServiceQuotaIncrease",))
    message = seen.message.replace("could not be checked", "could not be asked for")
    return fault(subject, message, seen.cure)


def _listed(account: AwsAccount, operation: str, service: str) -> dict[str, Any]:
    pages = account.client("service-quotas").get_paginator(operation).paginate(ServiceCode=service)
    # Quotas of one resource beside the account's have the same name, and no bearing on it.
    return {
        quota["QuotaName"]: quota
        for page in pages
        for quota in page["Quotas"]
        if quota.get("QuotaAppliedAtLevel", "ACCOUNT") != "RESOURCE" and "Value" in quota
    }


def _open_requests(account: AwsAccount, services: set[Any]) -> dict[str, str]:
    """Find the requests without an answer, by the codes of their quotas."""
    found = {}
    paginator = account.client("service-quotas").get_paginator("list_requested_service_quota_change_history")
    for service in sorted(services):
        try:
            for page in paginator.paginate(ServiceCode=service):
                for request in page["RequestedQuotas"]:
                    if request["Status"] in _OPEN:
                        wanted = f"to {request['DesiredValue']:g}, {_OPEN[request['Status']]}"
                        found[request["QuotaCode"]] = wanted
        except ClientError as error:
            if code_of(error) != "NoSuchResourceException":
                raise
    return found
