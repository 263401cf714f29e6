"""The stories in the bucket, and permission to add one. Nothing here can delete or replace for good."""

import shlex
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from chat_api.dependencies import limits
from chat_api.dependencies.errors import ApiError, refusals
from chat_api.dependencies.identity import MayRead, MayWrite
from chat_api.dependencies.keep_alive import KeptAliveRoute
from chat_api.openai.numbers import Positive
from chat_api.services import links, uploads
from chat_api.services.links import UploadForm
from contracts import environment
from shared import clock
from shared.aws import clients
from stories import file_rules

router = APIRouter(tags=["Stories"], responses=refusals(), route_class=KeptAliveRoute)

Key = Annotated[str, Path(max_length=1024, description="The story's key, folders and all.")]

_LISTED = 5000


class Story(BaseModel):
    """One file in the stories bucket."""

    key: str
    size: int
    """Bytes."""
    modified_at: clock.Utc


class Stories(BaseModel):
    """Files in the stories bucket, newest first, 5,000 at most."""

    stories: list[Story]


class NewStory(BaseModel):
    """A file that somebody wants to add."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(
        min_length=1,
        max_length=file_rules.LONGEST_NAME_BYTES,
        description="Printable characters, with or without folders, and no way out of them.",
        json_schema_extra={"format": "file-name"},
    )
    size: Positive
    """Bytes."""


class Deleted(BaseModel):
    """A story that is in the bucket no more, and in words how to get it back."""

    key: str
    message: str


@router.get("/stories")
def list_stories(user: MayRead) -> Stories:
    """List the files in the stories bucket."""
    pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=environment.common().stories_bucket)
    stories = [
        Story(key=entry["Key"], size=entry["Size"], modified_at=clock.text(entry["LastModified"]))
        for page in pages
        for entry in page.get("Contents", [])
        if not entry["Key"].endswith("/")
    ]
    return Stories(stories=sorted(stories, key=lambda story: story.modified_at, reverse=True)[:_LISTED])


@router.post("/stories", responses=refusals(413, 422))
def offer_upload(story: NewStory, user: MayWrite) -> UploadForm:
    """Give permission to upload one file of this name and size, for 15 minutes and 50 MB at most."""
    key = uploads.checked_name(story.name)
    if story.size > limits.UPLOAD_BYTES:
        raise ApiError(
            413,
            "file_too_large",
            f"{key} has {story.size / 2**20:.0f} MB; a browser may send {limits.UPLOAD_BYTES // 2**20} MB.",
            "Split the file, or upload it with: storyloom upload FILE",
        )
    user.changed_object = key
    return links.upload_form(environment.common().stories_bucket, key, story.size)


@router.delete("/stories/{key:path}", responses=refusals(404, 422))
def delete_story(key: Key, user: MayWrite) -> Deleted:
    """Take a story out of the bucket. Its text is kept; the message says how to get it back."""
    bucket = environment.common().stories_bucket
    if not _is_there(bucket, key):
        raise ApiError(404, "not_found", f"There is no story {key!r}.", "GET /api/stories lists the stories.")
    # Without a version this puts a delete marker on top, and that is all the API's role may do.
    marker = clients.s3().delete_object(Bucket=bucket, Key=key)["VersionId"]
    back = ["aws", "s3api", "delete-object", "--bucket", bucket, "--key", key, "--version-id", marker]
    return Deleted(
        key=key,
        message=f"{file_rules.printable(key)} is deleted; the next run does without it. The bucket keeps its "
        f"text under a delete marker. To get it back, remove the marker: {_as_command(back)}",
    )


def _is_there(bucket: str, key: str) -> bool:
    """Whether a key is in the bucket: of all that begin with it, S3 lists it first."""
    first = clients.s3().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
    return [entry["Key"] for entry in first] == [key]


def _as_command(words: list[str]) -> str:
    """Write a command that can be shown and copied: what a file is called may hold any character."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if file_rules.unsafe_character(word) is None:
        return shlex.quote(word)
    # $'...' is how bash and zsh write what cannot be shown.
    shown = (
        f"\\x{byte:02x}" if not chr(byte).isalnum() or byte > 126 else chr(byte) for byte in word.encode()
    )
    return f"$'{''.join(shown)}'"
