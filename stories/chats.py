"""Convert chats, as programs export them, into turns that a model can be trained on."""

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from stories.errors import UnreadableError
from stories.models import ChatTurn

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
    content = next((text for name in _CONTENT_FIELDS if (text := _text(turn.get(name)))), "")
    if role is None or not content.strip():
        raise _malformed()
    return _Turn(role, content)


def _role(turn: Mapping[str, object]) -> str:
    role = next((turn[name] for name in _ROLE_FIELDS if name in turn), None)
    if isinstance(role, Mapping):
        role = role.get("role")
    return role.strip().casefold() if isinstance(role, str) else ""


def _text(content: object) -> str:
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
            and _text(message.get("content")).strip()
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
        ChatTurn(role="assistant" if number % 2 else "user", content=text) for number, text in enumerate(content)
    )
