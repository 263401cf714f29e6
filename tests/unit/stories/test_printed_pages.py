"""What printing and distribution added is removed and counted; nothing of the story is removed."""

import re
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stories.cleaning import LONGEST_SAMPLE_CHARACTERS, CleanedText, clean
from tests.unit.stories.material import prose

CHAPTERS = ("The Well", "A Letter for Nobody", "What the Cat Saw", "The Second Well", "An End of It")
RIDDLE = [
    "My first is a gate for the tide,",
    "My second is paid at the toll;",
    "My whole is a wall,",
    "Tell me all.",
]


def accounted(text: str) -> CleanedText:
    """Clean a text and check the invariants of cleaning."""
    cleaned = clean(text)
    assert len(text) - sum(change.removed for change in cleaned.changes) == len(cleaned.text)
    assert len({change.kind for change in cleaned.changes}) == len(cleaned.changes)
    for change in cleaned.changes:
        assert change.places > 0
        assert change.before != change.after
        assert max(len(change.before), len(change.after)) <= LONGEST_SAMPLE_CHARACTERS
    assert clean(cleaned.text) == CleanedText(cleaned.text, ())
    return cleaned


def kinds(cleaned: CleanedText) -> dict[str, int]:
    """Return how often each kind of change was made."""
    return {change.kind: change.places for change in cleaned.changes}


def paged(text: str, head: str = "", foot: str = "{page}", lines: int = 30) -> str:
    """Wrap a text and print it on pages; `head` may have a left and a right side, separated by a slash."""
    wrapped = [
        line for part in text.split("\n\n") for line in (*textwrap.wrap(part, 66, break_on_hyphens=False), "")
    ]
    pages = [wrapped[begin : begin + lines] for begin in range(0, len(wrapped), lines)]
    sides = head.split("/")
    return "\f".join(
        "\n".join(
            [sides[number % len(sides)].format(page=number), "", *page, "", foot.format(page=number)]
        ).strip("\n")
        for number, page in enumerate(pages, start=1)
    )


@pytest.mark.parametrize(
    ("head", "foot"),
    [
        ("THE TIN ROOSTER", "{page}"),
        ("THE TIN ROOSTER/Dorcas Thrupp", "- {page} -"),
        ("{page}   THE TIN ROOSTER/DORCAS THRUPP   {page}", ""),
        ("", "Page {page} of 300"),
        ("The Tin Rooster | {page}", "www.example.com"),
        ("", "Seite {page}"),
    ],
)
@pytest.mark.parametrize("form_feeds", [True, False])
def test_heads_feet_and_numbers_are_removed(head: str, foot: str, form_feeds: bool) -> None:
    story = prose(5, 4000)
    printed = paged(story, head, foot)
    # Without form feeds, rising numbers in mid-sentence mark the page ends.
    text = accounted(printed if form_feeds else printed.replace("\f", "\n\n")).text
    assert text.split() == story.split()
    # A page may end with a paragraph; no paragraph is lost.
    assert len(set(story.split("\n\n")) - set(text.split("\n\n"))) <= 2


def test_a_chapters_name_stays_where_the_chapter_begins() -> None:
    parts = [
        f"CHAPTER {number}\n\n{name}\n\n{prose(number, 1500)}" for number, name in enumerate(CHAPTERS, 1)
    ]
    printed = "\f".join(paged(part, name) for part, name in zip(parts, CHAPTERS, strict=True))
    # The first page of each chapter has no head.
    printed = re.sub(r"(^|\f)[^\n]+\n\n(?=CHAPTER)", r"\1", printed)
    text = accounted(printed).text
    for number, name in enumerate(CHAPTERS, 1):
        assert text.count(name) == 1
        assert f"CHAPTER {number}\n\n{name}\n\n" in text


def test_chapters_that_are_only_numbered_keep_their_numbers() -> None:
    story = "\n\n".join(f"{number}\n\n{prose(number, 300)}" for number in range(1, 12))
    assert accounted(story).text == story


def test_page_marks_in_brackets_are_removed() -> None:
    story = prose(3, 600)
    words = story.split(" ")
    marked = " ".join(
        f"[Pg {number // 50}] {word}" if number % 50 == 49 else word for number, word in enumerate(words)
    )
    cleaned = accounted(marked)
    assert cleaned.text.split() == story.split()
    assert kinds(cleaned)["page numbers"] >= 10


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("The under-\nstanding was clear. An understanding is a thing.", "The understanding was"),
        ("The old-\nfashioned lamp. An old-fashioned lamp it was.", "The old-fashioned lamp"),
        ("In Anglo-\nSaxon, of course.", "In Anglo-Saxon, of"),
        ("an out-of-\nthe-way place", "an out-of-the-way place"),
        ("so\u00ad\nmething soft", "something soft"),
    ],
)
def test_words_broken_at_a_line_end(broken: str, whole: str) -> None:
    # Between lines long enough to be wrapped ones.
    before = "nobody upon the whole of the quay had ever seen a thing as that was"
    begin, end = broken.split("\n", 1)
    text = f"{before}\n{before[: 66 - len(begin)]} {begin}\n{end} {before[: 64 - len(end)]}\n{before}"
    assert whole in accounted(text).text.replace("\n", " ")


@pytest.mark.parametrize(
    "table",
    [
        "Contents\n\n"
        + "\n".join(f"{name} {'.' * 30} {number * 7}" for number, name in enumerate(CHAPTERS, 1)),
        "CONTENTS\n\n" + "\n".join(f" CHAPTER {number}. {name}" for number, name in enumerate(CHAPTERS, 1)),
        "\n\n".join(CHAPTERS),
        "\n".join(f"{name}\t{number * 9}" for number, name in enumerate(CHAPTERS, 1)),
        "Inhalt\n\n" + "\n\n".join(CHAPTERS),
    ],
    ids=["leaders", "numbered", "untitled", "tabs", "german"],
)
def test_tables_of_contents_are_removed(table: str) -> None:
    body = "\n\n".join(f"{name}\n\n{prose(number, 400)}" for number, name in enumerate(CHAPTERS, 1))
    cleaned = accounted(f"Tales of the Quay\n\n{table}\n\n{body}")
    assert cleaned.text == f"Tales of the Quay\n\n{body}"
    assert kinds(cleaned)["contents"] == 1


@pytest.mark.parametrize(
    "text",
    [
        f"{prose(1)}\n\n“No.”\n\n“Yes.”\n\n“No.”\n\n“Yes.”\n\n{prose(2)}\n\n“No.”\n\n“Yes.”",
        "\n\n".join(["Oh the eel,\nthe eel,\nthe eel that was owed,\nand never was paid.", prose(1, 60)] * 4),
        "\n\n".join(
            [prose(1, 300), "\n".join(RIDDLE), prose(2, 200)]
            + [f"{line}\n\n{prose(number, 200)}" for number, line in enumerate(RIDDLE, 3)]
        ),
        f"2 eggs\n100 g flour\n300 ml milk\n4 apples\n\n{prose(3, 100)}",
        f"{prose(1)}\n\n— Dis-moi, fit-il…\n\n— Non !\n\n«Mañana», dijo.\n\n{prose(2)}",
        f"{prose(1)}\n\n1\n\n{prose(2)}\n\n2\n\n{prose(3)}",
        f"{prose(1)}\n\n“All rights reserved,” he said. The book was licensed.\n\n{prose(2)}",
    ],
    ids=["dialogue", "refrain", "explained verse", "recipe", "dashes", "sections", "licence in the story"],
)
def test_story_text_that_looks_like_contents_is_kept(text: str) -> None:
    assert accounted(text) == CleanedText(text, ())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "*** START OF THIS PROJECT GUTENBERG EBOOK THE WELL ***",
            "*** END OF THIS PROJECT GUTENBERG EBOOK THE WELL ***",
        ),
        (
            "Welcome To The World of Free Plain Vanilla Electronic Texts\n\n"
            "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
            "End of the Project Gutenberg Etext of The Well",
        ),
        (
            "Smashwords Edition, License Notes\n\nThis ebook is licensed for your personal enjoyment only. "
            "It may not be re-sold. Thank you for respecting the hard work of this author.",
            "",
        ),
        (
            "Posted originally on the Archive of Our Own at http://archiveofourown.org/works/1.\n\n"
            "Rating: General\n\nFandom: Original Work",
            "Please drop by the Archive and comment to let the creator know if you enjoyed their work!",
        ),
        (
            "Copyright © 2015 Dorcas Thrupp\n\nAll rights reserved. No part of this book may be reproduced "
            "in any form.\n\nISBN 978-3-16-148410-0",
            "",
        ),
        (
            "This ebook is the product of many hours of hard work by volunteers for Standard Ebooks.",
            "Uncopyright\n\nFor more, visit standardebooks.org.",
        ),
    ],
    ids=["gutenberg", "gutenberg of old", "smashwords", "archive", "imprint", "standard ebooks"],
)
def test_licences_are_removed(before: str, after: str) -> None:
    cleaned = accounted(f"{before}\n\n{prose(1)}\n\n{after}")
    assert cleaned.text == prose(1)
    assert "licence" in kinds(cleaned)


def test_each_of_several_books_in_one_file_is_kept() -> None:
    mark = "*** {} OF THE PROJECT GUTENBERG EBOOK {{0}} ***"
    book = f"{mark.format('START')}\n\n{{1}}\n\n{mark.format('END')}"
    text = "\n\nSmall print.\n\n".join(book.format(number, prose(number)) for number in (1, 2))
    assert accounted(text).text == f"{prose(1)}\n\n{prose(2)}"


def test_each_kind_of_change_is_shown() -> None:
    cleaned = accounted(
        paged(f"It was a cafÃ©\u200b then. {prose(5, 3000)}", "THE WELL").replace("\f", " \f")
    )
    assert set(kinds(cleaned)) >= {
        "mojibake",
        "invisible characters",
        "page numbers",
        "running heads",
        "wrapped lines",
    }
    samples = {change.kind: (change.before, change.after) for change in cleaned.changes}
    assert "cafÃ©" in samples["mojibake"][0]
    assert "café" in samples["mojibake"][1]
    assert samples["running heads"] == ("THE WELL", "")


_PIECES = (
    *("\f", "\n", "\n\n", "\r\n", "\u2029", " ", "  ", "\t", " \n", "-\n", "\u00ad", "\ud800"),
    *("12", "xii", "13", "14", "Contents", "THE WELL", "[Pg 3]", "Chapter 1", ". . . . 7"),
    *("the keeper ", "exam", "ple", "and went on. ", "“No,” ", "— ", "…", "cafÃ©", "é", "e\u0301"),
    *("*** START OF THE PROJECT GUTENBERG EBOOK X ***", "All rights reserved.", "ISBN 9783161484100"),
    "a line of prose that is wrapped somewhere in the middle of its seventy",
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(_PIECES), max_size=120).map("".join))
def test_cleaned_text_is_accounted_for_and_clean(text: str) -> None:
    accounted(text)
