"""Grant functions access to the month's ledger and prices, and configure how a run's costs are estimated."""

import json

from contracts.settings import Settings
from stacks.functions.functions import Function
from stories.dataset.training_plan import GRACE_MINUTES, LONGEST_EVALUATION_MINUTES, SPOT_WAIT_HOURS


def grant_write_ledger(function: Function, settings: Settings, *, endpoint: bool = False) -> None:
    """Grant a function permissions to reserve and settle costs, and set its monthly limit.

    Args:
        function: the function.
        settings: of the app.
        endpoint: whether it also counts the endpoint's costs; the meter changes together with the ledger.
    """
    grant_read_ledger(function, settings)
    # A transaction needs the permissions of all its operations. They are in one statement because AWS does
    # not document whether the leading key is evaluated for each operation or for all of them together.
    function.may_use_table(
        *("BatchGetItem", "GetItem", "PutItem", "UpdateItem", "DeleteItem"),
        partitions=("LEDGER", "LEDGER#*", *(["HOSTING"] if endpoint else [])),
    )


def grant_read_ledger(function: Function, settings: Settings) -> None:
    """Grant a function permissions to read the month's totals and the prices, and set its monthly limit."""
    function.may_use_table("GetItem", "Query", partitions=("LEDGER", "LEDGER#*"))
    grant_read_prices(function)
    function.function.add_environment("STORYLOOM_MONTHLY_LIMIT_USD", f"{settings.monthly_limit_usd:g}")


def grant_read_prices(function: Function) -> None:
    """Grant a function permission to read the stored prices of AWS's price list."""
    function.may_use_table("GetItem", partitions=["PRICES"])


def configure_run_costs(function: Function, settings: Settings) -> None:
    """Set the environment variables from which a function estimates the most that a run may cost."""
    for name, value in (
        ("STORYLOOM_TRAINING_INSTANCE", settings.training_instance),
        ("STORYLOOM_INSTANCE_COUNT", str(settings.instance_count)),
        ("STORYLOOM_PROCESSING_INSTANCES", json.dumps(settings.evaluation_instances)),
        ("STORYLOOM_HOSTING_INSTANCE", settings.hosting_instance),
        ("STORYLOOM_MAX_TRAINING_MINUTES", str(settings.max_training_minutes)),
        ("STORYLOOM_GRACE_MINUTES", str(GRACE_MINUTES)),
        ("STORYLOOM_LONGEST_EVALUATION_MINUTES", str(LONGEST_EVALUATION_MINUTES)),
        ("STORYLOOM_SPOT", str(settings.spot).lower()),
        ("STORYLOOM_SPOT_WAIT_HOURS", str(SPOT_WAIT_HOURS)),
    ):
        function.function.add_environment(name, value)
