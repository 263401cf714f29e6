"""Grant functions access to the month's ledger and prices, and configure how a run's costs are estimated."""

from contracts import table_keys
from contracts.environment import RunCosts, SpendingLimit
from contracts.settings import Settings
from stacks.functions.function import Function
from stories.dataset.training_plan import GRACE_MINUTES, LONGEST_EVALUATION_MINUTES, SPOT_WAIT_HOURS

_LEDGER = (table_keys.LEDGER, table_keys.ledger_entries("*"))


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
    function.grant_table_access(
        *("BatchGetItem", "GetItem", "PutItem", "UpdateItem", "DeleteItem"),
        partitions=(*_LEDGER, *([table_keys.HOSTING] if endpoint else [])),
    )


def grant_read_ledger(function: Function, settings: Settings) -> None:
    """Grant a function permissions to read the month's totals and the prices, and set its monthly limit."""
    function.grant_table_access("GetItem", "Query", partitions=_LEDGER)
    grant_read_prices(function)
    function.configure(SpendingLimit.from_settings(settings))


def grant_read_prices(function: Function) -> None:
    """Grant a function permission to read the stored prices of AWS's price list."""
    function.grant_table_access("GetItem", partitions=[table_keys.PRICES])


def configure_run_costs(function: Function, settings: Settings) -> None:
    """Set the environment variables from which a function estimates the most that a run may cost."""
    group = RunCosts.from_settings(
        settings,
        processing_instances=settings.evaluation_instances,
        grace_minutes=GRACE_MINUTES,
        longest_evaluation_minutes=LONGEST_EVALUATION_MINUTES,
        spot_wait_hours=SPOT_WAIT_HOURS,
    )
    function.configure(group)
