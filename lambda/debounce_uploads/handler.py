"""Debounce uploads: a new story starts the quiet period, or starts it again."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.runs import schedules

log = Logger(service="debounce_uploads")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Postpone the next run because of S3's `Object Created` event.

    Returns:
        `{"due": when the run will start, or None for the folder marker of the S3 console}`
    """
    if str(event["detail"]["object"]["key"]).endswith("/"):
        return {"due": None}
    due = schedules.debounce_run("stories arrived")
    log.info("The run starts when no more stories arrive", extra={"due": due})
    return {"due": due}
