"""One file in, its stories and its faults out; whatever the file holds, no exception."""

import hashlib
import logging
import re
from collections.abc import Iterator
from typing import IO

from stories.cleaning import clean
from stories.errors import UnreadableError
from stories.language import count_words, identify
from stories.models import Message, Record, Reject, Source
from stories.readers import Draft, Flaw, find_reader
from stories.titles import take_title, title_from_name
from stories.works import work_key

FEWEST_WORDS = 10
_LONGEST_TITLE_CHARACTERS = 200

_log = logging.getLogger(__name__)


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
            result = _reject(source, found) if isinstance(found, Flaw) else _record(source, found, position)
            position += 1
            yield result
        if not position:
            raise UnreadableError("No story was found in it.", "Check that it holds text.")
    except UnreadableError as error:
        yield _reject(source, Flaw(error.reason, error.cure))
    except Exception as error:
        # A file that breaks a parser in a way that nobody foresaw costs one file, never the run.
        _log.exception("A reader failed on %s", source.key)
        reason = f"It could not be read ({type(error).__name__})."
        yield _reject(source, Flaw(reason, "Save it as plain text (.txt, UTF-8) and drop it again."))


def _record(source: Source, draft: Draft, position: int) -> Record | Reject:
    name = draft.entry or source.key
    text = clean(draft.text).text
    title = " ".join(clean(draft.title or "").text.split())[:_LONGEST_TITLE_CHARACTERS]
    if not title:
        title, text = take_title(text, name) if draft.messages is None else (title_from_name(name), text)
    words = count_words(text)
    messages = _clean_messages(draft.messages)
    fewest = FEWEST_WORDS if messages is None else 1
    if words < fewest or not all(message.content for message in messages or ()):
        reason = f"It has only {words} words; a story needs at least {fewest}."
        return _reject(source, Flaw(reason, "Add the story's text, or leave the file out.", draft.entry))
    story_id = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Record(
        id=story_id,
        title=title,
        text=text,
        source_key=source.key,
        source_version=source.version,
        entry=draft.entry,
        modified_at=source.modified_at,
        position=position,
        work=_work(source, draft, story_id),
        language=identify(text),
        words=words,
        messages=messages,
    )


def _work(source: Source, draft: Draft, story_id: str) -> str:
    path = f"{source.key}/{draft.entry}" if draft.entry else source.key
    if not draft.one_of_many:
        return work_key(path)
    # Stories that share a file are works of their own, unless their titles say that they are chapters.
    name = re.sub(r"[./]", " ", draft.title).strip() if draft.title else ""
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
        reason=flaw.reason,
        cure=flaw.cure,
    )
