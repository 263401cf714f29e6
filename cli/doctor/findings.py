"""What a check finds out: one line of the table each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    status: Status
    """`fault`: the deployment, or the first use, fails. `warning`: it may, or could not be checked."""
    subject: str
    message: str
    cure: str = ""
    """What to do, often as a command. Each fault and warning has one."""
    link: str = ""
    """The page on which to do it."""

    def __post_init__(self) -> None:
        if self.status != "ok" and not (self.cure or self.link):
            raise ValueError(f"The {self.status} {self.subject!r} needs a cure.")


def ok(subject: str, message: str) -> Finding:
    """Return a tick."""
    return Finding("ok", subject, message)


def warning(subject: str, message: str, cure: str, link: str = "") -> Finding:
    """Return a warning."""
    return Finding("warning", subject, message, cure, link)


def fault(subject: str, message: str, cure: str, link: str = "") -> Finding:
    """Return a cross."""
    return Finding("fault", subject, message, cure, link)
