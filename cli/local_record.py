"""The local cloud of this checkout, as its `cloud.json` describes it, and when that is believed.

Anybody can put a `.local-cloud/cloud.json` into a folder that somebody else will stand in. So only the
checkout that this command belongs to is looked at, and its file counts if it is the user's own and names a
running process of this cloud.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.addresses import is_loopback, page_address
from cli.errors import CommandError
from local.cloud import LocalCloud

LOCAL_STATE = Path(".local-cloud")
CHECKOUT = Path(__file__).resolve().parent.parent
_RECORD = "cloud.json"


def local_cloud_record(state: Path = LOCAL_STATE) -> dict[str, Any] | None:
    """Return what the running local cloud in `state` says of itself; None if none was started.

    A relative folder is one of this checkout.

    Raises:
        CommandError: the folder that the user stands in brought a record, the local cloud is still starting
            or no longer runs, or its record names another machine.
        LocalCloudError: the record is not a file of the user's own.
    """
    folder = CHECKOUT / state
    _refuse_foreign(Path.cwd() / state / _RECORD, folder / _RECORD)
    cloud = LocalCloud(CHECKOUT, folder)
    record = cloud.description()
    if not record:
        return None
    if not cloud.is_supervised():
        raise CommandError(
            f"The local cloud of {CHECKOUT} is not running any more, but it was not stopped either.",
            "Remove what it left with `storyloom local down`; after that, the deployment that you signed in "
            "to is used. `make run` starts a new local cloud.",
        )
    if not (record.get("url") and record.get("sign_in")):
        raise CommandError(
            f"The local cloud of {CHECKOUT} is still starting.", "Try again when it has printed its address."
        )
    if not is_loopback(page_address(str(record["url"]))):
        raise CommandError(
            f"{folder / _RECORD} names another machine: {record['url']!r}. Nothing was sent there.",
            "Remove it with `storyloom local down`.",
        )
    return record


def _refuse_foreign(found: Path, own: Path) -> None:
    """Refuse to go on beside another checkout's local cloud: which one is meant?"""
    if (found.exists() or found.is_symlink()) and found.resolve() != own.resolve():
        raise CommandError(
            f"{found} is not of the checkout that this command belongs to ({CHECKOUT}), so it is not used. "
            "Nothing was sent.",
            "If it is another local cloud of yours, use the `storyloom` of that checkout. If you do not know "
            "it, delete it, or run this in another folder.",
        )
