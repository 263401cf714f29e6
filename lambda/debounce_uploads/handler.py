"""A story arrived: start the quiet period, or start it over."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.runs import schedules

log = Logger(service="debounce_uploads")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Move the timer for S3's `Object Created` event.

    Returns:
        `{"due": when the run will start, or None for the marker that the S3 console makes for a folder}`
    """
    if str(event["detail"]["object"]["key"]).endswith("/"):
        return {"due": None}
    due = schedules.debounce_run("stories arrived")
    log.info("The run waits until the bucket is quiet", extra={"due": due})
    return {"due": due}
