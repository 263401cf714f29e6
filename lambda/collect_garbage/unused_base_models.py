"""Staged base models that the app is not set to, and no version is made of."""

from collect_garbage import artifact_objects
from collect_garbage.protected import Protected
from shared import layout


def delete_unused(protected: Protected) -> int:
    """Delete base models that no version needs; returns how many objects.

    A base model stays if a version made of it may answer again: its bundle is built from it.
    """
    return sum(
        artifact_objects.delete_below(layout.base_model(slug, revision))
        for slug in artifact_objects.folders(layout.BASE_MODELS)
        for revision in artifact_objects.folders(f"{layout.BASE_MODELS}{slug}/") - protected.revisions
    )
