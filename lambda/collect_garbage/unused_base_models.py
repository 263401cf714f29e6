"""Staged base models that the app is not set to, and no version is made of."""

from collect_garbage import artifact_objects
from collect_garbage.protected import Protected
from contracts import s3_keys


def delete_unused(protected: Protected) -> int:
    """Delete base models that no version needs; returns how many objects.

    A base model stays if a version made of it may answer again: its bundle is built from it.
    """
    return sum(
        artifact_objects.delete_below(s3_keys.base_model(slug, revision))
        for slug in artifact_objects.folders(s3_keys.BASE_MODELS)
        for revision in artifact_objects.folders(f"{s3_keys.BASE_MODELS}{slug}/") - protected.revisions
    )
