"""Copies a pinned revision of the base model into the artifacts bucket, once, a stretch at a time."""

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from shared import aws, environment, layout, runs, staged
from shared.staged import Staged
from stage_base_model.architectures import UnservedModelError, hosting_way
from stage_base_model.hub import Hub, HubError, HubFile

log = Logger(service="stage_base_model")

_RESERVE_SECONDS = 30
"""Left of the function's time for ending an upload cleanly."""
# boto3 holds ten parts of a stream in memory: 160 MB. 10,000 parts, S3's limit, are 160 GB.
_IN_PARTS = TransferConfig(multipart_threshold=16 * 2**20, multipart_chunksize=16 * 2**20, max_concurrency=4)


class OutOfTime(Exception):  # noqa: N818 - a signal to go on in the next call, not an error
    """This call's time is up in the middle of a file."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Copy files until they are all there or the time is up; the state machine calls again until done.

    How versions of the model will be hosted is decided here, from its architecture, before a GPU is paid for.

    Args:
        event: `{"run_id"}`.
        context: Lambda's; its remaining time is the time box.

    Returns:
        `{"done", "files_left"}`

    Raises:
        HubError: where the hub refuses the model, or a file is too large for one call.
        UnservedModelError: where vLLM cannot host what would be trained.
    """
    run_id = event["run_id"]
    common = environment.common()
    base = common.base_model
    there = staged.read()
    if there is None:
        runs.enter(run_id, "StageBaseModel", f"Copying {base.id} into your bucket, once.")
        hub = Hub(base.id, _token())
        commit = hub.commit(base.revision)
        files = hub.files(commit)
        architecture, hosting = hosting_way(base.id, hub.read(commit, "config.json"))
        left = _stage(hub, commit, files, context.get_remaining_time_in_millis)
        if left:
            return {"done": False, "files_left": left}
        listed = {"commit": commit, "files": _listed(files)}
        staged.write(Staged(architecture=architecture, hosting=hosting, **listed))
        log.info("Staged", extra={"base_model": base.id, "commit": commit, "hosting": hosting})
    elif there.hosting is None:
        # Whoever copied it here, an older version of the app or a person, did not look at this.
        architecture, hosting = hosting_way(base.id, _own_config())
        staged.write(there.model_copy(update={"architecture": architecture, "hosting": hosting}))
    runs.enter(run_id, "Train", "Waiting for a training machine.", training_job=event["training_job"])
    return {"done": True, "files_left": 0}


def _stage(hub: Hub, commit: str, files: list[HubFile], remaining_ms: Callable[[], int]) -> int:
    """Copy what is missing; returns how many files are left."""
    bucket, prefix = _place()
    deadline = time.monotonic() + remaining_ms() / 1000 - _RESERVE_SECONDS
    missing = [file for file in files if _size(bucket, prefix + file.name) != file.size]
    for number, file in enumerate(missing):
        try:
            _copy(hub, commit, file, deadline)
        except OutOfTime:
            if number == 0:
                raise HubError(
                    f"{file.name} ({file.size / 1e9:.1f} GB) does not download within one call of the "
                    "function. Start the run again; if it happens again, choose a model with smaller files."
                ) from None
            return len(missing) - number
        log.info("Copied", extra={"file": file.name, "bytes": file.size})
    return 0


def _copy(hub: Hub, commit: str, file: HubFile, deadline: float) -> None:
    bucket, prefix = _place()
    with hub.download(commit, file.name) as chunks:
        body: Any = VerifiedStream(chunks, file, deadline)
        aws.s3().upload_fileobj(body, bucket, prefix + file.name, Config=_IN_PARTS)


class VerifiedStream:
    """A file being downloaded, as boto3 reads it; its last read fails where the bytes are not the right ones.

    boto3 aborts the upload then, so no wrong or partial file ever appears in the bucket.
    """

    def __init__(self, chunks: Iterator[bytes], file: HubFile, deadline: float) -> None:
        """Wrap the chunks of a file; `deadline` is on the monotonic clock, in seconds."""
        self._chunks = chunks
        self._file = file
        self._deadline = deadline
        self._kept = bytearray()
        self._count = 0
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, fewer at the end; all that are left where it is negative.

        Raises:
            OutOfTime: past the deadline.
            HubError: at the end, where length or digest are wrong.
        """
        while size < 0 or len(self._kept) < size:
            if time.monotonic() > self._deadline:
                raise OutOfTime(self._file.name)
            chunk = next(self._chunks, None)
            if chunk is None:
                self._verify()
                break
            self._digest.update(chunk)
            self._count += len(chunk)
            self._kept += chunk
        end = len(self._kept) if size < 0 else size
        data = bytes(self._kept[:end])
        del self._kept[:end]
        return data

    def _verify(self) -> None:
        expected = self._file.sha256
        if self._count != self._file.size or (expected and self._digest.hexdigest() != expected):
            raise HubError(
                f"{self._file.name} arrived damaged ({self._count} of {self._file.size} bytes). "
                "Start the run again: what arrived whole is kept."
            )


def _listed(files: list[HubFile]) -> dict[str, dict[str, Any]]:
    """Name each file's size and hash."""
    bucket, prefix = _place()
    return {
        file.name: {"bytes": file.size, "sha256": file.sha256 or _sha256(bucket, prefix + file.name)}
        for file in files
    }


def _own_config() -> bytes:
    """Read the `config.json` of a model that is in the bucket already."""
    bucket, prefix = _place()
    if _size(bucket, f"{prefix}config.json") is None:
        raise UnservedModelError(
            f"The base model in {layout.uri(bucket, prefix)} has no config.json. Delete that folder and "
            "start the run again: it is copied anew."
        )
    return aws.s3().get_object(Bucket=bucket, Key=f"{prefix}config.json")["Body"].read()


def _sha256(bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    for chunk in aws.s3().get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(2**20):
        digest.update(chunk)
    return digest.hexdigest()


def _size(bucket: str, key: str) -> int | None:
    try:
        return aws.s3().head_object(Bucket=bucket, Key=key)["ContentLength"]
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            return None
        raise


def _token() -> str | None:
    name = environment.read(environment.Staging).huggingface_token_secret
    if not name:
        return None
    return aws.secretsmanager().get_secret_value(SecretId=name)["SecretString"].strip()


def _place() -> tuple[str, str]:
    common = environment.common()
    return common.artifacts_bucket, layout.base_model(common.base_model.slug, common.base_model.revision)
