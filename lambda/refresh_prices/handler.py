"""Read the prices of the settings' instances from AWS's Price List API, and store each with its date.

A weekly schedule calls it, and CloudFormation does in each deployment that changes the instances. A failure
neither fails a deployment nor removes a price: the stored prices stay.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from contracts import environment
from price_list import aws_price_list
from price_list.price import Kind
from shared.aws import clients, custom_resource
from shared.spending import prices

log = Logger(service="refresh_prices")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Refresh all prices, and respond to CloudFormation if it is the caller.

    Args:
        event: a custom resource's request, or a scheduled event.
        context: Lambda's.

    Returns:
        `{"kept": instances with a new price, "failure": why others have none, or null}`.
    """
    is_deletion = event.get("RequestType") == "Delete"
    try:
        outcome = {"kept": [], "failure": None} if is_deletion else refresh()
    except Exception as error:  # a price must neither fail a deployment nor leave it waiting for a response
        log.exception("Could not refresh the prices")
        outcome = {"kept": [], "failure": f"{type(error).__name__}: {error}"}
    if "ResponseURL" in event:
        custom_resource.respond(event, f"{environment.common().name}-prices", reason="")
    return outcome


def refresh() -> dict[str, Any]:
    """Read the price of each instance that the settings name, and store those that were found."""
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
        prices.store_listed(listed)
    failure = "; ".join(failures) or None
    if failure:
        log.warning("Could not read some prices; the stored ones stay", extra={"failure": failure})
        prices.record_failure(failure)
    return {"kept": sorted(listed), "failure": failure}


def _ask(instance: str) -> dict[Kind, float]:
    """Ask the API in its first region, or in the second if the first does not respond."""
    first, *others = aws_price_list.ENDPOINT_REGIONS
    try:
        return aws_price_list.ask(clients.pricing(first), instance, prices.region())
    except BotoCoreError:
        return aws_price_list.ask(clients.pricing(others[0]), instance, prices.region())
