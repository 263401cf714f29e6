"""Numbers as JSON has them, for models that are strict: neither text nor true is one."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Takes 7.0 for 7: JSON has one kind of number."""
# The bounds stand before it, or the API's description would lose them.
Positive = Annotated[int, Field(ge=1), WHOLE]
