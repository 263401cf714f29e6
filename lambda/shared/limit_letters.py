"""Tells the owner what the month's limit has refused or ended: once a month (UTC) and kind."""

from typing import Literal

from aws_lambda_powertools import Logger
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import BotoCoreError, ClientError

from shared import announcement, clock, table
from shared.ledger_months import SUMS, this_month

log = Logger(service="limit_letters")

Refused = Literal["model", "run", "batch"]

_SUBJECTS: dict[Refused, str] = {
    "model": "Storyloom: the model sleeps because of the month's limit",
    "run": "Storyloom: a run was refused because of the month's limit",
    "batch": "Storyloom: a batch was refused because of the month's limit",
}


def send_once(refused: Refused, text: str) -> None:
    """Send a message, unless one of its kind was sent this month. If that fails, the next one is sent.

    Args:
        refused: what.
        text: why, as the page says it.
    """
    month, told = this_month(), f"{refused}_told_at"
    if not table.update(SUMS, month, {told: clock.stamp()}, only_if=Attr(told).not_exists()):
        return
    try:
        announcement.tell(_SUBJECTS[refused], f"{text}\n\nThis message comes once a month (UTC).")
    except (BotoCoreError, ClientError):
        # Who was refused is to hear of that, and not of a topic.
        log.exception("The owner could not be told")
        table.update(SUMS, month, {told: None})
