"""Links into the buckets that need no sign-in while they last: to send a file, and to fetch one."""

from urllib.parse import urlsplit

from pydantic import BaseModel

from contracts import environment
from shared.aws import clients

_SECONDS_TO_UPLOAD = 900
_UPLOADED_AS = "application/octet-stream"
"""The type of every object that a form puts: no browser shows what somebody sent as a page."""
SECONDS_TO_FETCH = 3600
"""How long a link to something works."""


class UploadForm(BaseModel):
    """A presigned S3 POST: send `fields` and then `file`, as multipart form data, to `url`."""

    url: str
    fields: dict[str, str]
    key: str


def upload_form(bucket: str, key: str, size: int) -> UploadForm:
    """Give permission to put one object of exactly this key and size (in bytes), for 15 minutes.

    Raises:
        ValueError: if S3 could replace a part of the key: boto3 then signs how it begins, not what it is.
    """
    if "${" in key:
        raise ValueError(f"{key!r} has a variable of S3's forms in it. Give the key itself.")
    api = environment.read(environment.Api)
    post = clients.s3_presigner(api.s3_endpoint).generate_presigned_post(
        Bucket=bucket,
        Key=key,
        Fields={"Content-Type": _UPLOADED_AS},
        Conditions=[{"Content-Type": _UPLOADED_AS}, ["content-length-range", size, size]],
        ExpiresIn=_SECONDS_TO_UPLOAD,
    )
    local = api.browser_endpoint.rstrip("/")
    url = f"{local}/aws/s3/{bucket}" if local else post["url"]
    return UploadForm(url=url, fields=post["fields"], key=key)


def fetch_link(key: str, content_type: str) -> str:
    """Return a link to an object of the artifacts bucket.

    It leads to the bucket itself: what it holds is then of another origin than the app, and could reach
    nothing of it.

    Args:
        key: of the object.
        content_type: as which it is shown; what a job wrote has no type in the bucket.
    """
    bucket = environment.common().artifacts_bucket
    shown = {"Bucket": bucket, "Key": key, "ResponseContentType": content_type}
    api = environment.read(environment.Api)
    link = clients.s3_presigner(api.s3_endpoint).generate_presigned_url(
        "get_object", Params=shown, ExpiresIn=SECONDS_TO_FETCH
    )
    if not api.browser_endpoint:
        return link
    # On one machine the browser comes in by the front door, which passes it on to where it was signed for.
    parts = urlsplit(link)
    return f"{api.browser_endpoint.rstrip('/')}/aws/s3{parts.path}?{parts.query}"
