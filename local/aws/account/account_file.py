"""What AWS allows one account: a profile, and quotas that differ from it, in `<state folder>/account.json`.

Each check uses the file as it is at that moment, so that a quota can change while the cloud runs, as an
increase is granted on AWS. Which quotas a profile has is in `local.aws.account.account_quotas`.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from local.aws.errors import LocalCloudError

Profile = Literal["usual", "new"]
"""`usual` has ample quotas. `new` is an account of today: no GPUs, 10 functions at once, 3,008 MB each."""


@dataclass(frozen=True)
class Account:
    """The limits of one account."""

    profile: Profile = "usual"
    quotas: Mapping[str, float] = field(default_factory=dict)
    """Values by the quotas' names (`ml.g6.xlarge for endpoint usage`), in place of the profile's."""
    not_offered: tuple[str, ...] = ()
    """Instance types that the region does not have, such as `ml.g6e.xlarge`: there is no quota for them."""
    cloudfront_verified: bool = True
    """Whether AWS lets the account create CloudFront distributions; new accounts may have to ask first."""


def read_account(path: Path) -> Account:
    """Read the account file; the usual account if there is none."""
    try:
        status = path.stat()
        return _read_version(path, (status.st_ino, status.st_mtime_ns, status.st_size))
    except FileNotFoundError:
        return Account()


@lru_cache(maxsize=8)
def _read_version(path: Path, version: tuple[int, int, int]) -> Account:
    """Read the account file once for each of its versions: a list of quotas looks at it for every quota."""
    written: dict[str, Any] = json.loads(path.read_text())
    known = {key: value for key, value in written.items() if key in Account.__dataclass_fields__}
    return Account(**known)


def write_account(path: Path, account: Account) -> None:
    """Replace the account file in one step: the cloud may be reading it.

    Raises `LocalCloudError` if there is no such profile.
    """
    if account.profile not in get_args(Profile):
        profiles = ", ".join(get_args(Profile))
        raise LocalCloudError(f"{account.profile!r} is not an account profile. The profiles are: {profiles}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(f".{secrets.token_hex(4)}")
    staging.write_text(json.dumps({**asdict(account), "quotas": dict(account.quotas)}, indent=2))
    staging.replace(path)


def set_quota(path: Path, name: str, value: float) -> None:
    """Give one quota another value."""
    account = read_account(path)
    write_account(path, replace(account, quotas={**account.quotas, name: value}))
