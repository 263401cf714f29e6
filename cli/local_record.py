"""Read `cloud.json`, the description of this checkout's local cloud, if it can be trusted.

Anybody can put a `.local-cloud/cloud.json` into a folder from which somebody else will run a command. So only
the file of the command's own checkout is read, and only if it belongs to the user and names a running process
of this cloud.
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
    """Return the description of the running local cloud in `state`; None if none was started.

    A relative folder is resolved against this checkout.

    Raises:
        CommandError: the current folder has another cloud's description, the local cloud is still starting or
            no longer runs, or the description names another machine.
        LocalCloudError: the file does not belong to the user alone.
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
    """Raise an error if the current folder has another checkout's cloud, which the user may mean."""
    if (found.exists() or found.is_symlink()) and found.resolve() != own.resolve():
        raise CommandError(
            f"{found} does not belong to this command's checkout ({CHECKOUT}), so it was not used. "
            "Nothing was sent.",
            "If it is another local cloud of yours, use the `storyloom` of that checkout. Otherwise delete "
            "it, or run this command in another folder.",
        )
