"""API keys for programs: `sl-<id>-<secret>`. The table has the secret's hash only, so a key is shown once."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import timedelta

from boto3.dynamodb.conditions import Attr

from contracts import table_keys
from shared import clock
from shared.table import table
from shared.table.items import ApiKey, KeyScope

PREFIX = "sl-"
"""What tells a key from an ID token, which begins with `eyJ`."""
KEY_SCOPES: tuple[KeyScope, ...] = ("chat", "read", "write")
"""No key can have `keys` or `people`, or one that leaked could make itself a successor."""
USUAL_DAYS = 90
"""How long a key works if its maker does not say."""
_PARTITION = table_keys.KEYS
_WRITTEN = re.compile(r"sl-(?P<key_id>[0-9a-f]{12})-(?P<secret>[A-Za-z0-9_-]{43})")


def make(
    name: str,
    scopes: Sequence[KeyScope],
    requests_per_minute: int,
    *,
    by: str,
    email: str,
    days: int = USUAL_DAYS,
) -> tuple[ApiKey, str]:
    """Make a key.

    Args:
        name: what its maker calls it.
        scopes: what it may do.
        requests_per_minute: how often it may ask.
        by: the maker's `sub`.
        email: the maker's address.
        days: after which it ends by itself.

    Returns:
        The key, and its text, which nobody can tell again.
    """
    now = clock.now()
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        key_id=secrets.token_hex(6),
        secret_sha256=_hash(secret),
        name=name,
        scopes=[scope for scope in KEY_SCOPES if scope in scopes],
        requests_per_minute=requests_per_minute,
        created_by=by,
        created_by_email=email,
        created_at=clock.text(now),
        expires_at=clock.text(now + timedelta(days=days)),
    )
    table.update(_PARTITION, key.key_id, key.model_dump())
    return key, f"{PREFIX}{key.key_id}-{secret}"


def check(text: str) -> ApiKey | None:
    """Return the key that a text is; None if it is none, a wrong one, or revoked, or at its end."""
    written = _WRITTEN.fullmatch(text)
    key = get(written["key_id"]) if written else None
    if written is None or key is None or not is_valid(key):
        return None
    # In constant time: how long it takes tells nobody how much of a guess was right.
    return key if hmac.compare_digest(_hash(written["secret"]), key.secret_sha256) else None


def is_valid(key: ApiKey) -> bool:
    """Whether a key is neither revoked nor at its end."""
    return key.revoked_at is None and key.ends_at > clock.stamp()


def get(key_id: str) -> ApiKey | None:
    """Read one key; None where there is none."""
    item = table.get(_PARTITION, key_id)
    return ApiKey.model_validate(item) if item else None


def every() -> list[ApiKey]:
    """Read all keys, newest first, revoked ones too."""
    found = [ApiKey.model_validate(item) for item in table.every(_PARTITION)]
    return sorted(found, key=lambda key: key.created_at, reverse=True)


def revoke(key_id: str) -> ApiKey | None:
    """Have a key work no longer, which saying again does not change; None where there is no such key."""
    table.update(_PARTITION, key_id, {}, only_if=Attr("pk").exists(), if_absent={"revoked_at": clock.stamp()})
    return get(key_id)


def revoke_all_of(sub: str) -> None:
    """Revoke the keys of a person who has been removed."""
    for key in every():
        if key.created_by == sub and key.revoked_at is None:
            revoke(key.key_id)


def note_use(key_id: str) -> None:
    """Note that a key was used today."""
    table.update(_PARTITION, key_id, {"last_used_on": clock.day()}, only_if=Attr("pk").exists())


def _hash(secret: str) -> str:
    # One round of SHA-256 is enough, where a password would need a slow hash: nobody guesses 256 random bits.
    return hashlib.sha256(secret.encode()).hexdigest()
