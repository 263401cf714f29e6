"""`storyloom verify` names what fails, goes on with the rest, stays within its limit and tells no secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import boto3
import httpx
import pytest

from cli.aws.target import AwsTarget
from cli.console import CommandError
from cli.verify import lines
from cli.verify.bill import Bill
from cli.verify.lines import ProofLine, chosen, prove_all
from cli.verify.outcome import (
    LineResult,
    LineStatus,
    NotProvenError,
    Proof,
    SkippedError,
    VerifyReport,
    without_identities,
)
from cli.verify.site_lines import allows_connection
from cli.verify.verification import DeployedApp, Verification

ACCOUNT = "210987654321"


class KnownBill(Bill):
    """A bill that tests write."""

    def __init__(self) -> None:
        super().__init__(lambda: None, "storyloom", region="us-east-1", is_free=False)
        self.spent = 0.0

    def total_usd(self, *, at_once: bool = False) -> float:
        return self.spent


@pytest.fixture
def verification(tmp_path: Path) -> Verification:
    target = AwsTarget(boto3.Session(region_name="eu-west-1"))
    verification = Verification(DeployedApp(target, "storyloom", "ml.g6.xlarge", "ml.g6.xlarge"), tmp_path)
    verification._bill = KnownBill()
    return verification


def holds(_: Verification) -> Proof:
    return Proof("seen")


def fails(_: Verification) -> Proof:
    raise NotProvenError("The bucket answered 403.", "Deploy again.")


def results(
    tested: list[ProofLine], verification: Verification, limit_usd: float = 1.0
) -> dict[str, LineResult]:
    return {result.id: result for result in prove_all(tested, verification, limit_usd=limit_usd)}


def test_a_line_that_fails_is_named_with_what_was_seen_and_stops_only_what_needs_it(
    verification: Verification,
) -> None:
    tested = [
        ProofLine("upload", "Uploads", fails),
        ProofLine("trigger", "Triggers", holds, ("upload",)),
        ProofLine("dataset", "Reads", holds, ("trigger",)),
        ProofLine("alarm", "Rings", holds),
    ]
    found = results(tested, verification)
    assert (found["upload"].status, found["upload"].detail) == (LineStatus.FAILED, "The bucket answered 403.")
    assert found["upload"].cure == "Deploy again."
    assert found["trigger"].status is LineStatus.SKIPPED and "Uploads" in found["trigger"].detail
    assert found["dataset"].status is LineStatus.SKIPPED and "Triggers" in found["dataset"].detail
    assert found["alarm"].status is LineStatus.PROVEN


@pytest.mark.parametrize(
    "error",
    [
        CommandError("Not signed in."),
        httpx.ConnectError("refused"),
        boto3.client("sts", region_name="eu-west-1").exceptions.ClientError(
            {"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetCallerIdentity"
        ),
    ],
)
def test_whatever_goes_wrong_is_one_failed_line(verification: Verification, error: Exception) -> None:
    def breaks(_: Verification) -> Proof:
        raise error

    found = results([ProofLine("one", "One", breaks), ProofLine("two", "Two", holds)], verification)
    assert found["one"].status is LineStatus.FAILED and found["one"].detail
    assert found["two"].status is LineStatus.PROVEN


def never(_: Verification) -> Proof:
    raise AssertionError("it was begun")


def spends(usd: float) -> Callable[[Verification], Proof]:
    def prove(verification: Verification) -> Proof:
        verification.bill.spent += usd  # type: ignore[attr-defined]
        return Proof("")

    return prove


def test_what_would_pass_the_limit_is_not_begun(verification: Verification) -> None:
    tested = [
        ProofLine("cheap", "Cheap", spends(0.25)),
        ProofLine("dear", "Dear", never, estimated_minutes=60),
    ]
    found = results(tested, verification, limit_usd=1.0)
    assert found["cheap"].cost_usd == 0.25
    assert found["dear"].status is LineStatus.SKIPPED
    assert "$0.25 are spent, and about $1.13 more" in found["dear"].detail
    assert "--limit-usd" in found["dear"].cure


def test_what_a_failed_line_has_cost_counts(verification: Verification) -> None:
    def fails_dearly(verification: Verification) -> Proof:
        spends(0.9)(verification)
        raise NotProvenError("The batch failed.")

    tested = [
        ProofLine("batch", "Batch", fails_dearly),
        ProofLine("wake", "Wake", never, estimated_minutes=9),
    ]
    found = results(tested, verification, limit_usd=1.0)
    assert (found["batch"].status, found["batch"].cost_usd) == (LineStatus.FAILED, 0.9)
    assert found["wake"].status is LineStatus.SKIPPED


def test_without_a_price_no_limit_could_hold_so_nothing_that_bills_is_begun(
    verification: Verification,
) -> None:
    verification.app = replace(verification.app, hosting_instance="ml.p5en.48xlarge")
    tested = [ProofLine("endpoint", "Endpoint", never, estimated_minutes=10)]
    (found,) = results(tested, verification).values()
    assert found.status is LineStatus.SKIPPED and "--usd-per-hour" in found.cure


def test_a_run_that_would_search_is_not_begun_below_its_budget(verification: Verification) -> None:
    verification.app = replace(verification.app, search_budget_usd=10.0)
    tested = [ProofLine("training", "Training", never, estimated_minutes=7, on="training")]
    assert results(tested, verification)["training"].status is LineStatus.SKIPPED


def test_what_runs_is_stopped_when_the_limit_is_reached(verification: Verification) -> None:
    stopped: list[bool] = []
    verification.stop_spending = lambda: stopped.append(True) or []  # type: ignore[method-assign, func-returns-value]

    def trains(verification: Verification) -> Proof:
        spends(1.01)(verification)
        verification.wait(lambda: None, 60, "a job without end")
        raise AssertionError

    found = results([ProofLine("training", "Training", trains)], verification, limit_usd=1.0)
    assert stopped == [True]
    assert "$1.01 are spent, the limit is $1.00" in found["training"].detail


def test_a_line_that_cannot_be_tried_is_no_failure(verification: Verification) -> None:
    def cannot(_: Verification) -> Proof:
        raise SkippedError("SageMaker no longer has the job.")

    assert (
        results([ProofLine("training", "Training", cannot)], verification)["training"].status
        is LineStatus.SKIPPED
    )


def test_a_chosen_line_brings_what_it_needs() -> None:
    assert [line.id for line in chosen(["upload"], [])] == ["deployment", "page", "sign_in", "upload"]
    assert [line.id for line in chosen([], ["batch"])] == [
        line.id for line in lines.LINES if line.id != "batch"
    ]
    with pytest.raises(CommandError, match="no line stroam"):
        chosen(["stroam"], [])


def test_lines_need_only_lines_before_them() -> None:
    seen: set[str] = set()
    for line in lines.LINES:
        assert set(line.needs) <= seen, line.id
        seen.add(line.id)


def test_the_file_names_no_account_address_or_arn() -> None:
    detail = (
        f"AWS refused: User: arn:aws:iam::{ACCOUNT}:user/writer is not authorized, ask anna@example.org; "
        f"storyloom-stories-{ACCOUNT}-eu-west-1"
    )
    outcome = VerifyReport("0.1.0", "eu-west-1", False, "2026-11-30T12:00:00Z", {"spot": True})
    outcome.lines.append(LineResult("one", "One", LineStatus.FAILED, 1.0, 0.0, detail, detail))
    text = json.dumps(outcome.as_document())
    assert ACCOUNT not in text and "anna@" not in text and "arn:aws" not in text
    assert without_identities("20261130-121314-0001 took 123456 ms") == "20261130-121314-0001 took 123456 ms"


def test_the_policy_is_read_as_a_browser_reads_it() -> None:
    policy = "default-src 'none'; connect-src 'self' https://b.s3.us-east-1.amazonaws.com; base-uri 'none'"
    assert allows_connection(policy, "https://b.s3.us-east-1.amazonaws.com/")
    assert not allows_connection(policy, "https://b.s3.amazonaws.com/")
    assert not allows_connection(policy, "http://b.s3.us-east-1.amazonaws.com/")
    assert not allows_connection("", "https://b.s3.us-east-1.amazonaws.com/")
