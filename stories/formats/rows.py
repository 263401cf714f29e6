"""Interpret a row of a table or a JSON file as a story, a prompt with its answer, or a chat.

The names of the columns are the same in all of these formats, and are defined only here.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from stories.records import ChatTurn, RawStory, UnreadableError, UnusablePart

CHAT_FIELDS = ("messages", "conversations", "conversation", "chat_messages", "mapping")
BRANCH_FIELD = "current_node"
"""Field that names the last message shown, in an export with several branches."""
CHAT_SHAPE = '{"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}'

_ROLE_FIELDS = ("role", "from", "sender", "author")
_CONTENT_FIELDS = ("content", "value", "text")
_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "ai", "model"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
_CURE = f"Write each chat like this: {CHAT_SHAPE}."

MAX_UNUSABLE_ROWS = 20
"""Further unusable rows are only counted."""
LONGEST_ROW = 10 * 1024**2
"""In characters."""

TEXT_FIELDS = ("text", "story", "content", "body")
"""Columns of the story's text, in order of preference."""
_TITLE_FIELDS = ("title", "name", "heading")
_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("prompt", "story"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("instruction", "completion"),
    ("question", "answer"),
    ("user", "assistant"),
    ("input", "output"),
)
PROSE_FIELDS = {*TEXT_FIELDS, *(answer for _, answer in _PAIRS)}
"""Fields that may contain thousands of commas and line ends."""
_MORE_OF_THE_REQUEST = {"instruction": "input"}
_KNOWN = {*TEXT_FIELDS, *CHAT_FIELDS, *(name for pair in _PAIRS for name in pair)}
USED_FIELDS = {*_KNOWN, *_TITLE_FIELDS, *_MORE_OF_THE_REQUEST.values(), BRANCH_FIELD}
"""All fields that are used; other fields of a row are ignored."""
# What programs write into an empty cell.
_NOTHING = {"", "nan", "null", "none", "n/a", "<na>"}
_LONGEST_LIST_CHARACTERS = 200

COLUMNS = "“text” and “title”, “prompt” and “completion”, or “messages”"
_NAME_FIELDS = f"Name the columns {COLUMNS}."
_FILL = "Put the text into it, or leave the row out."
_SHAPES = f'Write {{"title": …, "text": …}}, {{"prompt": …, "completion": …}} or {CHAT_SHAPE}.'


@dataclass(frozen=True)
class TableRow:
    """One row as it is in the file."""

    place: str
    """Position for the report, such as `line 7`."""
    fields: Mapping[str, object] | UnreadableError
    """Fields by name, or the reason why there are none."""
    characters: int
    """Length of the row."""


def row_from_json(place: str, value: object, characters: int) -> TableRow:
    """Return a row for a JSON value: an object with named fields, or a string, which is the text."""
    if isinstance(value, dict):
        return TableRow(place, value, characters)
    if isinstance(value, str):
        return TableRow(place, {TEXT_FIELDS[0]: value}, characters)
    return TableRow(
        place, UnreadableError("It is neither text nor an object with named fields.", _SHAPES), characters
    )


class Repeated:
    """Marks a field that occurs twice with different values."""


def stories_from_rows(rows: Iterable[TableRow]) -> Iterator[RawStory | UnusablePart]:
    """Yield a story or an unusable part for each row; after 20 of the latter they are only counted."""
    unused = characters = 0
    for row in rows:
        try:
            if isinstance(row.fields, UnreadableError):
                raise row.fields
            yield _draft(row.fields)
        except UnreadableError as error:
            unused += 1
            if unused <= MAX_UNUSABLE_ROWS:
                yield UnusablePart(error.reason, error.cure, entry=row.place, characters=row.characters)
            else:
                characters += row.characters
    if unused > MAX_UNUSABLE_ROWS:
        reason = f"{unused - MAX_UNUSABLE_ROWS} more rows cannot be used."
        yield UnusablePart(
            reason, "Correct them like the ones above.", entry="further rows", characters=characters
        )


def check_columns(names: Iterable[str]) -> None:
    """Check that a table's columns can hold a story.

    Raises:
        UnreadableError: none of them is known, or a known one occurs twice.
    """
    found = [normalize_column(name) for name in names]
    known = set(found) & _KNOWN
    if not known & {*TEXT_FIELDS, *CHAT_FIELDS} and not any({*pair} <= known for pair in _PAIRS):
        raise UnreadableError(
            f"Its first row names no known column, only {_listed(found)}.",
            f"Name the columns in the first row: {COLUMNS}.",
        )
    twice = next((name for name in found if name in known and found.count(name) > 1), None)
    if twice is not None:
        raise UnreadableError(f"It has two columns named “{twice}”.", "Give each column a name of its own.")


@lru_cache(maxsize=1000)
def normalize_column(name: str) -> str:
    """Return the normalized name of a column: `Text ` is `text`."""
    return name.strip().strip("\ufeff").strip().casefold().replace(" ", "_")


def object_fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object's fields, for use as `object_pairs_hook`.

    A field of text that occurs twice with different values becomes `Repeated`.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        for name, value in pairs:
            if normalize_column(name) in _KNOWN and value != fields[name]:
                fields[name] = Repeated()
    return fields


def _draft(found: Mapping[str, object]) -> RawStory:
    fields = {normalize_column(str(name)): value for name, value in reversed(list(found.items()))}
    for name, value in fields.items():
        if isinstance(value, Repeated):
            raise UnreadableError(f"It has “{name}” twice, with different text.", "Keep one of the two.")
    title = _title(fields)
    messages = parse_chat(fields) or _pair(fields)
    if messages:
        said = "\n\n".join(message.content for message in messages if message.role == "assistant")
        return RawStory(said, title, messages=messages, one_of_many=True)
    text = next((text for name in TEXT_FIELDS if (text := _text(fields, name))), None)
    if text is None:
        raise _no_text(fields)
    return RawStory(text, title, one_of_many=True)


def _pair(fields: Mapping[str, object]) -> tuple[ChatTurn, ...] | None:
    for asked, answered in _PAIRS:
        if asked not in fields or answered not in fields:  # nearly always, so this check comes first
            continue
        request, answer = _text(fields, asked), _text(fields, answered)
        if request and answer:
            more = _text(fields, _MORE_OF_THE_REQUEST.get(asked, ""))
            request = f"{request}\n\n{more}" if more else request
            return ChatTurn(role="user", content=request), ChatTurn(role="assistant", content=answer)
    return None


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value.strip().casefold() not in _NOTHING else None


def _title(fields: Mapping[str, object]) -> str | None:
    values = (fields.get(name) for name in _TITLE_FIELDS)
    titles = (str(value).strip() for value in values if isinstance(value, str | int))
    return next((title for title in titles if title.casefold() not in _NOTHING), None)


def _no_text(fields: Mapping[str, object]) -> UnreadableError:
    known = [name for name in fields if name in _KNOWN]
    if not known:
        return UnreadableError(f"It has no known column, only {_listed(fields)}.", _NAME_FIELDS)
    empty = next((name for name in reversed(known) if _text(fields, name) is None), None)
    if empty is None:
        return UnreadableError(f"It has “{known[-1]}”, but no field with the answer.", _NAME_FIELDS)
    is_nothing = fields[empty] in (None, "") or isinstance(fields[empty], str | float)
    return UnreadableError(f"Its “{empty}” is {'empty' if is_nothing else 'no text'}.", _FILL)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)[:_LONGEST_LIST_CHARACTERS] or "none"


class _Turn(NamedTuple):
    role: str
    content: str


def parse_chat(fields: Mapping[str, object]) -> tuple[ChatTurn, ...] | None:
    """Return the chat among a row's fields. Its turns must alternate, and the last one is the assistant's.

    Supported are `messages` as OpenAI writes them, the `conversations` of ShareGPT, the `chat_messages` of
    Claude's export and the `mapping` of ChatGPT's. A system message is put before the user's first message,
    because not every chat template has a system role. Consecutive turns of one role are joined.

    Args:
        fields: values by lower-case name; a table's cell may hold the chat as JSON.

    Returns:
        the chat; None if the row has none.

    Raises:
        UnreadableError: the row has a chat that cannot be used.
    """
    name = next((name for name in CHAT_FIELDS if fields.get(name) not in (None, "")), None)
    if name is None:
        return None
    value = _parsed(fields[name])
    if name == "mapping":
        turns = _chatgpt_turns(value, fields.get(BRANCH_FIELD))
    elif isinstance(value, list):
        turns = [_turn(turn) for turn in value]
    else:
        raise _malformed()
    return _alternating(turns)


def _parsed(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed: object = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise _malformed() from error
    return parsed


def _malformed() -> UnreadableError:
    return UnreadableError("Its messages are not a list of {role, content} with text in them.", _CURE)


def _turn(turn: object) -> _Turn:
    if not isinstance(turn, Mapping):
        raise _malformed()
    role = _ROLES.get(_role(turn))
    content = next((text for name in _CONTENT_FIELDS if (text := _content_text(turn.get(name)))), "")
    if role is None or not content.strip():
        raise _malformed()
    return _Turn(role, content)


def _role(turn: Mapping[str, object]) -> str:
    role = next((turn[name] for name in _ROLE_FIELDS if name in turn), None)
    if isinstance(role, Mapping):
        role = role.get("role")
    return role.strip().casefold() if isinstance(role, str) else ""


def _content_text(content: object) -> str:
    """Return the text of a message; its content is a string, or parts of which some may be pictures."""
    if isinstance(content, Mapping):
        content = content.get("parts", content.get("text"))
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") if isinstance(part, Mapping) else part for part in content)
    return "\n\n".join(part for part in parts if isinstance(part, str) and part)


def _chatgpt_turns(mapping: object, current: object) -> list[_Turn]:
    """Follow ChatGPT's tree of messages from the last one shown up to the root."""
    if not isinstance(mapping, Mapping):
        raise _malformed()
    turns: list[_Turn] = []
    node = current if current in mapping else next(reversed(mapping), None)
    for _ in range(len(mapping)):
        found = mapping.get(node)
        if not isinstance(found, Mapping):
            break
        message = found.get("message")
        # Hidden messages lie between them: settings, tools, empty roots.
        if (
            isinstance(message, Mapping)
            and _role(message) in _ROLES
            and _content_text(message.get("content")).strip()
        ):
            turns.append(_turn(message))
        node = found.get("parent")
        if not isinstance(node, str):
            break
    return turns[::-1]


def _alternating(turns: Iterable[_Turn]) -> tuple[ChatTurn, ...]:
    turns = list(turns)
    system = [turn.content for turn in turns if turn.role == "system"]
    spoken = itertools.groupby((turn for turn in turns if turn.role != "system"), key=lambda turn: turn.role)
    joined = [_Turn(role, "\n\n".join(turn.content for turn in run)) for role, run in spoken]
    if not joined or len(joined) % 2 or joined[0].role != "user":
        raise UnreadableError(
            "Its messages do not alternate between user and assistant, ending with the assistant.", _CURE
        )
    first = "\n\n".join([*system, joined[0].content])
    content = [first, *(turn.content for turn in joined[1:])]
    return tuple(
        ChatTurn(role="assistant" if number % 2 else "user", content=text)
        for number, text in enumerate(content)
    )
