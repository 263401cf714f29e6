"""The tag of everything that the functions make: what belongs to this app can be found, and its cost told."""

from typing import TypedDict

from shared import environment

KEY = "storyloom:app"


class Tag(TypedDict):
    """As SageMaker takes it."""

    Key: str
    Value: str


def of_the_app() -> list[Tag]:
    """Return the tags for one thing that is made at run time."""
    return [{"Key": KEY, "Value": environment.common().name}]
