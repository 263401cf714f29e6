"""The price of an instance, and the kinds of work it is billed for."""

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["training", "processing", "hosting", "transform", "notebook"]
"""The kinds of work that SageMaker bills an instance for, each at a price of its own."""

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Price:
    """The on-demand price of one instance."""

    usd_per_hour: float
    date: str
    """The day on which it was read, such as `2026-09-27`."""
    source: str
    """The source of the price, in plain words."""

    @property
    def month(self) -> str:
        """The month of its date, such as `2026-09`."""
        return self.date[:7]
