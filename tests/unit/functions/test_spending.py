"""Paid work is refused with 402 when the month has no money for it, however it is requested."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from fastapi.testclient import TestClient

from chat_api.app import app
from chat_api.services import limits, model_access
from endpoint_manager.handler import handler as endpoint_manager
from reserve.handler import handler as reserve
from shared import clock, table
from shared.answers import usage
from shared.aws import clients
from shared.batch_inference import batch_records
from shared.hosting import hosting_state
from shared.models import versions
from shared.recovery import attempts
from shared.runs import approvals, lock, run_records
from shared.spending import ledger, run_costs
from start_run import resuming
from tests.unit.functions.conftest import DeployedResources, Letters, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

RUN = "20260907-090000-abcd"
G6 = "ml.g6.xlarge"
TICK = {"action": "tick"}


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the endpoint manager was asked."""
    asked: list[str] = []
    monkeypatch.setattr(model_access, "invoke_endpoint_manager", asked.append)
    return asked


@pytest.fixture
def api(
    resources: DeployedResources, live_v1: str, woken: list[str], lambdas_at_once: None
) -> Iterator[TestClient]:
    """The app, for a person who has signed in; v1 is live and asleep."""
    with TestClient(app, headers=caller_headers(email="writer@example.com")) as client:
        yield client


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A month with ten cents left."""
    monkeypatch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", "5")
    ledger.reserve("training", "earlier", G6, 4.9, limited=False)
    ledger.settle("training", "earlier", 4.9)


def _version(version: str, status: Any) -> None:
    model = versions.get("v1")
    assert model is not None
    versions.save(model.model_copy(update={"version": version, "status": status}))


def _refused(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 402, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["type"] == "monthly_limit_reached"
    for words in ("$0.10 is left", "limit of $5.00", "$4.90 is spent", "$0.00 is reserved"):
        assert words in error["message"]
    assert "monthly_limit_usd" in error["cure"]
    return error


def test_waking_is_refused_beyond_the_limit(api: TestClient, spent: None, woken: list[str]) -> None:
    _refused(api.post("/api/wake"))
    asked = {"messages": [{"role": "user", "content": "Hello"}]}
    _refused(api.post("/api/v1/chat/completions", json=asked))
    _refused(api.post("/api/v1/completions", json={"prompt": "Once"}))
    assert woken == []


def test_an_awake_model_still_answers_beyond_the_limit(
    resources: DeployedResources, awake_v1: StandIn, api: TestClient, spent: None
) -> None:
    assert api.post("/api/wake").status_code == 202


def test_starting_a_run_is_refused_beyond_the_limit(
    api: TestClient, spent: None, resources: DeployedResources
) -> None:
    _refused(api.post("/api/runs"))
    assert lock.holder() is None
    run_records.create_run(RUN, "arn", "stories arrived")
    run_records.mark_waiting(RUN, "AwaitApproval", "Waits.", "2026-12-01T00:00:00.000Z")
    _refused(api.post(f"/api/runs/{RUN}/approve"))
    assert approvals.get(RUN) is None
    found = clients.stepfunctions().list_executions(stateMachineArn=resources.state_machine_arn)["executions"]
    assert found == []


@pytest.mark.parametrize(("status", "verb"), [("approved", "activate"), ("pending", "approve")])
def test_deploying_a_version_is_refused_beyond_the_limit(
    api: TestClient, spent: None, status: str, verb: str
) -> None:
    _version("v2", status)
    _refused(api.post(f"/api/models/v2/{verb}"))
    found = versions.get("v2")
    assert found is not None
    assert found.status == status


def test_starting_a_batch_is_refused_beyond_the_limit(api: TestClient, spent: None) -> None:
    batch = batch_records.create_record(
        owner="u1", created_by="u1", name="p", model="base", max_tokens=9, instance=G6
    )
    batch_records.move(batch.batch_id, "checked", {"uploading"}, cost_at_most_usd=1.0, answer_tokens=100)
    _refused(api.post(f"/api/batches/{batch.batch_id}/start"))
    found = batch_records.get(batch.batch_id)
    assert found is not None
    assert found.status == "checked"
    assert batch_records.list_active_ids() == []


@pytest.mark.parametrize(
    ("state", "needs"), [("Preflight", "A run"), ("Evaluate", "The evaluation"), ("Deploy", "The instance")]
)
def test_resuming_a_run_is_refused_beyond_the_limit(
    api: TestClient, spent: None, monkeypatch: pytest.MonkeyPatch, state: str, needs: str
) -> None:
    run_records.create_run(RUN, "arn", "stories arrived")
    run_records.finish(RUN, "failed", "It failed.")
    data = {"assembled": {"jobs": _jobs(), "estimate": {"training_minutes": 6}}}
    planned = resuming.Resumption(f"{RUN}-2", state, data, {})
    monkeypatch.setattr(resuming, "plan", lambda _: planned)
    error = _refused(api.post(f"/api/runs/{RUN}/resume"))
    assert error["message"].startswith(needs)
    assert lock.holder() is None
    run = run_records.get(RUN)
    assert run is not None
    assert run.status == "failed"


def test_waking_is_refused_without_daily_tokens_left(api: TestClient, woken: list[str]) -> None:
    usage.add_tokens("u1", limits.daily_tokens())
    for _ in range(2):
        answer = api.post("/api/wake")
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "daily_budget_spent")
    assert woken == []
    assert hosting_state.state().status == "asleep"


def test_a_batch_counts_in_the_daily_tokens_of_its_starter(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_api.services.batches._invoke_start_batch", lambda _: None)
    ids = []
    for _ in range(2):
        batch = batch_records.create_record(
            owner="u1", created_by="u1", name="p", model="base", max_tokens=9, instance=G6
        )
        batch_records.move(
            batch.batch_id, "checked", {"uploading"}, cost_at_most_usd=1.0, answer_tokens=200_000
        )
        ids.append(batch.batch_id)
    assert api.post(f"/api/batches/{ids[0]}/start").status_code == 202
    assert usage.today("u1").tokens == 200_000
    refused = api.post(f"/api/batches/{ids[1]}/start")
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "daily_budget_spent")
    assert api.post(f"/api/batches/{ids[0]}/start").status_code == 202
    assert usage.today("u1").tokens == 200_000, "started once"


def test_a_caller_may_start_a_limited_number_of_runs_a_day(api: TestClient) -> None:
    _version("v2", "approved")
    for _ in range(limits.MAX_RUNS_A_DAY // 2):
        assert api.post("/api/runs").status_code == 202
        assert api.post("/api/models/v2/activate").status_code == 202
    for path in ("/api/runs", "/api/models/v2/activate"):
        answer = api.post(path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "too_many_runs")
    with TestClient(app, headers=caller_headers(sub="key:0123456789abcdef")) as another:
        assert another.post("/api/runs").status_code == 202


@pytest.mark.parametrize(
    ("instances", "words", "setting"),
    [
        ({"TRAINING_INSTANCE": "ml.p9.xlarge"}, "The training needs ml.p9.xlarge", "training_instance"),
        ({"HOSTING_INSTANCE": "ml.p9.xlarge"}, "The endpoint needs ml.p9.xlarge", "hosting_instance"),
        (
            {"PROCESSING_INSTANCES": '["ml.p9.xlarge"]'},
            "The evaluation needs ml.p9.xlarge",
            "hosting_fallback_instances",
        ),
        (
            {"PROCESSING_INSTANCES": '["ml.p9.xlarge"]', "HOSTING_INSTANCE": "ml.p9.xlarge"},
            "The evaluation needs ml.p9.xlarge",
            "hosting_instance",
        ),
    ],
)
def test_an_instance_without_a_price_is_reported_with_its_setting(
    api: TestClient, monkeypatch: pytest.MonkeyPatch, instances: dict[str, str], words: str, setting: str
) -> None:
    for name, value in instances.items():
        monkeypatch.setenv(f"STORYLOOM_{name}", value)
    answer = api.post("/api/runs", json={})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (402, "price_unknown")
    assert error["message"].startswith(f"{words}, whose price is not known")
    assert "instance_prices_usd" in error["cure"]
    assert error["cure"].endswith(f"or choose another instance with the setting {setting}.")
    monkeypatch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", "0")
    assert api.post("/api/runs", json={}).status_code == 202


def _jobs() -> dict[str, Any]:
    jobs = {
        "training_attempt": 1,
        "training_job_name": f"storyloom-train-{RUN}",
        "hyperparameters": {"max_seconds": "14400"},
        "processing_inputs": [],
    }
    return attempts.evaluation_attempt(RUN, jobs, 1, [G6])


def _event(minutes: float = 6.0) -> dict[str, Any]:
    return {"run_id": RUN, "jobs": _jobs(), "tune": False, "estimate": {"training_minutes": minutes}}


def test_a_run_reserves_its_training_and_its_evaluation(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORYLOOM_MAX_TRAINING_MINUTES", "240")
    run_records.create_run(RUN, "arn", "stories arrived")
    jobs = reserve(_event(), context)
    assert jobs["reserved"]
    assert jobs["stopping_condition"] == {
        "MaxRuntimeInSeconds": 16200,
        "MaxWaitTimeInSeconds": 16200 + 8 * 3600,
    }
    assert jobs["hyperparameters"]["max_seconds"] == "14400"
    reserved = {entry.kind: entry.reserved_usd for entry in ledger.month().entries}
    assert reserved == {"training": pytest.approx(4.5 * 1.13), "evaluation": pytest.approx(2 * 1.13)}
    assert reserve(_event(), context) == jobs, "delivered twice"
    assert ledger.totals().reserved_usd == pytest.approx(6.5 * 1.13)


def test_a_training_is_shortened_to_what_is_affordable(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORYLOOM_MAX_TRAINING_MINUTES", "240")
    monkeypatch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", "5")
    run_records.create_run(RUN, "arn", "stories arrived")
    jobs = reserve(_event(), context)
    assert jobs["reserved"]
    seconds = jobs["stopping_condition"]["MaxRuntimeInSeconds"]
    # Without the evaluation and the start of the model.
    assert seconds == pytest.approx((5 - 2 * 1.13 - 0.75 * 1.13) / 1.13 * 3600, abs=2)
    assert jobs["hyperparameters"]["max_seconds"] == f"{seconds - 1800}"
    assert ledger.totals().left_usd == pytest.approx(0.75 * 1.13, abs=0.001)
    assert reserve(_event(), context)["stopping_condition"]["MaxRuntimeInSeconds"] == pytest.approx(
        seconds, abs=1
    )


def test_a_searchs_budget_is_at_most_what_the_month_has_left(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_costs.search_budget_usd(10) == 10
    monkeypatch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", "5")
    # Its evaluation and the start of the model are paid for as well.
    assert run_costs.search_budget_usd(10) == pytest.approx(5 - 2 * 1.13 - 0.75 * 1.13)
    ledger.reserve("training", "earlier", G6, 4.5)
    assert run_costs.search_budget_usd(10) == 0


def test_an_unaffordable_run_ends_with_the_reason(
    resources: DeployedResources, spent: None, context: LambdaContext
) -> None:
    run_records.create_run(RUN, "arn", "stories arrived")
    jobs = reserve(_event(), context)
    assert not jobs["reserved"]
    for words in ("nothing was spent on a GPU", "$0.10 is left", "monthly_limit_usd"):
        assert words in jobs["refusal"]
    assert ledger.open_reservations() == []


@pytest.mark.aws_fact
def test_the_endpoint_manager_settles_ended_jobs_as_sagemaker_bills_them(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn
) -> None:
    run_records.create_run(RUN, "arn", "stories arrived")
    jobs = reserve(_event(), context)
    now, name = time.time(), jobs["training_job_name"]
    machines = {"InstanceType": G6, "InstanceCount": 2, "VolumeSizeInGB": 1}
    training = {
        "TrainingJobName": name, "TrainingJobArn": "arn:t", "CreationTime": now - 7200,
        "ResourceConfig": machines, "StoppingCondition": {"MaxRuntimeInSeconds": 16200},
    }  # fmt: skip
    sagemaker.trainings[name] = {**training, "TrainingJobStatus": "InProgress"}
    endpoint_manager(TICK, context)
    assert ledger.open_reservation("training", name) is not None
    sagemaker.trainings[name] = {
        **training, "TrainingJobStatus": "Completed", "TrainingStartTime": now - 3600, "TrainingEndTime": now,
        "TrainingTimeInSeconds": 3600, "BillableTimeInSeconds": 1200,
    }  # fmt: skip
    sagemaker.evaluations[jobs["processing_job_name"]] = {
        "ProcessingJobName": jobs["processing_job_name"], "ProcessingJobArn": "arn:p", "CreationTime": now,
        "ProcessingJobStatus": "Stopped", "ProcessingStartTime": now - 600, "ProcessingEndTime": now,
        "ProcessingResources": {"ClusterConfig": {**machines, "InstanceCount": 1}},
    }  # fmt: skip
    endpoint_manager(TICK, context)
    endpoint_manager(TICK, context)
    spent = {entry.kind: entry.spent_usd for entry in ledger.month().entries}
    assert spent == {
        "training": pytest.approx(1.13 * 2 * 1200 / 3600, abs=1e-5),
        "evaluation": pytest.approx(1.13 / 6, abs=1e-3),
    }
    assert ledger.totals().reserved_usd == 0


def test_a_reservation_without_a_job_is_released_when_its_run_ends(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.settlement._STARTING", timedelta(0))
    run_records.create_run(RUN, "arn", "stories arrived")
    reserve(_event(), context)
    endpoint_manager(TICK, context)
    assert len(ledger.open_reservations()) == 2, "the run goes on"
    run_records.finish(RUN, "failed", "It failed.")
    endpoint_manager(TICK, context)
    assert ledger.open_reservations() == []
    assert ledger.month().entries == []
    assert reserve(_event(), context)["reserved"], "it may be resumed"


def test_a_job_without_a_reservation_is_found_and_counted(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn
) -> None:
    now, name = time.time(), f"storyloom-train-{RUN}"
    sagemaker.trainings[name] = {
        "TrainingJobName": name, "TrainingJobArn": "arn:t", "CreationTime": now - 7200,
        "ResourceConfig": {"InstanceType": G6, "InstanceCount": 1, "VolumeSizeInGB": 1},
        "TrainingJobStatus": "Completed", "BillableTimeInSeconds": 3600,
    }  # fmt: skip
    endpoint_manager(TICK, context)
    endpoint_manager(TICK, context)
    assert ledger.totals().spent_usd == pytest.approx(1.13)


def test_an_unaffordable_model_is_put_to_sleep_with_the_reason(
    resources: DeployedResources, awake_v1: StandIn, context: LambdaContext, spent: None
) -> None:
    hosting_state.touch(at_once=True)
    # The first gives back what the start did not need.
    endpoint_manager(TICK, context)
    endpoint_manager(TICK, context)
    state = hosting_state.state()
    assert state.status == "asleep"
    assert "limit of $5.00" in (state.message or "")
    assert awake_v1.endpoint is None


def test_the_owner_is_notified_once_a_month_that_the_limit_put_the_model_to_sleep(
    resources: DeployedResources, awake_v1: StandIn, context: LambdaContext, spent: None, letters: Letters
) -> None:
    for _ in range(3):
        endpoint_manager(TICK, context)
    with TestClient(app, headers=caller_headers()) as api:
        _refused(api.post("/api/wake"))
    (letter,) = letters()
    assert letter["Subject"] == "Storyloom: the model sleeps because of the month's limit"
    message = hosting_state.state().message
    assert message and message in letter["Message"], "the words of the page"


def test_the_owner_is_notified_of_refusals_once_a_month_and_kind(
    api: TestClient, spent: None, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_records.create_record(
        owner="u1", created_by="u1", name="p", model="base", max_tokens=9, instance=G6
    )
    batch_records.move(batch.batch_id, "checked", {"uploading"}, cost_at_most_usd=1.0, answer_tokens=100)
    asked = {"run": "/api/runs", "batch": f"/api/batches/{batch.batch_id}/start", "model": "/api/wake"}
    for _ in range(2):
        refusals = {what: _refused(api.post(route)) for what, route in asked.items()}
    told = {letter["Subject"].split()[2]: letter["Message"] for letter in letters()}
    assert told.keys() == asked.keys()
    for what, error in refusals.items():
        assert told[what].startswith(f"{error['message']} {error['cure']}")
    monkeypatch.setattr(
        "chat_api.services.run_control.invoke_start_run",
        lambda _: {"code": "monthly_limit_reached", "message": "No.", "cure": "Wait."},
    )
    run_records.create_run(RUN, "arn", "stories arrived")
    assert api.post(f"/api/runs/{RUN}/resume").status_code == 402
    assert letters() == [], "a run that is resumed is of the same kind"
    next_month = clock.now() + timedelta(days=31)
    monkeypatch.setattr(clock, "now", lambda: next_month)
    ledger.reserve("training", "next", G6, 4.9)
    assert api.post("/api/runs").status_code == 402
    assert len(letters()) == 1


def test_a_failed_notification_keeps_the_refusal_and_is_retried(
    api: TestClient,
    spent: None,
    letters: Letters,
    monkeypatch: pytest.MonkeyPatch,
    resources: DeployedResources,
) -> None:
    monkeypatch.setenv("STORYLOOM_TOPIC_ARN", f"{resources.topic_arn}-gone")
    _refused(api.post("/api/runs"))
    monkeypatch.setenv("STORYLOOM_TOPIC_ARN", resources.topic_arn)
    _refused(api.post("/api/runs"))
    assert len(letters()) == 1


def test_a_table_that_fails_keeps_the_refusal(
    api: TestClient, spent: None, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> bool:
        raise ClientError({"Error": {"Code": "InternalServerError"}}, "UpdateItem")

    monkeypatch.setattr("shared.notifications.table.update", fail)
    _refused(api.post("/api/runs"))
    monkeypatch.undo()
    assert letters() == []


def test_the_status_is_fast_with_four_thousand_batches(api: TestClient, resources: DeployedResources) -> None:
    read: list[int] = []
    events = clients.dynamodb().meta.events
    events.register("after-call.dynamodb", lambda http_response, **_: read.append(len(http_response.content)))

    def look() -> tuple[int, int, float]:
        read.clear()
        began = time.perf_counter()
        assert api.get("/api/status").status_code == 200
        return len(read), sum(read), time.perf_counter() - began

    calls, size, _ = look()
    _many_batches(resources, 4000)
    # As little is read as without them, however busy this machine is.
    assert look()[:2] == (calls, size)
    assert min(look()[2] for _ in range(20)) < 0.1
    read.clear()
    assert len(api.get("/api/batches").json()["batches"]) == 50
    assert len(read) < 10
    assert sum(read) < 200_000


def _many_batches(resources: DeployedResources, count: int) -> None:
    made = batch_records.create_record(
        owner="u1", created_by="u1", name="p", model="base", max_tokens=9, instance=G6
    )
    item = table.get("BATCHES", made.batch_id)
    assert item is not None
    puts = []
    for number in range(count):
        batch_id = f"20260907-{number:06}-abcd"
        record = {**item, "sk": batch_id, "batch_id": batch_id}
        puts += [record, {"pk": "BATCHES#u1", "sk": batch_id}]
    for start in range(0, len(puts), 25):
        requests: Any = [{"PutRequest": {"Item": put}} for put in puts[start : start + 25]]
        clients.dynamodb().batch_write_item(RequestItems={resources.table: requests})
