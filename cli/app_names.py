"""How one app names what it makes, and tags it."""

from __future__ import annotations

from dataclasses import dataclass

TAG = "storyloom:app"
REGION_TAG = "storyloom:region"
"""Of IAM roles, which belong to no region, and which CloudFormation does not tag with their stack."""


@dataclass(frozen=True)
class AppNames:
    """How one app names what it makes."""

    name: str

    @property
    def title(self) -> str:
        return self.name[0].upper() + self.name[1:]

    @property
    def stacks(self) -> tuple[str, ...]:
        """The stacks that a deletion deletes, in its order."""
        return (f"{self.title}-Operations", self.chat_stack, f"{self.title}-Pipeline")

    @property
    def chat_stack(self) -> str:
        return f"{self.title}-Chat"

    @property
    def storage_stack(self) -> str:
        return f"{self.title}-Storage"

    def is_stacks(self, physical_name: str) -> bool:
        """Whether CloudFormation gave this name to a resource of one of the stacks."""
        lowered = physical_name.lower()
        parts = (*self.stacks, self.storage_stack)
        return any(lowered == part.lower() or lowered.startswith(f"{part.lower()}-") for part in parts)
