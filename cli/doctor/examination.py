"""What a check is, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.doctor.findings import Finding

if TYPE_CHECKING:
    from cli.doctor.aws_account import AwsAccount
    from stacks.settings import Settings


@dataclass(frozen=True)
class Examination:
    """What there is to look at: the checkout, its settings, and the account if its credentials work."""

    checkout: Path
    context: Mapping[str, Any]
    settings: Settings
    """Those that would be deployed, with the default in place of each wrong one."""
    wrong_settings: frozenset[str] = field(default_factory=frozenset)
    aws: AwsAccount | None = None

    @property
    def account(self) -> AwsAccount:
        """The account, for checks that need one."""
        if self.aws is None:
            raise RuntimeError("This check needs an account.")
        return self.aws


@dataclass(frozen=True)
class Check:
    """One question that is answered on its own, beside the others."""

    name: str
    """For programs; never changes."""
    group: str
    """Heading of the table."""
    question: str
    """What is asked, in a few words."""
    answer: Callable[[Examination], Iterable[Finding]]
    """May yield findings one by one: those before an error are kept."""
    permissions: tuple[str, ...] = ()
    """IAM actions that it uses; empty if it asks nothing of AWS."""
    settings: tuple[str, ...] = ()
    """Settings without which it says nothing."""

    @property
    def asks_aws(self) -> bool:
        """Whether it needs credentials."""
        return bool(self.permissions)
