"""The app as the journeys have it: deployed once for each folder of tests, with a state folder of its own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import boto3
import psutil
from rich.console import Console

from cli import journey
from cli.api.client import StoryloomApi
from cli.run_progress import wait_for_new_run
from contracts.statuses import FINAL_RUN_STATUSES
from local.aws import processes
from local.cloud import LocalCloud

CHECKOUT = Path(__file__).resolve().parents[2]
STORIES = sorted((CHECKOUT / "sample_stories").iterdir())[:7]
"""Enough that the model learns from them in one reading, which ends after the same steps on any machine."""
RUN_SECONDS = 900
PATIENCE_S = 300
"""How long what must come may take: a busy machine may take its time, and only a failure waits so long."""
REST_S = 5
"""No run between a timer that has fired and the execution it starts stays unseen for so long."""
T = TypeVar("T")


@dataclass(frozen=True)
class Deployed:
    """A deployed Storyloom: its local cloud, its administrator's session, its outputs and its API."""

    cloud: LocalCloud
    session: boto3.Session
    outputs: dict[str, str]
    api: StoryloomApi

    def client(self, service: str) -> Any:
        """A client of the administrator; making one costs more than a call, so each is kept."""
        if service not in self._clients:
            environment = self.cloud.environment()
            self._clients[service] = self.session.client(  # type: ignore[call-overload]
                service, endpoint_url=environment["AWS_ENDPOINT_URL"], verify=environment["AWS_CA_BUNDLE"]
            )
        return self._clients[service]

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def table(self) -> Any:
        """The app's one table."""
        environment = self.cloud.environment()
        resource: Any = self.session.resource(
            "dynamodb", endpoint_url=environment["AWS_ENDPOINT_URL"], verify=environment["AWS_CA_BUNDLE"]
        )
        return resource.Table(self.outputs["TableName"])

    def answers_as(self, version: str) -> None:
        """Check that the version named answers a chat."""
        *_, (_, answer) = self.api.chat([{"role": "user", "content": "Good morning."}], max_tokens=8)
        assert answer is not None and answer.text
        assert answer.model == version

    def executions(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.client("stepfunctions").list_executions(
            stateMachineArn=self.outputs["StateMachineArn"]
        )["executions"]
        return listed

    def engines(self) -> list[psutil.Process]:
        """The model servers behind the endpoint."""
        return processes.running_module(processes.cloud_id(self.cloud.folders.state), "local.endpoint_server")

    def drop(self, texts: dict[str, bytes]) -> None:
        """Puts files straight into the stories bucket, as `aws s3 cp` would."""
        bucket = self.client("s3")
        for key, body in texts.items():
            bucket.put_object(Bucket=self.outputs["StoriesBucketName"], Key=key, Body=body)

    def start_afresh(self) -> None:
        """Takes the stories out, and waits for what earlier tests set going: it would read this one's."""
        self.empty_bucket()
        self.wait_for_rest()

    def wait_for_rest(self) -> None:
        """Waits until no timer is set and no run is on, and none of them comes for a while."""
        schedules = self.client("scheduler")
        quiet_since = time.monotonic()

        def rests() -> bool | None:
            nonlocal quiet_since
            going = [execution for execution in self.executions() if execution["status"] == "RUNNING"]
            if going or schedules.list_schedules()["Schedules"]:
                quiet_since = time.monotonic()
            return True if time.monotonic() - quiet_since > REST_S else None

        wait_for(rests, RUN_SECONDS)

    def empty_bucket(self) -> None:
        """Takes the stories out again, while runs go on."""
        bucket = self.client("s3")
        listing = bucket.get_paginator("list_objects_v2").paginate(Bucket=self.outputs["StoriesBucketName"])
        for listed in listing:
            for entry in listed.get("Contents", []):
                bucket.delete_object(Bucket=self.outputs["StoriesBucketName"], Key=entry["Key"])

    def drop_and_finish(self, texts: dict[str, bytes]) -> dict[str, Any]:
        """Drops files and gives the record of the run that they start, once it has ended."""
        known = {run["run_id"] for run in self.api.runs()}
        self.drop(texts)
        return self.finished_run(wait_for_new_run(self.api, known, PATIENCE_S))

    def start_run(self) -> str:
        """Starts a run by hand, as the quiet timer does, and gives its id."""
        known = {run["run_id"] for run in self.api.runs()}
        self.client("lambda").invoke(
            FunctionName=self.outputs["StartRunFunctionName"],
            Payload=json.dumps({"reason": "manual", "again": True}),
        )
        return wait_for_new_run(self.api, known, PATIENCE_S)

    def finished_run(self, run_id: str, timeout_s: float = RUN_SECONDS) -> dict[str, Any]:
        """The run's record once it has ended."""

        def ended() -> dict[str, Any] | None:
            run = self.api.run(run_id)
            return run if run["status"] in FINAL_RUN_STATUSES else None

        return wait_for(ended, timeout_s)


def wait_for(probe: Callable[[], T | None], timeout_s: float = PATIENCE_S) -> T:
    """Calls `probe` until it gives something, and gives that."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = probe()
        if found is not None:
            return found
        time.sleep(0.5)
    raise AssertionError(f"nothing came of {probe} within {timeout_s:.0f} s")


@contextmanager
def deployed_app(state: Path, port: int, page_port: int) -> Iterator[Deployed]:
    """Deploy the unmodified app to a local cloud with the real CDK CLI; what it kept goes with it.

    Args:
        state: the cloud's folder, which must be of this checkout.
        port: for AWS, if it is free.
        page_port: for the page, if it is free.
    """
    shutil.rmtree(state, ignore_errors=True)
    ports = journey.port_or_free_port(port), journey.port_or_free_port(page_port)
    # far longer than that training takes: a busy machine may take its time
    places = journey.LocalCloudConfig(CHECKOUT, state, *ports, {"max_training_minutes": "10"})
    with journey.running_cloud(places, Console(stderr=True)) as cloud:
        yield on_cloud(cloud)
    shutil.rmtree(state, ignore_errors=True)


def on_cloud(cloud: LocalCloud) -> Deployed:
    """Find the app that is deployed to a local cloud, and sign in."""
    environment = cloud.environment()
    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    return Deployed(cloud, session, cloud.description()["outputs"], journey.signed_in_api(cloud))
