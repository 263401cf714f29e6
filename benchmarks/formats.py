"""Measures how much of a book survives in each format: words, chapters, running heads.

Converts a folder of chapters with pandoc and LibreOffice, if they are installed, and compares the text of
each file with the text of the folder. Usage: python -m benchmarks.formats FOLDER
"""

import argparse
import html
import io
import re
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stories.reading.file_reader import read_file
from stories.records import Record, Reject, Source
from stories.structure.titles import reading_order

_HEAD = "A RUNNING HEAD OF THIS BOOK"
_BY_PANDOC = ("docx", "epub", "odt", "rtf")
_BY_LIBREOFFICE = ("pdf", "odt", "rtf")
_TIMEOUT_SECONDS = 300
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class FormatResult:
    """What was read from one file, compared with the book."""

    name: str
    words: float
    """Share of the folder's words that the file has."""
    added: float
    """Share of the file's words that the folder does not have."""
    chapters: int
    """Number of chapters with at least 99% of their words in one story."""
    heads: int
    """Number of lines left that have the running head or only a page number."""
    seconds: float


def main() -> None:
    """Convert the book, read it from each format, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="chapters of one book, one text file each")
    folder: Path = parser.parse_args().folder
    chapters = list(_read(sorted(folder.glob("*.txt"), key=lambda path: reading_order(path.name))))
    words = sum(record.words for record in chapters)
    print(f"{folder.name}: {len(chapters)} chapters, {words:,} words")
    print(f"{'made by':28} {'words kept':>10} {'added':>7} {'chapters':>8} {'heads left':>10} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as made:
        for path in _convert(chapters, folder.name, Path(made)):
            kept = _compare(path, chapters)
            print(
                f"{kept.name:28} {kept.words:10.3%} {kept.added:7.3%} {kept.chapters:8} {kept.heads:10} "
                f"{kept.seconds:8.1f}",
                flush=True,
            )


def _read(paths: Sequence[Path]) -> Iterator[Record]:
    for path in paths:
        with path.open("rb") as stream:
            for line in read_file(Source(key=f"{path.parent.name}/{path.name}"), stream):
                if isinstance(line, Reject):
                    raise SystemExit(f"{path.name}: {line.reason}")
                yield line


def _convert(chapters: Sequence[Record], name: str, folder: Path) -> Iterator[Path]:
    """Yield the book in each format, made by each program that is installed."""
    page = folder / "page" / f"{name}.html"
    page.parent.mkdir()
    page.write_text(_as_html(chapters, name), encoding="utf-8")
    yield page
    pandoc, office = shutil.which("pandoc"), shutil.which("soffice")
    if pandoc is None:
        print("pandoc is not installed: only the page is read")
        return
    for ending in _BY_PANDOC:
        made = folder / "pandoc" / f"{name}.{ending}"
        made.parent.mkdir(exist_ok=True)
        arguments = [pandoc, "-s", "--toc", f"--metadata=title:{name}", str(page), "-o", str(made)]
        subprocess.run(arguments, check=True, timeout=_TIMEOUT_SECONDS)
        yield made
    if office is None:
        print("LibreOffice is not installed: no PDF with running heads")
        return
    printed = folder / "printed" / f"{name}.docx"
    printed.parent.mkdir()
    printed.write_bytes(_with_running_heads((folder / "pandoc" / f"{name}.docx").read_bytes()))
    for ending in _BY_LIBREOFFICE:
        made = folder / "LibreOffice" / f"{name}.{ending}"
        arguments = [office, "--headless", f"-env:UserInstallation={(folder / 'profile').as_uri()}"]
        arguments += ["--convert-to", ending, "--outdir", str(made.parent), str(printed)]
        subprocess.run(arguments, check=True, timeout=_TIMEOUT_SECONDS, stdout=subprocess.DEVNULL)
        yield made


def _as_html(chapters: Sequence[Record], name: str) -> str:
    lines = [f"<p>{html.escape(name)}</p>"]
    for record in chapters:
        lines.append(f"<h1>{html.escape(record.title)}</h1>")
        lines += [
            f"<p>{html.escape(part).replace(chr(10), '<br/>')}</p>" for part in record.text.split("\n\n")
        ]
    return f"<html><head><title>{html.escape(name)}</title></head><body>{''.join(lines)}</body></html>"


def _with_running_heads(document: bytes) -> bytes:
    """Add a running head and page numbers to a Word document made by pandoc."""
    word = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    number = '<w:fldSimple w:instr=" PAGE "><w:r><w:t>1</w:t></w:r></w:fldSimple>'
    parts = {
        "word/header9.xml": f"<w:hdr {word}><w:p><w:r><w:t>{_HEAD}</w:t></w:r></w:p></w:hdr>",
        "word/footer9.xml": f"<w:ftr {word}><w:p>{number}</w:p></w:ftr>",
    }
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    references = "".join(
        f'<w:{kind}Reference xmlns:r="{office}" w:type="default" r:id="rId9{kind}"/>'
        for kind in ("header", "footer")
    )
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(document)) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            content = old.read(entry).decode("utf-8", "surrogateescape")
            if entry.filename == "word/document.xml":
                content = re.sub(r"<w:sectPr\s*/>|<w:sectPr>", f"<w:sectPr>{references}", content, count=1)
                content = content.replace(f"{references}</w:body>", f"{references}</w:sectPr></w:body>")
            elif entry.filename == "word/_rels/document.xml.rels":
                made = "".join(
                    f'<Relationship Id="rId9{kind}" Type="{office}/{kind}" Target="{kind}9.xml"/>'
                    for kind in ("header", "footer")
                )
                content = content.replace("</Relationships>", f"{made}</Relationships>")
            elif entry.filename == "[Content_Types].xml":
                made = "".join(
                    f'<Override PartName="/word/{kind}9.xml" ContentType="application/vnd.openxmlformats-'
                    f'officedocument.wordprocessingml.{kind}+xml"/>'
                    for kind in ("header", "footer")
                )
                content = content.replace("</Types>", f"{made}</Types>")
            new.writestr(entry, content.encode("utf-8", "surrogateescape"))
        for name, content in parts.items():
            new.writestr(name, content)
    return packed.getvalue()


def _compare(path: Path, chapters: Sequence[Record]) -> FormatResult:
    start = time.perf_counter()
    with path.open("rb") as stream:
        found = [line for line in read_file(Source(key=path.name), stream) if isinstance(line, Record)]
    seconds = time.perf_counter() - start
    wanted = [_words(record) for record in chapters]
    stories = [_words(record) for record in found]
    all_wanted, all_found = sum(wanted, Counter()), sum(stories, Counter())
    pages = [line for record in found for line in record.text.split("\n")]
    return FormatResult(
        name=f"{path.parent.name} {path.suffix}",
        words=(all_wanted & all_found).total() / all_wanted.total(),
        added=(all_found - all_wanted).total() / max(1, all_found.total()),
        chapters=sum(
            any((chapter & story).total() >= 0.99 * max(chapter.total(), story.total()) for story in stories)
            for chapter in wanted
        ),
        heads=sum(_HEAD in line or line.strip().isdigit() for line in pages),
        seconds=seconds,
    )


def _words(record: Record) -> Counter[str]:
    return Counter(_WORD.findall(record.text))


if __name__ == "__main__":
    main()
