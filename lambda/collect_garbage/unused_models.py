"""SageMaker's models and endpoint configurations of versions whose bundle goes."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from collect_garbage.protected import Protected
from contracts import environment
from shared.aws import clients, consistency
from shared.batch_inference import transform_jobs
from shared.hosting import machines


def delete_unused(protected: Protected) -> None:
    """Delete unused endpoint configurations and then unused models.

    An endpoint's own configuration must never go: SageMaker would delete it, and then refuse UpdateEndpoint.
    """
    for config in _names("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"):
        if _is_unused(config, protected):
            _delete("delete_endpoint_config", EndpointConfigName=config)
    for model in _names("list_models", "Models", "ModelName"):
        if environment.common().names.is_batch_model(model):
            unused = transform_jobs.version_of_model(model) not in protected.batches
        else:
            unused = _is_unused(model, protected)
        if unused:
            _delete("delete_model", ModelName=model)


def _is_unused(name: str, protected: Protected) -> bool:
    """Whether this is ours, and of a version whose bundle goes; a model is named as its configuration."""
    if not environment.common().names.is_endpoint_config(name) or name in protected.configs:
        return False
    return machines.version_of(name) not in protected.bundles


def _names(operation: str, listed: str, name: str) -> Iterator[str]:
    pages: Any = clients.sagemaker().get_paginator(operation)  # type: ignore[call-overload]
    for page in pages.paginate(NameContains=environment.common().name):
        for found in page[listed]:
            yield found[name]


def _delete(operation: str, **named: str) -> None:
    try:
        getattr(clients.sagemaker(), operation)(**named)
    except ClientError as error:
        if not consistency.is_not_found(error):
            raise
