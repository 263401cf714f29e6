"""Deleting the app in the middle of everything leaves what is kept and nothing else; it comes back with it.

It ends the deployment of the other tests here, so that what those have left has to go too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import httpx
import psutil
import pytest
from boto3.dynamodb.conditions import Key

from cli.aws.target import AwsTarget, on_local_cloud
from cli.removal.app_resources import list_everything
from cli.run_progress import wait_for_new_run
from contracts.resource_names import AppNames
from local.aws import processes
from local.aws.errors import LocalCloudError
from tests.journey.deployed_app import CHECKOUT, PATIENCE_S, STORIES, Deployed, on_cloud, wait_for
from tests.journey.runs.conftest import STATE

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

NAMES = AppNames("storyloom")
QUESTION = [{"role": "user", "content": "Tell me a long story."}]
KEPT_SERVICES = {
    "CloudFormation stacks",
    "S3 buckets",
    "DynamoDB tables",
    # What the account shares, each with its reason.
    "CloudWatch log groups",
    "EventBridge rules",
    "IAM roles",
}
REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


def test_everything_goes_but_the_stories_and_comes_back_with_them(
    deployed: Deployed, live_version: str
) -> None:
    deployed.start_afresh()
    key = deployed.api.create_key("program", ["chat"], 60)["key"]
    assert _status_with(deployed, key) == httpx.codes.OK
    _start_training(deployed)
    with _answer_in_progress(deployed):
        destroyed = _storyloom_destroy()
    _nothing_is_left_but_the_stories(deployed, destroyed)

    deployed.cloud.deploy(lambda line: None)
    again = on_cloud(deployed.cloud)
    assert again.outputs["StoriesBucketName"] == deployed.outputs["StoriesBucketName"]
    assert {story["key"] for story in again.api.stories()} >= {path.name for path in STORIES}
    again.answers_as(live_version)
    assert _status_with(again, key) in REFUSED, "its maker is gone"

    with _answer_in_progress(again):
        deployed.cloud.destroy(lambda line: None, "Storyloom-Pipeline")
    _nothing_is_left_but_the_stories(again, None)
    with pytest.raises(LocalCloudError, match="TerminationProtection is enabled"):
        deployed.cloud.destroy(lambda line: None)
    _the_stories_go_only_when_they_are_named(again)


def _start_training(app: Deployed) -> None:
    """Drop stories, and wait until the run that they start trains."""
    known = {run["run_id"] for run in app.api.runs()}
    app.drop({path.name: path.read_bytes() for path in STORIES})
    run_id = wait_for_new_run(app.api, known, PATIENCE_S)
    wait_for(lambda: "Train" in [state["name"] for state in app.api.run(run_id)["states"]] or None)
    jobs = app.client("sagemaker")
    wait_for(lambda: jobs.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"] or None)


class _answer_in_progress:  # noqa: N801 - a context manager
    """An answer whose first words have come, and which goes on."""

    def __init__(self, app: Deployed) -> None:
        connection = app.api.connection
        body = {"messages": QUESTION, "stream": True, "max_tokens": 1500, "temperature": 1.0}
        self._stream = httpx.stream(
            "POST",
            f"{connection.url}/api/v1/chat/completions",
            json=body,
            headers=connection.headers,
            timeout=PATIENCE_S,
        )

    def __enter__(self) -> None:
        response = self._stream.__enter__()
        lines = (line for line in response.iter_lines() if line.startswith("data: {"))
        next(line for line in lines if json.loads(line[6:])["choices"][0]["delta"].get("content"))

    def __exit__(self, *raised: Any) -> None:
        self._stream.__exit__(None, None, None)


def _storyloom_destroy(*more: str, expect: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-m", "cli", "destroy", "--yes", "--json", "--state", STATE.name, *more]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return dict(json.loads(done.stdout)) if done.stdout else {"said": done.stderr}


def _nothing_is_left_but_the_stories(app: Deployed, destroyed: dict[str, Any] | None) -> None:
    target: AwsTarget = on_local_cloud(app.cloud.description())
    listing = list_everything(target, NAMES)
    assert not listing.left, [str(found) for found in listing.left]
    assert not listing.unlisted
    assert {found.service for found in listing.kept} <= KEPT_SERVICES
    if destroyed is not None:
        assert destroyed["left"] == [] and destroyed["unlisted"] == []
        assert destroyed["deleted_stacks"] == list(NAMES.stacks)
    assert app.engines() == []
    assert _job_processes(app) == []
    groups = [group["logGroupName"] for group in app.client("logs").describe_log_groups()["logGroups"]]
    assert not [group for group in groups if group.startswith("API-Gateway-Execution-Logs_")]
    assert not [group for group in groups if group.startswith("/aws/lambda/Storyloom")]
    _records_are_at_rest(app)


def _job_processes(app: Deployed) -> list[psutil.Process]:
    mine = processes.belonging_to(processes.cloud_id(app.cloud.folders.state))
    return [process for process in mine if any("train.py" in word for word in process.cmdline())]


def _records_are_at_rest(app: Deployed) -> None:
    """The kept table says nothing of what is gone."""
    table = app.table()
    assert "Item" not in table.get_item(Key={"pk": "LOCK", "sk": "PIPELINE"})
    runs = table.query(KeyConditionExpression=Key("pk").eq("RUNS"))["Items"]
    assert not [run for run in runs if run["status"] in ("running", "waiting")]
    assert table.get_item(Key={"pk": "HOSTING", "sk": "STATE"})["Item"]["status"] == "asleep"
    versions = table.query(KeyConditionExpression=Key("pk").eq("MODELS"))["Items"]
    assert versions and not [version for version in versions if "model_package_arn" in version]
    assert all(
        "revoked_at" in key for key in table.query(KeyConditionExpression=Key("pk").eq("KEYS"))["Items"]
    )


def _status_with(app: Deployed, key: str) -> int:
    return httpx.get(
        f"{app.api.connection.url}/api/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=60
    ).status_code


def _the_stories_go_only_when_they_are_named(app: Deployed) -> None:
    refused = _storyloom_destroy("--stories", "--confirm", "storyloon", expect=1)
    assert "Nothing was deleted" in refused["said"]
    assert app.client("s3").list_objects_v2(Bucket=app.outputs["StoriesBucketName"])["KeyCount"]
    gone = _storyloom_destroy("--stories", "--confirm", "storyloom")
    assert not [kept for kept in gone["kept"] if kept["service"] in ("S3 buckets", "DynamoDB tables")]
    assert NAMES.storage_stack in gone["deleted_stacks"]
