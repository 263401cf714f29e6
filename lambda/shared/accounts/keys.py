"""API keys for programs, `sl-<id>-<secret>`. The table has only the secret's hash, so a key is shown once."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import timedelta

from boto3.dynamodb.conditions import Attr

from contracts import table_keys
from shared import clock, table
from shared.items import ApiKey, KeyScope

PREFIX = "sl-"
"""Distinguishes a key from an ID token, which begins with `eyJ`."""
KEY_SCOPES: tuple[KeyScope, ...] = ("chat", "read", "write")
"""No key can have `keys` or `people`, because a leaked key could then create another one."""
USUAL_DAYS = 90
"""The validity of a key if its creator sets none."""
_PARTITION = table_keys.KEYS
_WRITTEN = re.compile(r"sl-(?P<key_id>[0-9a-f]{12})-(?P<secret>[A-Za-z0-9_-]{43})")


def issue_key(
    name: str,
    scopes: Sequence[KeyScope],
    requests_per_minute: int,
    *,
    by: str,
    email: str,
    days: int = USUAL_DAYS,
) -> tuple[ApiKey, str]:
    """Create a key.

    Args:
        name: its name, for its creator.
        scopes: what it may do.
        requests_per_minute: its rate limit.
        by: `sub` of its creator.
        email: e-mail address of its creator.
        days: its validity.

    Returns:
        The key, and its text, which cannot be read again.
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


def authenticate(text: str) -> ApiKey | None:
    """Return the key with this text; None if the text is no key, or the key is revoked or expired."""
    written = _WRITTEN.fullmatch(text)
    key = get(written["key_id"]) if written else None
    if written is None or key is None or not is_valid(key):
        return None
    # The comparison takes constant time, so that its duration does not reveal a part of the secret.
    return key if hmac.compare_digest(_hash(written["secret"]), key.secret_sha256) else None


def is_valid(key: ApiKey) -> bool:
    """Return whether a key is neither revoked nor expired."""
    return key.revoked_at is None and key.ends_at > clock.stamp()


def get(key_id: str) -> ApiKey | None:
    """Read one key; None if it does not exist."""
    item = table.get(_PARTITION, key_id)
    return ApiKey.model_validate(item) if item else None


def list_all() -> list[ApiKey]:
    """Read all keys, newest first, revoked ones too."""
    found = [ApiKey.model_validate(item) for item in table.query(_PARTITION)]
    return sorted(found, key=lambda key: key.created_at, reverse=True)


def mark_revoked(key_id: str) -> ApiKey | None:
    """Revoke a key; None if it does not exist. Repeating the call changes nothing."""
    table.update(_PARTITION, key_id, {}, only_if=Attr("pk").exists(), if_absent={"revoked_at": clock.stamp()})
    return get(key_id)


def revoke_all_of(sub: str) -> None:
    """Revoke all keys of a person who has been removed."""
    for key in list_all():
        if key.created_by == sub and key.revoked_at is None:
            mark_revoked(key.key_id)


def record_key_use(key_id: str) -> None:
    """Record that a key was used today."""
    table.update(_PARTITION, key_id, {"last_used_on": clock.day()}, only_if=Attr("pk").exists())


def _hash(secret: str) -> str:
    # A password would need a slow hash. One round of SHA-256 is enough for 256 random bits.
    return hashlib.sha256(secret.encode()).hexdigest()
