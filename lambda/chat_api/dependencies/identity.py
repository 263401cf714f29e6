"""The caller of a request, as API Gateway's authorizer identified them, and the scopes of routes."""

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from chat_api.errors import ApiError, unauthorized_error
from chat_api.services import limits
from chat_api.services.generation import Caller
from shared.accounts import keys
from shared.accounts.people import Scope
from shared.answers import usage

_KEY_PREFIX = "key:"

# For the API's description only, because API Gateway's authorizer has checked it.
_BEARER = HTTPBearer(
    scheme_name="SignIn",
    bearerFormat="JWT",
    description="A person's Cognito ID token, or a program's API key (`sl-…`).",
    auto_error=False,
)


def _split_scopes(value: Any) -> Any:
    # The authorizer can pass text only.
    return frozenset(value.split()) if isinstance(value, str) else value


class User(BaseModel):
    """A person who has signed in, or a program with a key."""

    sub: str
    """The person's id in Cognito, or `key:<id>`."""
    made_by: str = ""
    """The `sub` of the person who made the key; empty for a person."""
    username: str = ""
    """The key's name if a key is used."""
    email: str = ""
    """The address of the person, or of the person who made the key."""
    scopes: Annotated[frozenset[str], BeforeValidator(_split_scopes)] = frozenset()
    requests_per_minute: int | None = None
    """The key's rate limit; None for a person."""
    changed_object: str = Field(default="", exclude=True)
    """For the audit trail: the id of the object that the request created, which its path does not contain."""

    @property
    def key_id(self) -> str | None:
        """The key's id; None for a person."""
        return self.sub.removeprefix(_KEY_PREFIX) if self.sub.startswith(_KEY_PREFIX) else None

    @property
    def account(self) -> str:
        """The account whose daily limits apply; a key uses those of the person who made it."""
        return self.made_by or self.sub

    @property
    def display_name(self) -> str:
        """The name to record for the caller's actions."""
        name = self.email or self.username or self.sub
        return name if self.key_id is None else f"{name} (API key {self.username})"


async def _identify(
    request: Request, _bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> User:
    """Return the user that the authorizer put into the request's context.

    The Web Adapter sets the header itself, whatever a client sends. API Gateway already refuses requests
    without a valid token or key; this check is the second one.

    Raises:
        ApiError: the context has no user.
    """
    try:
        context = json.loads(request.headers.get("x-amzn-request-context", "{}"))
        user = User.model_validate(context["authorizer"])
    except (ValueError, LookupError, TypeError, ValidationError):
        raise unauthorized_error() from None
    request.state.user = user  # for the audit trail
    return user


IdentifiedUser = Annotated[User, Depends(_identify)]


def signed_in(user: IdentifiedUser) -> User:
    """Count the request, and return its user.

    Raises:
        ApiError: a key exceeds its rate limit.
    """
    _count(user)
    return user


def _count(user: User) -> None:
    """Count the request of a key; a person sends few."""
    if user.key_id is None or user.requests_per_minute is None:
        return
    requests = usage.count_request(user.sub)
    if requests == 1:
        # Once a minute, which is often enough to record the day.
        keys.record_key_use(user.key_id)
    limits.check_key_rate(requests, user.requests_per_minute)


def _require_cancel_scope(user: IdentifiedUser) -> User:
    """Return the user without counting the request, so that a key at its rate limit can still cancel."""
    _check_scope(user, "chat")
    return user


def _require(scope: Scope) -> Callable[[User], User]:
    def user_with_scope(user: Annotated[User, Depends(signed_in)]) -> User:
        _check_scope(user, scope)
        return user

    return user_with_scope


async def _caller(user: IdentifiedUser) -> Caller:
    counted = asyncio.create_task(asyncio.to_thread(_count, user))
    # An invalid request is refused without waiting for this task, but counts as well.
    counted.add_done_callback(lambda task: task.cancelled() or task.exception())
    _check_scope(user, "chat")
    return Caller(user.sub, user.account, user.key_id, counted)


def _check_scope(user: User, scope: Scope) -> None:
    if scope not in user.scopes:
        raise not_allowed_error(user, scope)


def not_allowed_error(user: User, scope: Scope) -> ApiError:
    """Return the error for a caller without the scope."""
    if user.key_id is None:
        message = f"This needs the scope {scope}, which your role does not give you."
        cure = "Ask an owner for another role: docs/people.md says what each allows."
    else:
        message = f"This needs the scope {scope}, which this key does not have."
        if scope in keys.KEY_SCOPES:
            cure = f"Use a key with it; storyloom keys create NAME --scope {scope} makes one."
        else:
            cure = "Sign in, and send the ID token instead of a key: no key can have this scope."
    return ApiError("not_allowed", message, cure)


RequireCaller = Annotated[Caller, Depends(_caller)]
RequireCancelScope = Annotated[User, Depends(_require_cancel_scope)]
RequireChatScope = Annotated[User, Depends(_require("chat"))]
RequireReadScope = Annotated[User, Depends(_require("read"))]
RequireWriteScope = Annotated[User, Depends(_require("write"))]
RequireKeysScope = Annotated[User, Depends(_require("keys"))]
RequirePeopleScope = Annotated[User, Depends(_require("people"))]
