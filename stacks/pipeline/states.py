"""Small states of Amazon States Language that several parts of the pipeline use."""

from collections.abc import Mapping
from typing import Any


def choice(condition: Mapping[str, Any], yes: str, no: str) -> dict[str, Any]:
    """Go to one state where a condition holds, else to another."""
    return {"Type": "Choice", "Choices": [{**condition, "Next": yes}], "Default": no}


def ending(outcome: str, message: Mapping[str, str]) -> dict[str, Any]:
    """End the run politely: `Announce` is told the outcome and why.

    Args:
        outcome: status of the run, such as `succeeded`.
        message: `{"message": words}`, or `{"message.$": path}` where the run has them.
    """
    return {
        "Type": "Pass",
        "Parameters": {"outcome": outcome, **message},
        "ResultPath": "$.ending",
        "Next": "Announce",
    }
