"""Read one file into records and rejects, without an exception for any content."""

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO

from stories.cleaning import clean, clean_line, shorten_sample
from stories.formats.detection import find_reader
from stories.language import count_words, identify
from stories.records import (
    Change,
    ChatTurn,
    RawStory,
    Record,
    Reject,
    Source,
    UnreadableError,
    UnusablePart,
    unexpected_error,
)
from stories.structure.chapters import find_chapters
from stories.structure.headings import is_preface, omitted_pages
from stories.structure.titles import split_title, title_from_name, work_key

MIN_WORDS = 10
_LETTER = re.compile(r"[^\W_]")
_LONGEST_TITLE_CHARACTERS = 200
_LONGEST_SAMPLE_CHARACTERS = 200
_LONGEST_REASON_CHARACTERS = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Cleaned:
    """A cleaned story, or a chapter of one."""

    text: str
    """Includes the title if `title` is None."""
    title: str | None
    characters_read: int
    """Characters before cleaning, including the title if it was in the file."""
    changes: tuple[Change, ...]
    messages: tuple[ChatTurn, ...] | None = None
    is_chapter: bool = False


def read_file(source: Source, stream: IO[bytes]) -> Iterator[Record | Reject]:
    """Yield a record for each story of a file and a reject for each part that cannot be used.

    At least one of them is yielded for every file, so that no file is lost without a reason.

    Args:
        source: key and version of the file.
        stream: its bytes, seekable.
    """
    position = 0
    try:
        for found in find_reader(source.key, stream)(stream, source.key):
            for result in _results(source, found, position):
                position += 1
                yield result
        if not position:
            raise UnreadableError("No story was found in it.", "Check that it holds text.")
    except UnreadableError as error:
        yield _reject(source, UnusablePart(error.reason, error.cure))
    except UnicodeError:
        # Some of Python's older codecs fail on a truncated escape sequence, whatever the error handler.
        yield _reject(
            source, UnusablePart("Its characters are damaged: no encoding fits.", "Save it anew as UTF-8.")
        )
    except Exception as error:
        # An unexpected parser failure costs one file, never the run.
        _log.exception("A reader failed on %s", source.key)
        explained = unexpected_error(error)
        yield _reject(source, UnusablePart(explained.reason, explained.cure))


def _results(source: Source, found: RawStory | UnusablePart, position: int) -> Iterator[Record | Reject]:
    if isinstance(found, UnusablePart):
        yield _reject(source, found)
        return
    whole = _clean(found)
    pieces, unused = _cut(whole, found)
    if unused:
        flaw = omitted_pages(unused)
        entry = f"{found.entry}, {flaw.entry}" if found.entry else flaw.entry
        yield _reject(source, replace(flaw, entry=entry))
        position += 1
    for number, piece in enumerate(pieces):
        yield _record(source, found, piece, position + number)


def _clean(draft: RawStory) -> _Cleaned:
    cleaned = clean(draft.text)
    return _Cleaned(
        cleaned.text,
        draft.title,
        len(draft.text) + len(draft.title or ""),
        cleaned.changes,
        _clean_messages(draft.messages),
        draft.is_chapter,
    )


def _cut(whole: _Cleaned, draft: RawStory) -> tuple[list[_Cleaned], int]:
    """Return the chapters found in plain text, and how many characters are in none of them.

    The first chapter records all changes of cleaning.
    """
    if draft.messages is not None or draft.is_chapter or draft.one_of_many:
        return [whole], 0
    chapters = find_chapters(whole.text)
    if not chapters:
        return [whole], 0
    pieces = [
        _Cleaned(
            whole.text[chapter.body : chapter.end].strip("\n"),
            chapter.title,
            chapter.end - chapter.begin,
            (),
            is_chapter=True,
        )
        for chapter in chapters
    ]
    front = whole.text[: chapters[0].begin]
    unused = len(whole.text) - chapters[-1].end
    if is_preface(front.split("\n\n")):
        pieces.insert(0, _Cleaned(front.strip("\n"), None, len(front), (), is_chapter=True))
    else:
        unused += len(front)
    removed = whole.characters_read - len(whole.text)
    pieces[0] = replace(pieces[0], characters_read=pieces[0].characters_read + removed, changes=whole.changes)
    return pieces, unused


def _record(source: Source, draft: RawStory, piece: _Cleaned, position: int) -> Record | Reject:
    title, text, title_read = _titled(piece, draft.entry or source.key)
    # A text of lines and dashes has no words.
    words = count_words(text) if _LETTER.search(text) else 0
    fewest = MIN_WORDS if piece.messages is None else 1
    if words < fewest or not all(message.content for message in piece.messages or ()):
        reason = f"It has only {words} words; a story needs at least {fewest}."
        entry = ", ".join(filter(None, (draft.entry, title if piece.is_chapter else None))) or None
        cure = "Add the story's text, or leave the file out."
        return _reject(source, UnusablePart(reason, cure, entry, piece.characters_read))
    story_id = hashlib.sha256(text.encode()).hexdigest()[:16]
    kept = len(text) + (len(title) if title_read else 0)
    return Record(
        id=story_id,
        title=title,
        title_read=title_read,
        text=text,
        source_key=source.key,
        source_version=source.version,
        entry=draft.entry,
        modified_at=source.modified_at,
        position=position,
        work=_work(source, draft, story_id),
        language=identify(text),
        words=words,
        messages=piece.messages,
        characters_read=piece.characters_read,
        changes=(*piece.changes, *_title_change(piece, title, kept)),
    )


def _titled(piece: _Cleaned, name: str) -> tuple[str, str, bool]:
    """Return a story's title, its text without the title, and whether the title was in the file."""
    title = clean_line(piece.title or "")[:_LONGEST_TITLE_CHARACTERS]
    if title:
        return title, piece.text, True
    if piece.messages is not None:
        return title_from_name(name), piece.text, False
    title, text = split_title(piece.text, name)
    return title, text, text != piece.text


def _title_change(piece: _Cleaned, title: str, kept: int) -> Iterator[Change]:
    """Yield the change that removing the title from the text, and making it one line, caused."""
    rest = piece.characters_read - sum(change.removed for change in piece.changes) - kept
    if rest:
        yield Change(
            kind="title",
            places=1,
            removed=rest,
            before=(piece.title or piece.text)[:_LONGEST_SAMPLE_CHARACTERS],
            after=title[:_LONGEST_SAMPLE_CHARACTERS],
        )


def _work(source: Source, draft: RawStory, story_id: str) -> str:
    path = f"{source.key}/{draft.entry}" if draft.entry else source.key
    if not draft.one_of_many:
        return work_key(path)
    # Stories in one table are separate works, unless their titles show that they are chapters.
    # JSON can contain unpaired surrogates, which UTF-8 cannot encode.
    title = (draft.title or "").encode("utf-8", "replace").decode()
    name = re.sub(r"[./]", " ", title).strip()
    return work_key(f"{path}/{name or story_id}")


def _clean_messages(messages: tuple[ChatTurn, ...] | None) -> tuple[ChatTurn, ...] | None:
    if messages is None:
        return None
    return tuple(ChatTurn(role=message.role, content=clean(message.content).text) for message in messages)


def _reject(source: Source, flaw: UnusablePart) -> Reject:
    return Reject(
        source_key=source.key,
        source_version=source.version,
        entry=flaw.entry,
        # It may quote the file, at any length and with characters that UTF-8 cannot encode.
        reason=shorten_sample(flaw.reason, _LONGEST_REASON_CHARACTERS),
        cure=flaw.cure,
        characters=flaw.characters,
    )
