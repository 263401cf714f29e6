"""The table of what bills at rest in docs/costs.md has a line for every resource of the templates."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from stories.dataset.training_plan import AT_REST_NOT_FREE_USD, AT_REST_USD
from tests.templates.conftest import Synthesized
from tests.templates.pages import check_table

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "costs.md"
_HEAD = (
    "| resource | how many | a month, list price | always free of it | what bills |\n|---|---|---|---|---|\n"
)
_MOST_USD = 1.0


@dataclass(frozen=True)
class AtRest:
    """What resources of some types cost in a month in which nobody does anything."""

    types: tuple[str, ...]
    why: str
    usd: float = 0.0
    """Of all of them, or of each one if `each` is true."""
    each: bool = False
    free: int = 0
    """So many of an account's are always free, not only in its first year."""


_LINES = (
    AtRest(
        ("AWS::S3::Bucket",),
        "$0.023 a GB: 11 GB hold a model of 1.7 billion parameters, two copies of it in hosting bundles, "
        "and ten versions",
        0.26,
    ),
    AtRest(
        ("AWS::DynamoDB::Table",),
        "17,000 reads by the endpoint manager at $0.125 a million; below 1 MB kept, with its backups",
        0.01,
    ),
    AtRest(
        ("AWS::Lambda::Function",),
        "calls: the endpoint manager's 8,640, a fifth of a second each with 512 MB; nobody calls the others",
        0.02,
    ),
    AtRest(
        ("AWS::Logs::LogGroup",), "$0.50 a GB written: the endpoint manager's 10 MB, kept for a month", 0.01
    ),
    AtRest(("AWS::CloudWatch::Alarm",), "$0.10 each", 0.10, each=True, free=10),
    AtRest(("AWS::CloudWatch::Dashboard",), "$3.00 each", 3.00, each=True, free=3),
    AtRest(("AWS::Logs::MetricFilter",), "its metric, at $0.30 a month, bills in hours with a fault only"),
    AtRest(("AWS::ApiGateway::RestApi",), "requests, at $3.50 a million"),
    AtRest(
        (
            "AWS::ApiGateway::Account",
            "AWS::ApiGateway::Authorizer",
            "AWS::ApiGateway::Deployment",
            "AWS::ApiGateway::GatewayResponse",
            "AWS::ApiGateway::Method",
            "AWS::ApiGateway::Resource",
            "AWS::ApiGateway::Stage",
        ),
        "nothing: parts of the API, which has no cache",
    ),
    AtRest(("AWS::CloudFront::Distribution",), "requests and traffic; the first TB of a month is free"),
    AtRest(
        ("AWS::CloudFront::OriginAccessControl", "AWS::CloudFront::ResponseHeadersPolicy"),
        "nothing: parts of the distribution",
    ),
    AtRest(("AWS::CloudFront::Function",), "calls, at $0.10 a million; two million a month are free"),
    AtRest(("AWS::Cognito::UserPool",), "people who sign in; the first 10,000 of a month are free"),
    AtRest(
        (
            *("AWS::Cognito::UserPoolClient", "AWS::Cognito::UserPoolUser", "AWS::Cognito::UserPoolGroup"),
            "AWS::Cognito::UserPoolUserToGroupAttachment",
        ),
        "nothing: parts of the pool",
    ),
    AtRest(("AWS::StepFunctions::StateMachine",), "transitions, at $25 a million: a run has about fifty"),
    AtRest(("AWS::SageMaker::ModelPackageGroup",), "nothing: a registry; jobs and the endpoint bill"),
    AtRest(("AWS::Scheduler::ScheduleGroup", "AWS::Events::Rule"), "nothing: events of AWS and schedules"),
    AtRest(
        ("AWS::SNS::Topic", "AWS::SNS::Subscription", "AWS::SNS::TopicPolicy"),
        "e-mails; the first 1,000 of a month are free",
    ),
    AtRest(("AWS::SSM::Parameter",), "nothing: a standard parameter"),
    AtRest(("AWS::Budgets::Budget",), "nothing: it has no actions"),
    AtRest(
        (
            "AWS::Lambda::LayerVersion",
            "Custom::CDKBucketDeployment",
            "Custom::MadeAtRunTime",
            "Custom::PricesAtDeployment",
        ),
        "nothing: they work while deploying and deleting",
    ),
    AtRest(
        ("AWS::IAM::Policy", "AWS::IAM::Role", "AWS::Lambda::Permission", "AWS::S3::BucketPolicy"),
        "nothing: permissions",
    ),
)


@pytest.fixture(scope="module")
def counts(synthesized: Synthesized) -> Counter[str]:
    """How many resources of each type there are, in all stacks."""
    return Counter(
        resource["Type"]
        for template in synthesized.templates.values()
        for resource in template.to_json()["Resources"].values()
    )


def test_the_page_has_a_line_for_every_resource(counts: Counter[str], pytestconfig: pytest.Config) -> None:
    known = {type_ for line in _LINES for type_ in line.types}
    assert set(counts) <= known, "say what these cost at rest"
    assert known <= set(counts), "these are in no template any more"
    check_table(_PAGE, _HEAD, _table(counts), pytestconfig)


def test_an_idle_app_costs_less_than_a_dollar(counts: Counter[str]) -> None:
    assert sum(_list_price(line, counts) - _free(line, counts) for line in _LINES) < _MOST_USD


def test_the_price_list_has_the_sums_of_the_page(counts: Counter[str]) -> None:
    listed = sum(_list_price(line, counts) for line in _LINES)
    free = sum(_free(line, counts) for line in _LINES)
    assert (round(listed - free, 2), round(free, 2)) == (AT_REST_USD, AT_REST_NOT_FREE_USD)


def _table(counts: Counter[str]) -> str:
    rows = [
        _row(_names(line), _count(line, counts), _list_price(line, counts), _free(line, counts), line.why)
        for line in _LINES
    ]
    listed = sum(_list_price(line, counts) for line in _LINES)
    free = sum(_free(line, counts) for line in _LINES)
    rows.append(_row("all", sum(counts.values()), listed, free, f"**${listed - free:.2f} a month**"))
    return _HEAD + "".join(rows)


def _row(what: str, count: int, listed: float, free: float, why: str) -> str:
    return f"| {what} | {count} | ${listed:.2f} | ${free:.2f} | {why} |\n"


def _names(line: AtRest) -> str:
    return ", ".join(type_.removeprefix("AWS::").replace("::", " ") for type_ in line.types)


def _count(line: AtRest, counts: Counter[str]) -> int:
    return sum(counts[type_] for type_ in line.types)


def _list_price(line: AtRest, counts: Counter[str]) -> float:
    return line.usd * _count(line, counts) if line.each else line.usd


def _free(line: AtRest, counts: Counter[str]) -> float:
    return line.usd * min(line.free, _count(line, counts)) if line.each else 0.0
