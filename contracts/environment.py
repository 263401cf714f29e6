"""What the stacks tell the functions, through `STORYLOOM_*` variables.

This is the only module that reads them. Each class is one group of variables; a function reads the groups
it needs, so a missing variable names itself only where it is missed.
"""

import os
from functools import lru_cache
from typing import Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from price_list.price import Kind


class MissingEnvironmentError(Exception):
    """A `STORYLOOM_*` variable is missing or malformed: the stack and the functions disagree."""


class BaseModelChoice(BaseModel):
    """The open model that stories are taught to."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Catalogue name, or the Hugging Face id where the model is in no catalogue."""
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


class _Group(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="STORYLOOM_", frozen=True, extra="ignore")


class Common(_Group):
    """Variables of every function."""

    name: str
    table: str
    stories_bucket: str
    artifacts_bucket: str
    base_model: BaseModelChoice


class Schedule(_Group):
    """The timers: EventBridge Scheduler one-time schedules that call start_run."""

    start_run_arn: str
    schedule_name: str
    deploy_schedule_name: str
    """Of the schedule for a version that waits for the run before it to end."""
    schedule_group: str
    schedule_role_arn: str
    quiet_seconds: int
    max_quiet_seconds: int
    """After the first new story: then a run starts although others keep coming."""


class Pipeline(_Group):
    """The state machine."""

    state_machine_arn: str


class Assembly(_Group):
    """How a dataset becomes a training job."""

    minimum_words: int
    max_training_minutes: int
    training_instance: str
    instance_count: int = 1
    processing_instances: list[str]
    """Where the evaluation may run, the first choice first."""
    training_code_uri: str
    spot: bool
    ask_before_training: bool
    tune: bool
    tuning_jobs: int
    tuning_budget_usd: float


class Evaluation(_Group):
    """Where a model may be evaluated."""

    processing_instances: list[str]


class QuotaCheck(_Group):
    """What the account must be allowed to have before a training is paid for."""

    quotas: list[dict[str, str | int]]
    """`{"name", "minimum", "purpose", "stands_in_for"}` of each of SageMaker's quotas (stacks/quotas.py)."""


class Page(_Group):
    """Where the owner reads and answers."""

    page_url_parameter: str
    """Name of the Systems Manager parameter with the page's address, which the Chat stack writes."""


class Staging(_Group):
    """Access to gated models; empty where none is needed."""

    huggingface_token_secret: str = ""


class GateRules(_Group):
    """What a candidate must be to be deployed; settings of the same names."""

    minimum_improvement_percent: float
    maximum_copy_percent: float
    maximum_repetition_percent: float
    minimum_ending_percent: float


class Registry(_Group):
    """The SageMaker Model Registry."""

    model_package_group: str
    hosting_image: str
    approval: Literal["automatic", "manual"]
    """Whether a version that passed the gate is deployed at once, or waits for somebody's yes."""


class Hosting(_Group):
    """The endpoint."""

    hosting_image: str
    hosting_instance: str
    hosting_fallback_instances: list[str] = []
    """What is tried, one after the other, where there is none of `hosting_instance`."""
    hosting_role_arn: str
    endpoint_name: str
    inference_ami: str = ""
    idle_minutes: float
    hosting_max_instances: int = 1
    """More than one: as many as the load asks for, up to this."""
    answers_per_instance: float = 8
    """How many answers a machine writes at once before another one is asked for."""
    watch_minutes: float = 0
    """How long a new version's alarms are watched while the machines of the one before it stay."""
    rollback_alarms: list[str] = []


class IdleTime(_Group):
    """How long the endpoint stays without a message."""

    idle_minutes: float


class TransformMachines(_Group):
    """The machines that transform jobs may run on."""

    transform_tokens_per_second: dict[str, float | None]
    """How many tokens of answers a second each is expected to write; None where nobody knows. The first is
    taken where nobody says otherwise."""


class TransformJobs(_Group):
    """What a transform job is made of."""

    hosting_image: str
    transform_role_arn: str
    transform_ami: str = ""


class SpendingLimit(_Group):
    """What everything that costs may come to in a month."""

    monthly_limit_usd: float
    """0: there is no limit."""


class RunCosts(_Group):
    """What decides what a run costs at most."""

    training_instance: str
    instance_count: int = 1
    processing_instances: list[str]
    hosting_instance: str
    max_training_minutes: int
    grace_minutes: int
    """What loading and saving get beside the limit of training."""
    longest_evaluation_minutes: int
    spot: bool
    spot_wait_hours: int


class GivenPrices(_Group):
    """Prices that somebody gave by hand."""

    instance_prices: dict[str, float] = {}
    """US dollars an hour by instance type; they win over every other price."""


class BilledInstances(_Group):
    """What the app may pay for."""

    billed_instances: dict[Kind, list[str]]
    """Instance types by what they are billed for."""


class Starter(_Group):
    """The function that starts runs."""

    start_run_arn: str


class Messages(_Group):
    """The topic that tells the person who owns the stories."""

    topic_arn: str


class Api(_Group):
    """What the REST API talks to."""

    endpoint_name: str
    endpoint_manager_function: str
    start_run_function: str
    state_machine_arn: str
    start_batch_function: str
    hosting_max_instances: int = 1
    answers_per_instance: float = 8
    browser_endpoint: str = ""
    """Where the browser finds everything on one machine; empty on AWS."""
    s3_endpoint: str = ""
    """S3 in the app's region, as the browser reaches it; empty on one machine."""


class Budget(_Group):
    """How much each caller may ask."""

    daily_tokens: int


class UserPool(_Group):
    """The Cognito user pool, which has the people and their roles."""

    user_pool_id: str


class SignIn(UserPool):
    """The user pool whose tokens the API accepts."""

    user_pool_client_id: str


GroupT = TypeVar("GroupT", bound=_Group)


def read(group: type[GroupT]) -> GroupT:
    """Read one group of variables.

    Raises:
        MissingEnvironmentError: names each variable that is missing or malformed.
    """
    written = tuple(os.environ.get(f"STORYLOOM_{name.upper()}") for name in group.model_fields)
    return cast(GroupT, _read(group, written))


@lru_cache(maxsize=64)
def _read(group: type[_Group], written: tuple[str | None, ...]) -> _Group:
    """Read a group once for what is `written`: each call to the table asks for its name."""
    try:
        return group()
    except ValidationError as error:
        faults = ", ".join(
            f"STORYLOOM_{'_'.join(str(part) for part in fault['loc']).upper()} ({fault['msg']})"
            for fault in error.errors()
        )
        raise MissingEnvironmentError(
            f"The function's environment lacks {faults}. Deploy the stacks again: they set it."
        ) from error


def common() -> Common:
    """Read the variables of every function."""
    return read(Common)
