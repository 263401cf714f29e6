"""Keys for programs: made, listed and revoked by people."""

from typing import Annotated

from aws_lambda_powertools import Logger
from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from chat_api.errors import ApiError, refusals
from chat_api.identity import MayManageKeys
from chat_api.numbers import WHOLE
from shared import clock, keys
from shared.models import ApiKey, KeyScope

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
    created_at: clock.Utc
    revoked_at: clock.Utc | None
    """When it ceased to work; null while it works."""
    last_used_on: str | None
    """The day (UTC), as `2026-09-30`."""


class Keys(BaseModel):
    """Every key, newest first, revoked ones too."""

    keys: list[Key]


class WantedKey(BaseModel):
    """A key that somebody wants for a program."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
    scopes: list[KeyScope] = Field(min_length=1)
    """`chat` asks the model, `read` reads runs, versions and stories, `write` changes them."""
    requests_per_minute: Annotated[int, Field(ge=1, le=600), WHOLE] = 60


class MadeKey(Key):
    """A new key, with its text."""

    key: str
    """Send it as: Authorization: Bearer <key>. It is not shown again."""


@router.get("")
def list_keys(user: MayManageKeys) -> Keys:
    """List the keys of all people."""
    return Keys(keys=[_shown(key) for key in keys.every()])


@router.post("", status_code=201, responses=refusals(422))
def make_key(wanted: WantedKey, user: MayManageKeys) -> MadeKey:
    """Make a key. Only this answer has its text."""
    key, text = keys.make(
        wanted.name, wanted.scopes, wanted.requests_per_minute, by=user.sub, email=user.email
    )
    log.info("Made an API key", extra={"key_id": key.key_id, "by": user.sub})
    return MadeKey(**_shown(key).model_dump(), key=text)


@router.delete("/{key_id}", responses=refusals(404, 422))
def revoke_key(key_id: KeyId, user: MayManageKeys) -> Key:
    """Revoke a key: it works no longer, from the next request on. Revoking it again changes nothing."""
    key = keys.revoke(key_id)
    if key is None:
        raise ApiError(404, "not_found", f"There is no key {key_id}.", "GET /api/keys lists the keys.")
    log.info("Revoked an API key", extra={"key_id": key_id, "by": user.sub})
    return _shown(key)


def _shown(key: ApiKey) -> Key:
    return Key.model_validate(key.model_dump())
