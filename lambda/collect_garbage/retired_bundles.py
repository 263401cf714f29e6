"""Hosting bundles: each is a copy of the base model, so only those that are in use stay."""

from collect_garbage import artifact_objects
from collect_garbage.protected import Protected
from contracts import s3_keys


def delete_retired(protected: Protected) -> int:
    """Delete the bundles of all other versions, and their archives for batches; returns how many objects.

    Each object is tagged first: the bucket's lifecycle deletes what is tagged if this function dies before
    it has. Whoever builds a bundle again does not use what is tagged.
    """
    deleted = 0
    for version in artifact_objects.folders(s3_keys.HOSTING) - protected.bundles:
        deleted += artifact_objects.delete_below(s3_keys.hosting(version), tag_first=True)
    for version in artifact_objects.folders(s3_keys.TRANSFORM_MODELS) - protected.bundles - protected.batches:
        deleted += artifact_objects.delete_below(s3_keys.transform_models(version))
    return deleted
