"""Files that cannot be used, put together where one reason and one cure serve them all."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from stories.file_names import printable
from stories.models import Reject


@dataclass
class Fault:
    """What some files have in common: a reason and its cure."""

    reason: str
    cure: str
    names: list[str] = field(default_factory=list)
    """The first of them."""
    count: int = 0
    """How many there are in all."""


def faults(rejects: Iterable[Reject], most_names: int) -> list[Fault]:
    """Put files with the same fault together, the most frequent fault first.

    Args:
        rejects: of a report.
        most_names: how many names of files each fault keeps.
    """
    found: dict[tuple[str, str], Fault] = {}
    for reject in rejects:
        fault = found.setdefault((reject.reason, reject.cure), Fault(reject.reason, reject.cure))
        fault.count += 1
        if len(fault.names) < most_names:
            entry = f": {reject.entry}" if reject.entry else ""
            fault.names.append(printable(f"{reject.source_key}{entry}"))
    return sorted(found.values(), key=lambda fault: -fault.count)
