"""What the lines of a verification share: the deployment, a user of its own, and what was seen so far."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cli.api.client import StoryloomApi
from cli.api.connection import Connection, sign_in
from cli.aws.target import AwsTarget
from cli.console import CommandError
from cli.verify.bill import Bill
from cli.verify.outcome import LimitReachedError, NotProvenError
from contracts import statuses
from contracts.resource_names import UPLOADS_SCHEDULE, AppNames
from contracts.roles import AUTHOR
from contracts.settings import Settings
from contracts.statuses import FINAL_BATCH_STATUSES, FINAL_RUN_STATUSES

FOLDER = "storyloom-verify"
"""The folder of the bucket for the stories of a verification."""
_USER = "storyloom-verify@example.com"
_SIGN_IN_LASTS_SECONDS = 30 * 60  # an ID token lasts an hour
T = TypeVar("T")


@dataclass(frozen=True)
class DeployedApp:
    """One deployed Storyloom."""

    target: AwsTarget = field(repr=False)
    name: str
    training_instance: str
    hosting_instance: str
    instance_count: int = 1
    """How many instances train together."""
    search_budget_usd: float = 0.0
    """What a run's search may cost; 0 if a run does not search."""
    outputs: dict[str, str] = field(default_factory=dict, repr=False)
    """Outputs of all four stacks, by key."""

    @property
    def is_local(self) -> bool:
        """Tell whether it runs on the local cloud."""
        return self.target.is_local

    @property
    def names(self) -> AppNames:
        """Return the names of its resources."""
        return AppNames(self.name)

    @property
    def page_url(self) -> str:
        """Return the page's address."""
        return self.outputs["PageUrl"].rstrip("/")


@dataclass
class Verification:
    """The state of one verification."""

    app: DeployedApp
    stories: Path
    """Folder of the stories that are uploaded if there is no version yet."""
    show_progress: Callable[[str], None] = lambda _: None
    """Shows what the verification waits for."""
    run_timeout_seconds: float = 3 * 3600
    """How long a run may take."""
    poll_seconds: float = 2.0
    quiet_seconds: float = 300.0
    """How long the bucket must be quiet before a run starts."""
    trains: bool = True
    """Whether a run of the verification trains a version; otherwise the last run is checked."""
    limit_usd: float = float("inf")
    """What the verification may cost."""
    assumed_usd_per_hour: float | None = None
    """The price of an instance whose price is unknown."""
    known_runs: set[str] = field(default_factory=set)
    has_uploaded: bool = False
    """Whether this verification may have started a run."""
    base_model: str = ""
    """Id of the deployed app's base model; empty until the app was asked."""
    uploaded: list[str] = field(default_factory=list)
    run_id: str = ""
    checkpoints: int = 0
    version: str = ""
    tokens_per_second: float = 0.0
    woke_after_seconds: float = 0.0
    """Seconds until the model was awake for the first time; 0 if it was awake before."""
    was_awake: bool = False
    created_keys: list[str] = field(default_factory=list)
    policy: str = ""
    """The page's content security policy."""
    batch_id: str = ""
    _bill: Bill | None = None
    _password: str = ""
    _api: StoryloomApi | None = None
    _signed_in_at: float = 0.0

    def client(self, service: str) -> Any:
        """Return the client of an AWS service."""
        return self.app.target.client(service)

    @property
    def api(self) -> StoryloomApi:
        """Return the API for the verification's own user, whose sign-in is renewed in time."""
        if self._api is None or time.monotonic() - self._signed_in_at > _SIGN_IN_LASTS_SECONDS:
            self._api = StoryloomApi(self.sign_in())
            self._signed_in_at = time.monotonic()
        return self._api

    def sign_in(self) -> Connection:
        """Sign in through Cognito's public API, as the page does; the first call creates the user."""
        if not self._password:
            self._create_user()
        return sign_in(self.app.page_url, _USER, self._password)

    @property
    def bill(self) -> Bill:
        """Return what the verification costs."""
        if self._bill is None:
            self._bill = Bill(
                lambda: self.client("sagemaker"),
                self.app.outputs["EndpointName"],
                region=self.app.target.region,
                is_free=self.app.is_local,
                assumed_usd_per_hour=self.assumed_usd_per_hour,
            )
        return self._bill

    def check_limit(self) -> None:
        """Stop everything that costs if the limit is reached.

        Raises:
            LimitReachedError: the limit is reached.
        """
        spent = self.bill.total_usd()
        if spent > self.limit_usd:
            self.stop_spending()
            raise LimitReachedError(
                f"${spent:.2f} are spent, the limit is ${self.limit_usd:.2f}: what was running is stopped.",
                "Raise the limit with --limit-usd.",
            )

    def stop_spending(self) -> list[str]:
        """Stop the run and the batch of this verification, and put the model to sleep unless it was awake.

        Returns:
            What could not be stopped, as messages.
        """
        left: list[str] = []
        if not self._password:
            return left
        _attempt(left, "the schedule of the next run", self._delete_schedule)
        _attempt(left, "the run that the uploaded stories started", self._stop_runs)
        if self.batch_id:
            _attempt(left, f"batch {self.batch_id}", self._stop_batch)
        if not self.was_awake:
            _attempt(left, "the endpoint", self._put_to_sleep)
        return left

    def wait(self, probe: Callable[[], T | None], seconds: float, waiting_for: str) -> T:
        """Call `probe` until it returns something.

        Raises:
            NotProvenError: it returned nothing within this time.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = probe()
            if found is not None:
                return found
            self.check_limit()
            if time.monotonic() > deadline:
                raise NotProvenError(
                    f"Timed out after {seconds / 60:.0f} minutes of waiting for {waiting_for}."
                )
            time.sleep(self.poll_seconds)

    def find_schedule(self) -> list[dict[str, str]]:
        """List the schedule that will start a run of this app, if there is one."""
        pages = (
            self.client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=self.app.names.pipeline_stack)
        )
        resources = [found for page in pages for found in page["StackResourceSummaries"]]
        (group,) = [one for one in resources if one["ResourceType"] == "AWS::Scheduler::ScheduleGroup"]
        listed = self.client("scheduler").list_schedules(
            GroupName=group["PhysicalResourceId"], NamePrefix=UPLOADS_SCHEDULE
        )
        found: list[dict[str, str]] = listed["Schedules"]
        return found

    def _delete_schedule(self) -> None:
        """Delete the schedule that the uploads have set; nothing is uploaded if there was one before."""
        if not self.has_uploaded:
            return
        for found in self.find_schedule():
            self.client("scheduler").delete_schedule(Name=found["Name"], GroupName=found["GroupName"])

    def _stop_runs(self) -> None:
        """Stop every run that has started since the first upload."""
        if not self.has_uploaded:
            return
        for run in self.api.runs():
            if run["run_id"] not in self.known_runs and run["status"] not in FINAL_RUN_STATUSES:
                self.api.stop_run(run["run_id"])

    def _stop_batch(self) -> None:
        if self.api.batch(self.batch_id)["status"] not in FINAL_BATCH_STATUSES:
            self.api.stop_batch(self.batch_id)

    def _put_to_sleep(self) -> None:
        if self.api.status()["hosting"]["status"] != statuses.ASLEEP:
            self.api.sleep()

    def _create_user(self) -> None:
        cognito = self.client("cognito-idp")
        pool = self.app.outputs["UserPoolId"]
        self._password = f"{secrets.token_urlsafe(18)}-aA1"
        # The user exists if a verification was killed before it could clean up.
        with contextlib.suppress(cognito.exceptions.UsernameExistsException):
            cognito.admin_create_user(
                UserPoolId=pool,
                Username=_USER,
                MessageAction="SUPPRESS",
                UserAttributes=[
                    {"Name": "email", "Value": _USER},
                    {"Name": "email_verified", "Value": "true"},
                ],
            )
        cognito.admin_set_user_password(
            UserPoolId=pool, Username=_USER, Password=self._password, Permanent=True
        )
        cognito.admin_add_user_to_group(UserPoolId=pool, Username=_USER, GroupName=AUTHOR)

    def clean_up(self, keep_stories: bool) -> list[str]:
        """Delete what the verification created; return what could not be deleted, as messages."""
        left = self.stop_spending()
        if self._password:
            for key in self.created_keys:
                _attempt(left, f"API key {key}", partial(self.api.revoke_key, key))
            for story in [] if keep_stories else self.uploaded:
                _attempt(left, f"story {story}", partial(self.api.delete_story, story))
            pool = self.app.outputs["UserPoolId"]
            _attempt(
                left,
                f"the user {_USER} in the user pool",
                lambda: self.client("cognito-idp").admin_delete_user(UserPoolId=pool, Username=_USER),
            )
        return left


def find_app(target: AwsTarget, settings: Settings) -> DeployedApp:
    """Read the outputs of the stacks that were deployed with these settings.

    Raises:
        CommandError: there is no such app in this region, or it is only partly deployed.
    """
    app = DeployedApp(
        target,
        settings.name,
        settings.training_instance,
        settings.hosting_instance,
        settings.instance_count,
        settings.tuning_budget_usd if settings.tune else 0.0,
    )
    formation = target.client("cloudformation")
    missing = []
    for name in app.names.all_stacks:
        try:
            (stack,) = formation.describe_stacks(StackName=name)["Stacks"]
        except formation.exceptions.ClientError as error:
            if "does not exist" not in str(error):
                raise
            missing.append(name)
            continue
        app.outputs.update(
            {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        )
    if missing:
        raise CommandError(
            f"{', '.join(missing)}: no such stack in {target.region}.",
            "Deploy the app with `npx --no-install cdk deploy --all`, or name another one with -c name=NAME "
            f"or --region (looked for {settings.name}).",
        )
    return app


def _attempt(left: list[str], what: str, remove: Callable[[], object]) -> None:
    try:
        remove()
    except Exception as error:
        left.append(f"{what} ({error})")
