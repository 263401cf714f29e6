"""The tagging API: the services that MiniStack's leaves out, and its pages."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ministack.services import (
    apigateway_v1,
    cloudformation,
    cloudwatch,
    cloudwatch_logs,
    stepfunctions,
    tagging,
)

Json = dict[str, Any]
Tagged = tuple[str, list[dict[str, str]]]
"""A resource's ARN and its tags."""
PAGE = 50


def install() -> None:
    """Change the tagging API of this process's MiniStack."""
    collect_other_services()
    answer_in_pages()


def collect(service: str, resources: Callable[[], Iterable[Tagged]]) -> None:
    """List the tagged resources of a service that MiniStack does not have."""
    tagging._COLLECTORS[service] = resources


def collect_other_services() -> None:
    """List the tagged resources of MiniStack's services that its tagging API omits."""
    collect("logs", _log_groups)
    collect("states", _state_machines)
    collect("cloudwatch", lambda: [(arn, _listed(tags)) for arn, tags in cloudwatch._resource_tags.items()])
    collect("apigateway", lambda: [(arn, _listed(tags)) for arn, tags in apigateway_v1._v1_tags.items()])
    collect("cloudformation", _stacks)


def _log_groups() -> Iterator[Tagged]:
    for group in cloudwatch_logs._log_groups.values():
        yield group["arn"].removesuffix(":*"), _listed(group.get("tags") or {})


def _state_machines() -> Iterator[Tagged]:
    for arn, tags in stepfunctions._tags.items():
        yield arn, [{"Key": tag["key"], "Value": tag["value"]} for tag in tags]


def _stacks() -> Iterator[Tagged]:
    for stack in cloudformation._stacks.values():
        if stack.get("StackStatus") != "DELETE_COMPLETE":
            yield stack["StackId"], stack.get("Tags") or []


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def answer_in_pages() -> None:
    """Answer GetResources with resources that have a tag, at most 50 a page, as AWS does."""
    original = tagging._HANDLERS["GetResources"]

    def get_resources(request: Json) -> Any:
        status, headers, body = original({key: request[key] for key in request if key not in _OF_PAGES})
        if status >= 400:
            return status, headers, body
        found = [one for one in json.loads(body)["ResourceTagMappingList"] if one["Tags"]]
        start = int(request.get("PaginationToken") or 0)
        end = start + int(request.get("ResourcesPerPage", PAGE))
        answer = {
            "ResourceTagMappingList": found[start:end],
            "PaginationToken": str(end) if end < len(found) else "",
        }
        return status, headers, json.dumps(answer).encode()

    tagging._HANDLERS["GetResources"] = get_resources


_OF_PAGES = ("PaginationToken", "ResourcesPerPage")
