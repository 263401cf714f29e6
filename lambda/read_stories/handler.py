"""Read one batch of story files, and write its records and rejects to one file of the run.

A separate process reads every file (`stories.reading.sandbox`), so that one that exceeds a limit or crashes
the process is rejected and nothing else is lost. If the files of a batch need more time than the function
has, the function ends early and is called again; what it has read is cached. If a file ends the function
itself, the state machine divides its batch.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment, s3_keys
from read_stories import cache
from read_stories.fetching import Fetched, prefetch_cached, prefetch_files, rejected
from shared.aws import clients
from shared.runs.story_batches import BatchSummary, ManifestEntry, batch_digest
from stories.reading.sandbox import DeadlineExceededError, ReadingProcess
from stories.records import Source

log = Logger(service="read_stories")

_KEPT_AT_ONCE = 4
_SHARE_TO_READ = 0.9
"""The share of the function's time for reading; the rest is for writing the results."""
_process = ReadingProcess(log=True)
"""Reused for the next batch, because starting it takes a second."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Read a batch of the manifest, or handle one that ended the function.

    Args:
        event: `{"run_id", "files": [manifest line, …]}`. With `"divide": true` no file is read, and only
            cached results are written. With `"ended_by"`, the error that ended the function on a batch of one
            file, that file is rejected.
        context: Lambda's.

    Returns:
        `{"records": n, "rejects": n, "from_cache": n, "finished": true}`; every file has at least one record
        or reject. `finished` is false, and nothing is written, if the time is nearly over: what was read is
        cached, so the same call continues from there. With `divide`, `{"run_id", "files"}` with the files
        that were not cached.
    """
    run_id: str = event["run_id"]
    items: list[ManifestEntry] = event["files"]
    if event.get("divide"):
        return {"run_id": run_id, "files": _divide(run_id, items)}
    if "ended_by" in event:
        # It ended the function four times, twice as the only file: keep the reject, so the next run skips it.
        [item] = items
        reason = f"Reading it ended the function ({event['ended_by']}), even when it was the only file."
        cure = "Save it as plain text (.txt, UTF-8), or split it into several files."
        return _write(run_id, items, [rejected(item, reason, cure, keep=True)])
    try:
        answer = _write(run_id, items, _readable(items, context))
    except DeadlineExceededError:
        answer = {"finished": False}
    log.info("Read a batch", extra={"run_id": run_id, "files": len(items), **answer})
    return answer


def _readable(items: list[ManifestEntry], context: LambdaContext) -> Iterator[Fetched]:
    """Yield each file with its records and rejects, from the cache or by reading it now.

    Raises:
        DeadlineExceededError: the function's time is nearly over, and this call has read at least one file.
    """
    has_read = False
    until = time.monotonic() + _SHARE_TO_READ * context.get_remaining_time_in_millis() / 1000
    for fetched in prefetch_files(items):
        if fetched.stories is not None:
            yield fetched
            continue
        assert fetched.content is not None  # noqa: S101 - for the type checker
        left = until - time.monotonic()
        with fetched.content as content:
            if left <= 0 and has_read:
                raise DeadlineExceededError
            stories = cache.new_stories()
            source = Source(key=fetched.item["key"])
            size = fetched.item["size"]
            # The first file of a call gets a final result, so that each call gets further than the last.
            _process.read(source, Path(content.name), size, stories, max(left, 1), is_final=not has_read)
        has_read = True
        yield Fetched(fetched.item, stories=stories)


def _divide(run_id: str, items: list[ManifestEntry]) -> list[ManifestEntry]:
    """Write the cached results of a batch's files, and return the other files.

    The list is empty if the batch was written before the function ended.
    """
    bucket, key = environment.common().artifacts_bucket, s3_keys.read_batch(run_id, batch_digest(items))
    if clients.s3().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents"):
        return []
    left: list[ManifestEntry] = []
    known: list[Fetched] = []
    for item, found in prefetch_cached(items):
        if found is None:
            left.append(item)
        else:
            known.append(Fetched(item, stories=found.stories, keep=found.is_old, from_cache=True))
    if known:
        _write(run_id, [one.item for one in known], known)
    return left


def _write(run_id: str, items: list[ManifestEntry], files: Iterable[Fetched]) -> dict[str, Any]:
    """Write the records and rejects of some files as one object, and cache those that are new."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryFile() as lines, ThreadPoolExecutor(_KEPT_AT_ONCE) as storing:
        keeping = []
        for fetched in files:
            counts["from_cache"] += fetched.from_cache
            assert fetched.stories is not None  # noqa: S101 - for the type checker
            for result in cache.of_version(fetched.stories, fetched.item):
                counts[result.kind] += 1
                lines.write(result.model_dump_json().encode() + b"\n")
            if fetched.keep:
                keeping.append(storing.submit(cache.store, fetched.item, fetched.stories))
        for kept in keeping:
            kept.result()
        tally = BatchSummary(files=len(items), from_cache=counts["from_cache"])
        lines.write(tally.model_dump_json().encode() + b"\n")
        lines.seek(0)
        key = s3_keys.read_batch(run_id, batch_digest(items))
        bucket = environment.common().artifacts_bucket
        clients.s3().upload_fileobj(lines, bucket, key, ExtraArgs={"ContentType": "application/x-ndjson"})
    return {
        "records": counts["record"],
        "rejects": counts["reject"],
        "from_cache": counts["from_cache"],
        "finished": True,
    }
