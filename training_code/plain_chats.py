"""How a chat becomes a text for a model that learnt plain texts, so that chat clients can ask it too."""

from collections.abc import Iterable
from typing import Any

# No roles and no marks: nothing of the kind was in the texts. A system message instructs, and there is nobody
# to follow it.
_TEMPLATE = (
    "{% for message in messages if message['role'] not in ['system', 'developer'] %}"
    "{{ message['content'] }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
)


def are_plain(examples: Iterable[dict[str, Any]]) -> bool:
    """Whether the examples are texts to go on with, rather than chats."""
    return all("messages" not in example for example in examples)


def plain_template(tokenizer: Any) -> str:
    """A chat template that gives what the messages say, a blank line between them, to be gone on with.

    Servers put no tokens of their own around a rendered chat, so the one with which this tokenizer begins
    every text, where it does, stands in the template.
    """
    begins = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return ("{{ bos_token }}" if begins else "") + _TEMPLATE
