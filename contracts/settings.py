"""All settings together, and how they are read from the CDK context.

`read` returns a frozen, typed model, or raises one error that lists every wrong value with its key and cure.
The settings themselves are declared in `contracts/settings_sections.py`.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ConfigDict, ValidationError

from contracts import catalogue, instances
from contracts.catalogue import CatalogueModel
from contracts.resource_names import AppNames
from contracts.setting_types import text_of
from contracts.settings_sections import (
    ApprovalSettings,
    AppSettings,
    BatchSettings,
    CostSettings,
    GateSettings,
    HostingSettings,
    ModelSettings,
    PlatformSettings,
    SearchSettings,
    TrainingSettings,
    UploadSettings,
)


# pydantic collects the fields of base classes from the last to the first.
class Settings(
    PlatformSettings,
    CostSettings,
    BatchSettings,
    HostingSettings,
    ApprovalSettings,
    GateSettings,
    SearchSettings,
    TrainingSettings,
    UploadSettings,
    ModelSettings,
    AppSettings,
):
    """Everything that a person may change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def names(self) -> AppNames:
        """The names of the app's resources."""
        return AppNames(self.name)

    @property
    def model(self) -> CatalogueModel:
        """The chosen base model."""
        return catalogue.find(self.base_model, self.base_model_revision)

    @property
    def fallbacks(self) -> list[str]:
        """The fallback instances that the model fits into; the default list is the same for every model."""
        needed_gb = instances.memory_needed_gb(self.model.parameters_millions, "hosting")
        return [
            name
            for name in dict.fromkeys(self.hosting_fallback_instances)
            if name != self.hosting_instance and instances.GPU_OF_INSTANCE[name].memory_gb >= needed_gb
        ]

    @property
    def transform_instances(self) -> list[str]:
        """The instances that may host the model and that transform jobs can have, first choice first."""
        candidates = [self.hosting_instance, *self.fallbacks]
        return [name for name in candidates if not name.startswith(instances.NO_TRANSFORMS)]

    @property
    def evaluation_instances(self) -> list[str]:
        """The instances that can evaluate a model, first choice first: processing jobs can have fewer types.

        An evaluation loads the model as a training does, so the same estimate decides what fits.
        """
        named = (self.training_instance, self.hosting_instance, *self.hosting_fallback_instances)
        needed_gb = instances.memory_needed_gb(self.model.parameters_millions, "training")
        return [
            name
            for name in dict.fromkeys(named)
            if name not in instances.NO_PROCESSING and instances.GPU_OF_INSTANCE[name].memory_gb >= needed_gb
        ]


@dataclass(frozen=True)
class Fault:
    """One wrong value."""

    key: str
    value: object
    reason: str
    cure: str

    def __str__(self) -> str:
        return f"{self.key} = {json.dumps(self.value, default=repr)}: {self.reason}. {self.cure}."


class SettingsError(ValueError):
    """One or more settings are wrong; its text lists each with its cure."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        lines = "\n".join(f"  - {fault}" for fault in faults)
        super().__init__(
            f"Storyloom cannot use these settings:\n{lines}\n"
            'Change them in cdk.json under "context", or give them as -c key=value. '
            "docs/settings.md explains each."
        )


_DEFAULT_FALLBACKS = HostingSettings.model_fields["hosting_fallback_instances"].default
_INSTANCE_KEYS = frozenset({"training_instance", "hosting_instance", "hosting_fallback_instances"})

# A context also contains the CDK's own flags and look-ups, none of which has this form.
_SETTING_NAME = re.compile(r"^[a-z][a-z_]*$")
_INSTANCE_NAME = re.compile(r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")


def read(context: Mapping[str, Any]) -> Settings:
    """Read the settings from the app's whole context.

    Args:
        context: `app.node.get_all_context()`; keys that belong to the CDK are ignored.

    Raises:
        SettingsError: lists every wrong value.
    """
    given = {key: value for key, value in context.items() if _SETTING_NAME.match(key)}
    faults = [_unknown_key(key, given.pop(key)) for key in sorted(set(given) - set(Settings.model_fields))]
    settings, wrong = _validate(given)
    faults += wrong
    faults += _choice_faults(settings, skip={fault.key for fault in wrong})
    if faults:
        raise SettingsError(faults)
    return settings


def _unknown_key(key: str, value: object) -> Fault:
    close = get_close_matches(key, list(Settings.model_fields), n=1)
    cure = f"Did you mean {close[0]}" if close else f"The settings are {', '.join(Settings.model_fields)}"
    return Fault(key, value, "there is no such setting", cure)


def _validate(given: dict[str, Any]) -> tuple[Settings, list[Fault]]:
    """Validate the values; a wrong value becomes the default in the settings returned."""
    try:
        return Settings.model_validate(given), []
    except ValidationError as error:
        faults = {
            str(problem["loc"][0]): Fault(
                key=str(problem["loc"][0]),
                value=problem["input"],
                reason=_plain(problem["msg"]),
                cure=_cure(str(problem["loc"][0])),
            )
            for problem in error.errors()
        }
    right = {key: value for key, value in given.items() if key not in faults}
    return Settings.model_validate(right), list(faults.values())


def _cure(key: str) -> str:
    return text_of(Settings.model_fields[key]).cure


def _plain(message: str) -> str:
    """Return pydantic's message, or a plain one in place of a regular expression."""
    if "pattern" in message:
        return "it does not have the required form"
    return message[0].lower() + message[1:]


def _choice_faults(settings: Settings, skip: set[str]) -> list[Fault]:
    """Check what no single field can: that the model exists and fits, and that the instances have GPUs."""
    faults = []
    for key in ("training_instance", "hosting_instance"):
        fault = None if key in skip else _instance_fault(key, getattr(settings, key))
        if fault:
            faults.append(fault)
            skip = skip | {key}
    fallbacks = settings.hosting_fallback_instances
    wrong = [_instance_fault("hosting_fallback_instances", instance) for instance in fallbacks]
    faults += [fault for fault in wrong if fault]
    if "instance_prices_usd" not in skip:
        priced = [_instance_fault("instance_prices_usd", name) for name in settings.instance_prices_usd]
        faults += [fault for fault in priced if fault]
    if "base_model" in skip:
        return faults
    try:
        model = settings.model
    except catalogue.UnsuitableModelError as error:
        return [Fault("base_model", settings.base_model, error.reason, error.cure), *faults]
    for purpose in get_args(instances.Purpose):
        key = f"{purpose}_instance"
        if key not in skip:
            faults += _fit_faults(key, getattr(settings, key), model, purpose)
    if not any(wrong) and fallbacks != _DEFAULT_FALLBACKS:
        for instance in fallbacks:
            faults += _fit_faults("hosting_fallback_instances", instance, model, "hosting")
    if (
        _INSTANCE_KEYS.isdisjoint(skip | {fault.key for fault in faults})
        and not settings.evaluation_instances
    ):
        faults.append(_evaluation_fault(settings, model))
    if model.gated and not settings.huggingface_token_secret and "huggingface_token_secret" not in skip:
        faults.append(_gated_fault(settings, model))
    return faults


def _instance_fault(key: str, instance: str) -> Fault | None:
    if instance in instances.GPU_OF_INSTANCE:
        return None
    if instance.startswith(instances.TOO_OLD_FOR_CUDA_13):
        return Fault(key, instance, "its GPU is too old for the containers, which need CUDA 13", _cure(key))
    if f"ml.{instance}" in instances.GPU_OF_INSTANCE:
        return Fault(key, instance, "SageMaker's instances begin with ml.", f"Give ml.{instance}")
    close = get_close_matches(instance, list(instances.GPU_OF_INSTANCE), n=3)
    cure = f"Give a GPU instance, such as {', '.join(close)}" if close else _cure(key)
    reason = (
        "this instance has no GPU that Storyloom supports"
        if _INSTANCE_NAME.match(instance)
        else "it is not an instance type"
    )
    return Fault(key, instance, reason, cure)


def _fit_faults(key: str, instance: str, model: CatalogueModel, purpose: instances.Purpose) -> list[Fault]:
    gpu = instances.GPU_OF_INSTANCE[instance]
    needed_gb = instances.memory_needed_gb(model.parameters_millions, purpose)
    if not model.parameters_millions or needed_gb <= gpu.memory_gb:
        return []
    fitting = instances.smallest_that_fits(model.parameters_millions, purpose)
    return [
        Fault(
            key,
            instance,
            f"{model.name} needs about {math.ceil(needed_gb)} GB of GPU memory for {purpose}, "
            f"and its {gpu.name} has {gpu.memory_gb}",
            f"Give {fitting}, or a smaller base_model" if fitting else "Choose a smaller base_model",
        )
    ]


def _evaluation_fault(settings: Settings, model: CatalogueModel) -> Fault:
    fitting = instances.smallest_that_fits(model.parameters_millions, "training")
    return Fault(
        "training_instance",
        settings.training_instance,
        "SageMaker has no processing jobs on this instance, so the trained model could not be evaluated",
        f"Give {fitting}, or add it to hosting_fallback_instances: the evaluation then runs on it"
        if fitting
        else "Choose a smaller base_model",
    )


def _gated_fault(settings: Settings, model: CatalogueModel) -> Fault:
    return Fault(
        "base_model",
        settings.base_model,
        f"it is gated: its owner ({model.id.split('/')[0]}) requires you to accept the "
        f"{model.licence} licence",
        f"Accept it at https://huggingface.co/{model.id}, make a read token at "
        "https://huggingface.co/settings/tokens, store it with: aws secretsmanager create-secret "
        "--name storyloom/huggingface --secret-string TOKEN, and set huggingface_token_secret to that name",
    )
