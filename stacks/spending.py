"""What a function needs to keep the month's ledger, and to know what a run costs at most."""

import json

from stacks.functions import Function
from stacks.settings import Settings
from stories.dataset.training_plan import GRACE_MINUTES, LONGEST_EVALUATION_MINUTES, SPOT_WAIT_HOURS


def keep_ledger(function: Function, settings: Settings, *, endpoint: bool = False) -> None:
    """Let a function reserve and settle, within the month's limit.

    Args:
        function: the function.
        settings: of the app.
        endpoint: whether it also counts what the endpoint costs, whose meter changes with the ledger.
    """
    read_ledger(function, settings)
    # A transaction needs the permission of each operation in it. They are one statement, since it is not
    # documented whether the key of each operation is judged alone, or all keys together.
    function.may_use_table(
        *("BatchGetItem", "GetItem", "PutItem", "UpdateItem", "DeleteItem"),
        partitions=("LEDGER", "LEDGER#*", *(["HOSTING"] if endpoint else [])),
    )


def read_ledger(function: Function, settings: Settings) -> None:
    """Let a function read the month's sums and the prices, and tell it the limit."""
    function.may_use_table("GetItem", "Query", partitions=("LEDGER", "LEDGER#*"))
    read_prices(function)
    function.function.add_environment("STORYLOOM_MONTHLY_LIMIT_USD", f"{settings.monthly_limit_usd:g}")


def read_prices(function: Function) -> None:
    """Let a function read the prices that AWS's price list gave."""
    function.may_use_table("GetItem", partitions=["PRICES"])


def describe_run_costs(function: Function, settings: Settings) -> None:
    """Tell a function what decides what a run costs at most."""
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
