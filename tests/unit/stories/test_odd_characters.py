"""Unpaired surrogates, and digits that are not numbers, in all places of a file."""

import json
from pathlib import Path

import pytest

from stories.structure.titles import reading_order
from tests.unit.stories.material import assemble_into, prose, read, read_all, zipped

HALF = "\ud83d"
"""Half of an emoji: JSON can contain it, UTF-8 cannot."""
STORY = prose(1)


@pytest.mark.parametrize(
    "row",
    [
        {"title": f"A {HALF} b", "text": STORY},
        {"title": HALF, "text": STORY},
        {"title": "A", "text": f"{STORY} {HALF}"},
        {HALF: 1},
        {HALF: 1, "text": STORY},
        {"title": "A", "text": HALF},
        {"messages": [{"role": HALF, "content": "a"}, {"role": "assistant", "content": STORY}]},
        {"messages": [{"role": "user", "content": HALF}, {"role": "assistant", "content": f"{STORY}{HALF}"}]},
        {"prompt": HALF, "completion": STORY},
    ],
    ids=lambda row: json.dumps(row)[:40],
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_an_unpaired_surrogate_affects_no_other_story(
    tmp_path: Path, name: str, row: dict[str, object]
) -> None:
    rows = [row, {"title": "Other", "text": prose(2)}]
    text = json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows))
    lines = read(name, text.encode())
    assert all(line.model_dump_json() for line in lines)
    assert [line for line in lines if line.kind == "record" and line.title == "Other"]
    report, _ = assemble_into(tmp_path, lines)
    assert report.model_dump_json()


@pytest.mark.parametrize("name", ["a1²2.txt", "3¹³.txt", "٣٤.txt", "chapter ①.txt"])
def test_digits_of_other_kinds_in_a_name_do_not_end_the_run(tmp_path: Path, name: str) -> None:
    report, _ = assemble_into(tmp_path, read_all({name: STORY.encode(), "b.txt": prose(2).encode()}))
    assert report.kept == 2


def test_a_name_in_a_zip_may_be_thousands_of_digits(tmp_path: Path) -> None:
    packed = zipped({"9" * 900 + ".txt": STORY.encode(), "8" * 60_000 + ".txt": prose(2).encode()})
    report, _ = assemble_into(tmp_path, read("a.zip", packed))
    assert (report.stories, len(report.rejected)) == (1, 1)
    assert "longer than 1,000 characters" in report.rejected[0].reason
    assert reading_order("9" * 5000)
