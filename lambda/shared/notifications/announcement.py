"""The message to the person who owns the stories."""

from contracts import environment
from shared.aws import clients
from shared.runs import run_records

_SUBJECT_CHARACTERS = 99
"""SNS refuses a message whose subject has 100 or a line break."""


def send(subject: str, text: str) -> None:
    """Send a message."""
    topic = environment.read(environment.Messages).topic_arn
    in_one_line = " ".join(subject.split())
    clients.sns().publish(TopicArn=topic, Subject=in_one_line[:_SUBJECT_CHARACTERS], Message=text)


def send_once(run_id: str, subject: str, text: str) -> None:
    """Send the message of how a run ended; a second call for the same run sends nothing."""
    if run_records.is_announced(run_id):
        return
    send(subject, text)
    run_records.mark_announced(run_id)
