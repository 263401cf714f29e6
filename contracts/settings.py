"""The settings a person changes: the one place that reads the CDK context.

`read` turns the context into a frozen, typed model, or raises one error that lists every wrong value with
its key and its cure.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from contracts import catalogue, instances
from contracts.catalogue import CatalogueModel

_EMAIL = r"^$|^[^@\s<>\"']+@[^@\s<>\"']+\.[^@\s<>\"'.]+$"
_BROWSER_ENDPOINT = r"^$|^https?://[A-Za-z0-9.-]+(:\d{1,5})?$"

Approval = Literal["automatic", "manual"]


def _listed(value: object) -> object:
    """Split what a command line gives: `a,b`."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


def _priced(value: object) -> object:
    """Read what a command line gives: `ml.g6.xlarge=1.13,ml.g5.xlarge=1.41`."""
    if not isinstance(value, str):
        return value
    pairs = (part.partition("=") for part in value.split(",") if part.strip())
    return {instance.strip(): usd.strip() for instance, _, usd in pairs}


InstancePrices = Annotated[dict[str, Annotated[float, Field(gt=0, le=1000)]], BeforeValidator(_priced)]


class Settings(BaseModel):
    """What a person may change; `docs/settings.md` says more about each."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,18}[a-z0-9]$")] = "storyloom"
    """Prefix of everything made at run time."""
    admin_email: Annotated[str, Field(pattern=_EMAIL, max_length=128)] = ""
    base_model: str = "smollm2-1.7b"
    base_model_revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,64}$")] = ""
    training_instance: str = "ml.g6.xlarge"
    hosting_instance: str = "ml.g6.xlarge"
    hosting_fallback_instances: Names = ("ml.g5.xlarge", "ml.g6e.xlarge")
    """Tried one after the other where there is no `hosting_instance` to be had."""
    instance_count: Annotated[int, Field(ge=1, le=16)] = 1
    """How many training instances share one training."""
    spot: bool = True
    max_training_minutes: Annotated[int, Field(ge=1, le=5 * 24 * 60 - 30)] = 240
    quiet_seconds: Annotated[int, Field(ge=5, le=24 * 60 * 60)] = 300
    max_quiet_seconds: Annotated[int, Field(ge=5, le=24 * 60 * 60)] = 1800
    """After the first new story: then a run starts although others keep arriving."""
    idle_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 15
    hosting_max_instances: Annotated[int, Field(ge=1, le=4)] = 1
    """How many machines may answer at once; with one there is no scaling."""
    answers_per_instance: Annotated[int, Field(ge=1, le=256)] = 8
    """How many answers a machine writes at once before another one is asked for."""
    watch_minutes: Annotated[float, Field(ge=0, le=15)] = 5
    """For how long alarms may take a new version back; 0 watches nothing."""
    minimum_words: Annotated[int, Field(ge=1)] = 5000
    ask_before_training: bool = False
    tune: bool = False
    """Whether to try several ranks, learning rates and epochs, and keep the best."""
    tuning_jobs: Annotated[int, Field(ge=2, le=100)] = 6
    tuning_budget_usd: Annotated[float, Field(gt=0)] = 10
    """What a run's search may cost at most."""
    minimum_improvement_percent: Annotated[float, Field(ge=0, lt=100)] = 2
    maximum_copy_percent: Annotated[float, Field(ge=0, le=100)] = 10
    maximum_repetition_percent: Annotated[float, Field(ge=0, le=100)] = 50
    minimum_ending_percent: Annotated[float, Field(ge=0, le=100)] = 0.00001
    approval: Approval = "automatic"
    """Whether a version that passed the gate answers at once, or after somebody's yes."""
    monthly_budget_usd: Annotated[float, Field(gt=0)] = 50
    monthly_limit_usd: Annotated[float, Field(ge=0)] = 50
    """What may be spent in a month (UTC); beyond it nothing that costs begins. 0: no limit."""
    instance_prices_usd: InstancePrices = {}
    """Prices an hour by instance type, which win over those that AWS lists."""
    daily_tokens_per_person: Annotated[int, Field(ge=1)] = 200_000
    """What each person may use of the model in a day, together with all their API keys."""
    huggingface_token_secret: Annotated[str, Field(pattern=r"^[A-Za-z0-9/_+=.@-]{0,256}$")] = ""
    inference_ami: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,63}$")] = (
        "al2023-ami-sagemaker-inference-gpu-4-1"
    )
    transform_ami: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,63}$")] = "al2-ami-sagemaker-batch-gpu-535"
    """`TransformAmiVersion` of batches' machines: the newest driver that SageMaker has for them."""
    function_python: Annotated[str, Field(pattern=r"^3\.1[1-4]$")] = "3.14"
    browser_endpoint: Annotated[str, Field(pattern=_BROWSER_ENDPOINT)] = ""

    @property
    def model(self) -> CatalogueModel:
        """The chosen base model."""
        return catalogue.find(self.base_model, self.base_model_revision)

    @property
    def fallbacks(self) -> list[str]:
        """Those of `hosting_fallback_instances` that the model fits into: the default list knows no model."""
        needed_gb = instances.memory_needed_gb(self.model.parameters_millions, "hosting")
        return [
            name
            for name in dict.fromkeys(self.hosting_fallback_instances)
            if name != self.hosting_instance and instances.GPU_OF_INSTANCE[name].memory_gb >= needed_gb
        ]

    @property
    def transform_instances(self) -> list[str]:
        """The machines that may host the model and that transform jobs can have, the first choice first."""
        machines = [self.hosting_instance, *self.fallbacks]
        return [name for name in machines if not name.startswith(instances.NO_TRANSFORMS)]

    @property
    def evaluation_instances(self) -> list[str]:
        """The instances that can evaluate a model, first choice first: processing jobs have fewer types.

        An evaluation holds the model as a training does, so what fits is decided by the same estimate.
        """
        named = (self.training_instance, self.hosting_instance, *self.hosting_fallback_instances)
        needed_gb = instances.memory_needed_gb(self.model.parameters_millions, "training")
        return [
            name
            for name in dict.fromkeys(named)
            if name not in instances.NO_PROCESSING and instances.GPU_OF_INSTANCE[name].memory_gb >= needed_gb
        ]

    @property
    def title(self) -> str:
        """`name` with its first letter upper-cased: the beginning of the stacks' names."""
        return self.name[0].upper() + self.name[1:]

    @property
    def tuning_job_prefix(self) -> str:
        """Beginning of the tuning jobs' names: of their 32 characters nine are left for the app's name.

        Another app's may begin so too; `contracts/s3_keys.py` names the jobs likewise.
        """
        return f"{self.name[:9].rstrip('-')}-"


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


_CURES = {
    "name": "Use 3 to 20 of a-z, 0-9 and -, beginning with a letter and not ending with -",
    "admin_email": "Give an e-mail address such as writer@example.com, or leave it empty",
    "base_model": f"Give one of {', '.join(catalogue.names())}, or the id of a causal model as owner/name",
    "base_model_revision": "Give a commit, tag or branch of the model's repository, or leave it empty",
    "training_instance": "Give a GPU instance such as ml.g6.xlarge",
    "hosting_instance": "Give a GPU instance such as ml.g6.xlarge",
    "hosting_fallback_instances": "Give GPU instances such as ml.g5.xlarge,ml.g6e.xlarge, or leave it empty",
    "instance_count": "Give a whole number of training instances from 1 to 16",
    "spot": "Give true or false",
    "max_training_minutes": "Give whole minutes from 1 to 7170 (SageMaker ends a job after five days)",
    "quiet_seconds": "Give whole seconds from 5 to 86400",
    "max_quiet_seconds": "Give whole seconds from 5 to 86400",
    "idle_minutes": "Give minutes above 0, 1440 at most",
    "hosting_max_instances": "Give a whole number of machines from 1 to 4; each of them is paid for",
    "answers_per_instance": "Give a whole number of answers from 1 to 256",
    "watch_minutes": "Give minutes from 0 to 15",
    "minimum_words": "Give a whole number of words, 1 or more",
    "ask_before_training": "Give true or false",
    "tune": "Give true or false",
    "tuning_jobs": "Give how many trainings a search may have, from 2 to 100",
    "tuning_budget_usd": "Give an amount of dollars above 0",
    "minimum_improvement_percent": "Give a percentage from 0 to below 100",
    "maximum_copy_percent": "Give a percentage from 0 to 100",
    "maximum_repetition_percent": "Give a percentage from 0 to 100",
    "minimum_ending_percent": "Give a percentage from 0 to 100",
    "approval": "Give automatic or manual",
    "monthly_budget_usd": "Give an amount of dollars above 0",
    "monthly_limit_usd": "Give an amount of dollars, or 0 for no limit",
    "instance_prices_usd": 'Give dollars an hour by instance, such as {"ml.g6.xlarge": 1.13}, '
    "or with -c ml.g6.xlarge=1.13,ml.g5.xlarge=1.41",
    "daily_tokens_per_person": "Give a whole number of tokens, 1 or more",
    "huggingface_token_secret": "Give the name of a secret in Secrets Manager, or leave it empty",
    "inference_ami": "Give one of SageMaker's InferenceAmiVersion names, or leave it empty",
    "transform_ami": "Give one of SageMaker's TransformAmiVersion names, or leave it empty",
    "function_python": "Give 3.11, 3.12, 3.13 or 3.14",
    "browser_endpoint": "Give http://localhost:PORT, or leave it empty on AWS",
}

_INSTANCE_KEYS = frozenset({"training_instance", "hosting_instance", "hosting_fallback_instances"})

# A context also holds the CDK's own flags and look-ups, none of which is written like our keys.
_LIKE_A_SETTING = re.compile(r"^[a-z][a-z_]*$")
_INSTANCE_NAME = re.compile(r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")


def read(context: Mapping[str, Any]) -> Settings:
    """Read the settings from the app's whole context.

    Args:
        context: `app.node.get_all_context()`; keys that belong to the CDK are passed over.

    Raises:
        SettingsError: lists every wrong value.
    """
    given = {key: value for key, value in context.items() if _LIKE_A_SETTING.match(key)}
    faults = [_unknown_key(key, given.pop(key)) for key in sorted(set(given) - set(Settings.model_fields))]
    settings, wrong = _validated(given)
    faults += wrong
    faults += _choice_faults(settings, skip={fault.key for fault in wrong})
    if faults:
        raise SettingsError(faults)
    return settings


def _unknown_key(key: str, value: object) -> Fault:
    close = get_close_matches(key, list(Settings.model_fields), n=1)
    cure = f"Did you mean {close[0]}" if close else f"The settings are {', '.join(Settings.model_fields)}"
    return Fault(key, value, "there is no such setting", cure)


def _validated(given: dict[str, Any]) -> tuple[Settings, list[Fault]]:
    """Validate the values; the settings returned have the defaults where a value is wrong."""
    try:
        return Settings.model_validate(given), []
    except ValidationError as error:
        faults = {
            str(problem["loc"][0]): Fault(
                key=str(problem["loc"][0]),
                value=problem["input"],
                reason=_plain(problem["msg"]),
                cure=_CURES[str(problem["loc"][0])],
            )
            for problem in error.errors()
        }
    right = {key: value for key, value in given.items() if key not in faults}
    return Settings.model_validate(right), list(faults.values())


def _plain(message: str) -> str:
    """Say pydantic's message without its regular expressions, which help nobody."""
    if "pattern" in message:
        return "it is not written as it must be"
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
    if not any(wrong) and fallbacks != Settings.model_fields["hosting_fallback_instances"].default:
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
        return Fault(key, instance, "its GPU is too old for the containers, which need CUDA 13", _CURES[key])
    if f"ml.{instance}" in instances.GPU_OF_INSTANCE:
        return Fault(key, instance, "SageMaker's instances begin with ml.", f"Give ml.{instance}")
    close = get_close_matches(instance, list(instances.GPU_OF_INSTANCE), n=3)
    cure = f"Give a GPU instance, such as {', '.join(close)}" if close else _CURES[key]
    reason = (
        "this instance has no GPU that we know"
        if _INSTANCE_NAME.match(instance)
        else "it is no instance type"
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
        f"it is gated: its owner ({model.id.split('/')[0]}) wants the {model.licence} licence accepted first",
        f"Accept it at https://huggingface.co/{model.id}, make a read token at "
        "https://huggingface.co/settings/tokens, keep it with: aws secretsmanager create-secret "
        "--name storyloom/huggingface --secret-string TOKEN, and set huggingface_token_secret to that name",
    )
