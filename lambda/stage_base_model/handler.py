"""Copy a pinned revision of the base model into the artifacts bucket, once, in several calls."""

import time
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment, s3_keys
from shared.aws import clients
from shared.models import staged
from shared.models.staged import Staged
from shared.runs import run_records
from stage_base_model import resumable, verification
from stage_base_model.architectures import UnservedModelError, hosting_way
from stage_base_model.hub import FileChanged, Hub, HubError, HubFile, HubUnavailable, OutOfTime, RetryPolicy
from stage_base_model.resumable import PartialUpload, ResumableUpload, StagingProgress
from stage_base_model.verification import Content, ContentHash

log = Logger(service="stage_base_model")

_RESERVE_SECONDS = 30
"""Time reserved for ending an upload cleanly."""
_CALLS_WITHOUT_BYTES = 6
"""The run fails after this many calls in a row, each of which has retried for minutes."""


class _DamagedFile(Exception):  # noqa: N818 - a signal to start the file again, not an error
    """The received content differs from the hub's file."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Copy files until all are copied or the time is over; the state machine calls again until done.

    This also decides from the model's architecture how its versions are hosted, before a GPU is paid for.

    Args:
        event: `{"run_id"}`.
        context: Lambda's; its remaining time limits the call.

    Returns:
        `{"done", "files_left"}`

    Raises:
        HubError: the hub refuses the model, or has sent nothing for several calls.
        UnservedModelError: vLLM cannot host what would be trained.
    """
    run_id = event["run_id"]
    common = environment.common()
    base = common.base_model
    retries = RetryPolicy(time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS)
    there = staged.read_staged()
    if there is not None and there.files:
        there, left = _check_staged(there, retries)
        if left:
            return {"done": False, "files_left": left}
    if there is None:
        run_records.enter(run_id, "StageBaseModel", f"Copying {base.id} into your bucket, once.")
        left = _stage(Hub(base.id, _token(), retries))
        if left:
            return {"done": False, "files_left": left}
    elif there.hosting is None:
        # An older version of the app, or a person, copied the model without this check.
        architecture, hosting = hosting_way(base.id, _staged_config())
        staged.write_staged(there.model_copy(update={"architecture": architecture, "hosting": hosting}))
    run_records.enter(run_id, "Train", "Waiting for a training instance.", training_job=event["training_job"])
    return {"done": True, "files_left": 0}


def _check_staged(there: Staged, retries: RetryPolicy) -> tuple[Staged | None, int]:
    """Check that every file is unchanged since it was staged.

    Returns:
        The list, or None if files have to be copied again; and how many are left for the next call.
    """
    bucket, prefix = _location()
    files: dict[str, dict[str, Any]] = {}
    try:
        wrong = verification.find_changed_files(there, bucket, prefix, retries, files)
    except OutOfTime:
        staged.write_staged(there.model_copy(update={"files": {**there.files, **files}}))
        return there, len(there.files) - len(files)
    if wrong:
        log.warning("Files of the base model are not what was staged", extra={"files": sorted(wrong)})
        done = resumable.read_progress()
        done.verified = {name: facts["sha256"] for name, facts in files.items() if "sha256" in facts}
        done.etags = {name: facts["etag"] for name, facts in files.items() if "etag" in facts}
        resumable.write_progress(done)
        return None, 0
    if files != there.files:
        there = there.model_copy(update={"files": files})
        staged.write_staged(there)
    return there, 0


def _stage(hub: Hub) -> int:
    """Copy what is missing, and then write the list; returns how many files are left for the next call.

    Raises:
        HubError: further calls would not help.
    """
    before = resumable.read_progress()
    done = before.model_copy(deep=True)
    done.calls_without_bytes = 0
    left = 1
    try:
        commit = hub.commit(environment.common().base_model.revision)
        files = hub.files(commit)
        architecture, hosting = hosting_way(hub.model_id, hub.read(commit, "config.json"))
        missing = [file for file in files if file.name not in done.verified]
        left = len(missing)
        for file in missing:
            done.verified[file.name], done.etags[file.name] = _copy_verified(hub, commit, file, done)
            log.info("Copied", extra={"file": file.name, "bytes": file.size})
            resumable.write_progress(done)
            left -= 1
    except (HubUnavailable, OutOfTime) as stopped:
        _record_call(before, done, stopped)
        return left
    listed: dict[str, dict[str, Any]] = {
        file.name: {
            "bytes": file.size,
            "sha256": done.verified[file.name],
            "etag": done.etags.get(file.name),
        }
        for file in files
    }
    facts: dict[str, Any] = {"commit": commit}
    staged.write_staged(Staged(architecture=architecture, hosting=hosting, files=listed, **facts))
    resumable.delete_progress()
    log.info("Staged", extra={"base_model": hub.model_id, "commit": commit, "hosting": hosting})
    return 0


def _record_call(before: StagingProgress, done: StagingProgress, stopped: Exception) -> None:
    """Store the progress of this call; after several calls without progress, raise an error."""
    if not _made_progress(before, done):
        done.calls_without_bytes = before.calls_without_bytes + 1
    resumable.write_progress(done)
    log.warning("Not staged yet", extra={"why": str(stopped), "idle_calls": done.calls_without_bytes})
    if done.calls_without_bytes >= _CALLS_WITHOUT_BYTES:
        resumable.write_progress(done.model_copy(update={"calls_without_bytes": 0}))
        raise HubError(
            f"Hugging Face has sent nothing of {environment.common().base_model.id} for "
            f"{_CALLS_WITHOUT_BYTES} calls of this function in a row. The last error: {stopped}. Nothing was "
            "spent on a GPU, and what arrived is kept. Look at https://status.huggingface.co and start the "
            "run again in an hour. If it answers 429 again, store an access token in AWS Secrets Manager and "
            "set huggingface_token_secret in cdk.json: with a token more requests are allowed."
        )


def _made_progress(before: StagingProgress, done: StagingProgress) -> bool:
    return done.verified != before.verified or done.received > before.received


def _copy_verified(hub: Hub, commit: str, file: HubFile, done: StagingProgress) -> tuple[str, str]:
    """Copy a file unless it is complete; returns its sha256 and its object's ETag.

    Raises:
        HubError: it arrived damaged twice.
    """
    bucket, prefix = _location()
    key = prefix + file.name
    while True:
        try:
            if verification.object_size(bucket, key) == file.size:
                found, etag = verification.hash_object(bucket, key, file.size, hub.retries)
                return _verified_sha256(file, found), etag
            if file.size <= resumable.PART_BYTES:
                body = hub.read(commit, file.name)
                hashed = ContentHash(len(body))
                hashed.add(body)
                digest = _verified_sha256(file, hashed.content)
                return digest, clients.s3().put_object(Bucket=bucket, Key=key, Body=body)["ETag"]
            return _copy_in_parts(hub, commit, file, done)
        except (_DamagedFile, FileChanged) as wrong:
            _discard(bucket, key, done)
            if file.name in done.restarted:
                raise HubError(
                    f"{file.name} arrived damaged twice ({file.size} bytes were expected). Start the run "
                    "again: what arrived whole is kept."
                ) from wrong
            done.restarted.append(file.name)
            resumable.write_progress(done)


def _copy_in_parts(hub: Hub, commit: str, file: HubFile, done: StagingProgress) -> tuple[str, str]:
    bucket, prefix = _location()
    partial = done.partial if done.partial and done.partial.name == file.name else None
    upload = ResumableUpload(bucket, prefix + file.name, partial.upload_id if partial else None)
    if partial is None or partial.upload_id != upload.upload_id:
        partial = PartialUpload(name=file.name, upload_id=upload.upload_id)
    done.partial = partial
    resumable.write_progress(done)
    download = hub.download(commit, file, upload.position, partial.etag)
    try:
        digest = upload.add(download.chunks())
    finally:
        partial.etag = download.etag
        done.received += max(0, upload.position - partial.kept)
        partial.kept = upload.position
    if not upload.resumed:
        _verified_sha256(file, Content(download.position, digest))
    etag = upload.complete()
    done.partial = None
    # The parts of earlier calls were hashed then, but not together with these.
    if upload.resumed:
        found, etag = verification.hash_object(bucket, prefix + file.name, file.size, hub.retries)
        return _verified_sha256(file, found), etag
    return digest, etag


def _verified_sha256(file: HubFile, found: Content) -> str:
    if not found.is_of(file):
        raise _DamagedFile(file.name)
    return found.sha256


def _discard(bucket: str, key: str, done: StagingProgress) -> None:
    """Delete what was received of a file, complete or in parts."""
    clients.s3().delete_object(Bucket=bucket, Key=key)
    if done.partial is not None and key.endswith(done.partial.name):
        ResumableUpload(bucket, key, done.partial.upload_id).abort()
        done.partial = None


def _staged_config() -> bytes:
    """Read the `config.json` of a model that is already in the bucket."""
    bucket, prefix = _location()
    if verification.object_size(bucket, f"{prefix}config.json") is None:
        raise UnservedModelError(
            f"The base model in {s3_keys.uri(bucket, prefix)} has no config.json. Delete that folder and "
            "start the run again: it is copied again."
        )
    return clients.s3().get_object(Bucket=bucket, Key=f"{prefix}config.json")["Body"].read()


def _token() -> str | None:
    name = environment.read(environment.Staging).huggingface_token_secret
    if not name:
        return None
    return clients.secretsmanager().get_secret_value(SecretId=name)["SecretString"].strip()


def _location() -> tuple[str, str]:
    common = environment.common()
    return common.artifacts_bucket, s3_keys.base_model(common.base_model.slug, common.base_model.revision)
