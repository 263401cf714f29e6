"""The functions, grouped by the code asset that they share."""

from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class FunctionGroup:
    """Functions that are deployed from one zip, because they need the same packages."""

    name: str
    """Also the name of `lambda/requirements/<name>.txt` and of its lock file."""
    functions: tuple[str, ...]
    """Their folders below `lambda/`."""
    libraries: tuple[str, ...] = ()
    """Top-level packages of the checkout that they import."""
    at_the_root: tuple[str, ...] = ()
    """Files below `lambda/` that go to the root of the zip: start scripts, which Lambda expects there."""

    @property
    def requirements(self) -> Path:
        """The pinned packages of the group."""
        return CHECKOUT / "lambda" / "requirements" / f"{self.name}.txt"

    @property
    def lock(self) -> Path:
        """The same packages with the hashes of their files."""
        return self.requirements.with_suffix(".lock")


_PRICES = ("price_list",)

CONTROL = FunctionGroup(
    "control",
    (
        "debounce_uploads",
        "start_run",
        "begin",
        "activate",
        "on_version_reviewed",
        "ask_approval",
        "stage_base_model",
        "preflight",
        "reserve",
        "choose_best",
        "next_attempt",
        "resume",
        "gate",
        "register",
        "deploy",
        "smoke_test",
        "collect_garbage",
        "announce",
        "record_failure",
        "endpoint_manager",
        "start_batch",
        "refresh_prices",
        "clean_up",
    ),
    libraries=_PRICES,
)
STORIES = FunctionGroup("stories", ("read_stories", "assemble"), libraries=("stories", *_PRICES))
API = FunctionGroup(
    "api",
    ("chat_api", "authorizer"),
    libraries=("stories", *_PRICES),
    at_the_root=("chat_api/run.sh",),
)

GROUPS = (CONTROL, STORIES, API)


def group_of(function: str) -> FunctionGroup:
    """Return the group that a function is deployed with.

    Raises:
        KeyError: no group contains it.
    """
    for group in GROUPS:
        if function in group.functions:
            return group
    raise KeyError(f"No group of stacks/functions/function_groups.py has the function {function!r}.")
