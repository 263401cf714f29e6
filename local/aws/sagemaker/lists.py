"""The List operations: filters, order and pages, the same for every kind."""

from collections.abc import Callable

from local.aws.errors import invalid
from local.aws.sagemaker.record_store import STORE, Record
from local.aws.service_models import operation

PAGE = 100


def answer_list(
    kind: str,
    name_member: str,
    summary: Callable[[Record], Record],
    matches: Callable[[Record, Record], bool] = lambda record, request: True,
) -> Callable[[Record], Record]:
    """Return a function that answers ``List…`` for the records of `kind`, each shown by `summary`."""
    plural = "".join(part.title() for part in kind.split("-")) + "s"
    result = next(
        member
        for member in operation(f"List{plural}").output_shape.members  # type: ignore[union-attr]
        if member != "NextToken"
    )

    def answer(request: Record) -> Record:
        found = [
            record
            for record in STORE.all(kind)
            if _common_filters(record, request, name_member) and matches(record, request)
        ]
        found.sort(key=_order(request, name_member), reverse=_descending(request))
        start = _start(request)
        page = found[start : start + request.get("MaxResults", PAGE)]
        more = {"NextToken": str(start + len(page))} if start + len(page) < len(found) else {}
        return {result: [summary(record) for record in page], **more}

    return answer


def _common_filters(record: Record, request: Record, name_member: str) -> bool:
    contains = request.get("NameContains", "").lower()
    status = request.get("StatusEquals")
    created, modified = record["CreationTime"], record.get("LastModifiedTime", record["CreationTime"])
    return (
        contains in str(record.get(name_member, "")).lower()
        and (not status or _status(record) == status)
        and created > request.get("CreationTimeAfter", 0)
        and created < request.get("CreationTimeBefore", float("inf"))
        and modified > request.get("LastModifiedTimeAfter", 0)
        and modified < request.get("LastModifiedTimeBefore", float("inf"))
    )


def _status(record: Record) -> str:
    members = (
        "TrainingJobStatus",
        "ProcessingJobStatus",
        "TransformJobStatus",
        "HyperParameterTuningJobStatus",
        "EndpointStatus",
    )
    return next((str(record[member]) for member in members if member in record), "")


def _order(request: Record, name_member: str) -> Callable[[Record], tuple[str | float, str]]:
    by = request.get("SortBy", "CreationTime")

    def key(record: Record) -> tuple[str | float, str]:
        name = str(record.get(name_member, ""))
        if by == "Name":
            return name, name
        if by == "Status":
            return _status(record), name
        return float(record["CreationTime"]), name

    return key


def _descending(request: Record) -> bool:
    return bool(request.get("SortOrder", "Descending") == "Descending")


def _start(request: Record) -> int:
    token = str(request.get("NextToken", "0"))
    if not token.isdigit():
        raise invalid(f"Invalid NextToken: {token}")
    return int(token)
