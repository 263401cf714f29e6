"""Runs checks in parallel: a slow service, or one that does not answer, delays none of the others."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from cli.doctor.aws_account import unseen
from cli.doctor.examination import Check, Examination
from cli.doctor.findings import Finding, warning

AT_ONCE = 8
LONGEST_SECONDS = 90.0
"""Checks without an answer by then are reported as not checked."""


@dataclass
class CheckResult:
    """A check with what it found."""

    check: Check
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0


def run(
    checks: Sequence[Check],
    examination: Examination,
    progress: Callable[[Sequence[Check]], None] = lambda unfinished: None,
    longest_seconds: float = LONGEST_SECONDS,
) -> list[CheckResult]:
    """Run all checks; returns their results in the order of the checks.

    Args:
        checks: to run.
        examination: what they look at.
        progress: called with the checks that are not done yet, whenever one is.
        longest_seconds: for all of them together.
    """
    results = [CheckResult(check) for check in checks]
    waiting: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    done: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    for result in results:
        waiting.put(result)
    for _ in range(min(AT_ONCE, len(results))):
        # As a daemon a thread that hangs does not keep the command from ending.
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
            f"not checked, because {' and '.join(wrong)} cannot be used as set",
            "Correct the settings above, and run the command again.",
        )
        return
    try:
        yield from check.answer(examination)
    except Exception as error:  # one check that fails must not take the others with it
        yield unseen(check.question, error, check.permissions)


def _cut_off(result: CheckResult, longest_seconds: float) -> CheckResult:
    """Return a copy, since the check's thread may still be writing into the original."""
    no_answer = warning(
        result.check.question,
        f"could not be checked: no answer within {longest_seconds:.0f} seconds",
        "Run the command again; see whether this machine's way to AWS is slow.",
    )
    return CheckResult(result.check, [*list(result.findings), no_answer], longest_seconds)
