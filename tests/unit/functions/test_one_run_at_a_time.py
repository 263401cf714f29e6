"""Many stories, one run: the quiet period, the lock, and the rerun that was requested."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from announce.handler import handler as announce
from debounce_uploads.handler import handler as debounce_uploads
from record_failure.handler import handler as record_failure
from shared import clock
from shared.aws import clients
from shared.runs import lock, run_records
from start_run.handler import handler as start_run
from tests.unit.functions.conftest import DeployedResources


def _created(key: str) -> dict[str, Any]:
    return {"detail-type": "Object Created", "detail": {"object": {"key": key}}}


def _schedules(resources: DeployedResources) -> list[str]:
    answer = clients.scheduler().list_schedules(GroupName=resources.schedule_group)
    return [schedule["Name"] for schedule in answer["Schedules"]]


def _executions(resources: DeployedResources, status: str = "RUNNING") -> list[str]:
    answer = clients.stepfunctions().list_executions(
        stateMachineArn=resources.state_machine_arn,
        statusFilter=status,  # type: ignore[arg-type]
    )
    return [execution["name"] for execution in answer["executions"]]


def test_200_stories_make_one_schedule(resources: DeployedResources, context: LambdaContext) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: debounce_uploads(_created(f"story {n}.txt"), context), range(200)))
    assert _schedules(resources) == ["quiet"]
    schedule = clients.scheduler().get_schedule(Name="quiet", GroupName=resources.schedule_group)
    assert schedule["ActionAfterCompletion"] == "DELETE"
    told = json.loads(schedule["Target"]["Input"])
    ahead = (clock.instant(told["due"]) - clock.now()).total_seconds()
    assert 290 < ahead <= 300
    assert schedule["ScheduleExpression"] == f"at({told['due'][:19]})"


def test_a_folder_marker_starts_nothing(resources: DeployedResources, context: LambdaContext) -> None:
    assert debounce_uploads(_created("novels/"), context) == {"due": None}
    assert _schedules(resources) == []


def test_racing_starts_make_one_run_and_request_one(
    resources: DeployedResources, context: LambdaContext
) -> None:
    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(lambda n: start_run({"reason": f"race {n}"}, context), range(12)))
    assert sum(outcome["started"] for outcome in outcomes) == 1
    assert len(_executions(resources)) == 1
    assert len({outcome["run_id"] for outcome in outcomes}) == 1
    held = lock.holder()
    assert held is not None
    assert held.pending


def test_a_call_delivered_twice_is_one_run(resources: DeployedResources, context: LambdaContext) -> None:
    call = {"reason": "stories arrived", "due": clock.stamp()}
    first = start_run(call, context)
    second = start_run(call, context)
    assert first["run_id"] == second["run_id"]
    assert len(_executions(resources)) == 1
    held = lock.holder()
    assert held is not None
    assert not held.pending
    run_records.finish(first["run_id"], "succeeded", "Done.")
    late = start_run(call, context)
    assert not late["started"]
    assert len(_executions(resources)) == 1


def test_the_rerun_is_scheduled_once(resources: DeployedResources, context: LambdaContext) -> None:
    run_id = start_run({}, context)["run_id"]
    for _ in range(3):
        assert not start_run({"reason": "more stories"}, context)["started"]
    ending = {"run_id": run_id, "outcome": "succeeded", "message": "Done."}
    assert announce(ending, context) == {"rerun": True}
    assert _schedules(resources) == ["quiet"]
    assert lock.holder() is None
    clients.scheduler().delete_schedule(Name="quiet", GroupName=resources.schedule_group)
    assert announce(ending, context) == {"rerun": False}
    assert _schedules(resources) == []


def test_no_rerun_without_new_stories(resources: DeployedResources, context: LambdaContext) -> None:
    run_id = start_run({}, context)["run_id"]
    announce({"run_id": run_id, "outcome": "stopped_early", "message": "Too little text."}, context)
    assert _schedules(resources) == []
    assert lock.holder() is None


def test_the_lock_of_a_dead_run_is_taken_over(resources: DeployedResources, context: LambdaContext) -> None:
    dead = start_run({}, context)
    held = lock.holder()
    assert held is not None
    clients.stepfunctions().stop_execution(executionArn=held.execution_arn)
    alive = start_run({}, context)
    assert alive["started"]
    assert alive["run_id"] != dead["run_id"]
    assert _executions(resources) == [alive["run_id"]]


def test_a_fresh_lock_without_execution_is_left_alone(
    resources: DeployedResources, context: LambdaContext
) -> None:
    arn = f"{resources.state_machine_arn.replace(':stateMachine:', ':execution:')}:starting"
    assert lock.acquire("starting", arn)
    assert not start_run({}, context)["started"]
    held = lock.holder()
    assert held is not None
    assert held.run_id == "starting"


def test_an_old_lock_without_execution_is_taken_over(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = f"{resources.state_machine_arn.replace(':stateMachine:', ':execution:')}:lost"
    with monkeypatch.context() as patch:
        patch.setattr(clock, "stamp", lambda: clock.text(clock.now() - timedelta(minutes=3)))
        assert lock.acquire("lost", arn)
    assert start_run({}, context)["started"]


def test_a_failed_start_releases_the_lock(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORYLOOM_STATE_MACHINE_ARN", resources.state_machine_arn + "-gone")
    with pytest.raises(Exception, match="StateMachineDoesNotExist"):
        start_run({}, context)
    assert lock.holder() is None


def test_an_aborted_run_is_recorded_and_frees_the_lock(
    resources: DeployedResources, context: LambdaContext
) -> None:
    run_id = start_run({}, context)["run_id"]
    run_records.enter(run_id, "Read")
    start_run({"reason": "more"}, context)
    detail = {"name": run_id, "status": "ABORTED", "executionArn": "arn", "error": None, "cause": None}
    event = {"detail-type": "Step Functions Execution Status Change", "detail": detail}
    told = record_failure(event, context)
    assert told["message"] == "Read failed: Somebody stopped the run."
    run = run_records.get(run_id)
    assert run is not None
    assert run.status == "failed"
    assert lock.holder() is None
    assert _schedules(resources) == ["quiet"]


def test_a_run_that_failed_before_its_first_state_is_recorded(
    resources: DeployedResources, context: LambdaContext
) -> None:
    run_id = start_run({}, context)["run_id"]
    cause = "The state machine's role is not authorized to perform: lambda:InvokeFunction"
    detail = {"name": run_id, "status": "FAILED", "error": "Lambda.AWSLambdaException", "cause": cause}
    record_failure({"detail-type": "Step Functions Execution Status Change", "detail": detail}, context)
    [run] = run_records.latest()
    assert (run.run_id, run.status, run.message) == (run_id, "failed", f"Begin failed: {cause}")
    assert run.started_at == run.ended_at
    assert lock.holder() is None
