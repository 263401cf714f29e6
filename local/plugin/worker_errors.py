"""Failed invocations.

MiniStack stops a Python function's process whenever the function raises, so the next call starts
cold; and it calls every exception ``Runtime.HandlerError``, so a state machine cannot catch one by
its name. On AWS the process lives on, and the error has the exception's name and its stack.
"""

import inspect

from local.plugin import ministack_web

MARK = "storyloom.raised"
"""Key under which the worker process hands an exception over instead of a result."""

PROCESS_DIED = {
    "errorType": "Runtime.ExitError",
    "errorMessage": "Error: Runtime exited without providing a reason",
}
"""What Lambda answers for a function whose process ended before it did."""


def install() -> None:
    """Add it to the MiniStack of this process."""
    source = inspect.getsource(describe_exception)
    ministack_web.prepend_to_python_worker(source)
    ministack_web.hand_over_exceptions(f"{{{MARK!r}: {describe_exception.__name__}(e)}}", MARK)
    ministack_web.name_dead_processes(PROCESS_DIED)
    ministack_web.fail_broken_custom_resources()


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
