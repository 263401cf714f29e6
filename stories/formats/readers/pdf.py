"""Read PDF documents that contain text."""

from collections.abc import Iterator
from typing import IO

from stories.cleaning.pages import PAGE_END
from stories.file_rules import LARGEST_TEXT_BYTES
from stories.records import RawStory, UnreadableError, UnusablePart

SUFFIXES = (".pdf",)

MAX_PAGES = 5000
_MIN_LETTERS_A_PAGE = 10
_MAX_UNKNOWN_SHARE = 0.2
_PRINT_AGAIN = "Open it in the program that shows your PDF files, print it to a new PDF, and drop that."
_ASK_FOR_TEXT = "Export it as .docx, .epub or .txt from the program that made it, and drop that."
_SPLIT = "Split it into several files, for instance one a book."


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the text of a PDF document as one story; each page ends with a form feed.

    Raises:
        UnreadableError: it is locked, damaged, too large, or without text.
    """
    del name
    text = _extract(stream)
    pages = text.count(PAGE_END)
    letters = sum(character.isalpha() for character in text)
    if letters < _MIN_LETTERS_A_PAGE * max(1, pages):
        raise UnreadableError(
            "It has pictures of pages but no text, as a scanned book does.",
            "Have its text recognised (OCR), for instance by the free OCRmyPDF, and drop the result.",
        )
    if sum(map(_is_unknown, text)) > letters * _MAX_UNKNOWN_SHARE:
        raise UnreadableError("Its fonts do not map to letters, so its text cannot be read.", _ASK_FOR_TEXT)
    yield RawStory(text)


def _extract(stream: IO[bytes]) -> str:
    # Imported here because loading the library takes a while and other formats do not need it.
    from stories.formats.pdf_pages import DamagedError, LockedError, TooManyPagesError, read_pages  # noqa: PLC0415

    parts: list[str] = []
    size = 0
    try:
        for page in read_pages(stream, MAX_PAGES):
            size += len(page) + len(PAGE_END)
            if size > LARGEST_TEXT_BYTES:
                limit = LARGEST_TEXT_BYTES // 1024**2
                raise UnreadableError(f"It holds more than {limit} million characters of text.", _SPLIT)
            parts += [page.encode("utf-8", "replace").decode(), PAGE_END]
    except LockedError as error:
        raise UnreadableError(
            "It is locked with a password.",
            "Save a copy without the password from the program that shows your PDF files, and drop that.",
        ) from error
    except DamagedError as error:
        raise UnreadableError("It is damaged, or not a PDF document.", _PRINT_AGAIN) from error
    except TooManyPagesError as error:
        raise UnreadableError(f"It has more than {MAX_PAGES} pages.", _SPLIT) from error
    return "".join(parts)


def _is_unknown(character: str) -> bool:
    return character == "\ufffd" or "\ue000" <= character <= "\uf8ff"
