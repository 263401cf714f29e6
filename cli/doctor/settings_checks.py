"""Checks of the settings: every wrong value, or what the right ones mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cli.aws.context import ContextError, read_context
from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, fault, ok
from contracts import settings as app_settings
from contracts.settings import Settings, SettingsError


def read_settings_for_checks(
    checkout: Path, overrides: Mapping[str, str]
) -> tuple[Examination, list[Finding]]:
    """Read the settings as the app does; each wrong value becomes a finding, and its default is used."""
    try:
        context: dict[str, Any] = read_context(checkout, overrides)
    except ContextError as error:
        everything = frozenset(Settings.model_fields)
        found = fault("cdk.json", f"{error.file} {error.reason}", error.cure)
        return Examination(checkout, {}, Settings(), everything), [found]
    findings: list[Finding] = []
    wrong = frozenset[str]()
    try:
        settings = app_settings.read(context)
    except SettingsError as error:
        findings = [
            fault(setting.key, f"{setting.value!r}: {setting.reason}", f"{setting.cure}.")
            for setting in error.faults
        ]
        wrong = frozenset(setting.key for setting in error.faults)
        usable = {key: context[key] for key in context.keys() & Settings.model_fields.keys() - wrong}
        settings = Settings.model_validate(usable)
    if not findings:
        findings = [ok("cdk.json", _summary(settings))]
    return Examination(checkout, context, settings, wrong), findings


def _summary(settings: Settings) -> str:
    spot = " (spot)" if settings.spot else ""
    return (
        f"{settings.name} with {settings.model.name}, trained on {settings.training_instance}{spot}, "
        f"hosted on {settings.hosting_instance}"
    )


def e_mail(examination: Examination) -> Iterator[Finding]:
    """Check that there is an address for the first sign-in and for messages."""
    email = examination.settings.admin_email
    if not email:
        yield fault(
            "admin_email",
            "empty, so nobody can sign in, and nobody gets e-mails about runs, alarms and the budget",
            "Set it in cdk.json, or give -c admin_email=you@example.com to doctor and to cdk deploy.",
        )
        return
    yield ok(
        "admin_email",
        f"{email}: gets the first password (Cognito sends at most 50 e-mails a day), and SNS's request "
        "to confirm its messages",
    )
    yield ok(
        "monthly_budget_usd",
        f"AWS Budgets writes to {email} at 50% and 100% of ${examination.settings.monthly_budget_usd:g}, "
        "and when the forecast exceeds it; it stops nothing",
    )
