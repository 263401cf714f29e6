"""The endpoint, and what it and the transform jobs are made of."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from clean_up.remaining import Remaining, is_missing
from contracts import environment
from contracts.resource_names import AppNames
from shared.aws import clients
from shared.hosting import endpoint, scaling


def delete_endpoint() -> list[Remaining]:
    """Delete the endpoint with its scaling, and wait for it: SageMaker needs its role until it is gone."""
    found = endpoint.describe()
    try:
        deleted = endpoint.delete()  # also if there is none: its scaling may be left
    except clients.dynamodb().exceptions.ResourceNotFoundException:
        # Its owner deleted the table too, so nobody counts what the endpoint has cost.
        scaling.stop()
        deleted = True
    if found is None:
        return []
    why = "it is being deleted"
    if not deleted:
        why = f"it is {found.status.lower()}, and SageMaker deletes it only afterwards"
    return [Remaining(f"endpoint {_names().name}", why)]


def delete_configurations() -> list[Remaining]:
    """Delete the endpoint configurations."""
    client = clients.sagemaker()
    pages = client.get_paginator("list_endpoint_configs").paginate(NameContains=_names().name)
    names = [found["EndpointConfigName"] for page in pages for found in page["EndpointConfigs"]]
    for name in filter(_names().is_endpoint_config, names):
        _delete(client.delete_endpoint_config, EndpointConfigName=name)
    return []


def delete_models() -> list[Remaining]:
    """Delete SageMaker's models, those of transform jobs too."""
    client = clients.sagemaker()
    pages = client.get_paginator("list_models").paginate(NameContains=_names().name)
    for name in [found["ModelName"] for page in pages for found in page["Models"]]:
        if _names().is_endpoint_config(name) or _names().is_batch_model(name):
            _delete(client.delete_model, ModelName=name)
    return []


def delete_log() -> list[Remaining]:
    """Delete the endpoint's log group: SageMaker makes it, and nothing in it ever expires."""
    _delete(clients.logs().delete_log_group, logGroupName=_names().endpoint_log)
    return []


def _delete(operation: Callable[..., Any], **fields: str) -> None:
    try:
        operation(**fields)
    except ClientError as error:
        if not is_missing(error):
            raise


def _names() -> AppNames:
    return environment.common().names
