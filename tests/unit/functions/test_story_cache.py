"""A file that has not changed is not read again; one that is gone leaves nothing behind."""

import json
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from begin.handler import handler as begin
from begin.handler import latest_versions
from read_stories import cache, fetching
from read_stories import handler as read_stories
from shared import aws, clock, layout, lock
from stories.reading import read_file
from tests.unit.functions.conftest import House
from tests.unit.stories.material import prose, zipped

FIRST, SECOND = "20260901-120000-aaaa", "20260902-120000-bbbb"
FILES = {
    "tales/one.txt": prose(1).encode(),
    "tales/two.md": prose(2).encode(),
    "more.zip": zipped({"three.txt": prose(3).encode(), "four.xyz": b"?"}),
    "empty.txt": b"",
}


def _drop(house: House, files: dict[str, bytes]) -> None:
    for key, content in files.items():
        aws.s3().put_object(Bucket=house.stories, Key=key, Body=content)


def _read(house: House, context: LambdaContext, run_id: str = FIRST) -> tuple[dict[str, int], list[Any]]:
    """Read all files as one batch; returns the counts and the lines, without the tally."""
    items = list(latest_versions(house.stories))
    answer = read_stories.handler({"run_id": run_id, "files": items}, context)
    found = aws.s3().list_objects_v2(Bucket=house.artifacts, Prefix=layout.read_prefix(run_id))
    key = found["Contents"][0]["Key"]
    lines = aws.s3().get_object(Bucket=house.artifacts, Key=key)["Body"].read().splitlines()
    *stories, tally = [json.loads(line) for line in lines]
    assert tally == {"kind": "tally", "files": len(items), "from_cache": answer["from_cache"]}
    return answer, stories


def _cached(house: House) -> list[str]:
    found = aws.s3().list_objects_v2(Bucket=house.artifacts, Prefix=layout.CACHED_STORIES)
    return [item["Key"] for item in found.get("Contents", [])]


def _begin(context: LambdaContext, run_id: str) -> dict[str, Any]:
    lock_held = lock.holder()
    if lock_held:
        lock.release(lock_held)
    return begin({"run_id": run_id, "reason": "test", "execution_arn": f"arn:{run_id}"}, context)


def test_unchanged_files_are_not_read_again_and_give_the_same(
    house: House, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drop(house, FILES)
    first, lines = _read(house, context)
    assert first == {"records": 3, "rejects": 2, "from_cache": 0}

    def refuse(item: Any) -> None:
        raise AssertionError(f"{item['key']} was downloaded")

    monkeypatch.setattr(fetching, "_download", refuse)
    again, same = _read(house, context, SECOND)
    assert again == {**first, "from_cache": 4}
    assert same == lines


def test_only_the_changed_and_the_renamed_file_is_read(house: House, context: LambdaContext) -> None:
    _drop(house, FILES)
    _read(house, context)
    _drop(house, {"tales/one.txt": prose(9).encode(), "elsewhere/two.md": FILES["tales/two.md"]})
    answer, lines = _read(house, context, SECOND)
    assert answer["from_cache"] == 3
    texts = {line["source_key"]: line["text"] for line in lines if line["kind"] == "record"}
    assert texts["tales/one.txt"] == prose(9)
    works = {line["work"] for line in lines if line.get("source_key", "").endswith("two.md")}
    assert len(works) == 2, "a file's folder names its work, so the other folder's may not be taken over"


def test_the_same_bytes_dropped_again_have_the_new_version_and_time(
    house: House, context: LambdaContext
) -> None:
    _drop(house, {"one.txt": prose(1).encode()})
    _, [before] = _read(house, context)
    _drop(house, {"one.txt": prose(1).encode()})
    answer, [after] = _read(house, context, SECOND)
    [item] = latest_versions(house.stories)
    assert answer["from_cache"] == 1
    assert after["source_version"] == item["version_id"] != before["source_version"]
    assert after["modified_at"] == item["modified_at"] >= before["modified_at"]
    assert {**after, "source_version": "", "modified_at": ""} == {
        **before,
        "source_version": "",
        "modified_at": "",
    }


def test_other_code_reads_all_files_again(
    house: House, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drop(house, FILES)
    _read(house, context)
    monkeypatch.setattr(cache, "reader_version", lambda: "another")
    assert _read(house, context, SECOND)[0]["from_cache"] == 0


def test_what_is_used_does_not_expire(
    house: House, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written anew long before the bucket's rule deletes it, and not at every run."""
    _drop(house, {"one.txt": prose(1).encode()})
    _read(house, context)
    kept: list[str] = []
    monkeypatch.setattr(cache, "keep", lambda item, stories: kept.append(item["key"]))
    _read(house, context, SECOND)
    assert kept == []
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + cache._RENEWED_AFTER)
    assert _read(house, context, SECOND)[0]["from_cache"] == 1
    assert kept == ["one.txt"]


def test_a_deleted_story_leaves_no_text_behind(house: House, context: LambdaContext) -> None:
    _drop(house, FILES)
    _begin(context, FIRST)
    _read(house, context)
    assert len(_cached(house)) == 4
    aws.s3().delete_object(Bucket=house.stories, Key="tales/one.txt")
    _drop(house, {"tales/two.md": prose(8).encode()})
    _begin(context, SECOND)
    left = b"".join(
        aws.s3().get_object(Bucket=house.artifacts, Key=key)["Body"].read() for key in _cached(house)
    )
    assert len(_cached(house)) == 2
    assert b"more.zip" in left
    assert b"empty.txt" in left
    assert b"one.txt" not in left
    assert b"two.md" not in left, "what the file held before it was changed is gone too"


def test_a_batch_that_was_cut_off_goes_on_where_it_was(
    house: House, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drop(house, {f"{letter}.txt": prose(ord(letter)).encode() for letter in "abcdef"})

    def read_until_d(source: Any, content: Any) -> Any:
        if source.key == "d.txt":
            raise SystemExit("killed")
        return read_file(source, content)

    with monkeypatch.context() as cut, pytest.raises(SystemExit):
        cut.setattr(read_stories, "read_file", read_until_d)
        _read(house, context)
    answer, lines = _read(house, context)
    assert answer == {"records": 6, "rejects": 0, "from_cache": 3}
    assert [line["source_key"] for line in lines] == [f"{letter}.txt" for letter in "abcdef"]
