"""Refuse web pages whose nesting would take an HTML parser too much time or memory."""

import re

from stories.errors import UnreadableError

_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)", re.I)
_NEVER_NESTED = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"),
    *("p", "li", "dt", "dd", "option", "tr", "td", "th", "tbody", "thead", "tfoot", "html", "head", "body"),
}
# A parser opens these again in each following paragraph if they were not closed.
_FORMATTING = {
    *("a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"),
}
# A parser goes through all open elements at each tag. This limit on the average number for each tag, plus a fixed
# allowance, keeps its time proportional to the page's length.
_MAX_OPEN = 500
_ANY_STEPS = 500_000
# A node takes about a hundred bytes.
_MAX_COPIES = 3_000_000


def check_nesting(html: str) -> None:
    """Check that a page's elements are not nested too deeply, or left open too often, for parsing.

    Raises:
        UnreadableError: the page exceeds a limit.
    """
    steps = copies = depth = formatting = 0
    max_steps = _ANY_STEPS
    for found in _TAG.finditer(html):
        closes, name = found[1], found[2].lower()
        if name not in _NEVER_NESTED:
            depth = max(0, depth - 1) if closes else depth + 1
            if name in _FORMATTING:
                formatting = max(0, formatting - 1) if closes else formatting + 1
        steps += depth
        max_steps += _MAX_OPEN
        copies += formatting
        if steps > max_steps or copies > _MAX_COPIES:
            raise UnreadableError(
                "Its elements are nested far deeper than in any page that a program writes.",
                "Open it in a browser, copy the story into an editor and save it as plain text (.txt).",
            )
