"""What the lines of a verification share: the deployment, a person of their own, and what was seen so far."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cli.api import StoryloomApi
from cli.aws_target import AwsTarget
from cli.connection import Connection, sign_in
from cli.errors import CommandError
from cli.progress import FINISHED
from cli.verify.bill import Bill
from cli.verify.outcome import LimitReachedError, NotProvenError
from stacks.settings import Settings

STACKS = ("Storage", "Pipeline", "Chat", "Operations")
FOLDER = "storyloom-verify"
"""The stories of a verification lie below this folder of the bucket."""
_PERSON = "storyloom-verify@example.com"
TIMER = "quiet"
"""Name of the schedule that starts a run when the bucket has been quiet."""
ENDED_BATCHES = {"completed", "failed", "stopped"}
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
    """Of all four stacks, by key."""

    @property
    def is_local(self) -> bool:
        """Whether it runs on the local cloud."""
        return self.target.is_local

    @property
    def title(self) -> str:
        """Beginning of the stacks' names."""
        return self.name[0].upper() + self.name[1:]

    @property
    def page_url(self) -> str:
        """Where a browser finds the page."""
        return self.outputs["PageUrl"].rstrip("/")

    def stack(self, part: str) -> str:
        """Name of one of the stacks."""
        return f"{self.title}-{part}"


@dataclass
class World:
    """State of one verification."""

    app: DeployedApp
    stories: Path
    """Folder of stories that are dropped if there is no version yet."""
    say: Callable[[str], None] = lambda _: None
    """Shows what is being waited for."""
    patience_seconds: float = 3 * 3600
    """How long a run may take."""
    poll_seconds: float = 2.0
    quiet_seconds: float = 300.0
    """How long the bucket must be quiet before a run starts."""
    trains: bool = True
    """Whether a run of its own trains a version; otherwise the last one is looked at."""
    limit_usd: float = float("inf")
    """What the whole may cost."""
    assumed_usd_per_hour: float | None = None
    """Counted for an instance whose price is not known."""
    known_runs: set[str] = field(default_factory=set)
    uploads_began: bool = False
    """Whether this verification may have started a run."""
    base_model: str = ""
    """Id of the base model that the deployed app says it has; empty until it has been asked."""
    uploaded: list[str] = field(default_factory=list)
    run_id: str = ""
    checkpoints: int = 0
    version: str = ""
    tokens_per_second: float = 0.0
    woke_after_seconds: float = 0.0
    """How long the first waking took; 0 if the model was awake."""
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
        """Make a client of an AWS service."""
        return self.app.target.client(service)

    @property
    def api(self) -> StoryloomApi:
        """The API as the verification's own person, whose sign-in is renewed in time."""
        if self._api is None or time.monotonic() - self._signed_in_at > _SIGN_IN_LASTS_SECONDS:
            self._api = StoryloomApi(self.sign_in())
            self._signed_in_at = time.monotonic()
        return self._api

    def sign_in(self) -> Connection:
        """Sign in through Cognito's public API, as the page does; the first call creates the user."""
        if not self._password:
            self._make_person()
        return sign_in(self.app.page_url, _PERSON, self._password)

    @property
    def bill(self) -> Bill:
        """What the verification costs."""
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
        """Stop everything that costs if the whole has cost as much as it may.

        Raises:
            LimitReachedError: it has.
        """
        spent = self.bill.total_usd()
        if spent > self.limit_usd:
            self.stop_spending()
            raise LimitReachedError(
                f"${spent:.2f} are spent, and the limit is ${self.limit_usd:.2f}: what ran was stopped.",
                "Give it more with --limit-usd.",
            )

    def stop_spending(self) -> list[str]:
        """Stop the run and the batch of this verification, and put the model to sleep unless it was awake.

        Returns:
            What could not be stopped, in words.
        """
        left: list[str] = []
        if not self._password:
            return left
        _attempt(left, "the timer of the next run", self._delete_timer)
        _attempt(left, "the run that the uploaded stories started", self._stop_runs)
        if self.batch_id:
            _attempt(left, f"batch {self.batch_id}", self._stop_batch)
        if not self.was_awake:
            _attempt(left, "the endpoint", self._put_to_sleep)
        return left

    def wait(self, probe: Callable[[], T | None], seconds: float, waiting_for: str) -> T:
        """Call `probe` until it returns something.

        Raises:
            NotProvenError: nothing came within this time.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = probe()
            if found is not None:
                return found
            self.check_limit()
            if time.monotonic() > deadline:
                raise NotProvenError(f"Waited {seconds / 60:.0f} minutes for {waiting_for}, in vain.")
            time.sleep(self.poll_seconds)

    def find_timer(self) -> list[dict[str, str]]:
        """List the schedule that will start a run of this app, if there is one."""
        pages = (
            self.client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=self.app.stack("Pipeline"))
        )
        resources = [found for page in pages for found in page["StackResourceSummaries"]]
        (group,) = [one for one in resources if one["ResourceType"] == "AWS::Scheduler::ScheduleGroup"]
        listed = self.client("scheduler").list_schedules(
            GroupName=group["PhysicalResourceId"], NamePrefix=TIMER
        )
        found: list[dict[str, str]] = listed["Schedules"]
        return found

    def _delete_timer(self) -> None:
        """Delete the timer that the uploads have set: there was none before, or they would not have begun."""
        if not self.uploads_began:
            return
        for found in self.find_timer():
            self.client("scheduler").delete_schedule(Name=found["Name"], GroupName=found["GroupName"])

    def _stop_runs(self) -> None:
        """Stop every run that has begun since the first upload."""
        if not self.uploads_began:
            return
        for run in self.api.runs():
            if run["run_id"] not in self.known_runs and run["status"] not in FINISHED:
                self.api.stop_run(run["run_id"])

    def _stop_batch(self) -> None:
        if self.api.batch(self.batch_id)["status"] not in ENDED_BATCHES:
            self.api.stop_batch(self.batch_id)

    def _put_to_sleep(self) -> None:
        if self.api.status()["hosting"]["status"] != "asleep":
            self.api.sleep()

    def _make_person(self) -> None:
        cognito = self.client("cognito-idp")
        pool = self.app.outputs["UserPoolId"]
        self._password = f"{secrets.token_urlsafe(18)}-aA1"
        # They exist if a verification was killed before it could clean up.
        with contextlib.suppress(cognito.exceptions.UsernameExistsException):
            cognito.admin_create_user(
                UserPoolId=pool,
                Username=_PERSON,
                MessageAction="SUPPRESS",
                UserAttributes=[
                    {"Name": "email", "Value": _PERSON},
                    {"Name": "email_verified", "Value": "true"},
                ],
            )
        cognito.admin_set_user_password(
            UserPoolId=pool, Username=_PERSON, Password=self._password, Permanent=True
        )
        cognito.admin_add_user_to_group(UserPoolId=pool, Username=_PERSON, GroupName="author")

    def clean_up(self, keep_stories: bool) -> list[str]:
        """Remove what the verification made; returns what it could not remove, in words."""
        left = self.stop_spending()
        if self._password:
            for key in self.created_keys:
                _attempt(left, f"API key {key}", partial(self.api.revoke_key, key))
            for story in [] if keep_stories else self.uploaded:
                _attempt(left, f"story {story}", partial(self.api.delete_story, story))
            pool = self.app.outputs["UserPoolId"]
            _attempt(
                left,
                f"the person {_PERSON} in the user pool",
                lambda: self.client("cognito-idp").admin_delete_user(UserPoolId=pool, Username=_PERSON),
            )
        return left


def find_app(target: AwsTarget, settings: Settings) -> DeployedApp:
    """Read the outputs of the stacks that were deployed with these settings.

    Raises:
        CommandError: there is no such app in this region, or it is deployed in part only.
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
    for part in STACKS:
        try:
            (stack,) = formation.describe_stacks(StackName=app.stack(part))["Stacks"]
        except formation.exceptions.ClientError as error:
            if "does not exist" not in str(error):
                raise
            missing.append(app.stack(part))
            continue
        app.outputs.update(
            {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        )
    if missing:
        raise CommandError(
            f"{', '.join(missing)}: no such stack in {target.region}.",
            f"Deploy the app with `npx cdk deploy --all`, or name another one with -c name=NAME or --region "
            f"(looked for {settings.name}).",
        )
    return app


def _attempt(left: list[str], what: str, remove: Callable[[], object]) -> None:
    try:
        remove()
    except Exception as error:
        left.append(f"{what} ({error})")
