"""People and their roles, as the Cognito user pool has them.

The pool alone decides: a role is a group of it, and a person is named by the pool's own id (`sub`). So what
an administrator does in Cognito's console counts as much as what is done here, and no copy has to be kept.
"""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from boto3.dynamodb.conditions import Attr

from shared import aws, clock, environment, table

Role = Literal["reader", "author", "owner"]
Scope = Literal["chat", "read", "write", "keys", "people"]
ROLES: tuple[Role, ...] = ("reader", "author", "owner")
"""Each is a group of the user pool; the least comes first."""
SCOPES: dict[Role, tuple[Scope, ...]] = {
    "reader": ("chat",),
    "author": ("chat", "read", "write", "keys"),
    "owner": ("chat", "read", "write", "keys", "people"),
}
"""What each role allows. A person without a role may do nothing."""

_KEY = ("PEOPLE", "lock")
_LOCKED_SECONDS = 30


class AlreadyThere(Exception):  # noqa: N818 - a state that the caller asks about, not a fault
    """Somebody with this e-mail address is in the pool."""


class TooManyInvitations(Exception):  # noqa: N818 - as above
    """Cognito sends no more e-mails today."""


class BeingChanged(Exception):  # noqa: N818 - as above
    """Somebody else is changing people at this moment."""


class NotAnOwner(Exception):  # noqa: N818 - as above
    """Who asks for the change has been removed, or is no owner any more."""


class LastOwner(Exception):  # noqa: N818 - as above
    """Without this person nobody could manage people."""


@dataclass(frozen=True)
class Person:
    """Somebody in the user pool."""

    sub: str
    """The pool's own id, which never changes and is never given again."""
    email: str
    role: Role | None
    """None: may do nothing."""
    enabled: bool
    has_signed_in: bool
    """False until the one-time password of the invitation has been replaced."""
    invited_at: clock.Utc | None = None

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What this person may do."""
        return SCOPES[self.role] if self.role is not None and self.enabled else ()


def get(sub: str) -> Person | None:
    """Read a person from the pool; None if there is none with this id."""
    client = aws.cognito()
    asked = {"UserPoolId": _pool(), "Username": sub}
    with ThreadPoolExecutor(2) as both:
        user, groups = both.submit(client.admin_get_user, **asked), both.submit(_groups_of, sub)
        try:
            found = user.result()
            return _person(found, found["UserAttributes"], highest(groups.result()))
        except client.exceptions.UserNotFoundException:
            return None


def every() -> list[Person]:
    """Read everybody, by e-mail address."""
    roles: dict[str, Role] = {}
    for role in ROLES:
        # The greatest role comes last and wins.
        roles |= {_attributes(user["Attributes"])["sub"]: role for user in _members(role)}
    users = _pages("list_users", "Users", next_page="PaginationToken")
    found = [
        _person(user, user["Attributes"], roles.get(_attributes(user["Attributes"])["sub"])) for user in users
    ]
    return sorted(found, key=lambda person: person.email)


def highest(groups: list[str]) -> Role | None:
    """Return the greatest role among the names of groups."""
    return next((role for role in reversed(ROLES) if role in groups), None)


def invite(email: str, role: Role, *, by: str) -> Person:
    """Make a person, whom Cognito sends a one-time password by e-mail.

    If an earlier invitation made the person and died before the role was given, only the role is given.

    Args:
        email: where the invitation goes.
        role: what the person may do.
        by: id of the owner who invites them.

    Raises:
        AlreadyThere: the address belongs to somebody who has a role.
        TooManyInvitations: the account has used up the e-mails that Cognito sends in a day.
        NotAnOwner: `by` is no owner any more.
        BeingChanged: somebody else is changing people just now.
    """
    with _exclusively(by):
        return _invite(email, role)


def _invite(email: str, role: Role) -> Person:
    client = aws.cognito()
    attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}]
    try:
        client.admin_create_user(
            UserPoolId=_pool(),
            Username=email,
            UserAttributes=attributes,
            DesiredDeliveryMediums=["EMAIL"],
        )
    except client.exceptions.LimitExceededException:
        raise TooManyInvitations from None
    except client.exceptions.UsernameExistsException:
        known = get(email)
        if known is None or known.role is not None:
            raise AlreadyThere(email) from None
    made = get(email)
    if made is None:
        raise RuntimeError("The person was removed while being invited. Invite them again.")
    _add(made.sub, role)
    return _read_again(made.sub)


def set_role(sub: str, role: Role, *, by: str) -> Person | None:
    """Give a person another role; None if there is no such person.

    Args:
        sub: id of the person.
        role: what they may do from now on.
        by: id of the owner who changes it.

    Raises:
        LastOwner: nobody could manage people afterwards.
        NotAnOwner: `by` is no owner any more.
        BeingChanged: somebody else is changing people just now.
    """
    with _exclusively(by):
        person = get(sub)
        if person is None:
            return None
        if person.role == "owner" and role != "owner":
            _keep_an_owner_beside(sub)
        # The new role first: a person between two roles has both, and the greater counts.
        _add(sub, role)
        for other in ROLES:
            if other != role:
                _leave(sub, other)
        return _read_again(sub)


def remove(sub: str, *, by: str) -> Person | None:
    """Sign out, disable and delete a person; returns who it was, or None if there is no such person.

    Every step can be done again, so a removal that died half way is finished by removing once more.

    Args:
        sub: id of the person.
        by: id of the owner who removes them.

    Raises:
        LastOwner: nobody could manage people afterwards.
        NotAnOwner: `by` is no owner any more.
        BeingChanged: somebody else is changing people just now.
    """
    with _exclusively(by):
        person = get(sub)
        if person is None:
            return None
        if person.role == "owner":
            _keep_an_owner_beside(sub)
        client, asked = aws.cognito(), {"UserPoolId": _pool(), "Username": sub}
        # Signed out first: whether Cognito signs out somebody who is disabled, its reference does not say.
        client.admin_user_global_sign_out(**asked)
        client.admin_disable_user(**asked)
        client.admin_delete_user(**asked)
        return person


def _keep_an_owner_beside(sub: str) -> None:
    """Raise LastOwner unless another owner can come in: enabled, and past the one-time password."""
    others = [_person(user, user["Attributes"], "owner") for user in _members("owner")]
    if not any(other.enabled and other.has_signed_in and other.sub != sub for other in others):
        raise LastOwner(sub)


@contextmanager
def _exclusively(by: str) -> Iterator[None]:
    """Let one change of people happen at a time: two owners who remove each other at once must not both.

    Who asks for it is looked up meanwhile. What the authorizer knows of them may be half a minute old, and in
    that time somebody who has just been removed could invite themselves again.
    """
    mine = f"{clock.text(clock.now() + timedelta(seconds=_LOCKED_SECONDS))}#{secrets.token_hex(4)}"
    free = Attr("held_until").not_exists() | Attr("held_until").lt(clock.stamp())
    if not table.update(*_KEY, {"held_until": mine}, only_if=free):
        raise BeingChanged
    try:
        owner = get(by)
        if owner is None or "people" not in owner.scopes:
            raise NotAnOwner(by)
        yield
    finally:
        table.update(*_KEY, {"held_until": None}, only_if=Attr("held_until").eq(mine))


def _add(sub: str, role: Role) -> None:
    aws.cognito().admin_add_user_to_group(UserPoolId=_pool(), Username=sub, GroupName=role)


def _leave(sub: str, role: Role) -> None:
    aws.cognito().admin_remove_user_from_group(UserPoolId=_pool(), Username=sub, GroupName=role)


def _read_again(sub: str) -> Person:
    person = get(sub)
    if person is None:
        raise RuntimeError("The person was removed in this moment. Look again who is there.")
    return person


def _groups_of(sub: str) -> list[str]:
    # A person can be in a hundred groups, and one call gives sixty.
    return [
        str(group["GroupName"])
        for group in _pages("admin_list_groups_for_user", "Groups", next_page="NextToken", Username=sub)
    ]


def _members(role: Role) -> Iterator[dict[str, Any]]:
    return _pages("list_users_in_group", "Users", next_page="NextToken", GroupName=role)


def _pages(operation: str, member: str, *, next_page: str, **asked: Any) -> Iterator[dict[str, Any]]:
    """Read every page of a list; Cognito names the token of the next page in two ways."""
    asked |= {"UserPoolId": _pool(), "Limit": 60}
    while True:
        answer = getattr(aws.cognito(), operation)(**asked)
        yield from answer[member]
        if not answer.get(next_page):
            return
        asked[next_page] = answer[next_page]


def _person(user: Any, attributes: Any, role: Role | None) -> Person:
    known = _attributes(attributes)
    made = user.get("UserCreateDate")
    return Person(
        sub=known["sub"],
        email=known.get("email", ""),
        role=role,
        enabled=bool(user.get("Enabled", True)),
        has_signed_in=user.get("UserStatus") != "FORCE_CHANGE_PASSWORD",
        invited_at=clock.text(made) if made is not None else None,
    )


def _attributes(listed: Any) -> dict[str, str]:
    return {attribute["Name"]: attribute.get("Value", "") for attribute in listed}


def _pool() -> str:
    return environment.read(environment.UserPool).user_pool_id
