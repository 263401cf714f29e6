"""The condition keys of SageMaker's own that a request to make something carries, for IAM to compare.

They are those that AWS's service authorization reference names for the action. A key is absent if the request
has no value for it.
"""

from collections.abc import Callable
from typing import Any

from local.aws.sagemaker.record_store import Record

Keys = dict[str, Any]
_MOST_SECONDS = "MaxRuntimeInSeconds"


def condition_keys(operation: str, request: Record) -> Keys:
    """Return the keys of a request; empty for an operation that has none."""
    read = _READERS.get(operation)
    return read(request) if read else {}


def _processing(request: Record) -> Keys:
    cluster = (request.get("ProcessingResources") or {}).get("ClusterConfig") or {}
    network = request.get("NetworkConfig") or {}
    isolated = network.get("EnableNetworkIsolation", False)
    return _keys([cluster], isolated, request.get("StoppingCondition") or {})


def _endpoint_config(request: Record) -> Keys:
    return _keys([*request.get("ProductionVariants", []), *request.get("ShadowProductionVariants", [])])


def _training(definition: Record) -> Keys:
    resources = definition.get("ResourceConfig") or {}
    machines = [resources, *resources.get("InstanceGroups", [])]
    isolated = definition.get("EnableNetworkIsolation", False)
    return _keys(machines, isolated, definition.get("StoppingCondition") or {})


def _keys(machines: list[Record], isolated: bool | None = None, stopping: Record | None = None) -> Keys:
    keys: Keys = {}
    types = [str(machine["InstanceType"]) for machine in machines if machine.get("InstanceType")]
    if types:
        keys["sagemaker:InstanceTypes"] = types
    if isolated is not None:
        keys["sagemaker:NetworkIsolation"] = str(isolated).lower()
    if stopping and _MOST_SECONDS in stopping:
        keys["sagemaker:MaxRuntimeInSeconds"] = str(stopping[_MOST_SECONDS])
    return keys


_READERS: dict[str, Callable[[Record], Keys]] = {
    "CreateTrainingJob": _training,
    "CreateHyperParameterTuningJob": lambda request: _training(request.get("TrainingJobDefinition") or {}),
    "CreateProcessingJob": _processing,
    "CreateTransformJob": lambda request: _keys([request.get("TransformResources") or {}]),
    "CreateModel": lambda request: _keys([], request.get("EnableNetworkIsolation", False)),
    "CreateEndpointConfig": _endpoint_config,
}
