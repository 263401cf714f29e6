"""The language of a story, also if it begins in another one or mixes several."""

import pytest

from stories.language import UNKNOWN, identify

ENGLISH = "The keeper of the light had a good stove and wanted a cat, and nobody could tell him why. "
FRENCH = "Le gardien du phare avait un bon poêle et voulait un chat, et personne ne savait pourquoi. "
GERMAN = "Der Wärter des Leuchtturms hatte einen guten Ofen und wollte eine Katze, niemand wusste warum. "


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH, "en"),
        (FRENCH * 100, "fr"),
        (GERMAN * 3, "de"),
        (FRENCH * 10 + ENGLISH * 200, "en"),
        (ENGLISH * 80 + GERMAN * 10, "en"),
        (ENGLISH * 60 + FRENCH * 60 + GERMAN * 60, UNKNOWN),
        ("Nobody came.", UNKNOWN),
        ("", UNKNOWN),
        ("12 34 56 " * 50, UNKNOWN),
    ],
    ids=["short", "long", "german", "foreword", "afterword", "three", "too short", "empty", "figures"],
)
def test_the_language_is_that_of_most_of_the_text(text: str, language: str) -> None:
    assert identify(text) == language
