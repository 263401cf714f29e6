"""Approval before training: asked once, answered once, and superseded by newer stories."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from fastapi.testclient import TestClient

from announce.handler import handler as announce
from ask_approval.handler import handler as ask_approval
from ask_approval.handler import price_words
from chat_api.app import app
from record_failure.handler import handler as record_failure
from shared import clock, table
from shared.aws import clients
from shared.runs import approvals, lock, run_records
from start_run.handler import handler as start_run
from tests.unit.functions.conftest import DeployedResources, Letters, caller_headers

RUN = "20260905-090000-aaaa"
EMAIL = "writer@example.com"
CONTEXT = caller_headers(email=EMAIL)
ESTIMATE = {"training_minutes": 12.4, "cost_usd": 0.456, "price_date": "2026-09"}


@dataclass(frozen=True)
class Waiting:
    """A run whose execution really waits for its task's token."""

    run_id: str
    execution_arn: str
    token: str
    context: LambdaContext

    def ask(self) -> dict[str, Any]:
        """Do what the state AwaitApproval has the function do."""
        event = {
            "run_id": self.run_id,
            "task_token": self.token,
            "days": 7,
            "verdict": "That is enough to learn a voice from.",
            "estimate": ESTIMATE,
        }
        return ask_approval(event, self.context)

    def end(self) -> None:
        """End the execution as it ends when nobody answers in time."""
        client = clients.stepfunctions()
        client.send_task_failure(taskToken=self.token, error="States.Timeout")
        for _ in range(100):
            if client.describe_execution(executionArn=self.execution_arn)["status"] != "RUNNING":
                return
            time.sleep(0.1)
        raise AssertionError("the execution goes on without its task")

    def answer(self) -> dict[str, Any]:
        """What the state machine got to hear."""
        for _ in range(100):
            events = clients.stepfunctions().get_execution_history(executionArn=self.execution_arn)["events"]
            for event in events:
                if event["type"] == "TaskSucceeded":
                    answer: dict[str, Any] = json.loads(event["taskSucceededEventDetails"]["output"])
                    return answer
            time.sleep(0.05)
        raise AssertionError("the execution still waits")


@pytest.fixture
def waiting(resources: DeployedResources, context: LambdaContext) -> Waiting:
    """A run that has the lock, and whose machine sends its token to a queue as AwaitApproval does to us."""
    sqs = boto3.client("sqs")
    queue = sqs.create_queue(QueueName=f"{resources.table}-tokens")["QueueUrl"]
    wait = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}},
        "Next": "GoOn",
    }
    states = {"Wait": wait, "GoOn": {"Type": "Wait", "Seconds": 600, "End": True}}
    machine = clients.stepfunctions().create_state_machine(
        name=f"{resources.table}-asks",
        definition=json.dumps({"StartAt": "Wait", "States": states}),
        roleArn="arn:aws:iam::123456789012:role/machine",
    )
    execution = clients.stepfunctions().start_execution(
        stateMachineArn=machine["stateMachineArn"], name=RUN, input="{}"
    )["executionArn"]
    for _ in range(100):
        found = sqs.receive_message(QueueUrl=queue).get("Messages", [])
        if found:
            break
        time.sleep(0.05)
    assert lock.acquire(RUN, execution)
    run_records.create_run(RUN, execution, "stories arrived")
    run_records.enter(RUN, "Assemble")
    return Waiting(RUN, execution, json.loads(found[0]["Body"])["token"], context)


@pytest.fixture
def api(resources: DeployedResources) -> Iterator[TestClient]:
    """The app, called as the Web Adapter calls it for a person who has signed in."""
    with TestClient(app, headers=CONTEXT) as client:
        yield client


def _schedules(resources: DeployedResources) -> list[str]:
    answer = clients.scheduler().list_schedules(GroupName=resources.schedule_group)
    return [schedule["Name"] for schedule in answer["Schedules"]]


def test_the_owner_is_asked_once_with_verdict_price_and_link(
    waiting: Waiting, api: TestClient, letters: Letters
) -> None:
    assert waiting.ask() == {"asked": True}
    assert waiting.ask() == {"asked": True}
    (letter,) = letters()
    assert letter["Subject"] == "Storyloom: a run waits for your approval before it trains"
    for part in (
        "That is enough to learn a voice from.",
        "about 12 minutes and cost about $0.46 (prices of 2026-09)",
        f"https://page.example/#/runs/{RUN}",
        f"storyloom approve {RUN}",
        f"storyloom decline {RUN}",
        "after 7 days",
    ):
        assert part in letter["Message"]
    run = api.get(f"/api/runs/{RUN}").json()
    assert (run["status"], run["ended_at"]) == ("waiting", None)
    assert run["message"].startswith("Waiting for your approval. That is enough")
    left = clock.instant(run["waits_until"]) - clock.now()
    assert 6.9 < left.total_seconds() / 86400 <= 7


def test_the_token_is_shown_to_nobody(
    waiting: Waiting, api: TestClient, letters: Letters, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting.ask()
    answer = api.post(f"/api/runs/{RUN}/approve")
    shown = [letters()[0]["Message"], answer.text, api.get(f"/api/runs/{RUN}").text, repr(approvals.get(RUN))]
    shown += [api.get("/api/runs").text, api.get("/api/status").text, *capsys.readouterr()]
    assert waiting.token not in "".join(shown)


def test_without_the_pages_address_the_owner_is_still_asked(
    waiting: Waiting, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORYLOOM_PAGE_URL_PARAMETER", "/nowhere/page-url")
    assert waiting.ask() == {"asked": True}
    assert f"under Runs, run {RUN}" in letters()[0]["Message"]


@pytest.mark.parametrize(
    ("verb", "given", "other"), [("approve", "approved", "decline"), ("decline", "declined", "approve")]
)
def test_the_first_answer_counts_and_may_be_repeated(
    waiting: Waiting, api: TestClient, verb: str, given: str, other: str
) -> None:
    waiting.ask()
    answered = api.post(f"/api/runs/{RUN}/{verb}")
    assert answered.status_code == 200
    assert answered.json()["status"] == "running"
    assert EMAIL in answered.json()["message"]
    assert waiting.answer() == {"answer": given}
    assert api.post(f"/api/runs/{RUN}/{verb}").status_code == 200
    refused = api.post(f"/api/runs/{RUN}/{other}")
    assert refused.status_code == 409
    assert refused.json()["error"]["type"] == "already_answered"
    question = approvals.get(RUN)
    assert question is not None
    assert (question.answer, question.reviewer, question.reviewer_name) == (given, "u1", EMAIL)


def test_one_of_many_concurrent_answers_counts(waiting: Waiting, api: TestClient) -> None:
    waiting.ask()
    verbs = ["approve", "decline"] * 4
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda verb: api.post(f"/api/runs/{RUN}/{verb}").status_code, verbs))
    winner = {"approved": "approve", "declined": "decline"}[waiting.answer()["answer"]]
    assert codes == [200 if verb == winner else 409 for verb in verbs]


def test_an_answer_whose_sender_died_is_sent_when_it_is_repeated(waiting: Waiting, api: TestClient) -> None:
    waiting.ask()
    table.update("APPROVALS", RUN, {"answer": "approved"})
    assert (
        clients.stepfunctions().describe_execution(executionArn=waiting.execution_arn)["status"] == "RUNNING"
    )
    assert api.post(f"/api/runs/{RUN}/approve").status_code == 200
    assert waiting.answer() == {"answer": "approved"}


def test_there_is_nothing_to_answer_before_it_asks_and_after_it_ended(
    waiting: Waiting, api: TestClient
) -> None:
    before = api.post(f"/api/runs/{RUN}/approve")
    assert (before.status_code, before.json()["error"]["type"]) == (409, "nothing_to_answer")
    assert "ask_before_training" in before.json()["error"]["cure"]
    waiting.ask()
    waiting.end()
    late = api.post(f"/api/runs/{RUN}/approve")
    assert (late.status_code, late.json()["error"]["type"]) == (409, "nothing_to_answer")
    run_records.finish(RUN, "stopped_early", "Nobody approved it.")
    assert api.post(f"/api/runs/{RUN}/decline").status_code == 409
    assert api.post("/api/runs/20200101-000000-0000/approve").status_code == 404


def test_a_question_asked_again_has_no_answer_yet(waiting: Waiting, api: TestClient) -> None:
    waiting.ask()
    api.post(f"/api/runs/{RUN}/approve")
    waiting.ask()
    question = approvals.get(RUN)
    assert question is not None
    assert (question.answer, question.reviewer) == (None, None)


def test_new_stories_supersede_a_run_that_waits(
    waiting: Waiting, resources: DeployedResources, context: LambdaContext, api: TestClient, letters: Letters
) -> None:
    waiting.ask()
    letters()
    for _ in range(3):
        told = start_run({"reason": "stories arrived"}, context)
        assert (told["started"], told["run_id"]) == (False, RUN)
        assert "is superseded by one with all stories" in told["message"]
    assert waiting.answer() == {"answer": "superseded"}
    refused = api.post(f"/api/runs/{RUN}/approve")
    assert refused.status_code == 409
    assert "with all stories" in refused.json()["error"]["message"]

    ending = {"run_id": RUN, "outcome": "superseded", "message": "Stories arrived."}
    assert announce(ending, context) == {"rerun": True}
    assert announce(ending, context) == {"rerun": False}
    assert _schedules(resources) == ["quiet"]
    assert lock.holder() is None
    run = run_records.get(RUN)
    assert run is not None
    assert run.status == "superseded"
    assert letters() == [], "the next run asks again"


def test_stories_that_arrived_before_the_question_supersede_it_too(
    waiting: Waiting, context: LambdaContext, letters: Letters
) -> None:
    assert "Another starts when it finishes" in start_run({"reason": "stories arrived"}, context)["message"]
    assert waiting.ask() == {"asked": False}
    assert waiting.answer() == {"answer": "superseded"}
    assert letters() == []


def test_new_stories_do_not_stop_an_approved_run(
    waiting: Waiting, context: LambdaContext, api: TestClient
) -> None:
    waiting.ask()
    api.post(f"/api/runs/{RUN}/approve")
    assert "Another starts when it finishes" in start_run({"reason": "stories arrived"}, context)["message"]
    assert waiting.answer() == {"answer": "approved"}


def test_a_declined_run_ends_without_a_message(
    waiting: Waiting, resources: DeployedResources, context: LambdaContext, api: TestClient, letters: Letters
) -> None:
    waiting.ask()
    letters()
    api.post(f"/api/runs/{RUN}/decline")
    announce({"run_id": RUN, "outcome": "declined", "message": "Declined."}, context)
    run = run_records.get(RUN)
    assert run is not None
    assert (run.status, run.message) == ("declined", "Declined.")
    assert lock.holder() is None
    assert _schedules(resources) == []
    assert letters() == []
    assert start_run({}, context)["started"]


def test_a_run_that_is_stopped_while_it_waits_is_recorded(waiting: Waiting, context: LambdaContext) -> None:
    waiting.ask()
    detail = {"name": RUN, "status": "ABORTED", "error": None, "cause": None}
    told = record_failure(
        {"detail-type": "Step Functions Execution Status Change", "detail": detail}, context
    )
    assert told["message"] == "AwaitApproval failed: Somebody stopped the run."
    run = run_records.get(RUN)
    assert run is not None
    assert run.status == "failed"


@pytest.mark.parametrize(
    ("minutes", "cost", "words"),
    [
        (0.2, 0.004, "about 1 minute and cost less than $0.01 (prices of 2026-09)."),
        (240.0, 4.521, "about 240 minutes and cost about $4.52 (prices of 2026-09)."),
        (
            9.6,
            None,
            "about 10 minutes; its cost is not known, because there is no price for this instance.",
        ),
    ],
)
def test_the_price_is_in_words(minutes: float, cost: float | None, words: str) -> None:
    estimate = {"training_minutes": minutes, "cost_usd": cost, "price_date": "2026-09"}
    assert price_words(estimate) == f"Training would take {words}"
