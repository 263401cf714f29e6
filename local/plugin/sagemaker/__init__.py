"""SageMaker on one machine: jobs and endpoints are real processes, and every request is checked."""

from local.plugin.ministack_adapter import Response, register_service, supply_metric_namespace
from local.plugin.sagemaker import api, autoscaling, runtime


async def _handle(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> Response:
    if runtime.PATH.match(path):
        return await runtime.handle(path, headers, query, body)
    return await api.handle(headers, query, body)


async def _handle_scaling(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> Response:
    return await autoscaling.handle(headers, query, body)


def install() -> None:
    """Make MiniStack answer for SageMaker, its runtime (both sign as ``sagemaker``), and their scaling."""
    supply_metric_namespace()
    register_service("sagemaker", _handle, ["SageMaker."])
    register_service(autoscaling.SERVICE, _handle_scaling, ["AnyScaleFrontendService."])
    autoscaling.follow_loads()
