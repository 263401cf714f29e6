"""PDF documents that hold text."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

from stories.errors import UnreadableError
from stories.pdf_pages import LARGEST_TEXT_BYTES, MOST_PAGES, PAGE_END, Stopped
from stories.readers import Draft, Flaw

SUFFIXES = (".pdf",)

LONGEST_SECONDS = 120
_FEWEST_LETTERS_A_PAGE = 10
_MOST_UNKNOWN_SHARE = 0.2
_PRINT_AGAIN = "Open it in the program that shows your PDF files, print it to a new PDF, and drop that."
_ASK_FOR_TEXT = "Export it as .docx, .epub or .txt from the program that made it, and drop that."
_CURES = {
    Stopped.PASSWORD: (
        "It is locked with a password.",
        "Save a copy without the password from the program that shows your PDF files, and drop that.",
    ),
    Stopped.DAMAGED: ("It is damaged, or no PDF document.", _PRINT_AGAIN),
    Stopped.PAGES: (
        f"It has more than {MOST_PAGES} pages.",
        "Split it into several files, for instance one a book.",
    ),
    Stopped.TEXT: (
        f"It holds more than {LARGEST_TEXT_BYTES // 1024**2} MB of text.",
        "Split it into several files, for instance one a book.",
    ),
}


def read(stream: IO[bytes], name: str) -> Iterator[Draft | Flaw]:
    """Yield the one text of a PDF document, each of its pages ending with a form feed.

    Raises:
        UnreadableError: it is locked, damaged, too large, takes too long, or holds no text.
    """
    del name
    text = _extract(stream)
    pages = text.count(PAGE_END)
    letters = sum(character.isalpha() for character in text)
    if letters < _FEWEST_LETTERS_A_PAGE * max(1, pages):
        raise UnreadableError(
            "It has pictures of pages but no text, as a scanned book does.",
            "Have its text recognised (OCR), for instance by the free OCRmyPDF, and drop the result.",
        )
    if sum(map(_is_unknown, text)) > letters * _MOST_UNKNOWN_SHARE:
        raise UnreadableError("Its fonts do not tell which letters they show.", _ASK_FOR_TEXT)
    yield Draft(text)


def _extract(stream: IO[bytes]) -> str:
    with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
        shutil.copyfileobj(stream, file)
        file.flush()
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "stories.pdf_pages", file.name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=LONGEST_SECONDS,
                env=_environment(),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            reason = f"Reading it takes longer than {LONGEST_SECONDS // 60} minutes."
            raise UnreadableError(reason, _ASK_FOR_TEXT) from error
    if done.returncode == Stopped.AT_THE_END:
        return done.stdout.decode()
    if done.returncode in _CURES:
        raise UnreadableError(*_CURES[Stopped(done.returncode)])
    raise UnreadableError("It is built in a way that breaks the reader of PDF files.", _PRINT_AGAIN)


def _environment() -> dict[str, str]:
    """Return what Python needs to start, and no credentials: the file may be anybody's."""
    needed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH", "TMPDIR") if name in os.environ}
    return needed | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _is_unknown(character: str) -> bool:
    return character == "\ufffd" or "\ue000" <= character <= "\uf8ff"
