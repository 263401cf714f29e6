"""One book made of the sample stories, and the same book in every format that a writer may have it in."""

import html
from dataclasses import dataclass
from pathlib import Path

import pypandoc
from fpdf import FPDF

from tests.unit.stories.material import only_record, read

NAME = "tales-of-the-quay"
TITLE = "Tales of the Quay"
PREFACE = (
    "These tales were told to me across one winter at the back of the chandler's shop, by people who asked "
    "only that I should not improve them, and I have kept my word wherever I could hear what was said.",
    "Where the wind was too loud I have left a gap, and where two people spoke at once I have put down "
    "the one who was nearer to the stove, which seemed to all of us to be the fairest way of doing it.",
)
VERSE = "The lamp went out at half past four,\nThe cat went out at five,\nAnd nobody on all that shore"

_SAMPLES = Path(__file__).parents[3] / "sample_stories"
_CHAPTERS = 10
_PARTS = {1: "PART ONE", 6: "PART TWO"}
_AUTHOR = "by Dorcas Thrupp"
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")
_MADE_BY_PANDOC = ("docx", "epub", "odt", "rtf")


@dataclass(frozen=True)
class Chapter:
    """A chapter as its author wrote it."""

    number: int
    name: str
    paragraphs: tuple[str, ...]
    """Verse has line breaks inside."""

    @property
    def heading(self) -> str:
        """Return what counts it: `CHAPTER IV`."""
        return f"CHAPTER {_ROMAN[self.number - 1]}"

    @property
    def text(self) -> str:
        """Return its text."""
        return "\n\n".join(self.paragraphs)


def chapters() -> list[Chapter]:
    """Return the book's chapters; the third has verse in it."""
    made = []
    for number, path in enumerate(sorted(_SAMPLES.glob("*.txt"))[:_CHAPTERS], start=1):
        story = only_record(read(path.name, path.read_bytes()))
        paragraphs = story.text.split("\n\n")
        if number == 3:
            paragraphs.insert(2, VERSE)
        made.append(Chapter(number, story.title, tuple(paragraphs)))
    return made


def as_text(chapter: Chapter) -> str:
    """Return a chapter as a file of its own."""
    return f"{chapter.heading}\n\n{chapter.name}\n\n{chapter.text}\n"


def as_html() -> str:
    """Return the book as a page: title page, contents, preface, two parts, chapters."""
    lines = [f"<p>{TITLE}</p><p>{_AUTHOR}</p><h1>Contents</h1>"]
    lines += [f"<p>{_escaped(f'{chapter.heading}. {chapter.name}')}</p>" for chapter in chapters()]
    lines += ["<h1>Preface</h1>", *(f"<p>{_escaped(part)}</p>" for part in PREFACE)]
    for chapter in chapters():
        if chapter.number in _PARTS:
            lines.append(f"<h1>{_PARTS[chapter.number]}</h1>")
        lines.append(f"<h2>{chapter.heading}<br/>{_escaped(chapter.name)}</h2>")
        lines += [f"<p>{_escaped(part)}</p>" for part in chapter.paragraphs]
    return f"<html><head><title>{TITLE}</title></head><body>{''.join(lines)}</body></html>"


def _escaped(text: str) -> str:
    return html.escape(text).replace("\n", "<br/>")


def write_all(folder: Path) -> dict[str, Path]:
    """Write the book in each format; return the files by their endings."""
    files = {"html": folder / f"{NAME}.html", "pdf": folder / f"{NAME}.pdf"}
    files["html"].write_text(as_html(), encoding="utf-8")
    _Print().write(files["pdf"])
    for ending in _MADE_BY_PANDOC:
        files[ending] = folder / f"{NAME}.{ending}"
        arguments = ["--standalone", f"--metadata=title:{TITLE}"]
        pypandoc.convert_text(
            as_html(), ending, format="html", outputfile=str(files[ending]), extra_args=arguments
        )
    return files


class _Print(FPDF):
    """The book as printed: heads and page numbers, lines that break words, no space between paragraphs."""

    _MARGIN, _LINE, _INDENT = 22.0, 6.0, 6.0

    def __init__(self) -> None:
        super().__init__(format=(148, 210))
        self.core_fonts_encoding = "windows-1252"
        self.set_margin(self._MARGIN)
        self.set_auto_page_break(True, margin=24)
        self._head: str | None = None

    def header(self) -> None:
        """Set the book's title on left pages and the chapter's name on right ones; none above a heading."""
        self.set_font("Times", "I", 9)
        if self._head:
            head = self._head if self.page_no() % 2 else TITLE
            self.cell(0, 8, head, align="C", new_x="LMARGIN", new_y="NEXT")
            self.ln(4)
        self.set_font("Times", size=11)

    def footer(self) -> None:
        """Set the page's number."""
        self.set_y(-16)
        self.set_font("Times", size=9)
        self.cell(0, 8, str(self.page_no()), align="C")

    def write(self, path: Path) -> None:  # type: ignore[override]
        """Write the book."""
        self._page(TITLE, _AUTHOR)
        self._page("Contents")
        for chapter in chapters():
            line = f"{chapter.heading}. {chapter.name} "
            dots = int((self.epw - self.get_string_width(line) - 10) / self.get_string_width("."))
            self._line(f"{line}{'.' * dots} {chapter.number * 5}")
        self._page("Preface")
        self._set(PREFACE)
        for chapter in chapters():
            if chapter.number in _PARTS:
                self._page(_PARTS[chapter.number])
            self._page(chapter.heading, chapter.name)
            self._head = chapter.name
            self._set(chapter.paragraphs)
            self._head = None
        self.output(str(path))

    def _page(self, *heading: str) -> None:
        self._head = None
        self.add_page()
        for line in heading:
            self.set_font("Times", "B", 14)
            self.cell(0, 12, line, align="C", new_x="LMARGIN", new_y="NEXT")
        self.set_font("Times", size=11)

    def _set(self, paragraphs: tuple[str, ...]) -> None:
        for paragraph in paragraphs:
            if "\n" in paragraph:
                for line in paragraph.split("\n"):
                    self._line(line, indent=15)
            else:
                self._set_paragraph(paragraph.split())

    def _set_paragraph(self, words: list[str]) -> None:
        line, indent = "", self._INDENT
        for word in words:
            joined = f"{line} {word}".strip()
            if self.get_string_width(joined) <= self.epw - indent:
                line = joined
                continue
            begun, rest = _broken(word)
            if begun and self.get_string_width(f"{line} {begun}-") <= self.epw - indent:
                self._line(f"{line} {begun}-", indent)
                line = rest
            else:
                self._line(line, indent)
                line = word
            indent = 0
        self._line(line, indent)

    def _line(self, text: str, indent: float = 0) -> None:
        self.set_x(self.l_margin + indent)
        self.cell(0, self._LINE, text, new_x="LMARGIN", new_y="NEXT")


def _broken(word: str) -> tuple[str, str]:
    """Break a long word of letters where it may be broken, which for this purpose is anywhere inside."""
    return (word[:4], word[4:]) if len(word) > 7 and word[:5].isalpha() else ("", word)
