"""Routes that list, add and delete stories. None of them can delete or replace a story for good."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from chat_api.dependencies.identity import RequireReadScope, RequireWriteScope
from chat_api.dependencies.keep_alive import KeptAliveRoute
from chat_api.dependencies.responses import error_responses
from chat_api.errors import ApiError
from chat_api.openai.strict_json import Positive
from chat_api.services import bucket_files, limits
from chat_api.services.bucket_files import UploadForm
from contracts import environment
from shared import clock
from stories import file_rules

router = APIRouter(tags=["Stories"], responses=error_responses(), route_class=KeptAliveRoute)

StoryKey = Annotated[str, Path(max_length=1024, description="The story's key, including its folders.")]


class StoryInfo(BaseModel):
    """One file in the stories bucket."""

    key: str
    size: int
    """Bytes."""
    modified_at: clock.Utc


class StoryList(BaseModel):
    """Files in the stories bucket, newest first, at most 5,000."""

    stories: list[StoryInfo]


class NewStory(BaseModel):
    """A file to add."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(
        min_length=1,
        max_length=file_rules.LONGEST_NAME_BYTES,
        description="Printable characters, with or without folders, and not outside of them.",
        json_schema_extra={"format": "file-name"},
    )
    size: Positive
    """Bytes."""


class DeletedStory(BaseModel):
    """A story that is no longer in the bucket, and how to restore it."""

    key: str
    message: str


@router.get("/stories")
def list_stories(user: RequireReadScope) -> StoryList:
    """List the files in the stories bucket."""
    return StoryList(stories=[StoryInfo(**vars(file)) for file in bucket_files.stored_stories()])


@router.post("/stories", responses=error_responses(413, 422))
def offer_upload(story: NewStory, user: RequireWriteScope) -> UploadForm:
    """Permit the upload of one file with this name and size, for 15 minutes and at most 50 MB."""
    key = bucket_files.normalized_name(story.name)
    if story.size > limits.MAX_UPLOAD_BYTES:
        limit = limits.MAX_UPLOAD_BYTES // 2**20
        raise ApiError(
            "file_too_large",
            f"{key} has {story.size / 2**20:.0f} MB; a browser may send at most {limit} MB.",
            "Split the file, or upload it with: storyloom upload FILE",
        )
    user.changed_object = key
    return bucket_files.upload_form(environment.common().stories_bucket, key, story.size)


@router.delete("/stories/{key:path}", responses=error_responses(404, 422))
def delete_story(key: StoryKey, user: RequireWriteScope) -> DeletedStory:
    """Delete a story. Its text is kept; the message says how to restore it."""
    restore = bucket_files.mark_deleted(key)
    return DeletedStory(
        key=key,
        message=f"{file_rules.printable(key)} is deleted; the next run does not use it. The bucket keeps its "
        f"text under a delete marker. To restore it, remove the marker: {restore}",
    )
