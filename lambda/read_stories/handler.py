"""Reads one batch of story files: records and rejects go into one file of the run."""

import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from read_stories import cache
from read_stories.fetching import Fetched, fetch_ahead
from shared import aws, environment, layout
from shared.batches import Item, Tally, batch_digest
from stories.models import Source
from stories.reading import read_file

log = Logger(service="read_stories")

_KEPT_AT_ONCE = 4


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Read a batch of the manifest.

    Args:
        event: `{"run_id", "files": [manifest line, …]}`
        context: Lambda's.

    Returns:
        `{"records": n, "rejects": n, "from_cache": n}`; every file gave at least one of the first two.
    """
    run_id: str = event["run_id"]
    items: list[Item] = event["files"]
    counts: Counter[str] = Counter()
    with tempfile.TemporaryFile() as lines, ThreadPoolExecutor(_KEPT_AT_ONCE) as keepers:
        keeping = []
        for fetched in fetch_ahead(items):
            counts["from_cache"] += fetched.from_cache
            stories = fetched.stories or _read(fetched)
            for result in cache.of_version(stories, fetched.item):
                counts[result.kind] += 1
                lines.write(result.model_dump_json().encode() + b"\n")
            if fetched.keep:
                keeping.append(keepers.submit(cache.keep, fetched.item, stories))
        tally = Tally(files=len(items), from_cache=counts["from_cache"])
        lines.write(tally.model_dump_json().encode() + b"\n")
        lines.seek(0)
        key = layout.read_batch(run_id, batch_digest(items))
        bucket = environment.common().artifacts_bucket
        aws.s3().upload_fileobj(lines, bucket, key, ExtraArgs={"ContentType": "application/x-ndjson"})
        for kept in keeping:
            kept.result()
    answer = {"records": counts["record"], "rejects": counts["reject"], "from_cache": counts["from_cache"]}
    log.info("Read a batch", extra={"run_id": run_id, "files": len(items), **answer})
    return answer


def _read(fetched: Fetched) -> cache.Stories:
    """Read a file; nothing that it gives depends on which version it is, or when that was written."""
    stories = cache.new_stories()
    assert fetched.content is not None  # noqa: S101 - for the type checker
    with fetched.content as content:
        for found in read_file(Source(key=fetched.item["key"]), content):
            cache.write(stories, found)
    return stories
