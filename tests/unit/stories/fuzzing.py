"""Fuzz each reader with slightly damaged files for a given time: `make fuzz SECONDS=60`.

What it looks for: a reader that breaks, that takes longer than any file of that size should, or fills the
memory. The seeds of chance are printed, so that a finding can be made again.
"""

import argparse
import io
import json
import random
import re
import signal
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil
from pydantic import TypeAdapter

from stories import file_rules
from stories.formats.detection import readers
from stories.reading.sandbox import ReadingProcess
from stories.records import Record, Reject, Source
from tests.unit.stories import documents
from tests.unit.stories.bad_files import KINDS
from tests.unit.stories.material import prose, zipped

_TEXT = prose(5, 120)
_MAX_SECONDS = 5
_MAX_MEGABYTES = 300
_MAX_SEED_BYTES = 60_000
# The reasons of rejects that show an error in a reader, such as `It could not be read (SomeError).`
_BROKEN = re.compile(
    r"^It could not be read \((\w+)\)"
    r"|^Reading it takes (?:longer|more memory)|crashes the program that reads it"
    r"|^The operating system stopped the program"
)
_LINE: TypeAdapter[Record | Reject] = TypeAdapter(Record | Reject)
_WORDS: tuple[bytes, ...] = (
    *(
        b"\0",
        b"\xff",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\xbd",
        b"\x1b$B",
        b"~{",
        b"\r",
        b"\f",
        b"\n\n\n",
    ),
    *(
        b"<p>",
        b"</p>",
        b"<div>",
        b"<table>",
        b"<!--",
        b"<![CDATA[",
        b"&lt;",
        b"&#0;",
        b"&#xD800;",
        b"<svg><style>",
    ),
    *(b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<w:p>", b"<text:p>", b"xmlns:w=''", b"<?xml version='1.1'?>"),
    *(b"{", b"}", b"\\'", b"\\u-1?", b"\\bin9999999999 ", b"\\par", b"\\uc99999", b"{\\*\\"),
    *(
        b'"',
        b'""',
        b",",
        b";",
        b"\t",
        b"[",
        b"]",
        b":",
        b"NaN",
        b"1e999",
        b"-",
        b"null",
        b'"text"',
        b'"messages"',
    ),
    *(
        b"9" * 5000,
        b"-1",
        b"4294967295",
        b"obj",
        b"stream",
        b"/Kids [2 0 R]",
        b"/Filter /LZWDecode",
        b"PK\x05\x06",
    ),
    *(
        b"# ",
        b"> " * 200,
        b"- " * 50,
        b"```",
        b"*" * 99,
        b"[" * 500,
        b"|",
        b"---\n",
        b"<b " * 50,
        b"Chapter 1\n\n",
    ),
)


@dataclass
class Findings:
    """The result of one reader."""

    executions: int = 0
    slowest_seconds: float = 0.0
    largest_megabytes: float = 0.0
    faults: list[str] = field(default_factory=list)


class TooSlowError(BaseException):
    """A file took too long. Not an `Exception`, so that no handler for reader errors catches it."""


def seeds(suffix: str) -> list[bytes]:
    """Return small files of a format: valid ones, and those in the table of bad files."""
    right: dict[str, Callable[[], bytes]] = {
        ".docx": lambda: documents.docx(_TEXT),
        ".epub": lambda: documents.epub(_TEXT),
        ".odt": lambda: documents.odt(_TEXT),
        ".rtf": lambda: documents.rtf(_TEXT),
        ".html": lambda: documents.html(_TEXT),
        ".pdf": lambda: documents.pdf(_TEXT),
        ".md": f"---\ntitle: A\n---\n# A\n\n{_TEXT}\n\n> *b* [c](d)\n\n- e\n".encode,
        ".csv": f'title,text\nA,"{_TEXT}"\nB,"{_TEXT}"\n'.encode,
        ".json": lambda: json.dumps({"stories": [{"title": "A", "text": _TEXT}, {"messages": []}]}).encode(),
        ".jsonl": (json.dumps({"text": _TEXT}) + "\n" + json.dumps({"prompt": "a"}) + "\n").encode,
        ".zip": lambda: zipped({"a.txt": _TEXT.encode(), "b/c.docx": documents.docx(_TEXT)}),
        ".txt": f"The Well\n\n{_TEXT}".encode,
    }
    made = [right[suffix]()] if suffix in right else []
    bad = (kind.make() for kind in KINDS if kind.name.endswith(suffix))
    return made + [content for content in bad if 0 < len(content) <= _MAX_SEED_BYTES]


def fuzz(suffix: str, seconds: float, seed: int = 0, fewest: int = 0) -> Findings:
    """Fuzz a reader for a number of seconds.

    Args:
        suffix: of the files, such as `.docx`.
        seconds: how long.
        seed: of chance; execution n of a seed is always the same.
        fewest: executions, however long they take.
    """
    found = Findings()
    corpus = seeds(suffix)
    ends = time.monotonic() + seconds
    with _process() as process, tempfile.NamedTemporaryFile() as file:
        while time.monotonic() < ends or found.executions < fewest:
            content = _mutated(random.Random(f"{seed}:{suffix}:{found.executions}"), corpus)  # noqa: S311
            Path(file.name).write_bytes(content)
            fault = _feed(process, f"a{suffix}", Path(file.name), found)
            if fault:
                found.faults.append(f"{suffix}, seed {seed}, execution {found.executions}: {fault}")
            found.executions += 1
    return found


@contextmanager
def _process() -> Iterator[ReadingProcess]:
    """Provide a process that reads files as the pipeline does, with a shorter time limit."""
    before = file_rules._SECONDS_A_FILE
    file_rules._SECONDS_A_FILE = _MAX_SECONDS
    process = ReadingProcess(log=False)
    try:
        _read(process, "warm.txt", Path(__file__))
        yield process
    finally:
        file_rules._SECONDS_A_FILE = before
        process.close()


def _read(process: ReadingProcess, key: str, file: Path) -> list[Record | Reject]:
    lines = io.BytesIO()
    process.read(Source(key=key), file, 0, lines)
    return [_LINE.validate_json(line) for line in lines.getvalue().splitlines()]


def _feed(process: ReadingProcess, key: str, file: Path, found: Findings) -> str:
    reader = process._process
    before, spent = 0.0, 0.0
    if reader is not None:
        Path(f"/proc/{reader.pid}/clear_refs").write_text("5")  # the peak so far is forgotten
        before, spent = _megabytes(reader.pid, "VmRSS"), _seconds(reader.pid)
    lines = _read(process, key, file)
    broken = next((hit[0] for line in lines if (hit := _BROKEN.search(getattr(line, "reason", "")))), "")
    if reader is None or process._process is not reader:  # it was ended, so there are no figures
        return broken
    found.slowest_seconds = max(found.slowest_seconds, _seconds(reader.pid) - spent)
    grown = _megabytes(reader.pid, "VmHWM") - before
    found.largest_megabytes = max(found.largest_megabytes, grown)
    if not lines:
        return "neither a story nor a reason"
    return broken or (f"{grown:.0f} MB" if grown > _MAX_MEGABYTES else "")


def _mutated(chance: random.Random, corpus: list[bytes]) -> bytes:
    content = chance.choice(corpus)
    if content.startswith(b"PK") and chance.random() < 0.7:
        inside = _mutated_inside(chance, content)
        if inside is not None:
            return inside
    return _changed(chance, content, corpus)


def _mutated_inside(chance: random.Random, content: bytes) -> bytes | None:
    """Change one file inside a zip and pack it again, because changed packed bytes fail early."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, zlib.error):
        return None
    if not files:
        return None
    name = chance.choice(sorted(files))
    files[name] = _changed(chance, files[name], [*files.values()])
    return zipped(files)


def _changed(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(changed) + 1)
        length = chance.choice((1, 2, 8, 64, 512))
        match chance.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at : at + length] = chance.randbytes(length)
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length] * chance.choice((1, 2, 20))
            case 4:
                changed[at:at] = (chance.choice(_WORDS) * chance.choice((1, 1, 3, 300)))[:_MAX_SEED_BYTES]
            case 5:
                other = chance.choice(others)
                start = chance.randrange(len(other) + 1)
                changed[at:at] = other[start : start + length]
            case _:
                if chance.random() < 0.2:
                    del changed[at:]
    return bytes(changed)


@contextmanager
def alarm(seconds: int) -> Iterator[None]:
    """Raise `TooSlowError` in code that exceeds a number of seconds of processor time."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _seconds(process: int) -> float:
    spent = psutil.Process(process).cpu_times()
    return float(spent.user + spent.system)


def _megabytes(process: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def formats() -> list[str]:
    """Return one file suffix for each reader."""
    by_reader = {reader.__module__: suffix for suffix, reader in reversed(list(readers().items()))}
    return sorted(by_reader.values())


def main() -> int:
    """Fuzz every reader, or those named, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("suffixes", nargs="*", help="such as .docx; all by default")
    chosen = parser.parse_args()
    faults = 0
    for suffix in chosen.suffixes or formats():
        found = fuzz(suffix, chosen.seconds, chosen.seed)
        print(
            f"{suffix:7} {found.executions:7} files, slowest {found.slowest_seconds:.2f} s, "
            f"largest {found.largest_megabytes:.0f} MB, {len(found.faults)} faults",
            flush=True,
        )
        for fault in found.faults[:20]:
            print(f"        {fault}", flush=True)
        faults += len(found.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
