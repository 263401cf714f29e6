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
# A parser compares each attribute with all others of its element, and looks through a list of choices at each
# of them. Whatever a second `<html>` or `<body>` has is added to the first. A script may look like a tag of
# many attributes (`i<n`), but not of so many.
_MOST_ATTRIBUTES = 10_000
_MOST_CHOICES = 10_000
_ONE_ELEMENT = {"html", "body"}
_NAME_REST = re.compile(r"[^ \t\n\f\r/>]*")
_ATTRIBUTE = re.compile(
    r"[ \t\n\f\r/]*+[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+"
    r"(?:[ \t\n\f\r]*+=[ \t\n\f\r]*+(?:(?P<quote>[\"'])|[^ \t\n\f\r>]*+))?+"
)
_CURE = "Open it in a browser, copy the story into an editor and save it as plain text (.txt)."


def check_nesting(html: str) -> None:
    """Check that no nesting, elements left open or attributes of a page make parsing it take for ever.

    Raises:
        UnreadableError: they are.
    """
    steps = copies = depth = formatting = choices = shared = 0
    most_steps = _ANY_STEPS
    attributes = _Attributes(html)
    for found in _TAG.finditer(html):
        closes, name = found[1], found[2].lower()
        if name not in _NEVER_NESTED:
            depth = max(0, depth - 1) if closes else depth + 1
            if name in _FORMATTING:
                formatting = max(0, formatting - 1) if closes else formatting + 1
        count = attributes.count(found.end())
        shared += count if name in _ONE_ELEMENT else 0
        if max(count, shared) > _MOST_ATTRIBUTES:
            raise UnreadableError(
                f"One of its elements has more than {_MOST_ATTRIBUTES:,} attributes; no program that writes "
                "pages makes that.",
                _CURE,
            )
        choices += name == "option"
        if choices > _MOST_CHOICES:
            raise UnreadableError(f"It has more than {_MOST_CHOICES:,} choices to select from.", _CURE)
        steps += depth
        most_steps += _MOST_OPEN
        copies += formatting
        if steps > most_steps or copies > _MOST_COPIES:
            raise UnreadableError(
                "Its elements stand inside each other without end; no program that writes pages makes that.",
                _CURE,
            )


class _Attributes:
    """Counts the attributes of a page's tags.

    What looks like a tag may stand in a value or a comment, and what looks like the end of one, too. So they
    are counted from all that looks like a tag; what was passed on the way of another is not passed again.
    """

    def __init__(self, html: str) -> None:
        self._html = html
        self._from: dict[int, int] = {}
        """How many attributes follow, by the place before the first of them."""
        self._furthest = 0
        self._name_end = 0

    def count(self, place: int) -> int:
        """Return how many a tag has whose name reaches this place; of more than are allowed, one more."""
        if place >= self._furthest:
            self._from.clear()
        if place > self._name_end:
            self._name_end = _NAME_REST.match(self._html, place).end()  # type: ignore[union-attr]
        place = self._name_end
        passed: list[int] = []
        while place not in self._from and len(passed) <= _MOST_ATTRIBUTES:
            found = _ATTRIBUTE.match(self._html, place)
            if found is None:
                break
            passed.append(place)
            place = found.end()
            if found["quote"]:
                # One that is never closed reaches to the page's end.
                place = self._html.find(found["quote"], place) + 1 or len(self._html)
        count = self._from.get(place, 0)
        for earlier in reversed(passed):
            count += 1
            self._from[earlier] = count
        self._furthest = max(self._furthest, place)
        return count
