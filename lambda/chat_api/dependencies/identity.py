"""Who is asking, as API Gateway's authorizer found out, and what they may do."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from chat_api.dependencies import limits
from chat_api.dependencies.errors import ApiError, unauthorized
from shared.accounts import keys, people
from shared.accounts.people import Scope
from shared.answers import usage

_KEY = "key:"

# For the API's description only: API Gateway's authorizer has checked it already.
_BEARER = HTTPBearer(
    scheme_name="SignIn",
    bearerFormat="JWT",
    description="A person's Cognito ID token, or a program's API key (`sl-…`).",
    auto_error=False,
)


def _words(written: Any) -> Any:
    # The authorizer can pass text only.
    return frozenset(written.split()) if isinstance(written, str) else written


class User(BaseModel):
    """A person who has signed in, or a program with a key."""

    sub: str
    """A person's in Cognito, or `key:<id>`."""
    made_by: str = ""
    """Of a key: the person's `sub` who made it."""
    username: str = ""
    """Of a key: its name."""
    email: str = ""
    """Of a key: of who made it."""
    scopes: Annotated[frozenset[str], BeforeValidator(_words)] = frozenset()
    requests_per_minute: int | None = None
    """Of a key; None for a person."""
    changed_object: str = Field(default="", exclude=True)
    """For the audit trail: the id of what this request made, which its path cannot name."""

    @property
    def key_id(self) -> str | None:
        """The key's id; None for a person."""
        return self.sub.removeprefix(_KEY) if self.sub.startswith(_KEY) else None

    @property
    def account(self) -> str:
        """Whose day it counts in: a key's is that of the person who made it."""
        return self.made_by or self.sub

    @property
    def called(self) -> str:
        """What to write down as the one who did something."""
        name = self.email or self.username or self.sub
        return name if self.key_id is None else f"{name} (API key {self.username})"


async def _identified(
    request: Request, _bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> User:
    """Return the user that the authorizer put into the request's context.

    The Web Adapter sets the header itself, whatever a client sends. API Gateway lets nobody without a
    token or key through; this is the second lock.

    Raises:
        ApiError: 401 where there is none.
    """
    try:
        context = json.loads(request.headers.get("x-amzn-request-context", "{}"))
        user = User.model_validate(context["authorizer"])
    except (ValueError, LookupError, TypeError, ValidationError):
        raise unauthorized() from None
    request.state.user = user  # for the audit trail
    return user


Identified = Annotated[User, Depends(_identified)]


def signed_in(user: Identified) -> User:
    """Return the user, once the request is counted.

    Raises:
        ApiError: 401 where there is none, 429 where a key asks too often.
    """
    _count(user)
    return user


def _count(user: User) -> None:
    """Count a key's request; a person's are few."""
    if user.key_id is None or user.requests_per_minute is None:
        return
    requests = usage.count_request(user.sub)
    if requests == 1:
        # Once a minute is often enough for a day.
        keys.record_use(user.key_id)
    limits.check_rate(requests, user.requests_per_minute)


def _may_cancel(user: Identified) -> User:
    """Return the user without counting the request: a key at its limit can still stop what it pays for."""
    _check_scope(user, "chat")
    return user


def _requires(scope: Scope) -> Callable[[User], User]:
    def allowed(user: Annotated[User, Depends(signed_in)]) -> User:
        _check_scope(user, scope)
        return user

    return allowed


@dataclass(frozen=True)
class Caller:
    """The caller of a request to the model, whose rate is counted while the model is looked up."""

    sub: str
    account: str
    counted: "asyncio.Task[None]"
    """To be awaited before the model is asked or woken; raises 429 if a key exceeds its rate."""


async def _caller(user: Identified) -> Caller:
    counted = asyncio.create_task(asyncio.to_thread(_count, user))
    # A malformed request is refused without waiting for this task, but counts as well.
    counted.add_done_callback(lambda task: task.cancelled() or task.exception())
    _check_scope(user, "chat")
    return Caller(user.sub, user.account, counted)


def require_still_allowed(caller: Caller) -> None:
    """Check again that the caller may ask the model, because a stream may have waited for minutes.

    Raises:
        ApiError: 401 if the person was removed or lost their role, or the key expired or was revoked.
    """
    person = people.get(caller.account)
    if person is None or "chat" not in person.scopes:
        raise unauthorized()
    if caller.sub.startswith(_KEY):
        key = keys.get(caller.sub.removeprefix(_KEY))
        if key is None or not keys.is_valid(key):
            raise unauthorized()


def _check_scope(user: User, scope: Scope) -> None:
    if scope not in user.scopes:
        raise not_allowed(user, scope)


def not_allowed(user: User, scope: Scope) -> ApiError:
    """Say that the caller lacks a scope, and how to come by it."""
    if user.key_id is None:
        message = f"This needs the scope {scope}, which your role does not give you."
        cure = "Ask an owner for another role: docs/people.md says what each allows."
    else:
        message = f"This needs the scope {scope}, which this key does not have."
        if scope in keys.KEY_SCOPES:
            cure = f"Use a key with it; storyloom keys create NAME --scope {scope} makes one."
        else:
            cure = "Sign in, and send the ID token instead of a key: no key can have this scope."
    return ApiError(403, "not_allowed", message, cure)


MayAsk = Annotated[Caller, Depends(_caller)]
MayCancel = Annotated[User, Depends(_may_cancel)]
MayChat = Annotated[User, Depends(_requires("chat"))]
MayRead = Annotated[User, Depends(_requires("read"))]
MayWrite = Annotated[User, Depends(_requires("write"))]
MayManageKeys = Annotated[User, Depends(_requires("keys"))]
MayManagePeople = Annotated[User, Depends(_requires("people"))]
