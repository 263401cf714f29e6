"""Read the prices of the settings' instances from AWS: in each deployment that changes them, and weekly."""

from aws_cdk import CustomResource, Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from contracts import table_keys
from contracts.environment import BilledInstances
from contracts.settings import Settings
from price_list.price import Kind
from stacks import prices
from stacks.functions.function import Function
from stacks.permissions import allow

LONGEST_REFRESH = Duration.minutes(2)
_LONGEST_ANSWER = Duration.minutes(5)
"""How long CloudFormation waits for a response. By default a deployment would hang for an hour."""
_EVERY = Duration.days(7)


def configure_billed_instances(function: Function, settings: Settings) -> None:
    """Configure a function with the instances that the settings allow, by kind of work."""
    billed: dict[Kind, list[str]] = {}
    for kind, instance in prices.billed(settings):
        billed.setdefault(kind, []).append(instance)
    function.configure(BilledInstances(billed_instances=billed))


def schedule_price_refresh(scope: Construct, settings: Settings, function: Function) -> events.Rule:
    """Invoke the function `refresh_prices` in each deployment that changes the instances, and every week.

    Args:
        scope: the stack.
        settings: of the app; only prices of the instances that they name are read.
        function: `refresh_prices`.

    Returns:
        The weekly schedule.
    """
    configure_billed_instances(function, settings)
    function.grant_table_access("GetItem", "UpdateItem", partitions=[table_keys.PRICES])
    allow(
        function.role,
        ["pricing:GetProducts"],
        ["*"],
        wildcard_because="the Price List API has no resources: it gives everybody the same public prices",
    )
    tick = events.Rule(
        scope,
        "PricesTick",
        description="Storyloom: reads the prices of the instances",
        schedule=events.Schedule.rate(_EVERY),
        targets=[targets.LambdaFunction(function.function)],
    )
    resource = CustomResource(
        scope,
        "PricesAtDeployment",
        resource_type="Custom::PricesAtDeployment",
        service_token=function.arn,
        service_timeout=_LONGEST_ANSWER,
        # CloudFormation invokes the function again when this property changes.
        properties={"Instances": prices.instances(settings)},
    )
    # Wait for the function's permissions too; without them it would record a denied request.
    resource.node.add_dependency(function)
    return tick
