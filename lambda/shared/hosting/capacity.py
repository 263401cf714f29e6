"""Where AWS has no machine for the model: the next of the list, and when all were tried, what helps."""

from shared.hosting import endpoint, hosting_state, machines
from shared.hosting.shortages import shortage
from shared.items import HostingState, Shortage

__all__ = ["QUOTA_PAGE", "fall_back_to_next_instance", "next_choice", "nothing_left", "shortage"]

_WORDS: dict[Shortage, str] = {"capacity": "AWS has none free", "quota": "over the account's quota"}
QUOTA_PAGE = "https://console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"


def next_choice(tried: dict[str, Shortage]) -> str | None:
    """Return the first machine of the list that has not been tried; None where all have been."""
    return next((instance for instance in machines.choices() if instance not in tried), None)


def fall_back_to_next_instance(
    state: HostingState, refused: str, short: Shortage, bundle_uri: str
) -> str | None:
    """Note that there is none of a machine now, and that the next of the list is to host a bundle.

    Doing it again with the same state changes nothing.

    Returns:
        The message to end with if all instance types were tried, else None.
    """
    tried = {**state.tried, refused: short}
    instance = next_choice(tried)
    if instance is None:
        return nothing_left(tried)
    if tried != state.tried:
        config = endpoint.ensure_config(bundle_uri, instance)
        hosting_state.note_shortage(
            state, tried, config, f"{_list(tried)}. Trying {instance}, the next of the list."
        )
    return None


def nothing_left(tried: dict[str, Shortage]) -> str:
    """Say what was tried and what helps."""
    return (
        f"There is no machine to host the model now: {_list(tried)}. "
        "The first is tried again with the first message after "
        f"{hosting_state.CAPACITY_SECONDS // 60} minutes. "
        f'Where it stays so: raise the quotas "for endpoint usage" at {QUOTA_PAGE}, name other machines in '
        "hosting_instance and hosting_fallback_instances of cdk.json, or deploy to another region."
    )


def _list(tried: dict[str, Shortage]) -> str:
    # The table keeps no order; those that the settings name no more come last.
    order = [*machines.choices(), *tried]
    known = dict.fromkeys(instance for instance in order if instance in tried)
    return ", ".join(f"{instance} ({_WORDS[tried[instance]]})" for instance in known)
