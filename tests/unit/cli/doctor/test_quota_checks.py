"""Quotas: what the settings need against what the account has, and what is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from cli.doctor.quota_checks import HeldQuota, instance_quotas, request_increase, request_missing
from contracts.settings import Settings
from stacks.quotas import needed
from tests.unit.cli.doctor.conftest import StubbedAccount, examination, found

SPOT = "ml.g6.xlarge for spot training job usage"
PROCESSING = "ml.g6.xlarge for processing job usage"
ENDPOINT = "ml.g6.xlarge for endpoint usage"
TRANSFORM = "ml.g6.xlarge for transform job usage"
FALLBACK = "ml.g5.xlarge for endpoint usage"


def names(**settings: Any) -> list[str]:
    needs = needed(Settings.model_validate(settings))
    return [need.name for need in needs if need.service == "sagemaker"]


def code(name: str) -> str:
    return f"L-{sum(map(ord, name)):08X}"


def quota(name: str, value: float, service: str = "sagemaker") -> dict[str, Any]:
    return {
        "ServiceCode": service,
        "QuotaName": name,
        "QuotaCode": code(name),
        "Value": value,
        "Adjustable": True,
    }


def listed(
    aws: StubbedAccount,
    values: dict[str, float],
    defaults: dict[str, float] | None = None,
    requests: list[dict[str, Any]] | None = None,
) -> None:
    """Prepare Service Quotas' answers: what the account has, AWS's defaults, and open requests."""
    applied = [quota(name, value) for name, value in values.items()]
    half = len(applied) // 2
    aws.answers("service-quotas", "list_service_quotas", {"Quotas": applied[:half], "NextToken": "more"})
    aws.answers("service-quotas", "list_service_quotas", {"Quotas": applied[half:]})
    of_aws = defaults if defaults is not None else dict.fromkeys(names(), 0.0)
    answer = {"Quotas": [quota(name, value) for name, value in of_aws.items()]}
    aws.answers("service-quotas", "list_aws_default_service_quotas", answer)
    history = {"RequestedQuotas": requests or []}
    aws.answers("service-quotas", "list_requested_service_quota_change_history", history)


def test_an_account_with_all_of_them_has_ticks_only(aws: StubbedAccount) -> None:
    listed(aws, dict.fromkeys(names(), 8.0))
    findings = found(instance_quotas, examination(aws))
    assert set(findings) == set(names())
    assert {finding.status for finding in findings.values()} == {"ok"}


def test_each_missing_quota_is_named_with_what_needs_it_and_the_page_that_raises_it(
    aws: StubbedAccount,
) -> None:
    listed(aws, dict.fromkeys(names(), 0.0))
    findings = found(instance_quotas, examination(aws))
    statuses = {name: finding.status for name, finding in findings.items()}
    assert {name for name, status in statuses.items() if status == "fault"} == {SPOT, PROCESSING, ENDPOINT}
    assert statuses[TRANSFORM] == statuses[FALLBACK] == "warning", "the app works without"
    spot = findings[SPOT]
    assert spot.message == "0; 1 is needed for training on spot capacity"
    assert "storyloom doctor --fix" in spot.cure
    assert spot.link == (
        "https://eu-west-1.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas/" + code(SPOT)
    )


def test_one_endpoint_instance_is_enough_to_go_live_with_a_warning_about_the_pause(
    aws: StubbedAccount,
) -> None:
    listed(aws, {**dict.fromkeys(names(), 8.0), ENDPOINT: 1.0})
    finding = found(instance_quotas, examination(aws))[ENDPOINT]
    assert finding.status == "warning"
    assert finding.message.startswith("1 of 2 for the endpoint: a new version cannot start beside")


@pytest.mark.aws_fact
def test_a_quota_that_was_never_applied_has_its_default(aws: StubbedAccount) -> None:
    values = dict.fromkeys(names(), 8.0)
    del values[SPOT], values[PROCESSING]
    listed(aws, values, {**dict.fromkeys(names(), 0.0), PROCESSING: 4.0})
    findings = found(instance_quotas, examination(aws))
    assert findings[PROCESSING].status == "ok"
    assert findings[SPOT].status == "fault" and findings[SPOT].message.startswith("0; ")


@pytest.mark.aws_fact
def test_an_instance_without_a_quota_is_not_offered_in_the_region(aws: StubbedAccount) -> None:
    values = {name: 8.0 for name in names() if not name.endswith("endpoint usage")}
    listed(aws, values, values)
    findings = found(instance_quotas, examination(aws))
    assert findings[ENDPOINT].status == "fault" and "not offered there" in findings[ENDPOINT].message
    assert findings[FALLBACK].status == "warning", "the first choice is the one that is missed"


@pytest.mark.parametrize("offered", [True, False])
def test_a_first_choice_that_another_instance_replaces_is_a_warning(
    aws: StubbedAccount, offered: bool
) -> None:
    values = {**dict.fromkeys(names(), 0.0), FALLBACK: 1.0, "ml.g6e.xlarge for processing job usage": 1.0}
    if not offered:
        del values[ENDPOINT], values[PROCESSING]
    listed(aws, values, values)
    findings = found(instance_quotas, examination(aws))
    assert findings[ENDPOINT].status == findings[PROCESSING].status == "warning"
    assert findings[SPOT].status == "fault", "nothing takes the place of the training's"
    if offered:
        assert findings[ENDPOINT].message.endswith("and ml.g5.xlarge takes its place")
        assert findings[PROCESSING].message.endswith("and ml.g6e.xlarge takes its place")


def test_an_open_request_is_shown_and_not_asked_for_again(
    aws: StubbedAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    request = {"QuotaCode": code(SPOT), "QuotaName": SPOT, "DesiredValue": 1.0, "Status": "CASE_OPENED"}
    denied = {"QuotaCode": code(PROCESSING), "DesiredValue": 1.0, "Status": "DENIED"}
    values = {**dict.fromkeys(names(), 8.0), SPOT: 0.0, PROCESSING: 0.0}
    listed(aws, values, requests=[request, denied])
    findings = found(instance_quotas, examination(aws))
    assert "to 1, a support case is open" in findings[SPOT].cure
    assert "--fix" in findings[PROCESSING].cure

    listed(aws, values, requests=[request])
    concurrency(aws, 1000)
    expected = {"ServiceCode": "sagemaker", "QuotaCode": code(PROCESSING), "DesiredValue": 1.0}
    aws.answers(
        "service-quotas",
        "request_service_quota_increase",
        {"RequestedQuota": {"Status": "PENDING"}},
        expected,
    )
    (asked,) = request_missing(examination(aws), yes=True, console=Console(width=200))
    assert (asked.status, asked.subject) == ("ok", PROCESSING)
    assert f"asked for already: {SPOT}" in capsys.readouterr().out


def concurrency(aws: StubbedAccount, value: int) -> None:
    aws.answers("lambda", "get_account_settings", {"AccountLimit": {"ConcurrentExecutions": value}})
    default = {"Quota": {**quota("Concurrent executions", 1000.0, "lambda"), "QuotaCode": "L-B99A9384"}}
    aws.answers("service-quotas", "get_aws_default_service_quota", default)
    aws.answers("service-quotas", "list_requested_service_quota_change_history", {"RequestedQuotas": []})


@pytest.mark.aws_fact
def test_an_increase_is_asked_above_the_default_for_aws_takes_no_other(aws: StubbedAccount) -> None:
    listed(aws, dict.fromkeys(names(), 8.0))
    concurrency(aws, 10)
    expected = {"ServiceCode": "lambda", "QuotaCode": "L-B99A9384", "DesiredValue": 1001.0}
    aws.answers(
        "service-quotas",
        "request_service_quota_increase",
        {"RequestedQuota": {"Status": "PENDING"}},
        expected,
    )
    (asked,) = request_missing(examination(aws), yes=True, console=Console(quiet=True))
    assert asked.status == "ok" and "asked for 1001" in asked.message


def test_without_confirmation_no_quota_is_requested(
    aws: StubbedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(aws, dict.fromkeys(names(), 0.0))
    concurrency(aws, 10)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    console = Console(record=True, width=200, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    assert request_missing(examination(aws), yes=False, console=console) == []
    shown = console.export_text()
    assert SPOT in shown and "Nothing was asked for." in shown, "what would be asked for is shown first"


@pytest.mark.parametrize(
    ("code_of_answer", "status", "said"),
    [
        ("ResourceAlreadyExistsException", "ok", "AWS has not answered yet"),
        ("AccessDeniedException", "fault", "servicequotas:RequestServiceQuotaIncrease"),
        ("QuotaExceededException", "fault", "QuotaExceededException"),
        ("TooManyRequestsException", "fault", "throttles"),
    ],
)
def test_what_aws_answers_to_a_request_is_said(
    aws: StubbedAccount, code_of_answer: str, status: str, said: str
) -> None:
    (need,) = (need for need in needed(Settings()) if need.name == SPOT)
    aws.refuses("service-quotas", "request_service_quota_increase", code_of_answer)
    asked = request_increase(HeldQuota(need, "L-1", 0.0, 0.0, True), aws.account)
    assert (asked.status, asked.subject) == (status, SPOT) and said in asked.message


def test_a_caller_who_may_not_read_quotas_gets_the_missing_permission(aws: StubbedAccount) -> None:
    aws.denies("service-quotas", "list_service_quotas", "servicequotas:ListServiceQuotas")
    (finding,) = found(instance_quotas, examination(aws)).values()
    assert finding.status == "warning"
    assert "could not be checked" in finding.message and "servicequotas:ListServiceQuotas" in finding.message


@pytest.mark.parametrize(
    "code_of_answer", ["ThrottlingException", "TooManyRequestsException", "InternalFailure"]
)
def test_an_odd_answer_is_a_warning_and_no_cross(aws: StubbedAccount, code_of_answer: str) -> None:
    aws.refuses("service-quotas", "list_service_quotas", code_of_answer, "a\n  long   answer")
    (finding,) = found(instance_quotas, examination(aws)).values()
    assert finding.status == "warning" and "could not be checked" in finding.message


def test_a_quota_of_one_resource_is_not_the_accounts(aws: StubbedAccount) -> None:
    values = dict.fromkeys(names(), 8.0)
    aws.answers(
        "service-quotas",
        "list_service_quotas",
        {
            "Quotas": [
                *(quota(name, value) for name, value in values.items()),
                {**quota(SPOT, 0.0), "QuotaAppliedAtLevel": "RESOURCE"},
                {"QuotaName": PROCESSING, "ErrorReason": {"ErrorCode": "DEPENDENCY_ACCESS_DENIED_ERROR"}},
            ]
        },
    )
    aws.answers("service-quotas", "list_aws_default_service_quotas", {"Quotas": []})
    aws.answers("service-quotas", "list_requested_service_quota_change_history", {"RequestedQuotas": []})
    assert {finding.status for finding in found(instance_quotas, examination(aws)).values()} == {"ok"}
