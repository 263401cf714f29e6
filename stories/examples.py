"""Turns a story into what the model is trained on: a request and its answer, or plain text."""

from collections.abc import Iterator
from typing import TypedDict

from stories.language import estimate_tokens
from stories.models import Message, Record
from stories.windows import cut, tail
from stories.works import is_chapter_title, work_title


class Turn(TypedDict):
    """One turn of a chat, as chat templates take it."""

    role: str
    content: str


class Example(TypedDict, total=False):
    """One line of `examples.jsonl`: `messages` for chat models, `text` for plain ones."""

    story_id: str
    title: str
    messages: list[Turn]
    text: str


_STORY_REQUESTS = (
    "Tell me the story of “{title}”.",
    "Write a story called “{title}”.",
    "Tell me a story called “{title}”.",
    "I would like to hear the story “{title}”.",
    "Write the story “{title}”.",
    "Please tell me “{title}”.",
)
_CHAPTER_REQUESTS = (
    "Write “{title}”.",
    "Tell me what happens in “{title}”.",
    "I would like to read “{title}”.",
)
_OPENING_REQUESTS = (
    "Here is how a story begins. Tell me the rest.\n\n{text}",
    "Continue this story:\n\n{text}",
    "A story opens like this. What happens then?\n\n{text}",
)
_CONTINUE_REQUESTS = (
    "Continue the story “{title}”:\n\n{text}",
    "Go on with “{title}” from here:\n\n{text}",
    "What happens next in “{title}”?\n\n{text}",
)

_ONE_IN_SO_MANY_OPENINGS = 4
_TAIL_TOKENS = 48
_REACH_CHARACTERS = 2000
_OPENING_TOKENS = 120
# The chat template with its system prompt, the words of a request, a title and a tail.
_RESERVED_TOKENS = 120
_SMALLEST_WINDOW_TOKENS = 32


def window_tokens(sequence_length: int) -> int:
    """Return how many tokens of story fit beside a request in a sequence of this length."""
    return max(_SMALLEST_WINDOW_TOKENS, sequence_length - _RESERVED_TOKENS)


def build(
    record: Record, begin: int, end: int | None, *, chat: bool, sequence_length: int
) -> Iterator[Example]:
    """Yield the examples of a story, or of its part between two character positions.

    The windows of the story follow each other without overlap: each word of it is learnt once, or, where it
    stands in a request, given once.

    Args:
        record: the story.
        begin: first character.
        end: one past the last character; None for the end of the story.
        chat: whether the model takes chats.
        sequence_length: tokens the model is trained on at a time.
    """
    title = full_title(record)
    if record.messages is not None:
        yield _passed_through(record, title, record.messages, chat=chat)
        return
    position = begin
    for window in cut(record.text[begin:end], window_tokens(sequence_length), record.language):
        before = record.text[max(0, position - _REACH_CHARACTERS) : position]
        if chat:
            request, answer = _ask(record, title, int(record.id, 16) + position, before, window)
            turns: list[Turn] = [_turn("user", request), _turn("assistant", answer)]
            yield {"story_id": record.id, "title": title, "messages": turns}
        else:
            text = window.strip() if before else f"{title}\n\n{window.strip()}"
            yield {"story_id": record.id, "title": title, "text": text}
        position += len(window)


def full_title(record: Record) -> str:
    """Return the title, with the work's beside it where it only counts: `Emma, Chapter 3`."""
    work = work_title(record.work)
    return f"{work}, {record.title}" if work and is_chapter_title(record.title) else record.title


def _passed_through(record: Record, title: str, messages: tuple[Message, ...], *, chat: bool) -> Example:
    if chat:
        turns = [_turn(message.role, message.content) for message in messages]
        return {"story_id": record.id, "title": title, "messages": turns}
    return {
        "story_id": record.id,
        "title": title,
        "text": "\n\n".join(message.content for message in messages),
    }


def _ask(record: Record, title: str, lot: int, before: str, window: str) -> tuple[str, str]:
    """Return a request that this window of the story answers, and the answer; the lot chooses its wording."""
    if before:
        said = tail(before, _TAIL_TOKENS, record.language)
        return _CONTINUE_REQUESTS[lot % len(_CONTINUE_REQUESTS)].format(
            title=title, text=said
        ), window.strip()
    opening, _, rest = window.partition("\n\n")
    fits = estimate_tokens(opening, record.language) <= _OPENING_TOKENS
    if lot % _ONE_IN_SO_MANY_OPENINGS == 0 and rest.strip() and fits:
        request = _OPENING_REQUESTS[lot // _ONE_IN_SO_MANY_OPENINGS % len(_OPENING_REQUESTS)]
        return request.format(text=opening.strip()), rest.strip()
    requests = _CHAPTER_REQUESTS if is_chapter_title(record.title) else _STORY_REQUESTS
    return requests[lot // _ONE_IN_SO_MANY_OPENINGS % len(requests)].format(title=title), window.strip()


def _turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}
