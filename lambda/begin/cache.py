"""Forgets what was read of files that are gone or have changed: a deleted story leaves no text here."""

from contracts import s3_keys
from shared.aws import clients
from shared.runs.story_batches import StoryFile, file_digest

_MOST_KEYS_A_CALL = 1000


class NotForgottenError(Exception):
    """S3 did not delete what is kept of a story that is gone."""


class CachedFiles:
    """What is kept of files that earlier runs read: a hundred bytes or so of memory a file."""

    def __init__(self, bucket: str, readers: dict[str, list[str]]) -> None:
        """Hold a bucket's list: for each prefix of one file the versions of the code that read it."""
        self._bucket = bucket
        self._readers = readers

    @classmethod
    def listed(cls, bucket: str) -> "CachedFiles":
        """List what is there."""
        readers: dict[str, list[str]] = {}
        pages = (
            clients.s3()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket, Prefix=s3_keys.CACHED_STORIES)
        )
        for page in pages:
            for found in page.get("Contents", []):
                folder, _, name = found["Key"].rpartition("/")
                readers.setdefault(f"{folder}/", []).append(name)
        return cls(bucket, readers)

    def keep(self, item: StoryFile) -> None:
        """Leave what is kept of a file as it is: the file is still there."""
        self._readers.pop(s3_keys.cached_file(file_digest(item)), None)

    def delete_stale(self) -> int:
        """Delete the cached objects of files that no longer exist, and return their number.

        Raises:
            NotForgottenError: names one that is still there.
        """
        keys = [f"{folder}{name}" for folder, names in self._readers.items() for name in names]
        for start in range(0, len(keys), _MOST_KEYS_A_CALL):
            some = keys[start : start + _MOST_KEYS_A_CALL]
            answer = clients.s3().delete_objects(
                Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
            )
            for error in answer.get("Errors", []):
                raise NotForgottenError(
                    f"{error.get('Key')} could not be deleted: {error.get('Message')}. It holds the text of "
                    "a story that is gone. Start the run again, or delete it by hand."
                )
        return len(keys)
