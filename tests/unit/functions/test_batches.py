"""Files are grouped by number and by size; every file is in exactly one batch, in its order."""

import json

from hypothesis import given
from hypothesis import strategies as st

from shared.runs.story_batches import (
    MOST_BYTES,
    MOST_FILES,
    ManifestEntry,
    batch_digest,
    file_digest,
    group_into_batches,
)

CHILD_INPUT_BYTES = 256 * 1024


def item(key: str, size: int = 1, version: str = "v", etag: str = "e") -> ManifestEntry:
    return {"key": key, "version_id": version, "size": size, "etag": etag, "modified_at": "t"}


@given(
    st.lists(
        st.builds(
            item,
            st.text(max_size=8) | st.just("\x01" * 1024),
            st.integers(0, 2 * MOST_BYTES) | st.integers(0, 10),
        ),
        max_size=400,
    )
)
def test_every_file_is_in_one_batch_and_no_batch_is_too_large(items: list[ManifestEntry]) -> None:
    batches = list(group_into_batches(items))
    assert [one for batch in batches for one in batch["files"]] == items
    for batch in batches:
        assert 1 <= len(batch["files"]) <= MOST_FILES
        assert len(batch["files"]) == 1 or sum(one["size"] for one in batch["files"]) <= MOST_BYTES
        assert len(json.dumps(batch).encode()) < CHILD_INPUT_BYTES


def test_small_files_share_a_batch_and_large_ones_do_not() -> None:
    haiku = [item(f"{number}.txt", 200) for number in range(250)]
    novels = [item(f"{number}.epub", 10 * 1024**2) for number in range(3)]
    assert [len(batch["files"]) for batch in group_into_batches(haiku + novels)] == [100, 100, 51, 1, 1]


def test_a_retry_of_a_batch_has_its_name_and_no_other_batch_has() -> None:
    one, two = [item("a"), item("b")], [item("a"), item("b", version="w")]
    assert batch_digest(one) == batch_digest(list(one))
    assert len({batch_digest(batch) for batch in (one, two, one[:1], [])}) == 4


def test_a_file_is_known_by_its_name_and_its_bytes() -> None:
    same = file_digest(item("a", version="v"))
    assert same == file_digest(item("a", version="w"))
    assert (
        len({same, file_digest(item("b")), file_digest(item("a", 2)), file_digest(item("a", etag="f"))}) == 4
    )
