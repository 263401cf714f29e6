"""Read and write a batch's files in the artifacts bucket: prompts, requests and answers in parts, results.

SageMaker writes a part's answers when all of them are finished, and none if one of its lines failed. A batch
therefore has many parts: they show its progress, and a failed line or a stopped job loses only one part.
"""

import json
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from chat_api.openai import strict_json
from chat_api.services.prompt_lines import Line
from contracts import environment, s3_keys, statuses
from shared.aws import clients
from shared.items import BatchJob

_MIN_PART_LINES = 32
"""The model is half idle during the last answers of a part, so parts must not be too small."""
_MAX_PARTS = 100
_WRITERS = 8
_NOT_ANSWERED = {
    "code": "not_answered",
    "message": "The job ended before this line was answered, or the model refused it or a line near it.",
}


@dataclass(frozen=True)
class PromptsFile:
    """The file of prompts with its ETag at the time of reading."""

    content: bytes
    etag: str


@dataclass
class LineCounts:
    """The counts of a batch's lines and tokens."""

    answered: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def read_prompts(batch_id: str) -> PromptsFile | None:
    """Read the file of prompts; None if it has not been uploaded yet."""
    try:
        found = clients.s3().get_object(Bucket=_bucket(), Key=s3_keys.prompts(batch_id))
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return None
        raise
    return PromptsFile(found["Body"].read(), found["ETag"])


def prompts_etag(batch_id: str) -> str | None:
    """Return the current ETag of the file of prompts; None if the file does not exist."""
    # With a list, because HeadObject reports a missing file only with the permission to list anyway.
    key = s3_keys.prompts(batch_id)
    listed = clients.s3().list_objects_v2(Bucket=_bucket(), Prefix=key, MaxKeys=1).get("Contents", [])
    return next((entry["ETag"] for entry in listed if entry["Key"] == key), None)


def lines_a_part(lines: int) -> int:
    """Return the number of lines of each part except the last."""
    return max(_MIN_PART_LINES, -(-lines // _MAX_PARTS))


def write_requests(batch_id: str, lines: list[Line]) -> str:
    """Write the requests in parts, and the ids of their lines.

    Returns:
        The id of this check, which separates its files from those of other checks.
    """
    check_id = uuid.uuid4().hex
    size = lines_a_part(len(lines))
    bodies = {s3_keys.custom_ids(batch_id, check_id): json.dumps([line.custom_id for line in lines])}
    for number, start in enumerate(range(0, len(lines), size)):
        part = "".join(f"{json.dumps(line.body, allow_nan=False)}\n" for line in lines[start : start + size])
        bodies[s3_keys.request_part(batch_id, check_id, number)] = part
    bucket = _bucket()

    def put(key: str) -> None:
        clients.s3().put_object(Bucket=bucket, Key=key, Body=bodies[key].encode())

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(put, bodies))
    return check_id


def count_answered(batch: BatchJob) -> int:
    """Count the lines of the answered parts."""
    if not batch.lines or not batch.lines_a_part or not batch.job_name:
        return 0
    if batch.status == statuses.COMPLETED:
        return batch.lines
    last = (batch.lines - 1) // batch.lines_a_part
    full = batch.lines_a_part
    numbers = [number for number in _answer_keys(batch) if number <= last]
    return sum(batch.lines - last * full if number == last else full for number in numbers)


def write_results(batch: BatchJob) -> LineCounts | None:
    """Write the answers of all lines into one file in OpenAI's batch format, in the order of the lines.

    Returns:
        The counts of its lines; None if the batch's files no longer exist.
    """
    ids = _read(s3_keys.custom_ids(batch.batch_id, batch.check_id))
    if ids is None:
        return None
    counts = LineCounts()
    bucket, key = _bucket(), s3_keys.results(batch.batch_id)
    with tempfile.TemporaryFile() as file:
        for line in _results(batch, json.loads(ids), counts):
            file.write(strict_json.dumps(line) + b"\n")
        file.seek(0)
        clients.s3().upload_fileobj(file, bucket, key)
    return counts


def _results(batch: BatchJob, ids: list[str], counts: LineCounts) -> Iterator[dict[str, Any]]:
    keys, size = _answer_keys(batch), int(batch.lines_a_part or 1)
    for number, start in enumerate(range(0, len(ids), size)):
        part = ids[start : start + size]
        answers = _answers(keys.get(number), len(part))
        for position, custom_id in enumerate(part):
            answer = answers[position] if answers else None
            yield _result(f"{batch.batch_id}-{start + position + 1}", custom_id, answer, counts)


def _result(result_id: str, custom_id: str, answer: Any, counts: LineCounts) -> dict[str, Any]:
    common = {"id": result_id, "custom_id": custom_id}
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        counts.failed += 1
        return {**common, "response": None, "error": _NOT_ANSWERED}
    counts.answered += 1
    counts.prompt_tokens += _tokens(answer, "prompt_tokens")
    counts.completion_tokens += _tokens(answer, "completion_tokens")
    response = {"status_code": 200, "request_id": str(answer.get("id", result_id)), "body": answer}
    return {**common, "response": response, "error": None}


def _tokens(answer: dict[str, Any], counted: str) -> int:
    usage = answer.get("usage")
    count = usage.get(counted) if isinstance(usage, dict) else None
    return count if isinstance(count, int) else 0


def _answers(key: str | None, wanted: int) -> list[Any] | None:
    """Read a part's answers; None if there are none, or not one for each line."""
    content = _read(key) if key else None
    if content is None:
        return None
    answers = [_answer(line) for line in content.split(b"\n") if line.strip()]
    return answers if len(answers) == wanted else None


def _answer(line: bytes) -> Any:
    """Parse one answer; None if it cannot be parsed, so that the other answers are not lost."""
    try:
        return strict_json.loads_leniently(line)
    except ValueError:
        return None


def _answer_keys(batch: BatchJob) -> dict[int, str]:
    """Return the keys of the answers by the number of their part."""
    pages = (
        clients.s3()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=_bucket(), Prefix=s3_keys.answers(batch.batch_id, batch.check_id))
    )
    found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    # SageMaker may insert folders, so a part is identified by its file name.
    names = {key: key.rpartition("/")[2].partition(".")[0] for key in found if key.endswith(".jsonl.out")}
    return {int(name): key for key, name in names.items() if name.isdigit()}


def _read(key: str) -> bytes | None:
    try:
        answer = clients.s3().get_object(Bucket=_bucket(), Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return None
        raise
    return answer["Body"].read()


def _bucket() -> str:
    return environment.common().artifacts_bucket
