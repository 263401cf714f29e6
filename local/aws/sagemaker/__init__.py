"""SageMaker on one machine: jobs and endpoints are real processes, and every request is checked."""

from local.aws.sagemaker import autoscaling, control_plane, runtime
from local.aws.sagemaker.cloudformation_types import add_types
from local.aws.sagemaker.record_store import STORE
from local.aws.service_handlers import Response, register_service
from local.aws.services import tagging


async def _handle(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> Response:
    if runtime.PATH.match(path):
        return await runtime.handle_runtime(path, headers, query, body)
    return await control_plane.handle_control_plane(headers, query, body)


async def _handle_scaling(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> Response:
    return await autoscaling.handle_autoscaling(headers, query, body)


def install() -> None:
    """Make MiniStack answer for SageMaker, its runtime (both sign as ``sagemaker``), and their scaling."""
    register_service("sagemaker", _handle, ["SageMaker."])
    register_service(autoscaling.SERVICE, _handle_scaling, ["AnyScaleFrontendService."])
    autoscaling.follow_loads()
    tagging.collect("sagemaker", STORE.tagged)
    add_types()
