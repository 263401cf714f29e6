"""Every file that cannot be used is a reject with a reason and a cure in plain words, never an exception."""

import io
import json
import stat
import struct
import zipfile
from collections.abc import Callable

import pytest

from stories.models import Record, Reject
from stories.readers import archive, json_lines
from tests.unit.stories.material import only_reject, prose, read, zipped

STORY = prose(1).encode()

BAD_FILES: list[tuple[str, bytes, str]] = [
    ("empty.txt", b"", "empty"),
    ("blank.txt", b" \r\n\t\n", "empty"),
    ("only-a-mark.txt", b"\xef\xbb\xbf", "0 words"),
    ("short.txt", b"Once upon a time.", "only 4 words"),
    ("report.txt", b"%PDF-1.7 and so on", "PDF"),
    ("novel.txt", zipped({"word/document.xml": b"<x/>"}), "Word"),
    ("novel.md", b"{\\rtf1\\ansi Once}", "RTF"),
    ("old.txt", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "Word"),
    ("photo.txt", b"\x89PNG\r\n\x1a\n" + bytes(99), "picture"),
    ("program.txt", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0\x01\0", "binary"),
    ("controls.txt", b"".join(bytes([number % 8 + 1]) + b"word" for number in range(200)), "binary"),
    ("half-a-character.txt", b"\xff\xfeO\0n\0c", "damaged"),
    ("story.docx", zipped({"word/document.xml": b"<x/>"}), ".docx cannot be read"),
    ("story", STORY, "no ending"),
    (".DS_Store", b"\0\0\0\1Bud1", "operating system"),
    ("folder/~$draft.md", STORY, "operating system"),
    ("empty.jsonl", b"\n\n", "empty"),
    ("not-json.jsonl", b"Once upon a time\n", "not JSON"),
    ("a-list.jsonl", b'["Once upon a time"]\n', "not an object"),
    ("fields.jsonl", b'{"wat": "Once upon a time"}\n', "'wat'"),
    ("numbers.jsonl", b'{"text": 7}\n', "'text'"),
    ("deep.jsonl", b"[" * 100_000 + b"\n", "not JSON"),
    ("one-sided.jsonl", b'{"messages": [{"role": "user", "content": "Hi"}]}\n', "alternate"),
    ("no-turns.jsonl", b'{"messages": []}\n', "alternate"),
    ("odd-turn.jsonl", b'{"messages": [{"role": "user"}]}\n', "role, content"),
    ("not-a-zip.zip", b"PK\x03\x04 but not really", "damaged"),
    ("no-files.zip", zipped({}), "no files"),
    ("folders-only.zip", zipped({"folder/": b""}), "no files"),
]


@pytest.mark.parametrize(("key", "content", "reason"), BAD_FILES, ids=[key for key, _, _ in BAD_FILES])
def test_a_file_that_cannot_be_used_says_why_and_what_to_do(key: str, content: bytes, reason: str) -> None:
    reject = only_reject(read(key, content))
    assert reason in reject.reason
    assert reject.source_key == key
    assert reject.cure.endswith(".")
    assert len(reject.cure) > len("Sorry, no.")
    assert "Traceback" not in reject.reason


def _link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


BAD_ENTRIES: list[tuple[str | zipfile.ZipInfo, bytes, str]] = [
    ("../../etc/cron.d/story.txt", STORY, "out of the archive"),
    ("/etc/story.txt", STORY, "out of the archive"),
    ("..\\..\\story.txt", STORY, "out of the archive"),
    ("C:\\story.txt", STORY, "out of the archive"),
    (_link("link.txt"), b"/etc/passwd", "link"),
    ("inner.zip", zipped({"story.txt": STORY}), "archive inside an archive"),
    ("inner.tar.gz", b"\x1f\x8b", "archive inside an archive"),
    ("bomb.txt", b"a" * 5_000_000, "bomb"),
    ("__MACOSX/._story.txt", STORY, "operating system"),
    ("empty.txt", b"", "empty"),
    ("story.docx", STORY, ".docx cannot be read"),
]


@pytest.mark.parametrize(("entry", "content", "reason"), BAD_ENTRIES, ids=lambda value: str(value)[:30])
def test_a_bad_entry_costs_itself_and_not_its_neighbours(
    entry: str | zipfile.ZipInfo, content: bytes, reason: str
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zip_file:
        zip_file.writestr(entry, content)
        # So many bytes that do not compress that the archive as a whole is no bomb.
        zip_file.writestr("good.txt", prose(2, words=60_000))
    lines = read("stories.zip", packed.getvalue())
    (reject,) = [line for line in lines if isinstance(line, Reject)]
    (record,) = [line for line in lines if isinstance(line, Record)]
    assert reason in reject.reason
    assert reject.entry == (entry if isinstance(entry, str) else entry.filename)
    assert record.entry == "good.txt"


def test_a_zip_that_is_a_bomb_as_a_whole_is_not_opened() -> None:
    files = {f"{number}.txt": b"a" * 1_000_000 for number in range(40)}
    assert "bomb" in only_reject(read("bomb.zip", zipped(files))).reason


def test_a_zip_with_too_many_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MOST_ENTRIES", 3)
    packed = zipped({f"{number}.txt": STORY for number in range(4)})
    assert "more than 3 files" in only_reject(read("many.zip", packed)).reason


def test_a_zip_that_lies_about_its_sizes_yields_no_more_than_it_declares() -> None:
    packed = bytearray(zipped({"story.txt": b"a" * 5_000_000}))
    # The uncompressed size in the central directory, 24 bytes after its signature, and in the local header.
    directory = packed.rindex(b"PK\x01\x02")
    packed[directory + 24 : directory + 28] = struct.pack("<I", 100)
    packed[22:26] = struct.pack("<I", 100)
    assert "damaged" in only_reject(read("liar.zip", bytes(packed))).reason


def test_a_zip_with_a_password_is_refused_entry_by_entry() -> None:
    packed = bytearray(zipped({"story.txt": STORY}))
    directory = packed.rindex(b"PK\x01\x02")
    packed[directory + 8] |= 1
    packed[6] |= 1
    reject = only_reject(read("secret.zip", bytes(packed)))
    assert "password" in reject.reason
    assert reject.entry == "story.txt"


def test_a_zip_cut_short_is_refused() -> None:
    packed = zipped({"story.txt": STORY})
    assert "damaged" in only_reject(read("cut.zip", packed[: len(packed) // 2])).reason


def test_bytes_damaged_inside_a_zip_are_noticed() -> None:
    packed = bytearray(zipped({"story.txt": STORY}))
    packed[200] ^= 0xFF
    assert "damaged" in only_reject(read("damaged.zip", bytes(packed))).reason


def test_a_text_larger_than_any_story_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stories.readers.LARGEST_TEXT_BYTES", 1024**2)
    reject = only_reject(read("huge.txt", b"word " * 300_000))
    assert "larger than 1 MB" in reject.reason


def test_bad_lines_cost_themselves_and_name_their_line() -> None:
    good = json.dumps({"title": "The Well", "text": prose(3)})
    lines = read("stories.jsonl", f"{good}\nnonsense\n{good[:-2]}\n{good}\n".encode())
    assert [line.entry for line in lines if isinstance(line, Reject)] == ["line 2", "line 3"]
    assert sum(isinstance(line, Record) for line in lines) == 2


def test_a_thousand_bad_lines_do_not_make_a_thousand_rejects() -> None:
    lines = read("stories.jsonl", b"nonsense\n" * 1000)
    assert len(lines) == json_lines._MOST_FLAWS + 1
    assert isinstance(lines[-1], Reject)
    assert "980 more lines" in lines[-1].reason


def test_an_endless_line_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "_LONGEST_LINE_BYTES", 1000)
    good = json.dumps({"text": "word " * 50}).encode()
    lines = read("stories.jsonl", b'{"text": "' + b"a " * 2000 + b'"}\n' + good + b"\n")
    rejects = [line for line in lines if isinstance(line, Reject)]
    assert [(reject.entry, "longer" in reject.reason) for reject in rejects] == [("line 1", True)]
    assert sum(isinstance(line, Record) for line in lines) == 1


def _explode(*_: object) -> None:
    raise RuntimeError("a parser nobody trusts")


def test_a_reader_that_breaks_costs_its_file_only(monkeypatch: pytest.MonkeyPatch) -> None:
    broken: dict[str, Callable[..., None]] = {".txt": _explode}
    monkeypatch.setattr("stories.readers.readers", lambda: broken)
    reject = only_reject(read("story.txt", STORY))
    assert "RuntimeError" in reject.reason
    assert "nobody trusts" not in reject.reason
