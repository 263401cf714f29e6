"""A month with a limit of five dollars: whatever happens in whatever order, SageMaker's bill stays within it.

The functions are the app's own, over a real table; SageMaker, time and trouble are in the test's hands. What
the bill may be above the limit is nothing: everything is set aside before it begins, and the model's machine
is paid for until two ticks of the endpoint manager have failed in a row.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chat_api.dependencies.identity import User
from chat_api.errors import ApiError
from chat_api.routes import batches, model, runs
from contracts.resource_names import AppNames
from next_attempt.handler import handler as next_attempt
from reserve.handler import handler as reserve
from shared import table
from shared.answers import usage
from shared.aws import clients
from shared.batch_inference import batch_records
from shared.recovery import attempts
from shared.runs import lock, run_records
from shared.spending import ledger, meter
from smoke_test import handler as smoke_test
from smoke_test.checks import SmokeTestFailed
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.simulated_endpoint import Crashed, Troubled
from tests.unit.functions.simulated_month import USD_PER_HOUR, Job, SimulatedMonth, no_capacity
from tests.unit.functions.test_endpoint_manager_states import World

LIMIT = 5.0
G6 = "ml.g6.xlarge"
TICK = timedelta(minutes=5)
_HAPPENS = (Crashed, ClientError, SmokeTestFailed, ApiError)
_FEW = settings(max_examples=6, stateful_step_count=18)
PEOPLE = ("anna", "ben", "key:0123456789abcdef")
troubles = st.none() | st.none() | st.tuples(st.integers(0, 12), st.booleans())


class Month(World):
    """The real functions over a month of SageMaker."""

    sagemaker: SimulatedMonth

    def __init__(
        self, resources: DeployedResources, context: LambdaContext, patch: pytest.MonkeyPatch
    ) -> None:
        """Put the stand-ins in their places."""
        super().__init__(resources, context, patch)
        self.sagemaker = SimulatedMonth(self.time)
        for service in ("sagemaker", "application_autoscaling", "cloudwatch"):
            patch.setattr(clients, service, lambda: Troubled(self.sagemaker, self.trouble))
        patch.setattr("chat_api.services.batches._invoke_start_batch", lambda _: None)
        started = {"started": True, "run_id": "r", "message": "m"}
        patch.setattr("chat_api.services.run_control.invoke_start_run", lambda _: started)
        self.examples = 0

    def begin(self) -> None:
        """Start afresh, in a month of its own."""
        super().begin()
        self.examples += 1
        self.patch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", f"{LIMIT:g}")
        self.patch.setenv("STORYLOOM_HOSTING_MAX_INSTANCES", "1")
        self.patch.setenv("STORYLOOM_MAX_TRAINING_MINUTES", "60")
        self.patch.setenv("STORYLOOM_LONGEST_EVALUATION_MINUTES", "20")
        self.time.now = datetime(2027 + self.examples, 3, 2, 9, tzinfo=self.time.now.tzinfo)
        vars(self.sagemaker).update(vars(SimulatedMonth(self.time)))
        for partition in ("LEDGER#OPEN", "RUNS"):
            for item in table.query(partition):
                table.delete_item(str(item["pk"]), str(item["sk"]))
        table.delete_item("HOSTING", "BATCHES")

    @property
    def month(self) -> str:
        return f"{self.time.now:%Y-%m}"


class Run:
    """What the state machine does with a run, as far as it costs."""

    def __init__(self, world: Month, *, tune: bool, outcomes: list[dict[str, Any]]) -> None:
        self.world, self.tune, self.outcomes = world, tune, outcomes
        self.run_id = run_records.new_id(world.time.now)
        self.stage = "reserve"
        self.deployment: dict[str, Any] | None = None
        jobs = {
            "training_attempt": 1,
            "training_job_name": AppNames("storyloom").training_job(self.run_id),
            "hyperparameters": {"max_seconds": "3600"},
            "processing_inputs": [],
            "tuning": {
                "job_name": AppNames("storyloom").tuning_job(self.run_id),
                "resource_limits": {"MaxNumberOfTrainingJobs": 2},
                "stopping_condition": {"MaxRuntimeInSeconds": 1800},
            },
        }
        self.jobs = attempts.evaluation_attempt(self.run_id, jobs, 1, [G6, "ml.g5.xlarge"])
        run_records.create_run(self.run_id, "arn", "by hand")

    def step(self) -> None:
        """Go on by one state, if the one that is being waited for has ended."""
        getattr(self, f"_{self.stage}")()

    def end(self) -> None:
        self.stage = "end"
        run_records.finish(self.run_id, "failed", "It ended.")
        lock.force_release(self.run_id)

    def _reserve(self) -> None:
        event = {
            "run_id": self.run_id,
            "jobs": self.jobs,
            "tune": self.tune,
            "estimate": {"training_minutes": 6},
        }
        self.jobs = reserve(event, self.world.context)
        if not self.jobs["reserved"]:
            self.end()
        elif self.tune:
            self._search()
        else:
            self._make("Training")

    def _search(self) -> None:
        now, tuning = self.world.time.now, self.jobs["tuning"]
        limit = timedelta(seconds=tuning["stopping_condition"]["MaxRuntimeInSeconds"])
        name = tuning["job_name"]
        for number in (1, 2):
            trial = Job("Training", f"{name}-00{number}-abcd", G6, 1, now, limit, limit * 2, "Stopped")
            trial.search = name
            self.world.sagemaker.create_job(trial)
        whole = Job("HyperParameterTuning", name, G6, 1, now, limit, limit)
        self.world.sagemaker.create_job(whole)
        self.stage = "searching"

    def _searching(self) -> None:
        if self.world.sagemaker.is_over(self.jobs["tuning"]["job_name"]):
            self._make("Processing")

    def _make(self, kind: str) -> None:
        outcome = self.outcomes.pop() if self.outcomes else {"takes": timedelta(minutes=7)}
        if kind == "Training":
            limit = self.jobs["stopping_condition"]["MaxRuntimeInSeconds"]
            name, instance, self.stage = self.jobs["training_job_name"], G6, "train"
        else:
            limit, name = 20 * 60, self.jobs["processing_job_name"]
            instance, self.stage = self.jobs["processing_instance"], "evaluate"
        if kind == "Processing":
            outcome = {key: value for key, value in outcome.items() if key != "billed_share"}
        self.world.sagemaker.create_job(
            Job(kind, name, instance, 1, self.world.time.now, timedelta(seconds=limit), **outcome)  # type: ignore[arg-type]
        )

    def _train(self) -> None:
        self._after("Train", "Training", self.jobs["training_job_name"], lambda: self._make("Processing"))

    def _evaluate(self) -> None:
        self._after("Evaluate", "Processing", self.jobs["processing_job_name"], self._begin_deployment)

    def _after(self, step: str, kind: str, name: str, then: Callable[[], None]) -> None:
        job = self.world.sagemaker.jobs[name]
        if not self.world.sagemaker.is_over(name):
            return
        if job.ending == "Completed":
            then()
            return
        cause = {f"{kind}JobName": name, "FailureReason": job.reason}
        failure = {"Error": "States.TaskFailed", "Cause": json.dumps(cause)}
        event = {"run_id": self.run_id, "step": step, "jobs": self.jobs, "failure": failure}
        self.jobs = next_attempt(event, self.world.context)
        if self.jobs["again"]:
            self._make(kind)
        else:
            self.end()

    def _begin_deployment(self) -> None:
        self.stage = "deploy"

    def _deploy(self) -> None:
        try:
            self.deployment = self.world.deploy("v2")
        except Crashed:
            raise
        except Exception:
            self.end()
            raise
        self.stage = "smoke"

    def _smoke(self) -> None:
        try:
            looked = smoke_test.handler(
                {"run_id": self.run_id, "deployment": self.deployment}, self.world.context
            )
        except SmokeTestFailed:
            self.end()
            raise
        if looked["status"] == "passed":
            self.end()

    def _end(self) -> None:
        """Nothing follows."""


class Spending(RuleBasedStateMachine):
    """What may happen in a month, and what must hold."""

    world: Month

    @initialize(spent=st.sampled_from([0.0, 1.5, 3.2, 4.3]))
    def begin(self, spent: float) -> None:
        self.world.begin()
        # What the month has cost before: so the limit is met within a few steps.
        earlier = f"storyloom-train-{self.world.time.now:%Y%m%d-%H%M%S}-0000"
        length = timedelta(hours=spent / USD_PER_HOUR[G6])
        began = self.world.time.now - length - timedelta(days=3)
        self.world.sagemaker.create_job(Job("Training", earlier, G6, 1, began, length, length))
        ledger.reserve("training", earlier, G6, spent)
        ledger.settle("training", earlier, spent)
        self.run: Run | None = None
        self.failed_ticks = 0

    def _do(self, action: Callable[[], object], trouble: tuple[int, bool] | None = None) -> bool:
        """Do something, a call of which may not go through; returns whether all went well."""
        if trouble is not None:
            self.world.trouble.after, self.world.trouble.crash = trouble
        try:
            action()
        except _HAPPENS as error:
            return isinstance(error, ApiError)
        except Exception as error:
            if type(error).__name__ != "MonthlyLimitReached":
                raise
        finally:
            self.world.trouble.after, self.world.trouble.happened = None, False
        return True

    @rule(minutes=st.sampled_from([5, 10, 25]), trouble=troubles, well=st.booleans())
    def time_passes(self, minutes: int, trouble: tuple[int, bool] | None, well: bool) -> None:
        """The endpoint manager ticks every five minutes; some ticks fail, never three in a row."""
        for _ in range(minutes // 5):
            self.world.time.pass_by(minutes=5)
            found = self.world.sagemaker
            if found.changed_at is not None and self.world.time.now - found.changed_at >= timedelta(
                minutes=10
            ):
                found.go_on(well)
            strikes = trouble if self.failed_ticks < 2 else None
            fine = self._do(lambda: self.world.endpoint_manager("tick"), strikes)
            self.failed_ticks = 0 if fine else self.failed_ticks + 1
            if self.run is not None:
                self._do(self.run.step)

    @rule(who=st.sampled_from(PEOPLE), trouble=troubles)
    def somebody_chats(self, who: str, trouble: tuple[int, bool] | None) -> None:
        self._do(self.world.message, trouble)
        usage.add_tokens(who, 60_000)

    @rule(who=st.sampled_from(PEOPLE))
    def somebody_wakes_it(self, who: str) -> None:
        asker = User(sub=who, scopes=frozenset({"chat"}))
        self._do(lambda: model.wake_model(asker))

    @rule(
        tune=st.booleans(),
        outcomes=st.lists(
            st.sampled_from(
                [
                    {"takes": timedelta(minutes=12)},
                    {"takes": timedelta(minutes=300)},
                    {"takes": timedelta(minutes=40), "billed_share": 0.3},
                    {
                        "takes": timedelta(minutes=9),
                        "ending": "Failed",
                        "reason": "InternalServerError: sorry.",
                    },
                    {"takes": timedelta(minutes=9), "ending": "Failed", "reason": "The script failed."},
                    no_capacity(),
                ]
            ),
            max_size=5,
        ),
        trouble=troubles,
    )
    def somebody_starts_a_run(
        self, tune: bool, outcomes: list[dict[str, Any]], trouble: tuple[int, bool] | None
    ) -> None:
        if self.run is not None and self.run.stage != "end":
            return
        try:
            runs.start_run(User(sub="anna", scopes=frozenset({"write"})))
        except ApiError as error:
            assert error.status in {402, 429}
            return
        lock.acquire(run_records.new_id(self.world.time.now), "arn")
        self.run = Run(self.world, tune=tune, outcomes=list(outcomes))
        held = lock.holder()
        if held is not None:
            lock.take_over(self.run.run_id, "arn", held, rerun=False, wanted_version=None)
        self._do(self.run.step, trouble)

    @rule(minutes=st.sampled_from([3, 20, 45, 200]), trouble=troubles, makes=st.booleans())
    def somebody_starts_a_batch(self, minutes: int, trouble: tuple[int, bool] | None, makes: bool) -> None:
        who = User(sub="ben", scopes=frozenset({"write"}))
        batch = batch_records.create_record(
            owner="ben", created_by="ben", name="p", model="storyloom", max_tokens=9, instance=G6
        )
        most = round(1.13 * (45 + 20) / 60, 2)
        batch_records.move(
            batch.batch_id, "checked", {"uploading"},
            longest_minutes=45, cost_at_most_usd=most, answer_tokens=5_000, lines=1, lines_a_part=32,
        )  # fmt: skip
        self._do(lambda: batches.start_batch(batch.batch_id, who), trouble)
        started = batch_records.get(batch.batch_id)
        if started is None or started.status != "preparing" or not makes:
            return
        name = AppNames("storyloom").transform_job(batch.batch_id)
        batch_records.move(batch.batch_id, "running", {"preparing"}, job_name=name)
        takes = timedelta(minutes=minutes)
        longest = timedelta(hours=25)
        self.world.sagemaker.create_job(Job("Transform", name, G6, 1, self.world.time.now, longest, takes))

    @rule()
    def somebody_puts_it_to_sleep(self) -> None:
        self._do(lambda: self.world.endpoint_manager("sleep"))

    @rule()
    def the_run_is_stopped(self) -> None:
        if self.run is not None and self.run.stage != "end":
            for job in self.world.sagemaker.jobs.values():
                if self.run.run_id in job.name and not self.world.sagemaker.is_over(job.name):
                    job.stopped_at, job.ending = self.world.time.now, "Stopped"
            self.run.end()

    @invariant()
    def the_bill_keeps_to_the_limit(self) -> None:
        assert self.world.sagemaker.bill_usd() <= LIMIT + 1e-4

    def teardown(self) -> None:
        """When everything has come to rest, the sum shown is SageMaker's bill, and nothing is set aside."""
        if not hasattr(self, "run"):
            return
        self.the_run_is_stopped()
        for _ in range(7 * 12):
            self.world.time.pass_by(minutes=5)
            self.world.sagemaker.go_on(well=True)
            self._do(lambda: self.world.endpoint_manager("tick"))
            if (
                not ledger.open_reservations()
                and self.world.sagemaker.status is None
                and not meter.read_meter().lease
            ):
                break
        sums, bill = ledger.totals(self.world.month), self.world.sagemaker.bill_usd()
        assert bill <= LIMIT + 1e-4
        assert sums.spent_usd == pytest.approx(bill, rel=0.01, abs=0.005)
        assert sums.reserved_usd == 0
        assert sum(entry.spent_usd for entry in ledger.month(self.world.month).entries) == pytest.approx(
            sums.spent_usd, abs=1e-5
        )


@pytest.fixture
def month(resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch) -> Month:
    """A month of its own."""
    return Month(resources, context, monkeypatch)


def test_a_month_keeps_its_limit_whatever_happens(month: Month) -> None:
    machine = type("SpendingHere", (Spending,), {"world": month})
    run_state_machine_as_test(machine, settings=_FEW)


def test_an_update_that_is_first_seen_rolling_back_is_counted_from_its_request(month: Month) -> None:
    state = type("SpendingHere", (Spending,), {"world": month})()
    state.begin(spent=0.0)
    state.somebody_chats(trouble=None, who="anna")
    state.time_passes(minutes=10, trouble=None, well=True)
    month.deploy("v2")
    # This tick fails, and the next one finds that SageMaker is rolling back.
    state.time_passes(minutes=5, trouble=(0, True), well=True)
    state.time_passes(minutes=5, trouble=None, well=False)
    assert month.sagemaker.status == "RollingBack"
    state.teardown()
