"""The functions' environment: groups of `STORYLOOM_*` variables that stacks set and functions read.

Each class is one group of variables. A stack makes a group and sets its `variables()`; a function gets the
same group from `read`, and an error only if a variable of that group is missing. A group that has a section
of the settings as a base has these settings under their own names.
"""

import json
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import EnvSettingsSource

from contracts.resource_names import AppNames
from contracts.settings_sections import (
    ApprovalSettings,
    BatchSettings,
    GateSettings,
    HostingSettings,
    SearchSettings,
    TrainingSettings,
    UploadSettings,
)
from price_list.price import Kind

if TYPE_CHECKING:
    from contracts.settings import Settings

_PREFIX = "STORYLOOM_"
EVALUATION_ACCELERATOR = f"{_PREFIX}ACCELERATOR"
"""Variable of the evaluation job (`storyloom_jobs.gpu_check`): with `gpu` it fails if no GPU computes."""


class MissingEnvironmentError(Exception):
    """A `STORYLOOM_*` variable is missing or malformed: the stack and the functions disagree."""


class EnvironmentGroup(BaseModel):
    """A group of variables. Every one of them is required, unless the group lists it as `optional`."""

    # Most functions use a few groups: the validators of the others are never built.
    model_config = ConfigDict(frozen=True, defer_build=True)

    optional: ClassVar[frozenset[str]] = frozenset()
    """Names of the fields that may have no variable."""

    @classmethod
    def from_settings(cls, settings: "Settings", **others: Any) -> Self:
        """Make a group from the settings with the names of its fields, and from the values given here."""
        names = (cls.model_fields.keys() & type(settings).model_fields.keys()) - others.keys()
        return cls(**{name: getattr(settings, name) for name in names}, **others)

    def variables(self) -> dict[str, str]:
        """Return the environment variables from which `read` makes this group."""
        return {variable(name): _to_text(getattr(self, name)) for name in sorted(self.model_fields_set)}


def variable(field: str) -> str:
    """Return the name of the environment variable of a field."""
    return f"{_PREFIX}{field.upper()}"


def _to_text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value).removesuffix(".0")
        case BaseModel():
            return json.dumps(value.model_dump())
        case _:
            return json.dumps(value)


class BaseModelChoice(BaseModel):
    """The open model that is fine-tuned on the stories."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Catalogue name, or the Hugging Face id if the model is not in the catalogue."""
    id: str
    """Hugging Face id, `owner/name`."""
    slug: str
    """Its folder below `base-models/`."""
    revision: str
    chat: bool
    context_length: int
    """Tokens."""
    parameters_millions: int
    gated: bool


class Common(EnvironmentGroup):
    """Variables of every function."""

    name: str
    table: str
    stories_bucket: str
    artifacts_bucket: str
    base_model: BaseModelChoice

    @property
    def names(self) -> AppNames:
        """The names of the app's resources."""
        return AppNames(self.name)


class Schedule(EnvironmentGroup, UploadSettings):
    """The one-time schedules of EventBridge Scheduler that call start_run."""

    start_run_arn: str
    schedule_name: str
    deploy_schedule_name: str
    """Name of the schedule that deploys a version after the run before it has ended."""
    schedule_group: str
    schedule_role_arn: str


class StateMachine(EnvironmentGroup):
    """The state machine."""

    state_machine_arn: str


class Assembly(EnvironmentGroup, TrainingSettings, SearchSettings):
    """How a dataset becomes a training job."""

    processing_instances: list[str]
    """Instance types that may evaluate a model, first choice first."""
    training_code_uri: str


class EvaluationInstances(EnvironmentGroup):
    """The instance types that may evaluate a model."""

    processing_instances: list[str]


class QuotaCheck(EnvironmentGroup):
    """The quotas that a run needs, which are checked before a training is paid for."""

    quotas: list[dict[str, str | int]]
    """`{"name", "minimum", "purpose", "stands_in_for"}` of each of SageMaker's quotas (stacks/quotas.py)."""


class PageAddress(EnvironmentGroup):
    """The page's address, for links in messages."""

    page_url_parameter: str
    """Name of the Systems Manager parameter with the page's address, which the Chat stack writes."""


class Staging(EnvironmentGroup):
    """Access to gated models; empty if no token is needed."""

    optional: ClassVar = frozenset({"huggingface_token_secret"})

    huggingface_token_secret: str = ""


class GateRules(EnvironmentGroup, GateSettings):
    """The gate's rules for deploying a candidate."""


class Registry(EnvironmentGroup, ApprovalSettings):
    """The SageMaker Model Registry."""

    model_package_group: str
    hosting_image: str


class Hosting(EnvironmentGroup, HostingSettings):
    """The endpoint, with the fallback instances that the model fits into."""

    hosting_image: str
    hosting_role_arn: str
    endpoint_name: str
    rollback_alarms: list[str]


class EndpointName(EnvironmentGroup):
    """The endpoint's name, for functions that only invoke it."""

    endpoint_name: str


class IdleTime(EnvironmentGroup):
    """How long an unused endpoint is kept."""

    idle_minutes: float


class TransformInstances(EnvironmentGroup):
    """The instance types that transform jobs may use."""

    transform_tokens_per_second: dict[str, float | None]
    """Expected tokens of answers a second by instance type, None if not known; the first is the default."""


class TransformJobs(EnvironmentGroup, BatchSettings):
    """The container, the role and the driver of transform jobs."""

    hosting_image: str
    transform_role_arn: str


class SpendingLimit(EnvironmentGroup):
    """The most that all paid work may cost in a month."""

    monthly_limit_usd: float
    """0: there is no limit."""


class RunCosts(EnvironmentGroup):
    """The figures from which the most that a run may cost is computed."""

    training_instance: str
    instance_count: int
    processing_instances: list[str]
    hosting_instance: str
    max_training_minutes: int
    grace_minutes: int
    """Time for loading and saving, in addition to the limit of training."""
    longest_evaluation_minutes: int
    spot: bool
    spot_wait_hours: int


class GivenPrices(EnvironmentGroup):
    """Prices of the setting `instance_prices_usd`."""

    optional: ClassVar = frozenset({"instance_prices"})

    instance_prices: dict[str, float] = {}
    """US dollars an hour by instance type; they replace every other price."""


class BilledInstances(EnvironmentGroup):
    """The instance types that the app may pay for."""

    billed_instances: dict[Kind, list[str]]
    """Instance types by what they are billed for."""


class Starter(EnvironmentGroup):
    """The function that starts runs."""

    start_run_arn: str


class Messages(EnvironmentGroup):
    """The SNS topic for messages to the owner."""

    topic_arn: str


class FunctionNames(EnvironmentGroup):
    """The functions that the REST API invokes."""

    endpoint_manager_function: str
    start_run_function: str
    start_batch_function: str


class Api(EnvironmentGroup):
    """The settings that the REST API uses or returns."""

    hosting_max_instances: int
    answers_per_instance: int
    browser_endpoint: str
    """Base URL for the browser in the local cloud; empty on AWS."""
    s3_endpoint: str
    """URL of the region's S3 for the browser; empty in the local cloud."""


class TokenLimit(EnvironmentGroup):
    """The daily limit of each caller."""

    daily_tokens: int


class UserPool(EnvironmentGroup):
    """The Cognito user pool, which has the people and their roles."""

    user_pool_id: str


class AcceptedTokens(UserPool):
    """The user pool whose tokens the API accepts."""

    user_pool_client_id: str


GroupT = TypeVar("GroupT", bound=EnvironmentGroup)


def read(group: type[GroupT]) -> GroupT:
    """Read one group of variables.

    Raises:
        MissingEnvironmentError: names each variable that is missing or malformed.
    """
    written = tuple(os.environ.get(variable(name)) for name in group.model_fields)
    return cast(GroupT, _read(group, written))


@lru_cache(maxsize=64)
def _read(group: type[EnvironmentGroup], written: tuple[str | None, ...]) -> EnvironmentGroup:
    """Read a group. It is cached by its values, because every call to the table reads one."""
    missing = [
        name
        for name, text in zip(group.model_fields, written, strict=True)
        if text is None and name not in group.optional
    ]
    faults = [f"{variable(name)} (it is missing)" for name in missing]
    if not faults:
        try:
            return group.model_validate(EnvSettingsSource(cast(Any, group), env_prefix=_PREFIX)())
        except ValidationError as error:
            faults = [
                f"{variable('_'.join(str(part) for part in fault['loc']))} ({fault['msg']})"
                for fault in error.errors()
            ]
    raise MissingEnvironmentError(
        f"The function's environment lacks {', '.join(faults)}. Deploy the stacks again: they set it."
    )


def common() -> Common:
    """Read the variables of every function."""
    return read(Common)
