"""The records of the local SageMaker, in memory: gone when the cloud stops, like all of MiniStack's."""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.sagemaker import simulated_clock

Record = dict[str, Any]
"""One resource, in the shape of its Describe response. Keys that start with ``_`` are never shown."""


def sagemaker_arn(kind: str, name: str) -> str:
    """Return ``arn:aws:sagemaker:…:training-job/my-job``."""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def name_of(arn_or_name: str) -> str:
    """Return the name at the end of an ARN, or a name as it is."""
    return arn_or_name.rsplit("/", 1)[-1]


@dataclass
class Store:
    """Records by kind and name, and the tags of every resource by ARN. Thread-safe."""

    _records: dict[str, dict[str, Record]] = field(default_factory=dict)
    _tags: dict[str, dict[str, str]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """InstanceHold the lock for several steps."""
        with self._lock:
            yield

    def add(self, kind: str, name: str, record: Record) -> bool:
        """Add a new record; return False if the name is taken."""
        with self._lock:
            records = self._records.setdefault(kind, {})
            if name in records:
                return False
            records[name] = record
            return True

    def get(self, kind: str, name: str) -> Record | None:
        """Return a copy of the record, or None."""
        with self._lock:
            found = self._records.get(kind, {}).get(name)
            return copy.deepcopy(found) if found is not None else None

    def update(self, kind: str, name: str, **changes: Any) -> None:
        """Change some members, and ``LastModifiedTime``. A record that is gone stays gone."""
        with self._lock:
            record = self._records.get(kind, {}).get(name)
            if record is not None:
                record.update(changes, LastModifiedTime=simulated_clock.current_time())

    def remove(self, kind: str, name: str) -> Record | None:
        """Remove the record and return it, or None if there was none."""
        with self._lock:
            return self._records.get(kind, {}).pop(name, None)

    def all(self, kind: str) -> list[Record]:
        """Return copies of every record of a kind, oldest first."""
        with self._lock:
            return [copy.deepcopy(record) for record in self._records.get(kind, {}).values()]

    def tag(self, resource: str, tags: list[dict[str, str]]) -> None:
        """Add or replace tags (``[{"Key","Value"}]``)."""
        with self._lock:
            self._tags.setdefault(resource, {}).update({tag["Key"]: tag["Value"] for tag in tags})

    def untag(self, resource: str, keys: list[str]) -> None:
        """Remove tags."""
        with self._lock:
            for key in keys:
                self._tags.get(resource, {}).pop(key, None)

    def tags(self, resource: str) -> list[dict[str, str]]:
        """Return the tags of a resource, as the API shows them."""
        with self._lock:
            return [{"Key": key, "Value": value} for key, value in self._tags.get(resource, {}).items()]

    def tagged(self) -> list[tuple[str, list[dict[str, str]]]]:
        """Return ARN and tags of every resource that has tags."""
        with self._lock:
            return [
                (resource, self.tags(resource))
                for kind, records in self._records.items()
                for resource in (sagemaker_arn(kind, name) for name in records)
                if self._tags.get(resource)
            ]


def public_members(record: Record) -> Record:
    """Return the record as Describe answers it."""
    return {key: value for key, value in record.items() if not key.startswith("_") and value is not None}


STORE = Store()
"""The one store of this process."""
