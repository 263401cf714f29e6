"""Routes of the API keys. Each key belongs to the person who created it, and expires."""

from typing import Annotated

from aws_lambda_powertools import Logger
from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from chat_api.dependencies.identity import RequireKeysScope, User
from chat_api.dependencies.responses import error_responses
from chat_api.errors import ApiError
from chat_api.openai.strict_json import WHOLE
from shared import clock
from shared.accounts import keys
from shared.items import LONGEST_KEY_DAYS, ApiKey, KeyScope

log = Logger(service="chat_api")
router = APIRouter(prefix="/keys", tags=["Keys"], responses=error_responses())

KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


class KeyInfo(BaseModel):
    """A program's key, without its secret text."""

    key_id: str
    name: str
    scopes: list[KeyScope]
    requests_per_minute: int
    created_by_email: str
    created_by: str
    """Id of the person who created it. It is valid as long as that person may sign in."""
    created_at: clock.Utc
    expires_at: clock.Utc
    """When it expires."""
    revoked_at: clock.Utc | None
    """When it was revoked; null if it was not."""
    last_used_on: str | None
    """The day (UTC), as `2026-09-30`."""


class KeyList(BaseModel):
    """Keys, newest first, including revoked and expired ones."""

    keys: list[KeyInfo]


class NewKey(BaseModel):
    """A key to create for a program."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
    scopes: list[KeyScope] = Field(min_length=1)
    """`chat` uses the model, `read` reads runs, versions and stories, `write` changes them."""
    requests_per_minute: Annotated[int, Field(ge=1, le=600), WHOLE] = 60
    days: Annotated[int, Field(ge=1, le=LONGEST_KEY_DAYS), WHOLE] = keys.USUAL_DAYS
    """The days until it expires."""


class CreatedKey(KeyInfo):
    """A new key, with its secret text."""

    key: str
    """Send it as: Authorization: Bearer <key>. It is not shown again."""


@router.get("")
def list_keys(user: RequireKeysScope) -> KeyList:
    """List your keys; an owner sees those of all people."""
    return KeyList(keys=[_key_info(key) for key in keys.list_all() if _may_see(user, key)])


@router.post("", status_code=201, responses=error_responses(422))
def create_key(new_key: NewKey, user: RequireKeysScope) -> CreatedKey:
    """Create a key of yours. Only this response has its text."""
    missing = [scope for scope in new_key.scopes if scope not in user.scopes]
    if missing:
        raise ApiError(
            "not_allowed",
            f"You do not have the scope {missing[0]} yourself, so your key cannot have it.",
            "Leave it out, or ask an owner for another role.",
        )
    key, text = keys.issue_key(
        new_key.name,
        new_key.scopes,
        new_key.requests_per_minute,
        by=user.sub,
        email=user.email,
        days=new_key.days,
    )
    user.changed_object = key.key_id
    log.info("Created an API key", extra={"key_id": key.key_id, "by": user.sub})
    return CreatedKey(**_key_info(key).model_dump(), key=text)


@router.delete("/{key_id}", responses=error_responses(404, 422))
def revoke_key(key_id: KeyId, user: RequireKeysScope) -> KeyInfo:
    """Revoke a key of yours, or as an owner anybody's. It is refused from the next request on.

    Revoking it again changes nothing.
    """
    known = keys.get(key_id)
    key = keys.mark_revoked(key_id) if known is not None and _may_see(user, known) else None
    if key is None:
        raise ApiError("not_found", f"You have no key {key_id}.", "GET /api/keys lists your keys.")
    log.info("Revoked an API key", extra={"key_id": key_id, "by": user.sub})
    return _key_info(key)


def _may_see(user: User, key: ApiKey) -> bool:
    return key.created_by == user.sub or "people" in user.scopes


def _key_info(key: ApiKey) -> KeyInfo:
    return KeyInfo.model_validate(key.model_dump() | {"expires_at": key.ends_at})
