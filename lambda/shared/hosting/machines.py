"""The machines that may host the model, and how an endpoint configuration's name says which one it is for."""

import re

from contracts import environment

VARIANT = "main"
"""Name of the endpoint's one production variant."""
_CONFIG = re.compile(r".+-(?P<version>v\d+)-(?P<family>[a-z0-9]+)-(?P<size>[a-z0-9]+)-[0-9a-f]{8}")


def choices() -> list[str]:
    """Return the instance types that may host the model, the first choice first."""
    settings = environment.read(environment.Hosting)
    return [settings.hosting_instance, *settings.hosting_fallback_instances]


def config_name(endpoint_name: str, version: str, instance: str, digest: str) -> str:
    """Name an endpoint configuration, for instance `storyloom-v3-g6-xlarge-0f3c2a1b`."""
    return f"{endpoint_name}-{version}-{instance.removeprefix('ml.').replace('.', '-')}-{digest}"


def instance_of(config: str | None) -> str | None:
    """Read the instance type out of a configuration's name; None where the name does not say it."""
    named = _CONFIG.fullmatch(config or "")
    return f"ml.{named['family']}.{named['size']}" if named else None


def version_of(config: str | None) -> str | None:
    """Read the version whose bundle a configuration is for out of its name; None if it is not named so."""
    named = _CONFIG.fullmatch(config or "")
    return named["version"] if named else None


def current_or_default_instance(config: str | None) -> str:
    """Return the configuration's instance type if it is one of the choices, else the first choice."""
    instance = instance_of(config)
    allowed = choices()
    return instance if instance in allowed else allowed[0]
