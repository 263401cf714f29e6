"""The guard: it needs no function, has two permissions, and exists before the first endpoint."""

import json

from stacks.chat.endpoint_guard import definition
from tests.templates.conftest import Synthesized


def test_no_function_takes_part_in_it() -> None:
    resources = [state.get("Resource", "") for state in definition("storyloom", "records")["States"].values()]
    assert [resource for resource in resources if resource] == [
        "arn:aws:states:::dynamodb:getItem",
        "arn:aws:states:::aws-sdk:sagemaker:deleteEndpoint",
    ]


def test_it_is_started_by_a_rule_and_costs_next_to_nothing(synthesized: Synthesized) -> None:
    machines = {
        name: resource["Properties"]
        for name, resource in synthesized.resources("AWS::StepFunctions::StateMachine")
        if "EndpointGuard" in name
    }
    ((name, machine),) = machines.items()
    assert machine["StateMachineType"] == "EXPRESS", "a Standard one costs half a dollar a month"
    rules = [
        resource["Properties"]
        for _, resource in synthesized.resources("AWS::Events::Rule")
        if any(target["Arn"] == {"Ref": name} for target in resource["Properties"]["Targets"])
    ]
    assert [rule["ScheduleExpression"] for rule in rules] == ["rate(10 minutes)"]


def test_no_endpoint_is_created_before_the_guard_exists(synthesized: Synthesized) -> None:
    """The pipeline hosts a model only if the parameter with the page's address is there."""
    ((_, parameter),) = [
        (name, resource)
        for name, resource in synthesized.resources("AWS::SSM::Parameter")
        if name.startswith("PageAddress")
    ]
    assert any("EndpointGuardTick" in name for name in parameter["DependsOn"]), json.dumps(parameter)
