"""The endpoint configuration of a bundle on an instance type: its name, and how it is created."""

import hashlib
from typing import Any

from contracts import environment, s3_keys
from contracts.resource_names import ENDPOINT_CONFIG, VARIANT
from shared.aws import sagemaker_calls

CONTAINER_VARIABLES = {
    "SM_VLLM_CONFIG": f"/opt/ml/model/{s3_keys.SERVING_FILE}",
    # The file has this path too, but without the variable the entry point sets /opt/ml/model, which wins.
    "SM_VLLM_MODEL": "/opt/ml/model/base",
    "CUSTOM_FASTAPI_MIDDLEWARE_PRE_POST_PROCESS": "name_adapter.py:NameAdapter",
}
"""Environment variables of the model's container; the paths and the module are in the bundle."""
START_SECONDS = 1200
"""How long the container may take to load the model; vLLM compiles for minutes on its first start."""
_ROUTING = "LEAST_OUTSTANDING_REQUESTS"
"""With random routing, one of several instances could write most of the answers."""


def ensure_config(bundle_uri: str, instance: str) -> str:
    """Create the SageMaker model and endpoint configuration of a bundle, unless they exist.

    The name contains the version that the bundle was built for, the instance type, and a digest of the bundle
    and the hosting settings. So the same settings find the existing configuration, and another instance type
    or image makes another one. Which version of the bundle is live does not matter.

    Returns:
        The endpoint configuration's name; the model's is the same.
    """
    settings = environment.read(environment.Hosting)
    facts = [bundle_uri, settings.hosting_image, instance, settings.inference_ami, _ROUTING]
    facts += [settings.hosting_role_arn, *CONTAINER_VARIABLES.values()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
    name = environment.common().names.endpoint_config(s3_keys.bundled_for(bundle_uri), instance, digest)
    sagemaker_calls.create_once(
        "create_model",
        ModelName=name,
        PrimaryContainer={
            "Image": settings.hosting_image,
            "ModelDataSource": {
                "S3DataSource": {"S3Uri": bundle_uri, "S3DataType": "S3Prefix", "CompressionType": "None"}
            },
            "Environment": CONTAINER_VARIABLES,
        },
        ExecutionRoleArn=settings.hosting_role_arn,
        EnableNetworkIsolation=True,
        Tags=sagemaker_calls.app_tags(),
    )
    variant: dict[str, Any] = {
        "VariantName": VARIANT,
        "ModelName": name,
        "InstanceType": instance,
        "InitialInstanceCount": 1,
        "RoutingConfig": {"RoutingStrategy": _ROUTING},
        "ModelDataDownloadTimeoutInSeconds": START_SECONDS,
        "ContainerStartupHealthCheckTimeoutInSeconds": START_SECONDS,
    }
    if settings.inference_ami:
        variant["InferenceAmiVersion"] = settings.inference_ami
    sagemaker_calls.create_once(
        "create_endpoint_config",
        EndpointConfigName=name,
        ProductionVariants=[variant],
        Tags=sagemaker_calls.app_tags(),
    )
    return name


def instance_of(config: str | None) -> str | None:
    """Return the instance type in a configuration's name; None if the name has another form."""
    named = ENDPOINT_CONFIG.fullmatch(config or "")
    return f"ml.{named['family']}.{named['size']}" if named else None


def version_of(config: str | None) -> str | None:
    """Return the version in a configuration's name; None if the name has another form."""
    named = ENDPOINT_CONFIG.fullmatch(config or "")
    return named["version"] if named else None
