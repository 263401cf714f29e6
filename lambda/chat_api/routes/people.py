"""Routes of the people: list, invite and remove them, change their roles, and show the caller."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from aws_lambda_powertools import Logger
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from chat_api.dependencies.identity import RequireChatScope, RequirePeopleScope, User, not_allowed_error
from chat_api.dependencies.responses import error_responses
from chat_api.errors import ApiError
from contracts.roles import READER, Role
from shared import clock
from shared.accounts import keys, people

log = Logger(service="chat_api")
router = APIRouter(tags=["People"], responses=error_responses())

_ADDRESS = r"^[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,4}$"
_RETRY_SECONDS = 5


class PersonRecord(BaseModel):
    """A person in the user pool."""

    id: uuid.UUID
    """The user pool's own id, which records use for the person."""
    email: str
    role: Role | None
    """Null if the person has no role and may do nothing."""
    enabled: bool
    """False if the person is disabled in Cognito's console."""
    has_signed_in: bool
    """False until the one-time password of the invitation has been replaced."""
    invited_at: clock.Utc | None
    you: bool


class PeopleList(BaseModel):
    """The people in the user pool, sorted by e-mail address."""

    people: list[PersonRecord]


class Invitation(BaseModel):
    """A person to invite, with their role."""

    model_config = ConfigDict(extra="forbid", strict=True)

    email: str = Field(pattern=_ADDRESS, max_length=128)
    role: Role = READER
    """`reader` chats; `author` also sees and changes stories, runs and versions, and has keys of their own;
    `owner` also manages people."""


class NewRole(BaseModel):
    """A person's new role."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Role


class Myself(BaseModel):
    """The caller and their scopes."""

    id: str
    """A person's id in the user pool, or `key:<id>`."""
    name: str
    scopes: list[str]
    """What the caller may do; docs/api.md lists the scope of each route."""


@router.get("/me")
def show_myself(user: RequireChatScope) -> Myself:
    """Show who you are and what you may do now; your token may be older than your role."""
    return Myself(id=user.sub, name=user.display_name, scopes=sorted(user.scopes))


@router.get("/people")
def get_people(user: RequirePeopleScope) -> PeopleList:
    """List the people in the user pool."""
    return PeopleList(people=[_person_record(person, user.sub) for person in people.list_all()])


@router.post("/people", status_code=201, responses=error_responses(409, 422))
def invite_person(invitation: Invitation, user: RequirePeopleScope) -> PersonRecord:
    """Invite a person. Cognito sends them a one-time password by e-mail, valid for seven days."""
    email = invitation.email.lower()
    try:
        with _people_errors(user):
            person = people.add_person(email, invitation.role, by=user.sub)
    except people.AlreadyExists:
        raise ApiError(
            "already_exists",
            f"{email} has been invited already.",
            "Change the role with: storyloom people role EMAIL ROLE, or PATCH /api/people/{id}.",
        ) from None
    except people.TooManyInvitations:
        raise ApiError(
            "too_many_invitations",
            "Cognito sends at most 50 e-mails a day, and today's limit is reached. Nobody was invited.",
            "Invite them tomorrow.",
            should_retry=False,
        ) from None
    user.changed_object = person.sub
    log.info("Invited a person", extra={"person": person.sub, "role": invitation.role, "by": user.sub})
    return _person_record(person, user.sub)


@router.patch("/people/{person_id}", responses=error_responses(404, 409, 422))
def change_role(person_id: uuid.UUID, wanted: NewRole, user: RequirePeopleScope) -> PersonRecord:
    """Change a person's role. The change takes effect within a minute, for their keys as well."""
    with _people_errors(user):
        person = people.set_role(str(person_id), wanted.role, by=user.sub)
    if person is None:
        raise _not_found_error(person_id)
    return _person_record(person, user.sub)


@router.delete("/people/{person_id}", responses=error_responses(404, 409, 422))
def remove_person(person_id: uuid.UUID, user: RequirePeopleScope) -> PersonRecord:
    """Remove a person. Their sign-in and their keys are refused within a minute, for good."""
    with _people_errors(user):
        person = people.delete_person(str(person_id), by=user.sub)
    # Also if the person no longer exists, so that removing again finishes a removal that failed half way.
    keys.revoke_all_of(str(person_id))
    if person is None:
        raise _not_found_error(person_id)
    log.info("Removed a person", extra={"person": person.sub, "by": user.sub})
    return _person_record(person, user.sub)


@contextmanager
def _people_errors(user: User) -> Iterator[None]:
    try:
        yield
    except people.NotAnOwner:
        raise not_allowed_error(user, "people") from None
    except people.LastOwner:
        raise _last_owner_error() from None
    except people.PeopleLocked:
        raise _people_locked_error() from None


def _person_record(person: people.Person, caller: str) -> PersonRecord:
    return PersonRecord(
        id=uuid.UUID(person.sub),
        email=person.email,
        role=person.role,
        enabled=person.enabled,
        has_signed_in=person.has_signed_in,
        invited_at=person.invited_at,
        you=person.sub == caller,
    )


def _not_found_error(person_id: uuid.UUID) -> ApiError:
    return ApiError(
        "not_found", f"There is no person with the id {person_id}.", "GET /api/people lists the people."
    )


def _last_owner_error() -> ApiError:
    return ApiError(
        "last_owner",
        "This is the last owner who can sign in. Without an owner nobody could manage people.",
        "Make somebody else an owner first, and wait until they have signed in once.",
    )


def _people_locked_error() -> ApiError:
    return ApiError(
        "people_being_changed",
        "Another change of people is in progress, so this one was not made.",
        f"Try again in {_RETRY_SECONDS} seconds.",
        retry_after_seconds=_RETRY_SECONDS,
    )
