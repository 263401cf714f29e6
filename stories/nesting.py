"""Tells beforehand which web pages would keep an HTML parser busy for ever, or fill the memory."""

import re

from stories.errors import UnreadableError

_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)", re.I)
_NEVER_NESTED = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"),
    *("p", "li", "dt", "dd", "option", "tr", "td", "th", "tbody", "thead", "tfoot", "html", "head", "body"),
}
# What a parser opens again in each paragraph that follows, where it was not closed.
_FORMATTING = {
    *("a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"),
}
# A parser looks through all open elements at each tag. A page may make it look through so many for each of
# its tags on average, and so many more: then its time grows in step with the page's length.
_MOST_OPEN = 500
_ANY_STEPS = 500_000
# A node takes about a hundred bytes.
_MOST_COPIES = 3_000_000


def check_nesting(html: str) -> None:
    """Check that a page's elements are not nested so deeply, or left open so often, that parsing never ends.

    Raises:
        UnreadableError: they are.
    """
    steps = copies = depth = formatting = 0
    most_steps = _ANY_STEPS
    for found in _TAG.finditer(html):
        closes, name = found[1], found[2].lower()
        if name not in _NEVER_NESTED:
            depth = max(0, depth - 1) if closes else depth + 1
            if name in _FORMATTING:
                formatting = max(0, formatting - 1) if closes else formatting + 1
        steps += depth
        most_steps += _MOST_OPEN
        copies += formatting
        if steps > most_steps or copies > _MOST_COPIES:
            raise UnreadableError(
                "Its elements stand inside each other without end; no program that writes pages makes that.",
                "Open it in a browser, copy the story into an editor and save it as plain text (.txt).",
            )
