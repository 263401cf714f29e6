"""Damage is repaired; what an author meant is kept."""

# ruff: noqa: RUF001 - the tests need the unusual characters

import pytest

from stories.cleaning import clean as clean_and_account
from tests.unit.stories.material import prose

WRAPPED = """It is a truth not much acknowledged that a keeper of the light who has
a good stove must be in want of a cat. However little is known of the
feelings of such a man when he first lands upon the island, this truth is
so fixed in the minds of the families there that he is thought of as the
property of one or another of their kittens."""

VERSE = """The lamp went out upon the Point,
  The boats went out as well,
And nobody was left to say
  Which of the two had fell."""

LONG_VERSE = """This is the island primeval, the murmuring eels and the herring,
Bearded with weed and in garments green, are indistinct in the twilight,
Stand like harpers of old,
Loud from its rocky caverns the deep-voiced neighbouring kettle
Speaks, and in accents sad
Answers the wail of the bell."""

LETTER = """My dear Miss Brace,
the jug is broken.
Yours,
Nobody"""


def clean(text: str) -> str:
    """Clean a text and check that every character is accounted for."""
    cleaned = clean_and_account(text)
    assert len(text) - sum(change.removed for change in cleaned.changes) == len(cleaned.text)
    return cleaned.text


@pytest.mark.parametrize(
    ("damaged", "whole"),
    [
        ("itâ€™s the cafÃ© again", "it’s the café again"),
        ("one\r\ntwo\rthree\x85four\u2028five", "one\ntwo\nthree\nfour\nfive"),
        ("cafe\u0301", "café"),
        ("so\u00adft hy\u200bphens\ufeff", "soft hyphens"),
        ("a\x00b\x07c\x1bd", "abcd"),
        ("One.\x0cTwo.", "One.\n\nTwo."),
        ("one   \n\n\n\n\t\ntwo\n\n", "one\n\ntwo"),
    ],
)
def test_damage_is_repaired(damaged: str, whole: str) -> None:
    assert clean(damaged) == whole


@pytest.mark.parametrize(
    "text",
    [
        "“Curly” ‘quotes’ and \"straight\" 'ones' — dashes – of all kinds-of",
        "an ellipsis… and three dots...",
        "ﬁne ligatures, ｆｕｌｌ ｗｉｄｔｈ, ½ and № and ™",
        "AT&amp;T &c. and <angle brackets>",
        "une espace\u00a0insécable\u202f!",
        "می‌خواهم",
        "👩‍🌾 on the farm",
        "你好。「再见」",
        VERSE,
        LONG_VERSE,
        LETTER,
        f"{prose(1)}\n\n{VERSE}\n\n{prose(2)}",
    ],
)
def test_intended_characters_are_kept(text: str) -> None:
    assert clean(text) == text


def test_hard_wrapped_lines_are_joined() -> None:
    joined = " ".join(WRAPPED.split())
    assert clean(f"{WRAPPED}\n\n{WRAPPED}") == f"{joined}\n\n{joined}"


def test_verse_between_hard_wrapped_prose_is_left_alone() -> None:
    joined = " ".join(WRAPPED.split())
    assert (
        clean(f"{WRAPPED}\n\n{VERSE}\n\n{LETTER}\n\n{WRAPPED}")
        == f"{joined}\n\n{VERSE}\n\n{LETTER}\n\n{joined}"
    )


def test_paragraphs_marked_by_indentation_are_separated() -> None:
    indented = "\n".join(f"    {WRAPPED}" for _ in range(3))
    assert clean(indented) == "\n\n".join([" ".join(WRAPPED.split())] * 3)


def test_words_broken_at_a_hyphen_or_dash_are_joined_without_a_space() -> None:
    wrapped = WRAPPED.replace(
        "a keeper of the light who has\na good", "a keeper of the out-of-the-way and well-\nlit"
    )
    assert "well-lit stove" in clean(wrapped)


def test_gutenberg_notices_are_removed() -> None:
    text = f"""The Project Gutenberg eBook of The Well

*** START OF THE PROJECT GUTENBERG EBOOK THE WELL ***

{prose(3)}

*** END OF THE PROJECT GUTENBERG EBOOK THE WELL ***

Updated editions will replace the previous one."""
    assert clean(text) == prose(3)
