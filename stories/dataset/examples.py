"""Build training examples from a story: a prompt and its answer, or plain text."""

from collections.abc import Iterator
from typing import TypedDict

from stories.dataset.prompts import PromptBuilder, full_title
from stories.dataset.windows import cut_windows
from stories.records import ChatTurn, Record


class ExampleTurn(TypedDict):
    """One turn of an example, as chat templates take it."""

    role: str
    content: str


class Example(TypedDict, total=False):
    """One line of `examples.jsonl`: `messages` for chat models, `text` for plain ones."""

    story_id: str
    title: str
    messages: list[ExampleTurn]
    text: str
    ends: bool
    """False if the story continues after the example, so that the model does not learn to stop there."""


_REACH_CHARACTERS = 2000
# The chat template with its system prompt, the words of a prompt, a title and the sentences before a window.
_RESERVED_TOKENS = 120
_SMALLEST_WINDOW_TOKENS = 32


def window_tokens(sequence_length: int) -> int:
    """Return how many tokens of story fit beside a prompt in a sequence of this length."""
    return max(_SMALLEST_WINDOW_TOKENS, sequence_length - _RESERVED_TOKENS)


def build_examples(
    record: Record, begin: int, end: int | None, *, chat: bool, sequence_length: int
) -> Iterator[Example]:
    """Yield the examples of a story, or of its part between two character positions.

    The windows of the story follow each other without overlap, so each word is learnt once or, if it is part
    of a prompt, given once.

    Args:
        record: the story.
        begin: first character.
        end: one past the last character; None for the end of the story.
        chat: whether the model is a chat model.
        sequence_length: length of a training sequence, in tokens.
    """
    title = full_title(record)
    if record.messages is not None:
        yield _chat_example(record, title, record.messages, chat=chat)
        return
    prompts = PromptBuilder(record, title)
    position = begin
    text_end = len(record.text.rstrip())
    for window in cut_windows(record.text[begin:end], window_tokens(sequence_length), record.language):
        before = record.text[max(0, position - _REACH_CHARACTERS) : position]
        example: Example = {"story_id": record.id, "title": title}
        if chat:
            seed = int(record.id, 16) + position
            request, answer = (
                prompts.continuation(before, window, seed) if before else prompts.first(window, seed)
            )
            example["messages"] = [_turn("user", request), _turn("assistant", answer)]
        else:
            example["text"] = window.strip() if before else f"{title}\n\n{window.strip()}"
        position += len(window)
        if position < text_end:
            example["ends"] = False
        yield example


def _chat_example(record: Record, title: str, messages: tuple[ChatTurn, ...], *, chat: bool) -> Example:
    if chat:
        turns = [_turn(message.role, message.content) for message in messages]
        return {"story_id": record.id, "title": title, "messages": turns}
    return {
        "story_id": record.id,
        "title": title,
        "text": "\n\n".join(message.content for message in messages),
    }


def _turn(role: str, content: str) -> ExampleTurn:
    return {"role": role, "content": content}
