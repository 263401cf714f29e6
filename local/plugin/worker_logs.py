"""The end of an invocation's log.

MiniStack waits up to 50 ms after each call of a Python function for lines that the function may have
printed, and every request to the API calls one, the authorizer. Here the worker process
marks the end of the log.
"""

from local.plugin import ministack_web

MARK = "storyloom.log-ends"
"""Line that the worker process writes into its log when an invocation is over; it is removed again."""

LONGEST_SECONDS = 0.25
"""How long the mark is waited for: a process that died never writes it."""


def install() -> None:
    """Add it to the MiniStack of this process."""
    ministack_web.end_logs_with(MARK, LONGEST_SECONDS)
