"""Reads one batch of story files: records and rejects go into one file of the run.

Every file is read by another process (`stories.reading.sandbox`), so that one that takes too much time or
memory, or crashes its reader, is rejected and nothing else is lost. A batch may hold so many of those that
their time limits together are more than the function's: then it ends early and is called again, and what it
has read is kept. Should a file end the function itself all the same, the state machine divides its batch.
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

from read_stories import cache
from read_stories.fetching import Fetched, fetch_ahead, known_already, rejected
from shared import aws, environment, layout
from shared.batches import Item, Tally, batch_digest
from stories.reading.sandbox import ReadingProcess, ReadTimeoutError
from stories.records import Source

log = Logger(service="read_stories")

_KEPT_AT_ONCE = 4
_SHARE_TO_READ = 0.9
"""Of the function's time; the rest is for writing what was read."""
_process = ReadingProcess(log=True)
"""Stays from one batch to the next: starting it takes a second."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Read a batch of the manifest, or what is left to do of one that ended the function.

    Args:
        event: `{"run_id", "files": [manifest line, …]}`. With `"divide": true` only what is known of the
            files is written, none is read. With `"ended_by"`, the error of a function that was to read the
            batch's only file, that file is rejected.
        context: Lambda's.

    Returns:
        `{"records": n, "rejects": n, "from_cache": n, "finished": true}`; every file gave at least one of the
        first two. `finished` is false, and nothing is written, if the time is nearly over: what was read is
        kept, so the same call goes on from there. With `divide`, `{"run_id", "files"}`: those that are left.
    """
    run_id: str = event["run_id"]
    items: list[Item] = event["files"]
    if event.get("divide"):
        return {"run_id": run_id, "files": _divide(run_id, items)}
    if "ended_by" in event:
        # It did so four times, twice alone: the next run need not find that out again.
        [item] = items
        reason = f"Reading it ended the function that reads ({event['ended_by']}), and so it did alone."
        cure = "Save it as plain text (.txt, UTF-8), or split it into several files."
        return _write(run_id, items, [rejected(item, reason, cure, keep=True)])
    try:
        answer = _write(run_id, items, _readable(items, context))
    except ReadTimeoutError:
        answer = {"finished": False}
    log.info("Read a batch", extra={"run_id": run_id, "files": len(items), **answer})
    return answer


def _readable(items: list[Item], context: LambdaContext) -> Iterator[Fetched]:
    """Yield each file with its records and rejects, those of a run before or those that it gives now.

    Raises:
        ReadTimeoutError: the function's time is nearly over; it is not if no file has been read in this call.
    """
    has_read = False
    until = time.monotonic() + _SHARE_TO_READ * context.get_remaining_time_in_millis() / 1000
    for fetched in fetch_ahead(items):
        if fetched.stories is not None:
            yield fetched
            continue
        assert fetched.content is not None  # noqa: S101 - for the type checker
        left = until - time.monotonic()
        with fetched.content as content:
            if left <= 0 and has_read:
                raise ReadTimeoutError
            stories = cache.new_stories()
            source = Source(key=fetched.item["key"])
            size = fetched.item["size"]
            # The first file of each call is decided, so that each call gets further than the one before.
            _process.read(source, Path(content.name), size, stories, max(left, 1), is_final=not has_read)
        has_read = True
        yield Fetched(fetched.item, stories=stories)


def _divide(run_id: str, items: list[Item]) -> list[Item]:
    """Write what is known of a batch's files, and return the others.

    None is left if the batch had been written before the function was ended.
    """
    bucket, key = environment.common().artifacts_bucket, layout.read_batch(run_id, batch_digest(items))
    if aws.s3().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents"):
        return []
    left: list[Item] = []
    known: list[Fetched] = []
    for item, found in known_already(items):
        if found is None:
            left.append(item)
        else:
            known.append(Fetched(item, stories=found.stories, keep=found.is_old, from_cache=True))
    if known:
        _write(run_id, [one.item for one in known], known)
    return left


def _write(run_id: str, items: list[Item], files: Iterable[Fetched]) -> dict[str, Any]:
    """Write the records and rejects of some files, and keep what was new; a batch is written as a whole."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryFile() as lines, ThreadPoolExecutor(_KEPT_AT_ONCE) as keepers:
        keeping = []
        for fetched in files:
            counts["from_cache"] += fetched.from_cache
            assert fetched.stories is not None  # noqa: S101 - for the type checker
            for result in cache.of_version(fetched.stories, fetched.item):
                counts[result.kind] += 1
                lines.write(result.model_dump_json().encode() + b"\n")
            if fetched.keep:
                keeping.append(keepers.submit(cache.keep, fetched.item, fetched.stories))
        for kept in keeping:
            kept.result()
        tally = Tally(files=len(items), from_cache=counts["from_cache"])
        lines.write(tally.model_dump_json().encode() + b"\n")
        lines.seek(0)
        key = layout.read_batch(run_id, batch_digest(items))
        bucket = environment.common().artifacts_bucket
        aws.s3().upload_fileobj(lines, bucket, key, ExtraArgs={"ContentType": "application/x-ndjson"})
    return {
        "records": counts["record"],
        "rejects": counts["reject"],
        "from_cache": counts["from_cache"],
        "finished": True,
    }
