"""The CloudWatch logs that SageMaker's jobs write. All jobs of an account share them."""

from stacks.functions.function import Function
from stacks.permissions import allow, arn


def grant_read_job_logs(function: Function, *actions: str, jobs: tuple[str, ...]) -> None:
    """Grant a function some actions of CloudWatch Logs on the logs of jobs."""
    allow(
        function.role,
        actions,
        [arn("logs", f"log-group:{log}{streams}") for log in jobs for streams in ("", ":*")],
        wildcard_because="CloudWatch Logs checks a log's streams as a whole; the function asks by job name",
    )
