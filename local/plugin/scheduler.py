"""EventBridge Scheduler's ARNs: a schedule belongs to its group, and IAM must see it there."""

import json

from local.environment import ACCOUNT, REGION
from local.plugin.ministack_adapter import name_resources

DEFAULT_GROUP = "default"


def install() -> None:
    """Let IAM see schedules under their group in the MiniStack of this process."""
    name_resources("scheduler", schedule_arn)


def schedule_arn(path: str, body: bytes, query: dict[str, list[str]]) -> str | None:
    """The ARN of the schedule that a request names; None where it names none.

    ``GroupName`` comes in the body of CreateSchedule and UpdateSchedule, as ``groupName`` in the query of
    GetSchedule and DeleteSchedule:
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridgescheduler.html
    """
    parts = [part for part in path.split("/") if part]
    if len(parts) < 2 or parts[0] != "schedules":
        return None
    given = (query.get("groupName") or [""])[0] or _body_group(body)
    return f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{given or DEFAULT_GROUP}/{parts[1]}"


def _body_group(body: bytes) -> str:
    try:
        asked = json.loads(body or b"{}")
    except ValueError:
        return ""
    return str(asked.get("GroupName") or "") if isinstance(asked, dict) else ""
