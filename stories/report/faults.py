"""Group rejects that share a reason and a cure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from stories.file_names import printable
from stories.models import Reject


@dataclass
class RejectGroup:
    """Rejects with one reason and one cure."""

    reason: str
    cure: str
    names: list[str] = field(default_factory=list)
    """Names of the first files."""
    count: int = 0
    """Number of all files."""


def group_rejects(rejects: Iterable[Reject], max_names: int) -> list[RejectGroup]:
    """Group rejects by reason and cure, the largest group first.

    Args:
        rejects: the rejects of a report.
        max_names: how many names of files each group keeps.
    """
    found: dict[tuple[str, str], RejectGroup] = {}
    for reject in rejects:
        fault = found.setdefault((reject.reason, reject.cure), RejectGroup(reject.reason, reject.cure))
        fault.count += 1
        if len(fault.names) < max_names:
            entry = f": {reject.entry}" if reject.entry else ""
            fault.names.append(printable(f"{reject.source_key}{entry}"))
    return sorted(found.values(), key=lambda fault: -fault.count)
