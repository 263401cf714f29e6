"""`staged.json`, which is written when a base model is complete in the artifacts bucket."""

import json
from typing import Any, Literal

from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict

from contracts import environment, s3_keys
from shared.aws import clients

HostingWay = Literal["adapters", "merged"]
"""`adapters`: one server hosts the base and several versions; `merged`: the server hosts one version, whose
adapter has been merged into the weights (docs/decisions/0011)."""


class Staged(BaseModel):
    """The content of the list; an older list may lack some of it."""

    # Keep the commit, and fields of newer versions of the app.
    model_config = ConfigDict(extra="allow")

    architecture: str | None = None
    hosting: HostingWay | None = None
    files: dict[str, dict[str, Any]] = {}
    """`{"bytes", "sha256", "etag"}` of each file by its name; an older list lacks some of these."""


def read_staged() -> Staged | None:
    """Read the list of the current base model; None if the model is not complete."""
    try:
        body = (
            clients.s3().get_object(Bucket=environment.common().artifacts_bucket, Key=_key())["Body"].read()
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            return None
        raise
    return Staged.model_validate_json(body)


def write_staged(staged: Staged) -> None:
    """Write the list of the current base model."""
    clients.s3().put_object(
        Bucket=environment.common().artifacts_bucket,
        Key=_key(),
        Body=json.dumps(staged.model_dump(), indent=2).encode(),
        ContentType="application/json",
    )


def _key() -> str:
    base = environment.common().base_model
    return s3_keys.staged_marker(base.slug, base.revision)
