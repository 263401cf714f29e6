"""One real journey for all tests here: deployed once, run once, on free ports, in its own folder."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
from rich.console import Console

from cli import journey
from cli.api import StoryloomApi
from cli.progress import FINISHED
from local.cloud import LocalCloud
from tests.browser.conftest import chromium, context, page

__all__ = ["chromium", "context", "page"]  # the browser's fixtures serve here too

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = CHECKOUT / ".local-cloud-journey"
SAMPLE_STORIES = CHECKOUT / "sample_stories"
RUN_SECONDS = 900
T = TypeVar("T")

pytestmark = [pytest.mark.cloud, pytest.mark.journey]


@dataclass(frozen=True)
class Deployed:
    """A deployed Storyloom: its local cloud, its administrator's session, its outputs and its API."""

    cloud: LocalCloud
    session: boto3.Session
    outputs: dict[str, str]
    api: StoryloomApi

    def client(self, service: str) -> Any:
        environment = self.cloud.environment()
        return self.session.client(  # type: ignore[call-overload]
            service, endpoint_url=environment["AWS_ENDPOINT_URL"], verify=environment["AWS_CA_BUNDLE"]
        )

    def executions(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.client("stepfunctions").list_executions(
            stateMachineArn=self.outputs["StateMachineArn"]
        )["executions"]
        return listed

    def drop(self, texts: dict[str, bytes]) -> None:
        """Puts files straight into the stories bucket, as `aws s3 cp` would."""
        bucket = self.client("s3")
        for key, body in texts.items():
            bucket.put_object(Bucket=self.outputs["StoriesBucketName"], Key=key, Body=body)

    def empty_bucket(self) -> None:
        """Takes the stories out again, so that the next test starts from none."""
        bucket = self.client("s3")
        listing = bucket.get_paginator("list_objects_v2").paginate(Bucket=self.outputs["StoriesBucketName"])
        for listed in listing:
            for entry in listed.get("Contents", []):
                bucket.delete_object(Bucket=self.outputs["StoriesBucketName"], Key=entry["Key"])

    def start_run(self) -> str:
        """Starts a run by hand, as the quiet timer does, and gives its id."""
        known = {run["run_id"] for run in self.api.runs()}
        self.client("lambda").invoke(
            FunctionName=self.outputs["StartRunFunctionName"], Payload=json.dumps({"reason": "manual"})
        )

        def new_one() -> str | None:
            return next((str(run["run_id"]) for run in self.api.runs() if run["run_id"] not in known), None)

        return wait_for(new_one)

    def finished_run(self, run_id: str, timeout_s: float = RUN_SECONDS) -> dict[str, Any]:
        """The run's record once it has ended."""

        def ended() -> dict[str, Any] | None:
            run = self.api.run(run_id)
            return run if run["status"] in FINISHED else None

        return wait_for(ended, timeout_s)


def wait_for(probe: Callable[[], T | None], timeout_s: float = 60.0) -> T:
    """Calls `probe` until it gives something, and gives that."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = probe()
        if found is not None:
            return found
        time.sleep(0.5)
    raise AssertionError(f"nothing came of {probe} within {timeout_s:.0f} s")


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    """The unmodified app on AWS on this machine, deployed by the real CDK CLI."""
    shutil.rmtree(STATE, ignore_errors=True)
    places = journey.Places(CHECKOUT, STATE, journey.free_port(4676), journey.free_port(8510))
    with journey.running_cloud(places, Console(stderr=True)) as cloud:
        environment = cloud.environment()
        session = boto3.Session(
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_REGION"],
        )
        formation = session.client(
            "cloudformation",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            verify=environment["AWS_CA_BUNDLE"],
        )
        outputs = {
            output["OutputKey"]: output["OutputValue"]
            for stack in formation.describe_stacks()["Stacks"]
            for output in stack.get("Outputs", [])
        }
        yield Deployed(cloud, session, outputs, journey.signed_in(cloud))
    shutil.rmtree(STATE, ignore_errors=True)


@pytest.fixture(scope="session")
def first_run(deployed: Deployed) -> dict[str, Any]:
    """The record of the run that dropping the sample stories started, once it has ended."""
    return journey.drop_and_follow(deployed.api, SAMPLE_STORIES, Console(stderr=True))
