"""One price, and what is billed at it."""

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["training", "processing", "hosting", "transform", "notebook"]
"""What SageMaker bills an instance for; each has a price of its own."""

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Price:
    """What one instance costs, on demand."""

    usd_per_hour: float
    date: str
    """The day on which it was read, as `2026-09-27`."""
    source: str
    """Who says so, in words for people."""

    @property
    def month(self) -> str:
        """The month of its date, as `2026-09`."""
        return self.date[:7]
