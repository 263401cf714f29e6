"""Manage people and their roles in the Cognito user pool.

The pool is the only source: a role is one of its groups, and a person's id is the pool's own (`sub`). So a
change in Cognito's console counts as much as one made here, and there is no copy to keep up to date.
"""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from boto3.dynamodb.conditions import Attr

from contracts import environment, table_keys
from contracts.roles import AUTHOR, OWNER, READER, ROLES, Role
from shared import clock, table
from shared.aws import clients

Scope = Literal["chat", "read", "write", "keys", "people"]
SCOPES: dict[Role, tuple[Scope, ...]] = {
    READER: ("chat",),
    AUTHOR: ("chat", "read", "write", "keys"),
    OWNER: ("chat", "read", "write", "keys", "people"),
}
"""What each role allows. A person without a role may do nothing."""

_KEY = table_keys.PEOPLE_LOCK
_LOCKED_SECONDS = 30


class AlreadyExists(Exception):  # noqa: N818 - a state that the caller handles, not a fault
    """A person with this e-mail address already exists in the pool."""


class TooManyInvitations(Exception):  # noqa: N818 - as above
    """Cognito's daily limit of e-mails is reached."""


class PeopleLocked(Exception):  # noqa: N818 - as above
    """Another change of people is in progress."""


class NotAnOwner(Exception):  # noqa: N818 - as above
    """The person who requests the change is not an owner any more."""


class LastOwner(Exception):  # noqa: N818 - as above
    """The person is the last owner who can manage people."""


@dataclass(frozen=True)
class Person:
    """Somebody in the user pool."""

    sub: str
    """The pool's own id, which never changes and is never reused."""
    email: str
    role: Role | None
    """None if the person has no role and may do nothing."""
    enabled: bool
    has_signed_in: bool
    """False until the one-time password of the invitation has been replaced."""
    invited_at: clock.Utc | None = None

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes that this person's role allows; empty if the person is disabled."""
        return SCOPES[self.role] if self.role is not None and self.enabled else ()


def get(sub: str) -> Person | None:
    """Read a person from the pool; None if the id is unknown."""
    client = clients.cognito()
    request = {"UserPoolId": _pool(), "Username": sub}
    with ThreadPoolExecutor(2) as both:
        user, groups = both.submit(client.admin_get_user, **request), both.submit(_groups_of, sub)
        try:
            found = user.result()
            return _person(found, found["UserAttributes"], highest(groups.result()))
        except client.exceptions.UserNotFoundException:
            return None


def list_all() -> list[Person]:
    """Read everybody, by e-mail address."""
    roles: dict[str, Role] = {}
    for role in ROLES:
        # The role that allows most comes last and wins.
        roles |= {_attributes(user["Attributes"])["sub"]: role for user in _members(role)}
    users = _pages("list_users", "Users", next_page="PaginationToken")
    found = [
        _person(user, user["Attributes"], roles.get(_attributes(user["Attributes"])["sub"])) for user in users
    ]
    return sorted(found, key=lambda person: person.email)


def highest(groups: list[str]) -> Role | None:
    """Return the role that allows most among the names of groups; None if none is a role."""
    return next((role for role in reversed(ROLES) if role in groups), None)


def add_person(email: str, role: Role, *, by: str) -> Person:
    """Create a person; Cognito sends them a one-time password by e-mail.

    If an earlier invitation failed after creating the person and before assigning the role, only the role is
    assigned.

    Args:
        email: where the invitation goes.
        role: what the person may do.
        by: id of the owner who invites them.

    Raises:
        AlreadyExists: a person with this address has a role.
        TooManyInvitations: Cognito's daily limit of e-mails is reached.
        NotAnOwner: `by` is not an owner any more.
        PeopleLocked: another change of people is in progress.
    """
    with _exclusively(by):
        return _invite(email, role)


def _invite(email: str, role: Role) -> Person:
    client = clients.cognito()
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
            raise AlreadyExists(email) from None
    made = get(email)
    if made is None:
        raise RuntimeError("The person was removed during the invitation. Invite them again.")
    _add(made.sub, role)
    return _read_again(made.sub)


def set_role(sub: str, role: Role, *, by: str) -> Person | None:
    """Change a person's role; returns None if the id is unknown.

    Args:
        sub: id of the person.
        role: what they may do from now on.
        by: id of the owner who changes it.

    Raises:
        LastOwner: nobody could manage people afterwards.
        NotAnOwner: `by` is not an owner any more.
        PeopleLocked: another change of people is in progress.
    """
    with _exclusively(by):
        person = get(sub)
        if person is None:
            return None
        if person.role == OWNER and role != OWNER:
            _require_another_owner(sub)
        # The new role first: between the two calls the person has both roles, and the higher one counts.
        _add(sub, role)
        for other in ROLES:
            if other != role:
                _remove_from_group(sub, other)
        return _read_again(sub)


def delete_person(sub: str, *, by: str) -> Person | None:
    """Sign out, disable and delete a person; returns the person, or None if the id is unknown.

    Every step is idempotent, so removing the person again finishes a removal that failed half way.

    Args:
        sub: id of the person.
        by: id of the owner who removes them.

    Raises:
        LastOwner: nobody could manage people afterwards.
        NotAnOwner: `by` is not an owner any more.
        PeopleLocked: another change of people is in progress.
    """
    with _exclusively(by):
        person = get(sub)
        if person is None:
            return None
        if person.role == OWNER:
            _require_another_owner(sub)
        client, request = clients.cognito(), {"UserPoolId": _pool(), "Username": sub}
        # Sign out first: Cognito's reference does not say whether a disabled person can be signed out.
        client.admin_user_global_sign_out(**request)
        client.admin_disable_user(**request)
        client.admin_delete_user(**request)
        return person


def _require_another_owner(sub: str) -> None:
    """Raise LastOwner unless another owner is enabled and has replaced the one-time password."""
    others = [_person(user, user["Attributes"], OWNER) for user in _members(OWNER)]
    if not any(other.enabled and other.has_signed_in and other.sub != sub for other in others):
        raise LastOwner(sub)


@contextmanager
def _exclusively(by: str) -> Iterator[None]:
    """Hold the lock of changes of people, so that two owners cannot remove each other at the same time.

    The owner is looked up again under the lock. The authorizer's record may be half a minute old, and in that
    time a person who has just been removed could invite themselves again.
    """
    mine = f"{clock.text(clock.now() + timedelta(seconds=_LOCKED_SECONDS))}#{secrets.token_hex(4)}"
    free = Attr("held_until").not_exists() | Attr("held_until").lt(clock.stamp())
    if not table.update(*_KEY, {"held_until": mine}, only_if=free):
        raise PeopleLocked
    try:
        owner = get(by)
        if owner is None or "people" not in owner.scopes:
            raise NotAnOwner(by)
        yield
    finally:
        table.update(*_KEY, {"held_until": None}, only_if=Attr("held_until").eq(mine))


def _add(sub: str, role: Role) -> None:
    clients.cognito().admin_add_user_to_group(UserPoolId=_pool(), Username=sub, GroupName=role)


def _remove_from_group(sub: str, role: Role) -> None:
    clients.cognito().admin_remove_user_from_group(UserPoolId=_pool(), Username=sub, GroupName=role)


def _read_again(sub: str) -> Person:
    person = get(sub)
    if person is None:
        raise RuntimeError("The person was removed during this change. List the people again.")
    return person


def _groups_of(sub: str) -> list[str]:
    # A person can be in a hundred groups, and one call returns at most sixty.
    return [
        str(group["GroupName"])
        for group in _pages("admin_list_groups_for_user", "Groups", next_page="NextToken", Username=sub)
    ]


def _members(role: Role) -> Iterator[dict[str, Any]]:
    return _pages("list_users_in_group", "Users", next_page="NextToken", GroupName=role)


def _pages(operation: str, member: str, *, next_page: str, **request: Any) -> Iterator[dict[str, Any]]:
    """Read every page of a list; the name of the next page's token depends on the operation."""
    request |= {"UserPoolId": _pool(), "Limit": 60}
    while True:
        answer = getattr(clients.cognito(), operation)(**request)
        yield from answer[member]
        if not answer.get(next_page):
            return
        request[next_page] = answer[next_page]


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
