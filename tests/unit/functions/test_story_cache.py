"""A file that has not changed is not read again; a deleted one leaves nothing behind."""

import json
from pathlib import Path
from typing import IO, Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError, ResponseStreamingError

from assemble.inputs import RunStories
from begin.handler import handler as begin
from begin.handler import latest_versions
from contracts import s3_keys
from read_stories import cache, fetching
from read_stories import handler as read_stories
from shared import clock
from shared.aws import clients
from shared.runs import lock
from stories.reading.sandbox import DeadlineExceededError, ReadingProcess
from stories.records import Reject, Source
from tests.unit.functions.conftest import DeployedResources
from tests.unit.stories.material import prose, zipped

FIRST, SECOND = "20260901-120000-aaaa", "20260902-120000-bbbb"
FILES = {
    "tales/one.txt": prose(1).encode(),
    "tales/two.md": prose(2).encode(),
    "more.zip": zipped({"three.txt": prose(3).encode(), "four.xyz": b"?"}),
    "empty.txt": b"",
}


def _drop(resources: DeployedResources, files: dict[str, bytes]) -> None:
    for key, content in files.items():
        clients.s3().put_object(Bucket=resources.stories, Key=key, Body=content)


def _read(
    resources: DeployedResources, context: LambdaContext, run_id: str = FIRST
) -> tuple[dict[str, int], list[Any]]:
    """Read all files as one batch; returns the counts and the lines, without the tally."""
    items = list(latest_versions(resources.stories))
    answer = read_stories.handler({"run_id": run_id, "files": items}, context)
    found = clients.s3().list_objects_v2(Bucket=resources.artifacts, Prefix=s3_keys.read_prefix(run_id))
    key = found["Contents"][0]["Key"]
    lines = clients.s3().get_object(Bucket=resources.artifacts, Key=key)["Body"].read().splitlines()
    *stories, tally = [json.loads(line) for line in lines]
    assert tally == {"kind": "tally", "files": len(items), "from_cache": answer["from_cache"]}
    return answer, stories


def _cached(resources: DeployedResources) -> list[str]:
    found = clients.s3().list_objects_v2(Bucket=resources.artifacts, Prefix=s3_keys.CACHED_STORIES)
    return [item["Key"] for item in found.get("Contents", [])]


def _begin(context: LambdaContext, run_id: str) -> dict[str, Any]:
    lock_held = lock.holder()
    if lock_held:
        lock.release(lock_held)
    return begin({"run_id": run_id, "reason": "test", "execution_arn": f"arn:{run_id}"}, context)


def test_unchanged_files_are_not_read_again_and_give_the_same(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drop(resources, FILES)
    first, lines = _read(resources, context)
    assert first == {"records": 3, "rejects": 2, "from_cache": 0, "finished": True}

    def refuse(item: Any) -> None:
        raise AssertionError(f"{item['key']} was downloaded")

    monkeypatch.setattr(fetching, "_download", refuse)
    again, same = _read(resources, context, SECOND)
    assert again == {**first, "from_cache": 4}
    assert same == lines


def test_only_the_changed_and_the_renamed_file_is_read(
    resources: DeployedResources, context: LambdaContext
) -> None:
    _drop(resources, FILES)
    _read(resources, context)
    _drop(resources, {"tales/one.txt": prose(9).encode(), "elsewhere/two.md": FILES["tales/two.md"]})
    answer, lines = _read(resources, context, SECOND)
    assert answer["from_cache"] == 3
    texts = {line["source_key"]: line["text"] for line in lines if line["kind"] == "record"}
    assert texts["tales/one.txt"] == prose(9)
    works = {line["work"] for line in lines if line.get("source_key", "").endswith("two.md")}
    assert len(works) == 2, "a file's folder names its work, so the other folder's may not be taken over"


def test_the_same_bytes_dropped_again_have_the_new_version_and_time(
    resources: DeployedResources, context: LambdaContext
) -> None:
    _drop(resources, {"one.txt": prose(1).encode()})
    _, [before] = _read(resources, context)
    _drop(resources, {"one.txt": prose(1).encode()})
    answer, [after] = _read(resources, context, SECOND)
    [item] = latest_versions(resources.stories)
    assert answer["from_cache"] == 1
    assert after["source_version"] == item["version_id"] != before["source_version"]
    assert after["modified_at"] == item["modified_at"] >= before["modified_at"]
    assert {**after, "source_version": "", "modified_at": ""} == {
        **before,
        "source_version": "",
        "modified_at": "",
    }


def test_other_code_reads_all_files_again(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drop(resources, FILES)
    _read(resources, context)
    monkeypatch.setattr(cache, "reader_version", lambda: "another")
    assert _read(resources, context, SECOND)[0]["from_cache"] == 0


def test_what_is_used_does_not_expire(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written anew long before the bucket's rule deletes it, and not at every run."""
    _drop(resources, {"one.txt": prose(1).encode()})
    _read(resources, context)
    kept: list[str] = []
    monkeypatch.setattr(cache, "store", lambda item, stories: kept.append(item["key"]))
    _read(resources, context, SECOND)
    assert kept == []
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + cache._RENEWED_AFTER)
    assert _read(resources, context, SECOND)[0]["from_cache"] == 1
    assert kept == ["one.txt"]


def test_a_deleted_story_leaves_no_text_behind(resources: DeployedResources, context: LambdaContext) -> None:
    _drop(resources, FILES)
    _begin(context, FIRST)
    _read(resources, context)
    assert len(_cached(resources)) == 4
    clients.s3().delete_object(Bucket=resources.stories, Key="tales/one.txt")
    _drop(resources, {"tales/two.md": prose(8).encode()})
    _begin(context, SECOND)
    left = b"".join(
        clients.s3().get_object(Bucket=resources.artifacts, Key=key)["Body"].read()
        for key in _cached(resources)
    )
    assert len(_cached(resources)) == 2
    assert b"more.zip" in left
    assert b"empty.txt" in left
    assert b"one.txt" not in left
    assert b"two.md" not in left, "what the file held before it was changed is gone too"


def test_an_interrupted_batch_continues_where_it_was(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drop(resources, {f"{letter}.txt": prose(ord(letter)).encode() for letter in "abcdef"})
    read = ReadingProcess.read

    def read_until_d(process: ReadingProcess, source: Source, *arguments: Any, **more: Any) -> None:
        if source.key == "d.txt":
            raise SystemExit("killed")
        read(process, source, *arguments, **more)

    with monkeypatch.context() as cut, pytest.raises(SystemExit):
        cut.setattr(ReadingProcess, "read", read_until_d)
        _read(resources, context)
    answer, lines = _read(resources, context)
    assert answer == {"records": 6, "rejects": 0, "from_cache": 3, "finished": True}
    assert [line["source_key"] for line in lines] == [f"{letter}.txt" for letter in "abcdef"]


class _SlowProcess:
    """Stands in for the process that reads files: `b.txt` takes longer than what is left of the time."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []

    def read(
        self, source: Source, file: Path, size: int, to: IO[bytes], max_seconds: float, *, is_final: bool
    ) -> None:
        assert file.stat().st_size == size
        assert max_seconds < 600
        self.asked.append((source.key, is_final))
        if source.key == "b.txt" and not is_final:
            raise DeadlineExceededError
        to.write(
            Reject(source_key=source.key, source_version="", reason="a", cure="b").model_dump_json().encode()
        )


def test_files_that_together_take_longer_than_the_function_are_read_in_several_calls(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second file is left to a call of its own, which has all the time for it."""
    _drop(resources, {f"{letter}.txt": prose(ord(letter)).encode() for letter in "abc"})
    event = {"run_id": FIRST, "files": list(latest_versions(resources.stories))}
    process = _SlowProcess()
    monkeypatch.setattr(read_stories, "_process", process)
    assert read_stories.handler(event, context) == {"finished": False}
    found = clients.s3().list_objects_v2(Bucket=resources.artifacts, Prefix=s3_keys.read_prefix(FIRST))
    assert "Contents" not in found
    answer, _ = _read(resources, context)
    assert answer == {"records": 0, "rejects": 3, "from_cache": 1, "finished": True}
    assert process.asked == [("a.txt", True), ("b.txt", False), ("b.txt", True), ("c.txt", False)]


def test_a_batch_that_ended_the_function_is_divided(
    resources: DeployedResources, context: LambdaContext
) -> None:
    """What is known is written; the others are left to calls of their own, and the culprit is rejected."""
    _drop(
        resources, {name: prose(number).encode() for number, name in enumerate(("a.txt", "b.txt", "c.txt"))}
    )
    items = list(latest_versions(resources.stories))
    read_stories.handler({"run_id": SECOND, "files": items[:1]}, context)
    left = read_stories.handler({"run_id": FIRST, "files": items, "divide": True}, context)
    assert left == {"run_id": FIRST, "files": items[1:]}
    culprit, innocent = items[1:]
    event = {"run_id": FIRST, "files": [culprit], "ended_by": "Runtime.ExitError"}
    assert read_stories.handler(event, context)["rejects"] == 1
    read_stories.handler({"run_id": FIRST, "files": [innocent]}, context)
    lines = list(RunStories(resources.artifacts, FIRST))
    assert sorted((line.source_key, line.kind) for line in lines) == [
        ("a.txt", "record"),
        ("b.txt", "reject"),
        ("c.txt", "record"),
    ]
    [reject] = [line for line in lines if isinstance(line, Reject)]
    assert "Runtime.ExitError" in reject.reason
    assert reject.source_version == culprit["version_id"]


def test_nothing_is_left_of_a_batch_that_was_written_before_its_function_was_ended(
    resources: DeployedResources, context: LambdaContext
) -> None:
    _drop(resources, {"a.txt": prose(1).encode(), "b.txt": prose(2).encode()})
    items = list(latest_versions(resources.stories))
    read_stories.handler({"run_id": FIRST, "files": items}, context)
    left = read_stories.handler({"run_id": FIRST, "files": items, "divide": True}, context)
    assert left["files"] == []
    assert len(list(RunStories(resources.artifacts, FIRST))) == 2


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState", "KMS.DisabledException"])
def test_a_file_that_becomes_unreadable_after_it_was_listed_is_rejected_alone(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    _drop(resources, {"a.txt": prose(1).encode(), "b.txt": prose(2).encode()})
    download = fetching._download

    def refuse(item: Any) -> Any:
        if item["key"] == "a.txt":
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetObject")
        return download(item)

    monkeypatch.setattr(fetching, "_download", refuse)
    answer, [reject, record] = _read(resources, context)
    assert answer["finished"]
    assert (reject["kind"], record["kind"]) == ("reject", "record")
    assert code in reject["reason"]
    monkeypatch.setattr(fetching, "_download", download)
    assert _read(resources, context, SECOND)[0]["records"] == 2, "it is not held against the file for ever"


def test_an_interrupted_download_rejects_only_its_file(
    resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drop(resources, {"a.txt": prose(1).encode(), "b.txt": prose(2).encode()})
    download = fetching._download

    def break_off(item: Any) -> Any:
        if item["key"] == "a.txt":
            raise ResponseStreamingError(error="reset")
        return download(item)

    monkeypatch.setattr(fetching, "_download", break_off)
    _, [reject, _] = _read(resources, context)
    assert "interrupted" in reject["reason"]
