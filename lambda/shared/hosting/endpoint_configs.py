"""The endpoint configuration of a bundle on an instance type: its name, and how it is created."""

import hashlib
import re
from typing import Any

from contracts import environment, s3_keys
from shared.aws import sagemaker_calls

CONTAINER_VARIABLES = {
    "SM_VLLM_CONFIG": "/opt/ml/model/serving.yaml",
    # The file says so too; where this is missing the container's entry point says /opt/ml/model, and wins.
    "SM_VLLM_MODEL": "/opt/ml/model/base",
    "CUSTOM_FASTAPI_MIDDLEWARE_PRE_POST_PROCESS": "name_adapter.py:NameAdapter",
}
"""What the model's container is told; the paths and the module lie in the bundle."""
START_SECONDS = 1200
"""How long the container may take to load the model; vLLM compiles for minutes on its first start."""
_ROUTING = "LEAST_OUTSTANDING_REQUESTS"
"""Of several machines the one with the fewest answers under way; by chance, one would write most of them."""
VARIANT = "main"
"""Name of the endpoint's one production variant."""
_CONFIG = re.compile(r".+-(?P<version>v\d+)-(?P<family>[a-z0-9]+)-(?P<size>[a-z0-9]+)-[0-9a-f]{8}")


def config_name(endpoint_name: str, version: str, instance: str, digest: str) -> str:
    """Name an endpoint configuration, for instance `storyloom-v3-g6-xlarge-0f3c2a1b`."""
    return f"{endpoint_name}-{version}-{instance.removeprefix('ml.').replace('.', '-')}-{digest}"


def ensure_config(bundle_uri: str, instance: str) -> str:
    """Make the SageMaker model and endpoint configuration of a bundle on a machine where they are missing.

    The name holds the version that the bundle was made for, the machine, and a digest of the bundle and the
    hosting settings: the same settings find what is there, and a changed instance type or image makes another
    configuration. Which version of the bundle answers changes nothing.

    Returns:
        The endpoint configuration's name; the model's is the same.
    """
    settings = environment.read(environment.Hosting)
    facts = [bundle_uri, settings.hosting_image, instance, settings.inference_ami, _ROUTING]
    facts += [settings.hosting_role_arn, *CONTAINER_VARIABLES.values()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
    name = config_name(settings.endpoint_name, s3_keys.bundled_for(bundle_uri), instance, digest)
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
    """Read the instance type out of a configuration's name; None where the name does not say it."""
    named = _CONFIG.fullmatch(config or "")
    return f"ml.{named['family']}.{named['size']}" if named else None


def version_of(config: str | None) -> str | None:
    """Read the version whose bundle a configuration is for out of its name; None if it is not named so."""
    named = _CONFIG.fullmatch(config or "")
    return named["version"] if named else None
