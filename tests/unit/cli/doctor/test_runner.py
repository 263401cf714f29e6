"""Checks run side by side, and none can hold up or break the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from cli.doctor.examination import AT_ONCE, Check, Examination, run_all
from cli.doctor.findings import Finding, ok
from tests.unit.cli.doctor.conftest import examination


def _check(name: str, answer: object, settings: tuple[str, ...] = ()) -> Check:
    return Check(name, "Group", name, answer, settings=settings)  # type: ignore[arg-type]


def _tick(_: Examination) -> list[Finding]:
    return [ok("a", "fine")]


def test_a_check_that_never_answers_is_reported_with_what_it_found_before() -> None:
    release = threading.Event()

    def hangs(_: Examination) -> Iterator[Finding]:
        yield ok("first half", "seen")
        release.wait(60)

    slow, quick = run_all(
        [_check("slow", hangs), _check("quick", _tick)], examination(None), longest_seconds=0.5
    )
    release.set()
    assert [finding.status for finding in slow.findings] == ["ok", "warning"]
    assert "no answer within" in slow.findings[1].message
    assert [finding.message for finding in quick.findings] == ["fine"]


def test_more_that_hang_than_run_at_once_still_end() -> None:
    release = threading.Event()

    def hangs(_: Examination) -> Iterator[Finding]:
        release.wait(60)
        yield from ()

    results = run_all(
        [_check(str(n), hangs) for n in range(AT_ONCE + 3)], examination(None), longest_seconds=0.3
    )
    release.set()
    assert len(results) == AT_ONCE + 3
    assert all("no answer within" in result.findings[-1].message for result in results)


def test_a_check_that_breaks_is_a_warning_and_breaks_no_other() -> None:
    def breaks(_: Examination) -> Iterator[Finding]:
        yield ok("first half", "seen")
        raise KeyError("Quotas")

    broken, whole = run_all([_check("broken", breaks), _check("whole", _tick)], examination(None))
    assert [finding.status for finding in broken.findings] == ["ok", "warning"]
    assert "KeyError" in broken.findings[1].message
    assert whole.findings[0].status == "ok"


def test_a_check_of_a_wrong_setting_says_that_it_was_left_out() -> None:
    looked_at = Examination(
        examination(None).checkout, {}, examination(None).settings, frozenset({"hosting_instance"})
    )
    left_out, done = run_all(
        [_check("left out", _tick, ("hosting_instance",)), _check("done", _tick, ("name",))], looked_at
    )
    assert left_out.findings[0].status == "warning" and "hosting_instance" in left_out.findings[0].message
    assert done.findings[0].status == "ok"


def test_progress_names_what_is_waited_for() -> None:
    seen: list[list[str]] = []
    checks = [_check("one", _tick), _check("two", _tick)]
    run_all(checks, examination(None), lambda unfinished: seen.append([check.name for check in unfinished]))
    assert seen[0] == ["one", "two"]
    assert len(seen) == 2, "once at the beginning, and again when one is done"
