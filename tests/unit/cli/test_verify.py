"""`storyloom verify` names what fails, goes on with the rest, stays within its limit and tells no secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from cli.aws_target import AwsTarget
from cli.errors import CommandError
from cli.verify import lines
from cli.verify.lines import Line, chosen, prove_all
from cli.verify.outcome import LineResult, NotProvenError, Outcome, Proof, Status, without_identities
from cli.verify.site_lines import allows_connection
from cli.verify.world import DeployedApp, World

ACCOUNT = "210987654321"


@pytest.fixture
def world(tmp_path: Path) -> World:
    target = AwsTarget(boto3.Session(region_name="eu-west-1"))
    return World(DeployedApp(target, "storyloom", "ml.g6.xlarge", "ml.g6.xlarge"), tmp_path)


def holds(_: World) -> Proof:
    return Proof("seen", 0.25)


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


def test_what_would_pass_the_limit_is_not_begun(world: World) -> None:
    def never(_: World) -> Proof:
        raise AssertionError("it was begun")

    tested = [Line("cheap", "Cheap", holds), Line("dear", "Dear", never, estimated_minutes=60)]
    found = results(tested, world, limit_usd=1.0)
    assert found["dear"].status is Status.SKIPPED
    assert "$0.25 are spent, and about $1.13 more" in found["dear"].detail
    assert "--limit-usd" in found["dear"].cure


def test_a_line_may_spend_what_the_lines_before_it_have_left(world: World) -> None:
    left: list[float] = []

    def looks(world: World) -> Proof:
        left.append(world.left_usd)
        return Proof("", 0.25)

    results([Line("one", "One", looks), Line("two", "Two", looks)], world, limit_usd=1.0)
    assert left == [1.0, 0.75]


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
    outcome.lines.append(LineResult("one", "One", Status.FAILED, 1.0, None, detail, detail))
    text = json.dumps(outcome.as_document())
    assert ACCOUNT not in text and "anna@" not in text and "arn:aws" not in text
    assert without_identities("20261130-121314-0001 took 123456 ms") == "20261130-121314-0001 took 123456 ms"


def test_an_unknown_price_is_not_added_as_nothing() -> None:
    outcome = Outcome("0.1.0", "eu-west-1", False, "2026-11-30T12:00:00Z", {})
    outcome.lines += [
        LineResult("one", "One", Status.PROVEN, 1.0, 0.5, ""),
        LineResult("two", "Two", Status.PROVEN, 1.0, None, ""),
    ]
    document: dict[str, Any] = outcome.as_document()
    assert document["cost_usd"] is None and document["proven"] is True


def test_the_policy_is_read_as_a_browser_reads_it() -> None:
    policy = "default-src 'none'; connect-src 'self' https://b.s3.us-east-1.amazonaws.com; base-uri 'none'"
    assert allows_connection(policy, "https://b.s3.us-east-1.amazonaws.com/")
    assert not allows_connection(policy, "https://b.s3.amazonaws.com/")
    assert not allows_connection(policy, "http://b.s3.us-east-1.amazonaws.com/")
    assert not allows_connection("", "https://b.s3.us-east-1.amazonaws.com/")
