"""What a check is, what it may look at, and how all of them run in parallel.

A slow service, or one that does not answer, delays none of the other checks.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.doctor.aws_account import not_checked
from cli.doctor.findings import Finding, warning

if TYPE_CHECKING:
    from cli.doctor.aws_account import AwsAccount
    from contracts.settings import Settings

AT_ONCE = 8
LONGEST_SECONDS = 90.0
"""Checks without a result by then are reported as not checked."""


@dataclass(frozen=True)
class Examination:
    """What checks may look at: the checkout, its settings, and the account if its credentials work."""

    checkout: Path
    context: Mapping[str, Any]
    settings: Settings
    """The settings that would be deployed, with the default in place of each wrong one."""
    wrong_settings: frozenset[str] = field(default_factory=frozenset)
    aws: AwsAccount | None = None

    @property
    def account(self) -> AwsAccount:
        """Return the account, for checks that need one."""
        if self.aws is None:
            raise RuntimeError("This check needs an account.")
        return self.aws


@dataclass(frozen=True)
class Check:
    """One question, answered independently of the others."""

    name: str
    """An identifier for programs, which never changes."""
    group: str
    """Heading of the table."""
    question: str
    """The question in a few words."""
    answer: Callable[[Examination], Iterable[Finding]]
    """Yields findings; those before an error are kept."""
    permissions: tuple[str, ...] = ()
    """IAM actions that it uses; empty if it does not call AWS."""
    settings: tuple[str, ...] = ()
    """Settings that it depends on: it is not run if one of them is wrong."""

    @property
    def asks_aws(self) -> bool:
        """Tell whether it needs credentials."""
        return bool(self.permissions)


@dataclass
class CheckResult:
    """A check with its findings."""

    check: Check
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0


def run_all(
    checks: Sequence[Check],
    examination: Examination,
    progress: Callable[[Sequence[Check]], None] = lambda unfinished: None,
    longest_seconds: float = LONGEST_SECONDS,
) -> list[CheckResult]:
    """Run all checks; return their results in the order of the checks.

    Args:
        checks: to run.
        examination: what they look at.
        progress: called with the unfinished checks, whenever one finishes.
        longest_seconds: the time limit of all together.
    """
    results = [CheckResult(check) for check in checks]
    waiting: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    done: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    for result in results:
        waiting.put(result)
    for _ in range(min(AT_ONCE, len(results))):
        # A daemon thread that hangs does not keep the command from ending.
        threading.Thread(target=_work, args=(waiting, done, examination), daemon=True).start()
    unfinished = list(results)
    deadline = time.monotonic() + longest_seconds
    while unfinished:
        progress([result.check for result in unfinished])
        try:
            finished = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        unfinished = [result for result in unfinished if result is not finished]
    late = {id(result) for result in unfinished}
    return [_cut_off(result, longest_seconds) if id(result) in late else result for result in results]


def _work(
    waiting: queue.SimpleQueue[CheckResult], done: queue.SimpleQueue[CheckResult], examination: Examination
) -> None:
    while True:
        try:
            result = waiting.get_nowait()
        except queue.Empty:
            return
        started = time.monotonic()
        for finding in _answers(result.check, examination):
            result.findings.append(finding)
        result.seconds = round(time.monotonic() - started, 3)
        done.put(result)


def _answers(check: Check, examination: Examination) -> Iterator[Finding]:
    wrong = [key for key in check.settings if key in examination.wrong_settings]
    if wrong:
        yield warning(
            check.question,
            f"not checked, because the value of {' and '.join(wrong)} is wrong",
            "Correct the settings above, and run the command again.",
        )
        return
    try:
        yield from check.answer(examination)
    except Exception as error:  # one check that fails must not end the others
        yield not_checked(check.question, error, check.permissions)


def _cut_off(result: CheckResult, longest_seconds: float) -> CheckResult:
    """Return a copy with a warning; the check's thread may still be writing into the original."""
    no_answer = warning(
        result.check.question,
        f"could not be checked: no answer within {longest_seconds:.0f} seconds",
        "Run the command again; check whether this machine's connection to AWS is slow.",
    )
    return CheckResult(result.check, [*list(result.findings), no_answer], longest_seconds)
