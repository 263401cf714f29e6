"""Notify the owner of what the month's limit refused or ended, once per month (UTC) and kind."""

from typing import Literal

from aws_lambda_powertools import Logger
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import BotoCoreError, ClientError

from shared import clock, table
from shared.notifications import announcement
from shared.spending.ledger_months import SUMS, this_month

log = Logger(service="limit_letters")

Refused = Literal["model", "run", "batch"]

_SUBJECTS: dict[Refused, str] = {
    "model": "Storyloom: the model sleeps because of the month's limit",
    "run": "Storyloom: a run was refused because of the month's limit",
    "batch": "Storyloom: a batch was refused because of the month's limit",
}


def send_once(refused: Refused, text: str) -> None:
    """Send a message unless one of its kind was sent this month. If sending fails, the next call tries again.

    Args:
        refused: what was refused or ended.
        text: the reason, in the words of the page.
    """
    try:
        _send_once(refused, text)
    except (BotoCoreError, ClientError):
        # The caller is to see the refusal, not an error about the table or the topic.
        log.exception("Could not notify the owner")


def _send_once(refused: Refused, text: str) -> None:
    month, attribute = this_month(), f"{refused}_told_at"
    if not table.update(SUMS, month, {attribute: clock.stamp()}, only_if=Attr(attribute).not_exists()):
        return
    try:
        announcement.send(_SUBJECTS[refused], f"{text}\n\nThis message comes once a month (UTC).")
    except (BotoCoreError, ClientError):
        table.update(SUMS, month, {attribute: None})
        raise
