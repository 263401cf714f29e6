"""The endpoint's states under everything that can happen to them, in any order: nothing bills unnoticed."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chat_api.errors import ApiError
from chat_api.services import model_access
from contracts import environment
from deploy import bundle
from deploy.handler import handler as deploy
from endpoint_manager import handler as endpoint_manager
from shared import clock, table
from shared.aws import clients
from shared.hosting import hosting_state
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import lock
from shared.spending import ledger, meter
from smoke_test import handler as smoke_test
from smoke_test.checks import EndpointAnswer, SmokeTestFailed
from tests.unit.coroutines import outcome
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.simulated_endpoint import Crashed, SimulatedEndpoint, Time, Trouble, Troubled

IDLE = timedelta(minutes=15)
MOST = 3
RUN = "20260930-120000-aaaa"
_PLAIN = settings(max_examples=8, stateful_step_count=25)
_HAPPENS = (Crashed, ClientError, SmokeTestFailed, ApiError)
"""How a function may end when a call does not go through: Lambda notes it, and nobody repairs anything."""


class World:
    """The real functions over a table, with SageMaker, time and trouble in the test's hands."""

    def __init__(
        self, resources: DeployedResources, context: LambdaContext, patch: pytest.MonkeyPatch
    ) -> None:
        """Put the stand-ins in their places."""
        self.resources, self.context, self.patch = resources, context, patch
        self.time, self.trouble = Time(), Trouble()
        self.sagemaker = SimulatedEndpoint(self.time)
        self.sound = True
        real = clients.dynamodb()
        patch.setattr(clients, "sagemaker", lambda: Troubled(self.sagemaker, self.trouble))
        for service in ("application_autoscaling", "cloudwatch"):
            patch.setattr(clients, service, lambda: Troubled(self.sagemaker, self.trouble))
        patch.setattr(clients, "dynamodb", lambda: Troubled(real, self.trouble))
        patch.setattr(clock, "now", lambda: self.time.now)
        patch.setattr(model_access, "invoke_endpoint_manager", self.endpoint_manager)
        patch.setattr(smoke_test, "_ask", self._answer)
        hosted = f"s3://{resources.artifacts}/hosting"
        patch.setattr(
            bundle, "build", lambda model, _: bundle.Bundle(f"{hosted}/{model.version}/", merged=False)
        )

    def allow_instances(self, most: int) -> None:
        self.patch.setenv("STORYLOOM_HOSTING_MAX_INSTANCES", str(most))

    def begin(self) -> None:
        """Start afresh: no endpoint, v1 live, nobody running."""
        self.allow_instances(MOST)
        self.patch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", "0")
        self.time.now, self.trouble.after = Time().now, None
        vars(self.sagemaker).update(vars(SimulatedEndpoint(self.time)))
        for month in ("2026-09", "2026-10", "2026-11", "2026-12"):
            table.delete_item("LEDGER", month)
            for item in table.query(f"LEDGER#{month}"):
                table.delete_item(str(item["pk"]), str(item["sk"]))
        for key in (("HOSTING", "STATE"), ("HOSTING", "METER"), ("LOCK", "PIPELINE"), ("POINTERS", "LIVE")):
            table.delete_item(*key)
        self.live("v1")

    def live(self, version: str) -> None:
        versions.make_live(self.register(version), f"s3://{self.resources.artifacts}/hosting/{version}/")

    def register(self, version: str) -> ModelVersion:
        model = ModelVersion(
            version=version,
            run_id=RUN,
            status="approved",
            adapter_uri=f"s3://{self.resources.artifacts}/runs/{RUN}/training/job/output/model/",
            adapter_sha256="a" * 64,
            base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
            base_revision="r1",
            created_at=clock.stamp(),
        )
        versions.save(model)
        return model

    def endpoint_manager(self, action: str) -> None:
        endpoint_manager.handler({"action": action}, self.context)

    def message(self) -> None:
        """Somebody writes: what the chat API does before and after it asks the endpoint."""
        model_access._last_check = float("-inf")
        with contextlib.suppress(ApiError):
            outcome(model_access.awake_model("storyloom", *hosting_state.state_and_live()))
            if self.sagemaker.status not in {"InService", "Updating", "RollingBack"}:
                raise model_access.wake_for_request()
            hosting_state.touch()

    def deploy(self, version: str) -> dict[str, Any]:
        self.register(version)
        return deploy({"run_id": RUN, "version": version}, self.context)

    def _answer(self, version: str, prompt: str) -> EndpointAnswer:
        return EndpointAnswer(model=version if self.sound else "base", text="Good morning.", stopped=True)


class EndpointManagement(RuleBasedStateMachine):
    """What may happen, and what must hold."""

    world: World

    @initialize()
    def begin(self) -> None:
        self.world.begin()
        self.deployment: dict[str, Any] | None = None
        self.number = 1
        self.calm_ticks_beyond_idle = 0
        self.unseen = False
        self.difference = 0.0

    @contextlib.contextmanager
    def _disturbed(self) -> Iterator[None]:
        """Let a call fail if the test planned it."""
        trouble, before = self.world.trouble, meter.read_meter().counted_until
        try:
            yield
        except _HAPPENS:
            self.unseen = self.unseen or trouble.happened
        finally:
            trouble.after, trouble.happened = None, False
        self._check_the_bill(before)

    def _do(self, action: Callable[[], object], trouble: tuple[int, bool] | None = None) -> None:
        with self._disturbed():
            if trouble is not None:
                self.world.trouble.after, self.world.trouble.crash = trouble
            action()

    def _check_the_bill(self, before: str | None) -> None:
        """Compare with SageMaker's own bill whenever the meter has moved."""
        changed, self.world.sagemaker.ended_unseen = self.world.sagemaker.ended_unseen, False
        self.unseen = self.unseen or changed
        read = meter.read_meter()
        if read.counted_until in {None, before}:
            return
        now = clock.instant(str(read.counted_until))
        assert now == self.world.time.now
        month = now.replace(day=1, hour=0, minute=0)
        counted = ledger.month(f"{now:%Y-%m}").entries
        difference = sum(entry.seconds for entry in counted) - self.world.sagemaker.billed_seconds(month)
        stretch = (now - clock.instant(before)).total_seconds() if before else 24 * 3600
        another_month = before is not None and before[:7] != f"{now:%Y-%m}"
        # Twice as many while a change is under way.
        allowed = 2 * stretch * MOST if self.unseen else 0
        assert abs(difference - (0 if another_month else self.difference)) <= allowed + 1
        # What changed in the same step may have changed after the look: then the next stretch holds it too.
        self.difference, self.unseen = difference, changed

    troubles = st.none() | st.tuples(st.integers(0, 9), st.booleans())

    @rule(trouble=troubles)
    def somebody_writes(self, trouble: tuple[int, bool] | None) -> None:
        self._do(self.world.message, trouble)

    @rule(trouble=troubles)
    def put_to_sleep_by_hand(self, trouble: tuple[int, bool] | None) -> None:
        self._do(lambda: self.world.endpoint_manager("sleep"), trouble)

    @rule(trouble=troubles)
    def tick(self, trouble: tuple[int, bool] | None) -> None:
        self._do(lambda: self.world.endpoint_manager("tick"), trouble)
        if trouble is None:
            self._check_the_limits()

    def _check_the_limits(self) -> None:
        sagemaker, now = self.world.sagemaker, self.world.time.now
        if sagemaker.status not in {"InService", "Failed"}:
            self.calm_ticks_beyond_idle = 0
            return
        assert sagemaker.created_at is not None
        assert now - sagemaker.created_at <= endpoint_manager.LONGEST_LIFE
        used = hosting_state.state().last_used_at
        beyond = used is None or now - clock.instant(used) >= IDLE
        self.calm_ticks_beyond_idle = (
            self.calm_ticks_beyond_idle + 1 if beyond and lock.holder() is None else 0
        )
        assert self.calm_ticks_beyond_idle <= 2

    @rule(minutes=st.sampled_from([1, 4, 11, 16, 95, 23 * 60]))
    def time_passes(self, minutes: int) -> None:
        self.world.time.pass_by(minutes=minutes)

    @rule(well=st.booleans())
    def sagemaker_goes_on(self, well: bool) -> None:
        self.world.sagemaker.go_on(well)

    @rule(
        instance=st.sampled_from(["ml.g6.xlarge", "ml.g5.xlarge", "ml.g6e.xlarge"]),
        why=st.sampled_from(["capacity", "quota", "no second", None]),
    )
    def machines_come_and_go(self, instance: str, why: str | None) -> None:
        self.world.sagemaker.short.pop(instance, None)
        self.world.sagemaker.quotas.pop(instance, None)
        if why == "no second":
            self.world.sagemaker.quotas[instance] = 1
        elif why is not None:
            self.world.sagemaker.short[instance] = why

    @rule(instances=st.integers(1, 5))
    def the_load_changes(self, instances: int) -> None:
        self.world.sagemaker.load_asks_for(instances)
        assert self.world.sagemaker.instances <= MOST

    @rule(most=st.sampled_from([1, 2, MOST]))
    def the_app_is_deployed_with_another_limit(self, most: int) -> None:
        self.world.allow_instances(most)

    @rule()
    def deleted_behind_our_back(self) -> None:
        self.world.sagemaker.deleted_by_hand()

    @rule()
    def another_version_becomes_live(self) -> None:
        if self.deployment is None:
            self.number += 1
            self.world.live(f"v{self.number}")

    @rule(trouble=troubles)
    def a_run_deploys(self, trouble: tuple[int, bool] | None) -> None:
        if self.deployment is None and lock.acquire(RUN, "arn"):
            self.number += 1
            self._do(self._deploy, trouble)

    def _deploy(self) -> None:
        self.deployment = self.world.deploy(f"v{self.number}")

    @rule(trouble=troubles, sound=st.booleans())
    def the_smoke_test_looks(self, trouble: tuple[int, bool] | None, sound: bool) -> None:
        if self.deployment is not None:
            self.world.sound = sound
            self._do(self._smoke_test, trouble)

    def _smoke_test(self) -> None:
        try:
            looked = smoke_test.handler({"run_id": RUN, "deployment": self.deployment}, self.world.context)
        except SmokeTestFailed:
            self.the_run_ends()
            raise
        if looked["status"] == "passed":
            self.the_run_ends()

    @rule()
    def the_run_ends(self) -> None:
        lock.force_release(RUN)
        self.deployment = None

    @invariant()
    def nothing_bills_without_an_endpoint(self) -> None:
        found = self.world.sagemaker
        assert (found.billing_since is None) or found.status is not None

    def teardown(self) -> None:
        """From wherever it is, calm ticks and SageMaker's progress lead to agreement."""
        if not hasattr(self, "deployment"):
            return
        self.the_run_ends()
        for _ in range(14):
            self.world.sagemaker.go_on(well=True)
            self.world.time.pass_by(minutes=1)
            self._do(lambda: self.world.endpoint_manager("tick"))
        status, found = hosting_state.state().status, self.world.sagemaker
        assert (status, found.status) in {("awake", "InService"), ("asleep", None), ("failing", None)}
        if status == "awake":
            assert found.config == hosting_state.state().endpoint_config
        read = meter.read_meter()
        assert bool(read.fleets) == (status == "awake")
        assert (read.lease > 0) == (status == "awake")
        most = environment.read(environment.Hosting).hosting_max_instances
        scaled = found.scalable is not None and found.policy is not None
        assert scaled == (status == "awake" and most > 1)
        assert found.scalable in (None, {"MinCapacity": 1, "MaxCapacity": most})
        assert found.status is None or found.instances <= most


@pytest.fixture
def world(resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of its own."""
    made = World(resources, context, monkeypatch)
    made.begin()
    return made


def test_the_endpoint_settles_from_any_state_and_nothing_bills_unnoticed(world: World) -> None:
    machine = type("ManagementHere", (EndpointManagement,), {"world": world})
    run_state_machine_as_test(machine, settings=_PLAIN)


def test_instances_that_a_lower_limit_releases_are_counted_until_the_next_observation(world: World) -> None:
    state = type("ManagementHere", (EndpointManagement,), {"world": world})()
    state.begin()
    state.somebody_writes(trouble=None)
    state.sagemaker_goes_on(well=True)
    state.tick(trouble=None)
    state.the_load_changes(instances=3)
    state.time_passes(minutes=1)
    state.tick(trouble=None)
    state.the_app_is_deployed_with_another_limit(most=1)
    state.time_passes(minutes=1)
    state.tick(trouble=None)
    assert world.sagemaker.instances == 1
    state.time_passes(minutes=1)
    state.tick(trouble=None)
    state.time_passes(minutes=1)
    state.tick(trouble=None)
    # Three machines for two minutes; the third is counted whole, though only one was left for it.
    assert sum(entry.seconds for entry in ledger.month("2026-09").entries) == (3 + 3 + 3 + 1) * 60
