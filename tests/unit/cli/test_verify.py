"""`storyloom verify` names what fails, goes on with the rest, stays within its limit and tells no secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import boto3
import httpx
import pytest

from cli.aws_target import AwsTarget
from cli.errors import CommandError
from cli.verify import lines
from cli.verify.bill import Bill
from cli.verify.lines import Line, chosen, prove_all
from cli.verify.outcome import (
    LineResult,
    NotProvenError,
    NotTriedError,
    Outcome,
    Proof,
    Status,
    without_identities,
)
from cli.verify.site_lines import allows_connection
from cli.verify.world import DeployedApp, World

ACCOUNT = "210987654321"


class KnownBill(Bill):
    """A bill that tests write."""

    def __init__(self) -> None:
        super().__init__(lambda: None, "storyloom", region="us-east-1", is_free=False)
        self.spent = 0.0

    def total_usd(self, *, at_once: bool = False) -> float:
        return self.spent


@pytest.fixture
def world(tmp_path: Path) -> World:
    target = AwsTarget(boto3.Session(region_name="eu-west-1"))
    world = World(DeployedApp(target, "storyloom", "ml.g6.xlarge", "ml.g6.xlarge"), tmp_path)
    world._bill = KnownBill()
    return world


def holds(_: World) -> Proof:
    return Proof("seen")


def fails(_: World) -> Proof:
    raise NotProvenError("The bucket answered 403.", "Deploy again.")


def results(tested: list[Line], world: World, limit_usd: float = 1.0) -> dict[str, LineResult]:
    return {result.id: result for result in prove_all(tested, world, limit_usd=limit_usd)}


def test_a_line_that_fails_is_named_with_what_was_seen_and_stops_only_what_needs_it(world: World) -> None:
    tested = [
        Line("upload", "Uploads", fails),
        Line("trigger", "Triggers", holds, ("upload",)),
        Line("dataset", "Reads", holds, ("trigger",)),
        Line("alarm", "Rings", holds),
    ]
    found = results(tested, world)
    assert (found["upload"].status, found["upload"].detail) == (Status.FAILED, "The bucket answered 403.")
    assert found["upload"].cure == "Deploy again."
    assert found["trigger"].status is Status.SKIPPED and "Uploads" in found["trigger"].detail
    assert found["dataset"].status is Status.SKIPPED and "Triggers" in found["dataset"].detail
    assert found["alarm"].status is Status.PROVEN


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
def test_whatever_goes_wrong_is_one_failed_line(world: World, error: Exception) -> None:
    def breaks(_: World) -> Proof:
        raise error

    found = results([Line("one", "One", breaks), Line("two", "Two", holds)], world)
    assert found["one"].status is Status.FAILED and found["one"].detail
    assert found["two"].status is Status.PROVEN


def never(_: World) -> Proof:
    raise AssertionError("it was begun")


def spends(usd: float) -> Callable[[World], Proof]:
    def prove(world: World) -> Proof:
        world.bill.spent += usd  # type: ignore[attr-defined]
        return Proof("")

    return prove


def test_what_would_pass_the_limit_is_not_begun(world: World) -> None:
    tested = [Line("cheap", "Cheap", spends(0.25)), Line("dear", "Dear", never, estimated_minutes=60)]
    found = results(tested, world, limit_usd=1.0)
    assert found["cheap"].cost_usd == 0.25
    assert found["dear"].status is Status.SKIPPED
    assert "$0.25 are spent, and about $1.13 more" in found["dear"].detail
    assert "--limit-usd" in found["dear"].cure


def test_what_a_failed_line_has_cost_counts(world: World) -> None:
    def fails_dearly(world: World) -> Proof:
        spends(0.9)(world)
        raise NotProvenError("The batch failed.")

    tested = [Line("batch", "Batch", fails_dearly), Line("wake", "Wake", never, estimated_minutes=9)]
    found = results(tested, world, limit_usd=1.0)
    assert (found["batch"].status, found["batch"].cost_usd) == (Status.FAILED, 0.9)
    assert found["wake"].status is Status.SKIPPED


def test_without_a_price_no_limit_could_hold_so_nothing_that_bills_is_begun(world: World) -> None:
    world.app = replace(world.app, hosting_instance="ml.p5en.48xlarge")
    tested = [Line("endpoint", "Endpoint", never, estimated_minutes=10)]
    (found,) = results(tested, world).values()
    assert found.status is Status.SKIPPED and "--usd-per-hour" in found.cure


def test_a_run_that_would_search_is_not_begun_below_its_budget(world: World) -> None:
    world.app = replace(world.app, search_budget_usd=10.0)
    tested = [Line("training", "Training", never, estimated_minutes=7, on="training")]
    assert results(tested, world)["training"].status is Status.SKIPPED


def test_what_runs_is_stopped_when_the_limit_is_reached(world: World) -> None:
    stopped: list[bool] = []
    world.stop_spending = lambda: stopped.append(True) or []  # type: ignore[method-assign, func-returns-value]

    def trains(world: World) -> Proof:
        spends(1.01)(world)
        world.wait(lambda: None, 60, "a job without end")
        raise AssertionError

    found = results([Line("training", "Training", trains)], world, limit_usd=1.0)
    assert stopped == [True]
    assert "$1.01 are spent, and the limit is $1.00" in found["training"].detail


def test_a_line_that_cannot_be_tried_is_no_failure(world: World) -> None:
    def cannot(_: World) -> Proof:
        raise NotTriedError("SageMaker no longer has the job.")

    assert results([Line("training", "Training", cannot)], world)["training"].status is Status.SKIPPED


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
    outcome = Outcome("0.1.0", "eu-west-1", False, "2026-11-30T12:00:00Z", {"spot": True})
    outcome.lines.append(LineResult("one", "One", Status.FAILED, 1.0, 0.0, detail, detail))
    text = json.dumps(outcome.as_document())
    assert ACCOUNT not in text and "anna@" not in text and "arn:aws" not in text
    assert without_identities("20261130-121314-0001 took 123456 ms") == "20261130-121314-0001 took 123456 ms"


def test_the_policy_is_read_as_a_browser_reads_it() -> None:
    policy = "default-src 'none'; connect-src 'self' https://b.s3.us-east-1.amazonaws.com; base-uri 'none'"
    assert allows_connection(policy, "https://b.s3.us-east-1.amazonaws.com/")
    assert not allows_connection(policy, "https://b.s3.amazonaws.com/")
    assert not allows_connection(policy, "http://b.s3.us-east-1.amazonaws.com/")
    assert not allows_connection("", "https://b.s3.us-east-1.amazonaws.com/")
