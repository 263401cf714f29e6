"""The names and tags of the app's AWS resources."""

from __future__ import annotations

from dataclasses import dataclass

TAG = "storyloom:app"
REGION_TAG = "storyloom:region"
"""On IAM roles, which belong to no region, and which CloudFormation does not tag with their stack."""


@dataclass(frozen=True)
class AppNames:
    """The names of one app's resources."""

    name: str

    @property
    def title(self) -> str:
        """Return the beginning of the stacks' names: the app's name with its first letter upper-cased."""
        return self.name[0].upper() + self.name[1:]

    @property
    def stacks(self) -> tuple[str, ...]:
        """Return the stacks that a deletion deletes, in that order."""
        return (f"{self.title}-Operations", self.chat_stack, f"{self.title}-Pipeline")

    @property
    def chat_stack(self) -> str:
        """Return the name of the Chat stack."""
        return f"{self.title}-Chat"

    @property
    def storage_stack(self) -> str:
        """Return the name of the Storage stack, which a deletion keeps."""
        return f"{self.title}-Storage"

    def belongs_to_stacks(self, physical_name: str) -> bool:
        """Tell whether CloudFormation gave this name to a resource of one of the stacks."""
        lowered = physical_name.lower()
        parts = (*self.stacks, self.storage_stack)
        return any(lowered == part.lower() or lowered.startswith(f"{part.lower()}-") for part in parts)
