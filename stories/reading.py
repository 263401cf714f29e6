"""One file in, its stories and its faults out; whatever the file holds, no exception."""

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO

from stories.chapters import find_chapters
from stories.cleaning import clean, clean_line
from stories.cleaning.ledger import shorten
from stories.errors import UnreadableError, unforeseen
from stories.language import count_words, identify
from stories.models import Change, Message, Record, Reject, Source
from stories.readers import Draft, Flaw, find_reader
from stories.structure import around_the_story, is_told
from stories.titles import take_title, title_from_name
from stories.works import work_key

FEWEST_WORDS = 10
_LETTER = re.compile(r"[^\W_]")
_LONGEST_TITLE_CHARACTERS = 200
_LONGEST_SAMPLE_CHARACTERS = 200
_LONGEST_REASON_CHARACTERS = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Cleaned:
    """A story, or a chapter of one, after cleaning."""

    text: str
    """Its title is in it where `title` is None."""
    title: str | None
    characters_read: int
    """Before cleaning, the title's included where it stood in the file."""
    changes: tuple[Change, ...]
    messages: tuple[Message, ...] | None = None
    is_chapter: bool = False


def read_file(source: Source, stream: IO[bytes]) -> Iterator[Record | Reject]:
    """Yield a record for each story of a file and a reject for each part that cannot be used.

    At least one of them is yielded for every file, so that no file is ever lost without a reason.

    Args:
        source: where the file came from.
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
        yield _reject(source, Flaw(error.reason, error.cure))
    except UnicodeError:
        # Some of Python's older codecs give up on an escape sequence that is cut, told to mend it or not.
        yield _reject(source, Flaw("Its characters are damaged: no encoding fits.", "Save it anew as UTF-8."))
    except Exception as error:
        # A file that breaks a parser in a way that nobody foresaw costs one file, never the run.
        _log.exception("A reader failed on %s", source.key)
        found_out = unforeseen(error)
        yield _reject(source, Flaw(found_out.reason, found_out.cure))


def _results(source: Source, found: Draft | Flaw, position: int) -> Iterator[Record | Reject]:
    if isinstance(found, Flaw):
        yield _reject(source, found)
        return
    whole = _clean(found)
    pieces, unused = _cut(whole, found)
    if unused:
        flaw = around_the_story(unused)
        entry = f"{found.entry}, {flaw.entry}" if found.entry else flaw.entry
        yield _reject(source, replace(flaw, entry=entry))
        position += 1
    for number, piece in enumerate(pieces):
        yield _record(source, found, piece, position + number)


def _clean(draft: Draft) -> _Cleaned:
    cleaned = clean(draft.text)
    return _Cleaned(
        cleaned.text,
        draft.title,
        len(draft.text) + len(draft.title or ""),
        cleaned.changes,
        _clean_messages(draft.messages),
        draft.is_chapter,
    )


def _cut(whole: _Cleaned, draft: Draft) -> tuple[list[_Cleaned], int]:
    """Return the chapters that only the text's own lines tell, and how many characters are in none of them.

    All that cleaning changed is put down to the first of them.
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
    if is_told(front.split("\n\n")):
        pieces.insert(0, _Cleaned(front.strip("\n"), None, len(front), (), is_chapter=True))
    else:
        unused += len(front)
    removed = whole.characters_read - len(whole.text)
    pieces[0] = replace(pieces[0], characters_read=pieces[0].characters_read + removed, changes=whole.changes)
    return pieces, unused


def _record(source: Source, draft: Draft, piece: _Cleaned, position: int) -> Record | Reject:
    title, text, title_read = _titled(piece, draft.entry or source.key)
    # A text of rules and dashes has none.
    words = count_words(text) if _LETTER.search(text) else 0
    fewest = FEWEST_WORDS if piece.messages is None else 1
    if words < fewest or not all(message.content for message in piece.messages or ()):
        reason = f"It has only {words} words; a story needs at least {fewest}."
        entry = ", ".join(filter(None, (draft.entry, title if piece.is_chapter else None))) or None
        cure = "Add the story's text, or leave the file out."
        return _reject(source, Flaw(reason, cure, entry, piece.characters_read))
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
        changes=(*piece.changes, *_put_down_to_the_title(piece, title, kept)),
    )


def _titled(piece: _Cleaned, name: str) -> tuple[str, str, bool]:
    """Return a story's title, its text without it, and whether the title stood in the file."""
    title = clean_line(piece.title or "")[:_LONGEST_TITLE_CHARACTERS]
    if title:
        return title, piece.text, True
    if piece.messages is not None:
        return title_from_name(name), piece.text, False
    title, text = take_title(piece.text, name)
    return title, text, text != piece.text


def _put_down_to_the_title(piece: _Cleaned, title: str, kept: int) -> Iterator[Change]:
    """Account for what taking the title out, and making one line of it, removed or added."""
    rest = piece.characters_read - sum(change.removed for change in piece.changes) - kept
    if rest:
        yield Change(
            kind="title",
            places=1,
            removed=rest,
            before=(piece.title or piece.text)[:_LONGEST_SAMPLE_CHARACTERS],
            after=title[:_LONGEST_SAMPLE_CHARACTERS],
        )


def _work(source: Source, draft: Draft, story_id: str) -> str:
    path = f"{source.key}/{draft.entry}" if draft.entry else source.key
    if not draft.one_of_many:
        return work_key(path)
    # Stories that share a file are works of their own, unless their titles say that they are chapters.
    # JSON can spell halves of characters, which no encoding can carry.
    title = (draft.title or "").encode("utf-8", "replace").decode()
    name = re.sub(r"[./]", " ", title).strip()
    return work_key(f"{path}/{name or story_id}")


def _clean_messages(messages: tuple[Message, ...] | None) -> tuple[Message, ...] | None:
    if messages is None:
        return None
    return tuple(Message(role=message.role, content=clean(message.content).text) for message in messages)


def _reject(source: Source, flaw: Flaw) -> Reject:
    return Reject(
        source_key=source.key,
        source_version=source.version,
        entry=flaw.entry,
        # It may quote the file: at any length, and in characters that no encoding can carry.
        reason=shorten(flaw.reason, _LONGEST_REASON_CHARACTERS),
        cure=flaw.cure,
        characters=flaw.characters,
    )
