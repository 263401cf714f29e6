"""The tag of everything that the functions make, by which the app's resources and their cost are found."""

from typing import TypedDict

from contracts import environment
from contracts.resource_names import TAG


class Tag(TypedDict):
    """A tag in SageMaker's form."""

    Key: str
    Value: str


def of_the_app() -> list[Tag]:
    """Return the tags for one thing that is made at run time."""
    return [{"Key": TAG, "Value": environment.common().name}]
