"""The list that is written when a base model lies in the artifacts bucket whole: `staged.json`."""

import json
from typing import Any, Literal

from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict

from contracts import environment, s3_keys
from shared.aws import clients

HostingWay = Literal["adapters", "merged"]
"""`adapters`: one server answers as the base and as several versions; `merged`: the server has one version,
whose weights the adapter has been added to (docs/decisions/0011)."""


class Staged(BaseModel):
    """What the list says, beside what was not asked for yet when an older one was written."""

    # The commit stays in it, and newer things too.
    model_config = ConfigDict(extra="allow")

    architecture: str | None = None
    hosting: HostingWay | None = None
    files: dict[str, dict[str, Any]] = {}
    """`{"bytes", "sha256", "etag"}` of each file by its name; an older list lacks some of these."""


def read_staged() -> Staged | None:
    """Read the list of the base model that is set; None where the model is not there whole."""
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
    """Write the list."""
    clients.s3().put_object(
        Bucket=environment.common().artifacts_bucket,
        Key=_key(),
        Body=json.dumps(staged.model_dump(), indent=2).encode(),
        ContentType="application/json",
    )


def _key() -> str:
    base = environment.common().base_model
    return s3_keys.staged_marker(base.slug, base.revision)
