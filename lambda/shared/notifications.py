"""Messages to the person who owns the stories, each sent once: the end of a run, and a reached limit."""

from typing import Literal

from aws_lambda_powertools import Logger
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import BotoCoreError, ClientError

from contracts import environment
from shared import clock, table
from shared.aws import clients
from shared.runs import run_records
from shared.spending.ledger_entries import SUMS, this_month

log = Logger(service="notifications")

Refused = Literal["model", "run", "batch"]

_SUBJECTS: dict[Refused, str] = {
    "model": "Storyloom: the model sleeps because of the month's limit",
    "run": "Storyloom: a run was refused because of the month's limit",
    "batch": "Storyloom: a batch was refused because of the month's limit",
}
_SUBJECT_CHARACTERS = 99
"""SNS refuses a subject of 100 characters, or with a line break."""


def send(subject: str, text: str) -> None:
    """Send a message to the owner."""
    topic = environment.read(environment.Messages).topic_arn
    in_one_line = " ".join(subject.split())
    clients.sns().publish(TopicArn=topic, Subject=in_one_line[:_SUBJECT_CHARACTERS], Message=text)


def send_once(run_id: str, subject: str, text: str) -> None:
    """Send the message about the end of a run, unless it was sent before."""
    if run_records.is_announced(run_id):
        return
    send(subject, text)
    run_records.mark_announced(run_id)


def send_monthly(refused: Refused, text: str) -> None:
    """Send a message unless one of its kind was sent this month. If sending fails, the next call tries again.

    Args:
        refused: what was refused or ended.
        text: the reason, in the words of the page.
    """
    try:
        _send_monthly(refused, text)
    except (BotoCoreError, ClientError):
        # The caller should see the refusal, not an error about the table or the topic.
        log.exception("Could not notify the owner")


def _send_monthly(refused: Refused, text: str) -> None:
    month, attribute = this_month(), f"{refused}_told_at"
    if not table.update(SUMS, month, {attribute: clock.stamp()}, only_if=Attr(attribute).not_exists()):
        return
    try:
        send(_SUBJECTS[refused], f"{text}\n\nThis message comes once a month (UTC).")
    except (BotoCoreError, ClientError):
        table.update(SUMS, month, {attribute: None})
        raise
