"""SageMaker's models and endpoint configurations of versions whose bundle goes."""

from collections.abc import Iterator

from botocore.exceptions import ClientError

from collect_garbage.protected import Protected
from shared import aws, consistency, environment, layout, machines, transform_jobs


def delete_unused(protected: Protected) -> None:
    """Delete unused endpoint configurations and then unused models.

    An endpoint's own configuration must never go: SageMaker would delete it, and then refuse UpdateEndpoint.
    """
    for config in _names("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", _endpoint()):
        if _is_unused(config, protected):
            _delete("delete_endpoint_config", EndpointConfigName=config)
    batches = layout.transform_job(environment.common().name, "")
    for model in _names("list_models", "Models", "ModelName", environment.common().name):
        if model.startswith(batches):
            version = transform_jobs.version_of_model(model)
            unused = version is not None and version not in protected.batches
        else:
            unused = _is_unused(model, protected)
        if unused:
            _delete("delete_model", ModelName=model)


def _is_unused(name: str, protected: Protected) -> bool:
    """Whether this is ours, and of a version whose bundle goes; a model is named as its configuration."""
    version = machines.version_of(name) if name.startswith(f"{_endpoint()}-") else None
    return version is not None and version not in protected.bundles and name not in protected.configs


def _names(operation: str, listed: str, name: str, contained: str) -> Iterator[str]:
    for page in aws.sagemaker().get_paginator(operation).paginate(NameContains=contained):  # type: ignore[call-overload]
        for found in page[listed]:
            yield found[name]


def _delete(operation: str, **named: str) -> None:
    try:
        getattr(aws.sagemaker(), operation)(**named)
    except ClientError as error:
        if not consistency.is_not_found(error):
            raise


def _endpoint() -> str:
    return environment.read(environment.Hosting).endpoint_name
