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
from cli.verify.outcome import NotProvenError
from stories.estimate import INSTANCES

STACKS = ("Storage", "Pipeline", "Chat", "Operations")
FOLDER = "storyloom-verify"
"""The stories of a verification lie below this folder of the bucket."""
_PERSON = "storyloom-verify@example.com"
_SIGN_IN_LASTS_SECONDS = 30 * 60  # an ID token lasts an hour
T = TypeVar("T")


@dataclass(frozen=True)
class DeployedApp:
    """One deployed Storyloom."""

    target: AwsTarget = field(repr=False)
    name: str
    training_instance: str
    hosting_instance: str
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
    trains: bool = True
    """Whether a run of its own trains a version; otherwise the last one is looked at."""
    left_usd: float = float("inf")
    """What the line in hand may cost."""
    known_runs: set[str] = field(default_factory=set)
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
    costs: dict[str, float | None] = field(default_factory=dict)
    """Of jobs and of waking time that lines have seen, by line."""
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
        """Sign in through Cognito's public API, as the page does; the person is made the first time."""
        if not self._password:
            self._make_person()
        return sign_in(self.app.page_url, _PERSON, self._password)

    def price_per_hour(self, use: str) -> float | None:
        """Return the price of the training or hosting instance, on demand; None if it is not known."""
        name = self.app.training_instance if use == "training" else self.app.hosting_instance
        return price_per_hour(name)

    def cost_of_failure(self, use: str) -> float | None:
        """Return what a failed line has cost as far as it was seen."""
        return 0.0 if self.app.is_local else self.costs.pop("failed", 0.0)

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
            if time.monotonic() > deadline:
                raise NotProvenError(f"Waited {seconds / 60:.0f} minutes for {waiting_for}, in vain.")
            time.sleep(self.poll_seconds)

    def _stop_run(self) -> None:
        if self.api.run(self.run_id)["status"] not in FINISHED:
            self.api.stop_run(self.run_id)

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

    def clean_up(self, keep_stories: bool) -> list[str]:
        """Remove what the verification made; returns what it could not remove, in words."""
        left: list[str] = []
        if self._password:
            if self.trains and self.run_id:
                _attempt(left, f"run {self.run_id}", self._stop_run)
            if not self.was_awake:
                _attempt(left, "the endpoint", self._put_to_sleep)
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


def price_per_hour(instance: str) -> float | None:
    """Return US dollars an hour, on demand; None if the price is not known."""
    known = INSTANCES.get(instance)
    return None if known is None else known.usd_per_hour


def find_app(target: AwsTarget, name: str, training_instance: str, hosting_instance: str) -> DeployedApp:
    """Read the outputs of a deployed app's stacks.

    Raises:
        CommandError: there is no such app in this region, or it is deployed in part only.
    """
    app = DeployedApp(target, name, training_instance, hosting_instance)
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
            f"(looked for {name}).",
        )
    return app


def _attempt(left: list[str], what: str, remove: Callable[[], object]) -> None:
    try:
        remove()
    except Exception as error:
        left.append(f"{what} ({error})")
