"""Keys for programs. Each belongs to the person who made it, and ends by itself."""

from typing import Annotated

from aws_lambda_powertools import Logger
from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from chat_api.dependencies.errors import ApiError, refusals
from chat_api.dependencies.identity import MayManageKeys, User
from chat_api.openai.numbers import WHOLE
from shared import clock
from shared.accounts import keys
from shared.items import LONGEST_KEY_DAYS, ApiKey, KeyScope

log = Logger(service="chat_api")
router = APIRouter(prefix="/keys", tags=["Keys"], responses=refusals())

KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


class Key(BaseModel):
    """A program's key, without what would let anybody use it."""

    key_id: str
    name: str
    scopes: list[KeyScope]
    requests_per_minute: int
    created_by_email: str
    created_by: str
    """Id of the person it belongs to. It works as long as that person may sign in."""
    created_at: clock.Utc
    expires_at: clock.Utc
    """When it ceases to work by itself."""
    revoked_at: clock.Utc | None
    """When it was revoked; null if it was not."""
    last_used_on: str | None
    """The day (UTC), as `2026-09-30`."""


class Keys(BaseModel):
    """Keys, newest first, also those that were revoked or have ended."""

    keys: list[Key]


class WantedKey(BaseModel):
    """A key that somebody wants for a program."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
    scopes: list[KeyScope] = Field(min_length=1)
    """`chat` asks the model, `read` reads runs, versions and stories, `write` changes them."""
    requests_per_minute: Annotated[int, Field(ge=1, le=600), WHOLE] = 60
    days: Annotated[int, Field(ge=1, le=LONGEST_KEY_DAYS), WHOLE] = keys.USUAL_DAYS
    """After which it ceases to work by itself."""


class MadeKey(Key):
    """A new key, with its text."""

    key: str
    """Send it as: Authorization: Bearer <key>. It is not shown again."""


@router.get("")
def list_keys(user: MayManageKeys) -> Keys:
    """List your keys; an owner sees those of all people."""
    return Keys(keys=[_shown(key) for key in keys.list_all() if _may_see(user, key)])


@router.post("", status_code=201, responses=refusals(422))
def make_key(wanted: WantedKey, user: MayManageKeys) -> MadeKey:
    """Make a key of yours. Only this answer has its text."""
    beyond = [scope for scope in wanted.scopes if scope not in user.scopes]
    if beyond:
        raise ApiError(
            403,
            "not_allowed",
            f"You do not have the scope {beyond[0]} yourself, so a key of yours cannot have it.",
            "Leave it out, or ask an owner for another role.",
        )
    key, text = keys.issue_key(
        wanted.name,
        wanted.scopes,
        wanted.requests_per_minute,
        by=user.sub,
        email=user.email,
        days=wanted.days,
    )
    user.changed_object = key.key_id
    log.info("Made an API key", extra={"key_id": key.key_id, "by": user.sub})
    return MadeKey(**_shown(key).model_dump(), key=text)


@router.delete("/{key_id}", responses=refusals(404, 422))
def revoke_key(key_id: KeyId, user: MayManageKeys) -> Key:
    """Revoke a key of yours, or as an owner anybody's: it is refused from the next request on.

    Revoking it again changes nothing.
    """
    known = keys.get(key_id)
    key = keys.mark_revoked(key_id) if known is not None and _may_see(user, known) else None
    if key is None:
        raise ApiError(404, "not_found", f"You have no key {key_id}.", "GET /api/keys lists your keys.")
    log.info("Revoked an API key", extra={"key_id": key_id, "by": user.sub})
    return _shown(key)


def _may_see(user: User, key: ApiKey) -> bool:
    return key.created_by == user.sub or "people" in user.scopes


def _shown(key: ApiKey) -> Key:
    return Key.model_validate(key.model_dump() | {"expires_at": key.ends_at})
