"""MiniStack's REST APIs from outside: every request with its answer, and the settings of the access log."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.services import apigateway_v1
from ministack.services.cloudformation import provisioners

from local.plugin.ministack_adapter import Response


@dataclass(frozen=True)
class RestRequest:
    """One request of a REST API's stage, whatever its outcome."""

    method: str
    api_name: str
    stage_name: str
    stage: Mapping[str, Any] | None
    """As GetStage shows it; None if there is no such stage."""


def wrap_rest_requests(
    wrapper: Callable[[RestRequest, Callable[[], Awaitable[Response]]], Awaitable[Response]],
) -> None:
    """Pass every request of a REST API to `wrapper`, with a function that returns MiniStack's answer."""
    original = apigateway_v1._handle_execute_in_scope

    async def handle(api_id: str, stage_name: str, method: str, *rest: Any, **named: Any) -> Any:
        request = RestRequest(
            method=method,
            api_name=str((apigateway_v1._rest_apis.get(api_id) or {}).get("name")),
            stage_name=stage_name,
            stage=(apigateway_v1._stages_v1.get(api_id) or {}).get(stage_name),
        )

        async def answer() -> Any:
            return await original(api_id, stage_name, method, *rest, **named)

        return await wrapper(request, answer)

    apigateway_v1._handle_execute_in_scope = handle


def keep_access_log_settings() -> None:
    """Keep a template's `AccessLogSetting` of a stage, which MiniStack drops."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::Stage"]
    create, update = handlers["create"], handlers["update"]

    def create_stage(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        created = create(logical_id, properties, stack)
        _keep(properties)
        return created

    def update_stage(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> Any:
        updated = update(physical_id, old, new, stack)
        _keep(new)
        return updated

    handlers.update(create=create_stage, update=update_stage)


def _keep(properties: dict[str, Any]) -> None:
    setting = properties.get("AccessLogSetting") or {}
    stage = apigateway_v1._stages_v1[properties["RestApiId"]][properties["StageName"]]
    stage["accessLogSettings"] = {
        name: setting[key]
        for key, name in (("DestinationArn", "destinationArn"), ("Format", "format"))
        if key in setting
    }
