"""Asks AWS what the instances of the settings cost, and keeps each price with its date.

A week's schedule calls it, and CloudFormation at each deployment that changes the instances. No failure of it
fails a deployment or takes a price away: the prices known before stay.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from price_list import aws_price_list
from price_list.price import Kind
from shared import aws, custom_resource, environment, prices

log = Logger(service="refresh_prices")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Ask for all prices, and answer CloudFormation if it is the caller.

    Args:
        event: of a custom resource, or a schedule's.
        context: Lambda's.

    Returns:
        `{"kept": instances with a price, "failure": why some could not be asked, or null}`.
    """
    is_deletion = event.get("RequestType") == "Delete"
    try:
        outcome = {"kept": [], "failure": None} if is_deletion else refresh()
    except Exception as error:  # a deployment must not fail, nor hang for an answer, because of a price
        log.exception("The prices could not be kept")
        outcome = {"kept": [], "failure": f"{type(error).__name__}: {error}"}
    if "ResponseURL" in event:
        custom_resource.respond(event, f"{environment.common().name}-prices", reason="")
    return outcome


def refresh() -> dict[str, Any]:
    """Ask for the price of each instance that the settings name; keeps what was answered."""
    listed: dict[str, dict[Kind, float]] = {}
    failures: list[str] = []
    billed = environment.read(environment.BilledInstances).billed_instances
    for instance in dict.fromkeys(instance for instances in billed.values() for instance in instances):
        try:
            by_kind = _ask(instance)
        except (ClientError, BotoCoreError, aws_price_list.PriceListError) as error:
            failures.append(f"{instance}: {error}")
            continue
        if by_kind:
            listed[instance] = by_kind
        else:
            failures.append(f"{instance}: AWS's price list has no price for it in this region")
    if listed:
        prices.keep(listed)
    failure = "; ".join(failures) or None
    if failure:
        log.warning("Some prices could not be asked; those known before stay", extra={"failure": failure})
        prices.note_failure(failure)
    return {"kept": sorted(listed), "failure": failure}


def _ask(instance: str) -> dict[Kind, float]:
    """Ask in the first region of the API that answers."""
    first, *others = aws_price_list.ENDPOINT_REGIONS
    try:
        return aws_price_list.ask(aws.pricing(first), instance, prices.region())
    except BotoCoreError:
        return aws_price_list.ask(aws.pricing(others[0]), instance, prices.region())
