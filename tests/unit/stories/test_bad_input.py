"""Every kind of file is used, or rejected with a reason and a cure, and never stops the others."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stories.formats import rows
from stories.formats.readers import json_lines
from stories.records import Record, Reject
from tests.unit.stories.bad_files import KINDS, Kind
from tests.unit.stories.material import only_reject, prose, read, read_all, zipped

STORY = prose(1).encode()
_CHECKOUT = Path(__file__).parents[3]
_MAX_SECONDS = 10.0
"""Processor time, because wall-clock time depends on how busy the machine is."""
# Technical terms that no message may contain.
_JARGON = re.compile(
    r"Traceback|Error\b|Exception|(?-i:None)\b|0x[0-9a-f]|\bbytes?\b|\bparser?\b|\btoken|\bcodec|\bstream\b|errno",
    re.I,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.what)
def test_each_file_is_used_or_rejected_with_a_reason(kind: Kind) -> None:
    content = kind.make()
    started = time.process_time()
    lines = read_all({"before.txt": prose(90).encode(), kind.name: content, "z.txt": prose(91).encode()})
    assert time.process_time() - started < _MAX_SECONDS
    assert [line.source_key for line in lines[:: len(lines) - 1]] == ["before.txt", "z.txt"]
    records = [line for line in lines[1:-1] if isinstance(line, Record)]
    rejects = [line for line in lines[1:-1] if isinstance(line, Reject)]
    assert len(records) == kind.stories, rejects
    assert kind.holds in "".join(record.text for record in records[:1])
    if kind.reason or not kind.stories:
        assert any(kind.reason in reject.reason for reject in rejects), rejects
    else:
        assert not rejects
    for reject in rejects:
        _check_words(reject)


def _check_words(reject: Reject) -> None:
    for said in (reject.reason, reject.cure):
        assert said.endswith((".", "”")), said
        assert len(said) > len("Sorry, no.")
        assert not _JARGON.search(said), said


def test_the_table_has_more_than_forty_kinds() -> None:
    assert len({kind.what for kind in KINDS}) == len(KINDS) > 100
    assert sum(kind.stories == 0 for kind in KINDS) > 40


def test_ten_thousand_tiny_files_are_all_accounted_for() -> None:
    tiny = {f"{number % 97}/{number}.txt": b"Once upon a time." for number in range(10_000)}
    started = time.perf_counter()
    lines = read_all(tiny)
    assert time.perf_counter() - started < 60
    assert {line.source_key for line in lines} == set(tiny)


# In a separate process with the memory of the function, so that exceeding it fails there.
_LIMITED = """
import json, re, resource, sys, time
from pathlib import Path
from typing import Any
resource.setrlimit(resource.RLIMIT_AS, (2 * 1024**3, 2 * 1024**3))

def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")

def megabytes(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
"""
_EVERY_KIND = f"""{_LIMITED}
from tests.unit.stories.bad_files import KINDS
from tests.unit.stories.material import read
read("warm.txt", b"word " * 1000)
for kind in KINDS:
    content = kind.make()
    forget_peak()
    before = megabytes("VmRSS")
    reasons = [getattr(line, "reason", "") for line in read(kind.name, content)]
    print(json.dumps({{"what": kind.what, "mb": megabytes("VmHWM") - before, "reasons": reasons}}))
"""
_LARGE_TEXT = f"""{_LIMITED}
import io
from stories.formats import encoding
from stories.records import Source
from stories.reading.file_reader import read_file
from tests.unit.stories.material import prose
encoding._PART_CHARACTERS = 1024**2
text = (prose(1, 20_000) + "\\n\\n").encode()
times = int(sys.argv[1])
stream = io.BytesIO(text * times)
forget_peak()
before = megabytes("VmRSS")
words = sum(line.words for line in read_file(Source(key="large.txt"), stream))
print(json.dumps({{"all": words == 20_000 * times, "mb": megabytes("VmHWM") - before}}))
"""
_MAX_MEGABYTES = 400


def _limited(program: str, *arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=_CHECKOUT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_no_kind_takes_more_memory_than_a_function_has() -> None:
    measured = _limited(_EVERY_KIND)
    assert len(measured) == len(KINDS)
    assert {said["what"]: said["mb"] for said in measured if said["mb"] > _MAX_MEGABYTES} == {}
    assert [said["what"] for said in measured if "MemoryError" in " ".join(said["reasons"])] == []


def test_a_text_of_any_size_takes_the_memory_of_one_part() -> None:
    (small,), (large,) = (_limited(_LARGE_TEXT, str(times)) for times in (25, 100))
    assert small["all"]
    assert large["all"]
    assert 10 < large["mb"] < small["mb"] * 1.5


def test_a_text_larger_than_any_document_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stories.formats.detection.LARGEST_TEXT_BYTES", 1024**2)
    reject = only_reject(read("huge.md", b"word " * 300_000))
    assert "larger than 1 MB" in reject.reason


def test_bad_lines_are_rejected_with_their_number() -> None:
    good = json.dumps({"title": "The Well", "text": prose(3)})
    lines = read("stories.jsonl", f"{good}\nnonsense\n{good[:-2]}\n{good}\n".encode())
    assert [line.entry for line in lines if isinstance(line, Reject)] == ["line 2", "line 3"]
    assert sum(isinstance(line, Record) for line in lines) == 2


def test_a_thousand_bad_lines_do_not_make_a_thousand_rejects() -> None:
    lines = read("stories.jsonl", b"nonsense\n" * 1000)
    assert len(lines) == rows.MAX_UNUSABLE_ROWS + 1
    assert isinstance(lines[-1], Reject)
    assert "980 more rows" in lines[-1].reason


def test_an_endless_line_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "LONGEST_ROW", 1000)
    good = json.dumps({"text": "word " * 50}).encode()
    lines = read("stories.jsonl", b'{"text": "' + b"a " * 2000 + b'"}\n' + good + b"\n")
    rejects = [line for line in lines if isinstance(line, Reject)]
    assert [(reject.entry, "longer" in reject.reason) for reject in rejects] == [("line 1", True)]
    assert sum(isinstance(line, Record) for line in lines) == 1


def test_a_bad_entry_of_a_zip_is_named() -> None:
    packed = zipped({"b/a.txt": b"", "good.txt": STORY})
    reject, record = read("stories.zip", packed)
    assert (reject.entry, record.entry) == ("b/a.txt", "good.txt")


def test_a_reader_error_in_a_zip_rejects_only_that_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_lines, "stories_from_rows", _explode)
    packed = zipped({"a.txt": STORY, "b.jsonl": b'{"text": "x"}\n', "c.txt": STORY + b" more"})
    first, broken, last = read("stories.zip", packed)
    assert isinstance(broken, Reject)
    assert (broken.entry, "RuntimeError" in broken.reason) == ("b.jsonl", True)
    assert (first.entry, last.entry) == ("a.txt", "c.txt")


def _explode(*_: object) -> None:
    raise RuntimeError("a parser nobody trusts")


def test_a_reader_error_rejects_only_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    broken: dict[str, Callable[..., None]] = {".txt": _explode}
    monkeypatch.setattr("stories.formats.detection.readers", lambda: broken)
    reject = only_reject(read("story.txt", STORY))
    assert "RuntimeError" in reject.reason
    assert "nobody trusts" not in reject.reason
