"""Files in the buckets: the stories, and presigned links that need no sign-in while they are valid."""

import shlex
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import BaseModel

from chat_api.errors import ApiError
from contracts import environment
from shared import clock
from shared.aws import clients
from stories import file_rules

_UPLOAD_SECONDS = 900
_UPLOAD_TYPE = "application/octet-stream"
"""The type of every uploaded object, so that no browser shows it as a page."""
DOWNLOAD_SECONDS = 3600
"""How long a download link is valid."""
_MAX_LISTED_STORIES = 5000


class UploadForm(BaseModel):
    """A presigned S3 POST: send `fields` and then `file`, as multipart form data, to `url`."""

    url: str
    fields: dict[str, str]
    key: str


@dataclass(frozen=True)
class StoredStory:
    """One file in the stories bucket."""

    key: str
    size: int
    modified_at: clock.Utc


def normalized_name(name: str) -> str:
    """Return a file name in Unicode's composed form, with slashes between its folders.

    Raises:
        ApiError: it cannot be a key in S3, or cannot be shown safely.
    """
    normalized = file_rules.normalize_name(name)
    problem = file_rules.name_problem(normalized)
    if problem is not None:
        raise ApiError(
            "invalid_request",
            f"{file_rules.printable(normalized)[:200]!r} cannot be the name of a file here: {problem}.",
            "Rename the file, for instance to story.txt, and send it again.",
        )
    return normalized


def upload_form(bucket: str, key: str, size: int) -> UploadForm:
    """Permit the upload of one object with exactly this key and size (in bytes), for 15 minutes.

    Raises:
        ValueError: the key contains a variable that S3 would replace: boto3 then signs only how it begins.
    """
    if "${" in key:
        raise ValueError(f"{key!r} contains a variable of S3's forms. Use a key without one.")
    api = environment.read(environment.Api)
    post = clients.s3_presigner(api.s3_endpoint).generate_presigned_post(
        Bucket=bucket,
        Key=key,
        Fields={"Content-Type": _UPLOAD_TYPE},
        Conditions=[{"Content-Type": _UPLOAD_TYPE}, ["content-length-range", size, size]],
        ExpiresIn=_UPLOAD_SECONDS,
    )
    local = api.browser_endpoint.rstrip("/")
    url = f"{local}/aws/s3/{bucket}" if local else post["url"]
    return UploadForm(url=url, fields=post["fields"], key=key)


def download_link(key: str, content_type: str) -> str:
    """Return a link to an object of the artifacts bucket.

    The link leads to the bucket itself, so that the object has another origin than the app and cannot access
    it.

    Args:
        key: the object's key.
        content_type: the type to show it as, because objects that a job wrote have none.
    """
    bucket = environment.common().artifacts_bucket
    parameters = {"Bucket": bucket, "Key": key, "ResponseContentType": content_type}
    api = environment.read(environment.Api)
    link = clients.s3_presigner(api.s3_endpoint).generate_presigned_url(
        "get_object", Params=parameters, ExpiresIn=DOWNLOAD_SECONDS
    )
    if not api.browser_endpoint:
        return link
    # On one machine the browser uses the front door, which forwards to the address that was signed.
    parts = urlsplit(link)
    return f"{api.browser_endpoint.rstrip('/')}/aws/s3{parts.path}?{parts.query}"


def stored_stories() -> list[StoredStory]:
    """Return the files in the stories bucket, newest first, at most 5,000."""
    pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=environment.common().stories_bucket)
    files = [
        StoredStory(key=entry["Key"], size=entry["Size"], modified_at=clock.text(entry["LastModified"]))
        for page in pages
        for entry in page.get("Contents", [])
        if not entry["Key"].endswith("/")
    ]
    return sorted(files, key=lambda file: file.modified_at, reverse=True)[:_MAX_LISTED_STORIES]


def mark_deleted(key: str) -> str:
    """Delete a story, whose text the bucket keeps.

    Returns:
        The command that restores it.

    Raises:
        ApiError: there is no such story.
    """
    bucket = environment.common().stories_bucket
    if not _exists(bucket, key):
        raise ApiError("not_found", f"There is no story {key!r}.", "GET /api/stories lists the stories.")
    # Without a version this puts a delete marker on top, and that is all that the API's role may do.
    marker = clients.s3().delete_object(Bucket=bucket, Key=key)["VersionId"]
    restore = ["aws", "s3api", "delete-object", "--bucket", bucket, "--key", key, "--version-id", marker]
    return " ".join(_shell_quoted(word) for word in restore)


def _exists(bucket: str, key: str) -> bool:
    """Return whether a key is in the bucket: S3 lists it before longer keys with the same beginning."""
    first = clients.s3().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
    return [entry["Key"] for entry in first] == [key]


def _shell_quoted(word: str) -> str:
    """Quote a word of a command that people copy; a file name may contain any character."""
    if file_rules.unsafe_character(word) is None:
        return shlex.quote(word)
    # bash and zsh write characters that cannot be shown as $'...'.
    shown = (
        f"\\x{byte:02x}" if not chr(byte).isalnum() or byte > 126 else chr(byte) for byte in word.encode()
    )
    return f"$'{''.join(shown)}'"
