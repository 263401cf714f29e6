"""The part of `ministack_adapter` for CloudWatch Logs."""

import json
from typing import Any

from ministack.core import iam_actions
from ministack.services import cloudwatch_logs


def name_deleted_streams() -> None:
    """Authorize DeleteLogStream on the stream's ARN, as AWS does; MiniStack names its group."""
    known = iam_actions.extract_resource_arn

    def resource_arn(service: str, method: str, path: str, *rest: Any) -> str:
        arn = str(known(service, method, path, *rest))
        headers, body, *_ = rest
        if service == "logs" and headers.get("x-amz-target", "").endswith(".DeleteLogStream"):
            return f"{arn}:log-stream:{json.loads(body).get('logStreamName', '')}"
        return arn

    iam_actions.extract_resource_arn = resource_arn


def ensure_log_group(name: str) -> None:
    """Make a log group that an AWS service makes by itself; one that exists stays as it is."""
    cloudwatch_logs._create_log_group({"logGroupName": name})
