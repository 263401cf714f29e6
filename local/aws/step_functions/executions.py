"""Executions of state machines: hooks into MiniStack's Step Functions, whose untyped internals end here.

MiniStack runs state machines as its own root user, has no TimeoutSeconds of a whole machine, and lets a late
failure overwrite an abort.
"""

import contextlib
import contextvars
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ministack.core import iam_actions
from ministack.core.responses import error_response_json
from ministack.services import stepfunctions as states

from local.aws.cloud_environment import ACCOUNT, REGION

Json = dict[str, Any]
INTEGRATION_PREFIX = "arn:aws:states:::"


class TaskError(states._ExecutionError):  # type: ignore[misc]
    """A task fails with `error` and `cause`, which Retry and Catch see."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(error, cause)


@dataclass(frozen=True)
class Execution:
    """The execution whose task runs in this thread."""

    record: Json

    @property
    def role_arn(self) -> str:
        """The state machine's role as it is now, also for the children of a Distributed Map.

        Empty for what has none (TestState, a machine that was deleted meanwhile).
        """
        arn = self.state_machine_arn
        machine = states._state_machines.get(arn) or states._state_machines.get(arn.rpartition("/")[0])
        return str(machine["roleArn"]) if machine else ""

    @property
    def name(self) -> str:
        """The execution's name: what the role's session is called."""
        return str(self.record.get("name", ""))

    @property
    def state_machine_arn(self) -> str:
        """The machine that this execution runs."""
        return str(self.record.get("stateMachineArn", ""))

    @property
    def has_ended(self) -> bool:
        """Whether the execution has ended, so that nothing waits for the task."""
        return str(self.record.get("status", "RUNNING")) != "RUNNING"

    @property
    def is_aborted(self) -> bool:
        """Whether it was stopped, which cancels the job of a `.sync` task; a timeout does not."""
        return str(self.record.get("status")) == "ABORTED"


_current: contextvars.ContextVar[Execution] = contextvars.ContextVar("execution")
_task_token: contextvars.ContextVar[str | None] = contextvars.ContextVar("task_token", default=None)
_executions_by_token: dict[str, Execution] = {}
"""The execution that issued a task token, by token, also after the task has ended."""


def current_execution() -> Execution:
    """Return the execution whose task runs in this thread."""
    return _current.get()


@contextlib.contextmanager
def execution_of(record: Json) -> Iterator[Execution]:
    """Make the execution of MiniStack's record the current one of this thread."""
    execution = Execution(record)
    token = _current.set(execution)
    try:
        yield execution
    finally:
        _current.reset(token)


def before_tasks(check: Callable[[Execution, str, Json], None]) -> None:
    """Call `check` with execution, resource and input before any task runs; it may raise `TaskError`."""
    execute, invoke, callback = states._execute_task, states._invoke_resource, states._invoke_with_callback

    def execute_task(state: Json, raw: Any, record: Json, context: Json) -> Any:
        with execution_of(record):
            return execute(state, raw, record, context)

    def invoke_resource(resource: str, content: Json) -> Any:
        execution = _current.get()
        if execution.has_ended:  # a Retry of an execution that was aborted meanwhile
            raise TaskError("States.Runtime", "The execution has ended.")
        check(execution, resource, content)
        return invoke(resource, content)

    def invoke_with_callback(resource: str, content: Json, token: str, state: Json) -> Any:
        execution = _current.get()
        check(execution, resource, content)
        _executions_by_token[token] = execution
        token_in_use = _task_token.set(token)
        try:
            return callback(resource, content, token, state)
        finally:
            _task_token.reset(token_in_use)

    states._execute_task = execute_task
    states._invoke_resource = invoke_resource
    states._invoke_with_callback = invoke_with_callback


def add_integration(resource: str, handler: Callable[[str, Json], Any]) -> None:
    """Run tasks whose resource starts with `resource` (``arn:aws:states:::service:action``)."""
    states._SERVICE_DISPATCH[resource] = handler


def add_sdk_service(name: str, target_prefix: str) -> None:
    """Let ``arn:aws:states:::aws-sdk:<name>:…`` tasks call a JSON service."""
    states._AWS_SDK_SERVICE_MAP[name] = {"target_prefix": target_prefix, "protocol": "json"}


def compare_timestamps_by_path() -> None:
    """Let a Choice compare a timestamp with another one of the input or the context (`Timestamp…Path`)."""
    evaluate = states._evaluate_rule

    def evaluate_rule(rule: Json, data: Any, context: Any = None) -> bool:
        for name in [name for name in rule if name.startswith("Timestamp") and name.endswith("Path")]:
            other = states._resolve_path_or_ctx(rule[name], data, context)
            rule = {**rule, name.removesuffix("Path"): other}
        return bool(evaluate(rule, data, context))

    states._evaluate_rule = evaluate_rule


def never_catch(errors: frozenset[str]) -> None:
    """Let these errors end the execution although a Retry or Catch names `States.ALL`, or them."""
    retrier, catcher = states._find_matching_retrier, states._find_matching_catcher

    def find_retrier(retriers: Any, error: str, counts: Any) -> Any:
        return (None, None) if error in errors else retrier(retriers, error, counts)

    def find_catcher(catchers: Any, error: str) -> Any:
        return None if error in errors else catcher(catchers, error)

    states._find_matching_retrier = find_retrier
    states._find_matching_catcher = find_catcher


def end_callbacks() -> None:
    """End a task that waits for a callback when its function fails, and when its execution is stopped.

    MiniStack would wait on for as long as the task's TimeoutSeconds.
    """
    call, emit = states._call_lambda, states._emit_execution_status_event

    def call_lambda(function: str, event: Any) -> Any:
        try:
            return call(function, event)
        except states._ExecutionError as raised:
            error = _throttled(raised) or raised
            _end_callback(_task_token.get(), error.error, error.cause)
            raise error from None

    def emit_status(record: Json) -> None:
        if record["status"] != "RUNNING":
            for token, execution in list(_executions_by_token.items()):
                if execution.record is not record:
                    continue
                _end_callback(token, "States.Runtime", "The execution has ended.")
        emit(record)

    states._call_lambda = call_lambda
    states._emit_execution_status_event = emit_status


def _throttled(error: Any) -> Any:
    """Name a throttled call as Step Functions does; MiniStack calls it an error of the function."""
    if '"__type": "TooManyRequestsException"' not in str(error.cause):
        return None
    return states._ExecutionError(
        "Lambda.TooManyRequestsException",
        f"Rate Exceeded. (Service: Lambda, Status Code: 429, Request ID: {uuid4()}) (SDK Attempt Count: 1)",
    )


def _end_callback(token: str | None, error: str, cause: str) -> None:
    task = states._task_tokens.get(token)
    if task:
        task["error"] = {"Error": error, "Cause": cause}
        task["event"].set()


def name_map_runs_and_tasks() -> None:
    """Authorize requests on the map run, or on the machine of the task token, that they name.

    MiniStack uses ``*`` instead.
    """
    known = iam_actions.extract_resource_arn

    def resource_arn(service: str, method: str, path: str, headers: Any, body: Any, *rest: Any) -> str:
        arn = str(known(service, method, path, headers, body, *rest))
        if service != "states" or arn != "*":
            return arn
        named = json.loads(body or b"{}")
        task = _executions_by_token.get(named.get("taskToken", ""))
        return task.state_machine_arn if task else str(named.get("mapRunArn") or arn)

    iam_actions.extract_resource_arn = resource_arn


def keep_first_outcome() -> None:
    """Keep an execution aborted or timed out, even if its last task fails afterwards."""
    fail = states._fail_execution

    def fail_execution(record: Json, error: str, cause: str) -> None:
        if record["status"] == "RUNNING":
            fail(record, error, cause)

    states._fail_execution = fail_execution


def time_out_machines() -> None:
    """Honour a state machine's own TimeoutSeconds: the execution ends as TIMED_OUT."""
    run = states._run_execution

    def run_execution(arn: str) -> None:
        record = states._executions.get(arn)
        machine = states._state_machines.get(record["stateMachineArn"]) if record else None
        seconds = json.loads(machine["definition"]).get("TimeoutSeconds") if machine else None
        if not seconds:
            run(arn)
            return
        timer = threading.Timer(seconds, contextvars.copy_context().run, args=(_time_out, record))
        timer.daemon = True
        timer.start()
        try:
            run(arn)
        finally:
            timer.cancel()

    states._run_execution = run_execution


def _time_out(record: Json) -> None:
    if record["status"] != "RUNNING":
        return
    record["status"] = "TIMED_OUT"
    record["stopDate"] = states.now_iso()
    states._add_event(record, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
    states._emit_execution_status_event(record)


def before_saving_machines(check: Callable[[Json, str], str | None]) -> None:
    """Call `check` with definition and role before a machine is made or changed.

    What it returns is the message of the AccessDeniedException that refuses it.
    """
    create, update = states._create_state_machine, states._update_state_machine

    def refused(request: Json, role: str | None) -> Any:
        definition = json.loads(request["definition"]) if request.get("definition") else {}
        message = check(definition, role) if role else None
        return error_response_json("AccessDeniedException", message, 400) if message else None

    def create_machine(request: Json) -> Any:
        return refused(request, request.get("roleArn")) or create(request)

    def update_machine(request: Json) -> Any:
        known = states._state_machines.get(request.get("stateMachineArn", "")) or {}
        return refused(request, request.get("roleArn") or known.get("roleArn")) or update(request)

    states._create_state_machine = create_machine
    states._update_state_machine = update_machine


def sdk_call(resource: str, content: Json) -> tuple[str, str]:
    """Return the IAM action of an ``aws-sdk`` task and its resource (``*`` if MiniStack cannot tell)."""
    service, action = resource.partition(":aws-sdk:")[2].split(".")[0].split(":")[:2]
    name = action[:1].upper() + action[1:]
    known = states._AWS_SDK_SERVICE_MAP.get(service.lower(), {})
    key = known.get("service_key", service.lower())
    namespace = iam_actions.SERVICE_TO_IAM_NAMESPACE.get(key, key)
    headers = {"x-amz-target": f"{known.get('target_prefix', '')}.{name}"}
    query = {member: [value] for member, value in content.items() if isinstance(value, str)}
    arn = iam_actions.extract_resource_arn(
        key, "POST", "/", headers, json.dumps(content).encode(), query, REGION, ACCOUNT
    )
    return f"{namespace}:{name}", str(arn)
