"""The API's own request headers, and the response header that reports ignored fields."""

import re
import uuid
from typing import Annotated

from fastapi import Depends, Header, Response
from pydantic.json_schema import SkipJsonSchema

from chat_api.openai.request_fields import STRICT_HEADER, format_names
from chat_api.services.model_access import LONGEST_WAIT_SECONDS
from chat_api.services.upstream import ANSWER_ID_HEADER

IGNORED_HEADER = "X-Storyloom-Ignored-Fields"

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)


def _strict_fields(
    strict: Annotated[
        bool,
        Header(
            alias=STRICT_HEADER,
            description=f"Refuse unknown fields; otherwise they are ignored, and {IGNORED_HEADER} names them",
        ),
    ] = False,
) -> bool:
    return strict


def _wait_seconds(
    prefer: Annotated[
        str | None,
        Header(
            description="`wait=<seconds>` (RFC 7240) has a stream wait for a model that is not awake, for "
            f"at most {LONGEST_WAIT_SECONDS} seconds; other preferences are ignored."
        ),
    ] = None,
) -> int:
    found = _WAIT.search(prefer or "")
    return min(int(found[1]), LONGEST_WAIT_SECONDS) if found else 0


def _answer_id(
    answer_id: Annotated[
        uuid.UUID | SkipJsonSchema[None],  # a header is present or not, and never null
        Header(
            alias=ANSWER_ID_HEADER,
            description="A UUID of your choice with which the answer can be cancelled; without it the "
            "response names one.",
        ),
    ] = None,
) -> uuid.UUID | None:
    return answer_id


StrictFields = Annotated[bool, Depends(_strict_fields)]
"""Whether the caller wants unknown fields refused."""
WaitSeconds = Annotated[int, Depends(_wait_seconds)]
"""How long a stream waits for a model that is not awake; 0 if it does not wait."""
AnswerId = Annotated[uuid.UUID | None, Depends(_answer_id)]
"""The id that the client gives the answer; None if it leaves that to the API."""


def report_ignored_fields(response: Response, fields: list[str]) -> None:
    """List the ignored fields in a response header if there are any."""
    if fields:
        response.headers[IGNORED_HEADER] = format_names(fields)
