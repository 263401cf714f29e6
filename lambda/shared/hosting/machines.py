"""The machines that may host the model, and how an endpoint configuration's name says which one it is for."""

from contracts import environment
from contracts.resource_names import ENDPOINT_CONFIG


def choices() -> list[str]:
    """Return the instance types that may host the model, the first choice first."""
    settings = environment.read(environment.Hosting)
    return [settings.hosting_instance, *settings.hosting_fallback_instances]


def instance_of(config: str | None) -> str | None:
    """Read the instance type out of a configuration's name; None where the name does not say it."""
    named = ENDPOINT_CONFIG.fullmatch(config or "")
    return f"ml.{named['family']}.{named['size']}" if named else None


def version_of(config: str | None) -> str | None:
    """Read the version whose bundle a configuration is for out of its name; None if it is not named so."""
    named = ENDPOINT_CONFIG.fullmatch(config or "")
    return named["version"] if named else None


def current_or_default_instance(config: str | None) -> str:
    """Return the configuration's instance type if it is one of the choices, else the first choice."""
    instance = instance_of(config)
    allowed = choices()
    return instance if instance in allowed else allowed[0]
