"""Which functions read prices from AWS, when, and for which instances."""

import json
from pathlib import Path

import pytest

from tests.templates.conftest import Synthesized, synthesize

_ASKS = "Custom::PricesAtDeployment"


def _function(synthesized: Synthesized, name: str) -> tuple[str, dict[str, str]]:
    """The logical id and the environment of a function."""
    ((id_, found),) = [
        (id_, one["Properties"])
        for id_, one in synthesized.resources("AWS::Lambda::Function")
        if one["Properties"].get("Handler") == f"{name}.handler.handler"
    ]
    return id_, found["Environment"]["Variables"]


@pytest.mark.aws_fact
def test_the_price_list_is_all_that_refresh_prices_may_ask(synthesized: Synthesized) -> None:
    """The action has no resources; nobody else may call it, and no other action comes with the wildcard."""
    granted = [
        (id_, statement)
        for id_, one in synthesized.resources("AWS::IAM::Policy")
        for statement in one["Properties"]["PolicyDocument"]["Statement"]
        if "pricing:" in json.dumps(statement["Action"])
    ]
    ((id_, statement),) = granted
    assert id_.startswith("RefreshPrices")
    assert (statement["Action"], statement["Resource"]) == ("pricing:GetProducts", "*")


def test_prices_are_asked_at_deployment_and_every_week(synthesized: Synthesized) -> None:
    function, _ = _function(synthesized, "refresh_prices")
    ((_, asks),) = synthesized.resources(_ASKS)
    assert asks["Properties"]["ServiceToken"] == {"Fn::GetAtt": [function, "Arn"]}
    assert int(asks["Properties"]["ServiceTimeout"]) <= 600, "CloudFormation would wait for an hour"
    assert any(name.startswith("RefreshPrices") and "Policy" in name for name in asks["DependsOn"])
    schedules = [
        one["Properties"]["ScheduleExpression"]
        for _, one in synthesized.resources("AWS::Events::Rule")
        if {"Fn::GetAtt": [function, "Arn"]}
        in [target["Arn"] for target in one["Properties"].get("Targets", [])]
    ]
    assert schedules == ["rate(7 days)"]


def test_other_instances_have_the_prices_asked_again(
    synthesized: Synthesized, built_page: Path, tmp_path: Path
) -> None:
    other = synthesize(built_page, tmp_path, hosting_instance="ml.g6.2xlarge")
    ((_, before),), ((_, after),) = synthesized.resources(_ASKS), other.resources(_ASKS)
    assert before["Properties"]["Instances"] == ["ml.g6.xlarge", "ml.g5.xlarge", "ml.g6e.xlarge"]
    assert "ml.g6.2xlarge" in after["Properties"]["Instances"]


def test_the_functions_know_what_may_be_billed(synthesized: Synthesized) -> None:
    billed = [
        json.loads(_function(synthesized, "refresh_prices")[1]["STORYLOOM_BILLED_INSTANCES"]),
        *(
            json.loads(one["Properties"]["Environment"]["Variables"]["STORYLOOM_BILLED_INSTANCES"])
            for _, one in synthesized.resources("AWS::Lambda::Function")
            if one["Properties"].get("Handler") == "run.sh"
        ),
    ]
    assert billed[0] == billed[1]
    assert set(billed[0]) == {"training", "processing", "hosting", "transform"}


def test_prices_given_by_hand_reach_every_function(
    synthesized: Synthesized, built_page: Path, tmp_path: Path
) -> None:
    given = synthesize(built_page, tmp_path, instance_prices_usd="ml.g6.xlarge=1.5")
    named = {
        id_: one["Properties"]["Environment"]["Variables"].get("STORYLOOM_INSTANCE_PRICES")
        for id_, one in given.resources("AWS::Lambda::Function")
        if "STORYLOOM_NAME" in one["Properties"].get("Environment", {}).get("Variables", {})
    }
    assert len(named) > 20
    assert set(named.values()) == {'{"ml.g6.xlarge": 1.5}'}
    _, environment = _function(synthesized, "refresh_prices")
    assert "STORYLOOM_INSTANCE_PRICES" not in environment
