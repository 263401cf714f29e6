"""Who is asking, as API Gateway's authorizer found out."""

import json
from typing import Annotated

from fastapi import Depends, Header
from pydantic import BaseModel, ValidationError

from chat_api.errors import unauthorized


class User(BaseModel):
    """A person who has signed in."""

    sub: str
    username: str = ""
    email: str = ""


def signed_in(
    x_amzn_request_context: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> User:
    """Return the user that the authorizer put into the request's context.

    The Web Adapter sets the header itself, whatever a client sends. API Gateway lets nobody without a
    token through; this is the second lock.

    Raises:
        ApiError: 401 where there is none.
    """
    try:
        context = json.loads(x_amzn_request_context or "{}")
        return User.model_validate(context["authorizer"])
    except (ValueError, LookupError, TypeError, ValidationError):
        raise unauthorized() from None


SignedIn = Annotated[User, Depends(signed_in)]
