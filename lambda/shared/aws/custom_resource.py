"""Responses of a custom resource: CloudFormation waits for a PUT to a URL that it provides.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
"""

import json
import time
import urllib.request
from typing import Any

_MOST_CHARACTERS = 1500
"""Maximum length of the reason: CloudFormation accepts a response of at most 4,096 bytes."""
_ATTEMPTS = 4


def respond(event: dict[str, Any], physical_id: str, reason: str) -> None:
    """Tell CloudFormation that a request succeeded, or why it failed.

    Args:
        event: CloudFormation's request.
        physical_id: id of the resource; it never changes.
        reason: why the request failed; empty if it succeeded.
    """
    shortened = reason if len(reason) <= _MOST_CHARACTERS else f"{reason[: _MOST_CHARACTERS - 1]}…"
    answer = {
        "Status": "FAILED" if reason else "SUCCESS",
        "Reason": shortened,
        "PhysicalResourceId": physical_id,
        **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    body = json.dumps(answer).encode()
    # The URL is signed for a request without a content type.
    request = urllib.request.Request(  # noqa: S310 - CloudFormation's own https address
        event["ResponseURL"], data=body, method="PUT", headers={"Content-Type": ""}
    )
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            urllib.request.urlopen(request, timeout=20).close()  # noqa: S310 - as above
        except OSError:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(attempt)
        else:
            return
