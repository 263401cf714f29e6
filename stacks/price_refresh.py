"""Asking AWS what the instances of the settings cost: at each deployment that changes them, and weekly."""

import json

from aws_cdk import CustomResource, Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from stacks import prices
from stacks.functions import Function
from stacks.permissions import allow
from stacks.settings import Settings

LONGEST_REFRESH = Duration.minutes(2)
_LONGEST_ANSWER = Duration.minutes(5)
"""How long CloudFormation waits for an answer. Its default is an hour, in which a deployment would hang."""
_EVERY = Duration.days(7)


def name_billed_instances(function: Function, settings: Settings) -> None:
    """Tell a function what the app may pay for."""
    billed: dict[str, list[str]] = {}
    for kind, instance in prices.billed(settings):
        billed.setdefault(kind, []).append(instance)
    function.function.add_environment("STORYLOOM_BILLED_INSTANCES", json.dumps(billed))


def refresh_prices(scope: Construct, settings: Settings, function: Function) -> events.Rule:
    """Have the function `refresh_prices` ask AWS's Price List API now and every week.

    Args:
        scope: the stack.
        settings: of the app; only the instances that they name are asked for.
        function: `refresh_prices`.

    Returns:
        The week's schedule.
    """
    name_billed_instances(function, settings)
    function.may_use_table("GetItem", "UpdateItem", partitions=["PRICES"])
    allow(
        function.role,
        ["pricing:GetProducts"],
        ["*"],
        wildcard_because="the Price List API has no resources: it gives everybody the same public prices",
    )
    tick = events.Rule(
        scope,
        "PricesTick",
        description="Storyloom: what do the machines cost?",
        schedule=events.Schedule.rate(_EVERY),
        targets=[targets.LambdaFunction(function.function)],
    )
    resource = CustomResource(
        scope,
        "PricesAtDeployment",
        resource_type="Custom::PricesAtDeployment",
        service_token=function.arn,
        service_timeout=_LONGEST_ANSWER,
        # A property that changes has CloudFormation call the function again.
        properties={"Instances": prices.instances(settings)},
    )
    # With its permissions: without them it would only note that it may not ask.
    resource.node.add_dependency(function)
    return tick
