"""The instance types that may host the model, and the next one to try when AWS has none free."""

from contracts import environment
from shared.hosting import endpoint_configs, hosting_state
from shared.items import HostingState, Shortage

# SageMaker reports this in a failed endpoint's FailureReason, or refuses the call with ResourceLimitExceeded:
# "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."
# "The account-level service limit 'ml.g6.xlarge for endpoint usage' is 0 Instances, …"
_QUOTA_SIGNS = ("resourcelimitexceeded", "service limit", "servicequotaexceeded")
_CAPACITY_SIGNS = (
    "insufficientinstancecapacity",
    "insufficientcapacity",
    "ml compute capacity",
    "capacityerror",
)

_WORDS: dict[Shortage, str] = {"capacity": "AWS has none free", "quota": "over the account's quota"}
QUOTA_PAGE = "https://console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"


def allowed_instances() -> list[str]:
    """Return the instance types that may host the model, in the order of the settings."""
    settings = environment.read(environment.Hosting)
    return [settings.hosting_instance, *settings.hosting_fallback_instances]


def current_or_default_instance(config: str | None) -> str:
    """Return the configuration's instance type if the settings allow it, else the first choice."""
    instance = endpoint_configs.instance_of(config)
    allowed = allowed_instances()
    return instance if instance in allowed else allowed[0]


def shortage(reason: str | None) -> Shortage | None:
    """Return the kind of shortage that a failure reason names; None if the reason is another one."""
    lowered = (reason or "").lower()
    if any(sign in lowered for sign in _QUOTA_SIGNS):
        return "quota"
    return "capacity" if any(sign in lowered for sign in _CAPACITY_SIGNS) else None


def next_instance(tried: dict[str, Shortage]) -> str | None:
    """Return the first instance type of the list that has not been tried; None if all have been."""
    return next((instance for instance in allowed_instances() if instance not in tried), None)


def fall_back_to_next_instance(
    state: HostingState, refused: str, short: Shortage, bundle_uri: str
) -> str | None:
    """Record the shortage of an instance type, and use the next of the list for a bundle.

    Repeating the call with the same state changes nothing.

    Returns:
        The message to end with if all instance types were tried, else None.
    """
    tried = {**state.tried, refused: short}
    instance = next_instance(tried)
    if instance is None:
        return none_left_message(tried)
    if tried != state.tried:
        config = endpoint_configs.ensure_config(bundle_uri, instance)
        hosting_state.record_shortage(
            state, tried, config, f"{_list(tried)}. Trying {instance}, the next of the list."
        )
    return None


def none_left_message(tried: dict[str, Shortage]) -> str:
    """Return which instance types were tried, and what to do."""
    return (
        f"There is no instance to host the model now: {_list(tried)}. "
        "The first is tried again with the first message after "
        f"{hosting_state.CAPACITY_SECONDS // 60} minutes. "
        f'If it stays so: raise the quotas "for endpoint usage" at {QUOTA_PAGE}, name other instances in '
        "hosting_instance and hosting_fallback_instances of cdk.json, or deploy to another region."
    )


def _list(tried: dict[str, Shortage]) -> str:
    # The table stores no order. Instance types that the settings no longer name come last.
    order = [*allowed_instances(), *tried]
    known = dict.fromkeys(instance for instance in order if instance in tried)
    return ", ".join(f"{instance} ({_WORDS[tried[instance]]})" for instance in known)
