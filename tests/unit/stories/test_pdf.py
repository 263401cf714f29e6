"""PDF files: lines become paragraphs again, and running heads and page numbers are removed."""

import io
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fpdf import FPDF
from fpdf.enums import AccessPermission

from stories.cleaning import clean
from stories.formats.readers import pdf
from stories.formats.readers.pdf import MAX_PAGES
from stories.records import RawStory, Record
from tests.unit.stories.material import only_record, only_reject, prose, read

STORY = (
    "Nobody on the quay could say afterwards who had first seen the lantern, though everybody had been "
    "looking, and the harbourmaster wrote it down as an understanding between the sea and the weather.",
    "“Then it was nobody,” said Mrs. Thrupp… and she shut the well-known door—softly—upon the evening.",
    "The harbourmaster considered this understanding. He was a well-known considerer, and it took him until "
    "the tide had turned, by which time the lantern had gone out and the weather had come in.",
    "“Nobody,” he said.",
    "“Nobody at all.”",
    "He put the lantern into the ledger under things that were not there, where he had already put the moon "
    "on two occasions, and a pedlar, and the whole of one Thursday which the schoolmistress had mislaid.",
)
VERSE = (
    "The lamp went out upon the Point,",
    "The boats went out as well,",
    "And nobody was left to say",
    "Which had.",
)


class Print(FPDF):
    """A small book page, 90 millimetres wide, with the heads of a test."""

    def __init__(self, head: Sequence[str] = (), foot: str = "{page}", width: float = 90) -> None:
        super().__init__(format=(width, 130))
        self.core_fonts_encoding = "windows-1252"
        self.set_margin(12)
        self.set_auto_page_break(True, margin=18)
        self._head, self._foot = head, foot

    def header(self) -> None:
        """Set the next head."""
        self.set_font("Times", "I", 8)
        if self._head:
            head = self._head[self.page_no() % len(self._head)].format(page=self.page_no())
            self.cell(0, 6, head, align="C", new_x="LMARGIN", new_y="NEXT")
            self.ln(3)
        self.set_font("Times", size=10)

    def footer(self) -> None:
        """Set the foot."""
        self.set_y(-12)
        self.cell(0, 6, self._foot.format(page=self.page_no()), align="C")

    def prose(
        self, paragraphs: Sequence[str], *, indent: float = 5, gap: float = 0, breaks: bool = False
    ) -> None:
        """Set paragraphs, separated by an indentation or a gap, with or without words broken at line ends."""
        for paragraph in paragraphs:
            begin = indent
            for line in self._wrapped(paragraph, indent, breaks=breaks):
                self.set_line(line, begin)
                begin = 0
            self.ln(gap)

    def set_line(self, text: str, indent: float = 0) -> None:
        """Set one line."""
        self.set_x(self.l_margin + indent)
        self.cell(0, 5, text, new_x="LMARGIN", new_y="NEXT")

    def _wrapped(self, paragraph: str, indent: float, *, breaks: bool) -> Iterator[str]:
        line = ""
        for word in paragraph.split():
            pieces = [word[:5], word[5:]] if breaks and word.isalpha() and len(word) > 9 else [word]
            if self._fits(f"{line} {word}".strip(), indent):
                line = f"{line} {word}".strip()
            elif len(pieces) == 2 and self._fits(f"{line} {pieces[0]}-", indent):
                yield f"{line} {pieces[0]}-"
                line, indent = pieces[1], 0
            else:
                yield line
                line, indent = word, 0
        yield line

    def _fits(self, text: str, indent: float) -> bool:
        return bool(self.get_string_width(text) <= self.epw - indent)

    def document(self) -> bytes:
        """Return the finished document."""
        return bytes(self.output())


def _printed(**how: object) -> bytes:
    book = Print()
    book.add_page()
    book.prose(STORY * 6, **how)  # type: ignore[arg-type]
    return book.document()


def _cleaned(content: bytes) -> str:
    (draft,) = pdf.read(io.BytesIO(content), "book.pdf")
    assert isinstance(draft, RawStory)
    cleaned = clean(draft.text)
    assert len(draft.text) - sum(change.removed for change in cleaned.changes) == len(cleaned.text)
    return cleaned.text


@pytest.mark.parametrize("breaks", [False, True], ids=["whole words", "broken words"])
@pytest.mark.parametrize(("indent", "gap"), [(5, 0), (0, 3)], ids=["indented", "spaced"])
def test_paragraphs_come_back_as_they_were(indent: float, gap: float, breaks: bool) -> None:
    assert _words(_cleaned(_printed(indent=indent, gap=gap, breaks=breaks))) == _words("\n\n".join(STORY * 6))
    # If a page ends with a sentence, it is unknown whether the paragraph ends too.
    paragraphs = _cleaned(_printed(indent=indent, gap=gap, breaks=breaks)).split("\n\n")
    assert len(set(paragraphs) & set(STORY)) == len(STORY)
    assert abs(len(paragraphs) - len(STORY * 6)) <= 3


def test_alternating_heads_and_page_numbers_are_removed() -> None:
    book = Print(head=("{page}   THE TIN ROOSTER", "DORCAS THRUPP   {page}"), foot="")
    book.add_page()
    book.prose(STORY * 8)
    text = _cleaned(book.document())
    assert "ROOSTER" not in text
    assert "DORCAS" not in text
    assert _words(text) == _words("\n\n".join(STORY * 8))


def test_verse_keeps_its_lines() -> None:
    book = Print()
    book.add_page()
    book.prose(STORY)
    book.ln(4)
    for line in VERSE:
        book.set_line(line, 10)
    book.ln(4)
    book.prose(STORY)
    assert "\n\n" + "\n".join(VERSE) + "\n\n" in _cleaned(book.document())


def test_repeated_pages_are_not_running_heads() -> None:
    # Every page is like the one before, including the first and the last line.
    book = Print(foot="")
    for _ in range(4):
        book.add_page()
        book.prose(STORY[:3], indent=0, gap=3)
    assert _words(_cleaned(book.document())) == _words("\n\n".join(STORY[:3] * 4))


def test_a_narrow_column_of_prose_is_joined() -> None:
    book = Print(width=62)
    book.add_page()
    book.prose(STORY * 4)
    assert _words(_cleaned(book.document())) == _words("\n\n".join(STORY * 4))
    assert STORY[0] in _cleaned(book.document())


def test_columns_are_read_one_after_the_other() -> None:
    book = FPDF(format="A4")
    book.set_font("Times", size=10)
    book.add_page()
    columns = [textwrap.wrap(prose(seed, 240), 45)[:20] for seed in (1, 2)]
    # Line by line across both columns, as some programs write them.
    for number, row in enumerate(zip(*columns, strict=True)):
        for x, text in zip((20, 110), row, strict=True):
            book.text(x, 20 + 5 * number, text)
    text = _cleaned(bytes(book.output()))
    assert _words(text) == _words("\n".join(line for column in columns for line in column))


def test_a_large_first_letter_belongs_to_its_word() -> None:
    book = Print()
    book.add_page()
    book.set_font("Times", size=28)
    book.text(12, 27, "N")
    book.set_font("Times", size=10)
    first, *others = STORY
    # The letter is two lines high, beside two lines.
    beside = ("obody on the quay could say afterwards", "who had first seen the lantern, though")
    for y, line in zip((23, 28), beside, strict=True):
        book.text(20, y, line)
    book.set_y(30)
    book.prose([first.partition("though ")[2]], indent=0)
    book.prose(others)
    assert _cleaned(book.document()).startswith(STORY[0])


def test_a_document_without_text_is_refused_with_a_cure() -> None:
    book = FPDF()
    book.add_page()
    book.rect(10, 10, 100, 100, style="F")
    refused = only_reject(read("scan.pdf", bytes(book.output())))
    assert "no text" in refused.reason
    assert "OCR" in refused.cure


def test_a_locked_document_is_refused_with_a_cure() -> None:
    book = Print()
    book.set_encryption(owner_password="owner", user_password="reader")
    book.add_page()
    book.prose(STORY)
    refused = only_reject(read("locked.pdf", book.document()))
    assert "password" in refused.reason
    assert "without the password" in refused.cure


def test_a_document_that_only_forbids_printing_is_read() -> None:
    book = Print()
    book.set_encryption(owner_password="owner", permissions=AccessPermission.none())
    book.add_page()
    book.prose(STORY)
    assert isinstance(only_record(read("kept.pdf", book.document())), Record)


@pytest.mark.parametrize("keep", [0.02, 0.5])
def test_a_damaged_document_is_refused_or_read(keep: float) -> None:
    whole = _printed()
    (line,) = read("cut.pdf", whole[: int(len(whole) * keep)])
    assert isinstance(line, Record) or line.cure


def test_too_many_pages_are_refused() -> None:
    book = Print()
    for _ in range(MAX_PAGES + 1):
        book.add_page()
    assert f"{MAX_PAGES} pages" in only_reject(read("long.pdf", book.document())).reason


def test_memory_does_not_grow_with_pages(tmp_path: Path) -> None:
    """Ten times as many pages need the same memory."""
    peaks = []
    for pages in (30, 300):
        book = Print()
        for _ in range(pages):
            book.add_page()
            book.prose(STORY)
        file = tmp_path / f"{pages}.pdf"
        file.write_bytes(book.document())
        script = (
            "import resource, sys; from stories.formats.pdf_pages import read_pages; "
            "[None for page in read_pages(open(sys.argv[1], 'rb'), 1000)]; "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, check=True)
        peaks.append(int(done.stderr))
    assert peaks[1] < peaks[0] * 1.25


def _words(text: str) -> list[str]:
    return text.split()
