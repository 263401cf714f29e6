"""The command `storyloom doctor`: its options, and what it prints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.aws.context import parse_overrides
from cli.console import AsJson, notes, out, print_json
from cli.user_files import CHECKOUT

if TYPE_CHECKING:
    from cli.doctor.examination import Check, Examination
    from cli.doctor.findings import DoctorReport, Finding


def doctor(
    *,
    profile: Annotated[
        str, typer.Option(help="Profile of the AWS configuration; by default the one that the AWS CLI uses.")
    ] = "",
    region: Annotated[
        str, typer.Option(help="Region; by default the one that the CDK uses, such as AWS_REGION.")
    ] = "",
    context: Annotated[
        list[str] | None, typer.Option("--context", "-c", help="A setting, key=value, as for cdk deploy.")
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Request the missing quotas from AWS, after you confirm.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Confirm the question of --fix.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find what a deployment to AWS would fail on, before you deploy.

    Checks your settings, this checkout, the account and its region, the quotas that the settings need, the
    base model, what an earlier deployment under this name has left, and the costs. It only reads. A check
    that lacks a permission becomes a warning that names the permission.

    A cross: the deployment or the first use fails. A warning: it may fail. Both have a cure. With --fix the
    missing quotas are requested, after you confirm; AWS answers by e-mail.

    Exit code 0: no cross. 1: at least one. 2: the options are wrong.

    Examples:

      storyloom doctor -c admin_email=you@example.com

      storyloom doctor --profile work --region eu-west-1

      storyloom doctor --fix

      storyloom doctor --json | jq '.findings[] | select(.status == "fault")'
    """
    overrides = _checked_overrides(context or [], fix=fix, yes=yes, as_json=as_json)
    examination, report = run_checks(profile, region, overrides)
    requested: list[Finding] = []
    if not as_json:
        from cli.doctor.all_checks import GROUPS  # noqa: PLC0415 (slow)
        from cli.doctor.findings import report_table  # noqa: PLC0415 (slow)

        out.print(report_table(report, GROUPS))
    if fix and examination.aws is not None:
        from cli.doctor.quota_checks import request_missing  # noqa: PLC0415 (slow)

        requested = request_missing(examination, yes=yes, console=notes if as_json else out)
    if as_json:
        print_json(report.to_json(requested))
    if not report.may_deploy or any(finding.status == "fault" for finding in requested):
        raise typer.Exit(1)


def _checked_overrides(context: Sequence[str], *, fix: bool, yes: bool, as_json: bool) -> dict[str, str]:
    """Check the options before AWS is asked; return the settings among them."""
    try:
        overrides = parse_overrides(context)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="-c") from error
    if yes and not fix:
        raise typer.BadParameter("It answers the question of --fix; give both.", param_hint="--yes")
    if fix and not yes and (as_json or not sys.stdin.isatty()):
        raise typer.BadParameter(
            "Not an interactive terminal, so the question cannot be asked: add --yes.", param_hint="--fix"
        )
    return overrides


def run_checks(profile: str, region: str, overrides: dict[str, str]) -> tuple[Examination, DoctorReport]:
    """Run every check that can be run; return what was examined, and the report."""
    # boto3 and the settings take a second to load, which no other command has to wait.
    from dataclasses import replace  # noqa: PLC0415

    from cli.doctor.all_checks import ACCOUNT, CHECKS, SETTINGS  # noqa: PLC0415 (slow)
    from cli.doctor.credential_checks import SignInFailed, sign_in  # noqa: PLC0415 (slow)
    from cli.doctor.examination import run_all  # noqa: PLC0415 (slow)
    from cli.doctor.findings import DoctorReport, ReportEntry  # noqa: PLC0415 (slow)
    from cli.doctor.settings_checks import read_settings_for_checks  # noqa: PLC0415 (slow)

    with _progress() as progress:
        examination, found = read_settings_for_checks(CHECKOUT, overrides)
        entries = [ReportEntry(SETTINGS, "settings", finding) for finding in found]
        progress("asking AWS who you are")
        try:
            account, found = sign_in(profile, region)
            examination = replace(examination, aws=account)
        except SignInFailed as failed:
            found = list(failed.findings)
        entries += [ReportEntry(ACCOUNT, "credentials", finding) for finding in found]
        possible = [check for check in CHECKS if examination.aws is not None or not check.asks_aws]
        results = run_all(
            possible, examination, lambda unfinished: progress(_asking(unfinished, len(possible)))
        )
    entries += [
        ReportEntry(result.check.group, result.check.name, finding)
        for result in results
        for finding in result.findings
    ]
    aws = examination.aws
    return examination, DoctorReport(
        examination.settings.name, aws.account_id if aws else "", aws.region if aws else "", tuple(entries)
    )


def _asking(unfinished: Sequence[Check], total: int) -> str:
    waiting = ", ".join(check.question for check in unfinished[:3])
    return f"{total - len(unfinished)} of {total} checks done; waiting for {waiting}"


def _progress() -> AbstractContextManager[Callable[[str], Any]]:
    if not notes.is_terminal:
        return nullcontext(lambda text: None)
    return _Spinner()


class _Spinner(AbstractContextManager[Any]):
    """A line with the checks that are still running, which disappears at the end."""

    def __enter__(self) -> Callable[[str], Any]:
        self._status = notes.status("reading the settings")
        self._status.start()
        return self._status.update

    def __exit__(self, *exception: object) -> None:
        self._status.stop()
