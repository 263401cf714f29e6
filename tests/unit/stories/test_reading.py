"""The stories and titles read from each format and encoding."""

# ruff: noqa: RUF001 - the tests need the unusual characters

import codecs
import json

import pytest

from stories.formats.detection import readers
from stories.records import Record
from tests.unit.stories.material import only_record, prose, read, zipped

ENGLISH = "“It’s a café,” she said — and the naïve old man, who hadn’t spoken since Tuesday, agreed with her…"
FRENCH = (
    "Il était une fois une petite fille qui vivait à l’orée d’une forêt où même les fées n’entraient pas."
)
POLISH = "Była sobie raz mała dziewczynka, która mieszkała na skraju lasu. Żółta łódź płynęła po jeziorze."
RUSSIAN = "Жили-были старик со старухой у самого синего моря; они жили в ветхой землянке тридцать лет."
JAPANESE = "むかしむかし、あるところに、おじいさんとおばあさんが住んでいました。おじいさんは山へ行きました。"

ENCODED = [
    *[(text, codec) for text in (ENGLISH, RUSSIAN, JAPANESE) for codec in ("utf-8", "utf-8-sig", "utf-16")],
    *[(text, codec) for text in (ENGLISH, RUSSIAN) for codec in ("utf-16-le", "utf-16-be", "utf-32")],
    (ENGLISH, "cp1252"),
    (FRENCH, "cp1252"),
    (POLISH, "cp1250"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8-r"),
    (JAPANESE, "shift_jis"),
]


@pytest.mark.parametrize("times", [1, 30])
@pytest.mark.parametrize(("text", "codec"), ENCODED)
def test_text_survives_its_encoding(text: str, codec: str, times: int) -> None:
    story = "\n\n".join([text] * times)
    assert only_record(read("story.txt", story.encode(codec))).text == story


def test_utf_16_marks_of_both_kinds() -> None:
    for mark, codec in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        assert only_record(read("story.txt", mark + ENGLISH.encode(codec))).text == ENGLISH


def test_record_of_a_text_file() -> None:
    body = prose(4)
    record = only_record(read("tales/the-well.txt", f"The Well on the Dowager\r\n\r\n{body}".encode()))
    assert record.title == "The Well on the Dowager"
    assert record.text == body
    assert record.words == 600
    assert record.source_key == "tales/the-well.txt"
    assert record.work == "tales/the-well"
    assert len(record.id) == 16


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (ENGLISH, "en"),
        (FRENCH, "fr"),
        (POLISH, "pl"),
        (RUSSIAN, "ru"),
        (JAPANESE, "ja"),
        ("1234 " * 20, "und"),
    ],
)
def test_language(text: str, code: str) -> None:
    assert only_record(read("story.txt", text.encode())).language == code


def test_words_of_scripts_without_spaces_are_counted() -> None:
    assert 15 < only_record(read("story.txt", JAPANESE.encode())).words < 40


def test_markdown_keeps_paragraphs_and_loses_markup() -> None:
    source = """---
author: Nobody
---
# The Tin Rooster

It was *never* wrong, and **always** `late`; see [the well](https://example.com/well).
The second line of a paragraph that goes on for long enough to be prose and not verse.

![a rooster](rooster.png)

> A sign said: &ldquo;Mind the cat&rdquo;.

<!-- not for readers -->

***

- a lamp
- a lantern

## Afterwards

Roses are red
Violets are blue
"""
    record = only_record(read("rooster.md", source.encode()))
    assert record.title == "The Tin Rooster"
    assert record.text.split("\n\n") == [
        "It was never wrong, and always late; see the well. The second line of a paragraph that goes on for "
        "long enough to be prose and not verse.",
        "A sign said: “Mind the cat”.",
        "* * *",
        "a lamp",
        "a lantern",
        "Afterwards",
        "Roses are red\nViolets are blue",
    ]


def test_markdown_title_in_front_matter() -> None:
    source = f'---\ntitle: "The Well: a tale"\n---\n\n{prose(5)}'
    record = only_record(read("untitled.md", source.encode()))
    assert record.title == "The Well: a tale"
    assert record.text == prose(5)


@pytest.mark.parametrize(
    ("opening", "title"),
    [
        ("The Goose Who Would Not Pay\n\n", "The Goose Who Would Not Pay"),
        ("THE GOOSE\n\nby Dorcas Thrupp\n\n", "THE GOOSE"),
        ("# The Goose\n\n", "The Goose"),
        ("Who goes there?\n\n", "Who goes there?"),
        ("It had rained since Tuesday.\n\n", "A fine goose"),
        ("“Mind the cat!”\n\n", "A fine goose"),
        ("", "A fine goose"),
    ],
)
def test_title_of_a_text_file(opening: str, title: str) -> None:
    record = only_record(read("a-fine_goose.txt", (opening + prose(6)).encode()))
    assert record.title == title
    assert record.text.endswith(prose(6)[-100:])


def test_json_lines_of_every_shape() -> None:
    rows = [
        {"title": "The Well", "text": prose(7)},
        {"prompt": "Tell me of the lamp.", "completion": prose(8)},
        {
            "messages": [
                {"role": "system", "content": "You are Dorcas."},
                {"role": "user", "content": "Who broke the jug?"},
                {"role": "assistant", "content": "It was nobody."},
                {"role": "user", "content": "Where is he?"},
                {"role": "assistant", "content": "Out."},
            ]
        },
    ]
    records = read("all.jsonl", "\r\n".join(json.dumps(row) for row in rows).encode())
    assert all(isinstance(record, Record) for record in records)
    story, pair, chat = (record for record in records if isinstance(record, Record))
    assert (story.title, story.text, story.messages) == ("The Well", prose(7), None)
    assert pair.messages is not None
    assert [(turn.role, turn.content) for turn in pair.messages] == [
        ("user", "Tell me of the lamp."),
        ("assistant", prose(8)),
    ]
    assert chat.messages is not None
    assert [turn.role for turn in chat.messages] == ["user", "assistant", "user", "assistant"]
    assert chat.messages[0].content == "You are Dorcas.\n\nWho broke the jug?"
    assert chat.text == "It was nobody.\n\nOut."
    assert len({record.work for record in (story, pair, chat)}) == 3


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_json_lines_in_other_encodings(codec: str) -> None:
    rows = "".join(json.dumps({"text": ENGLISH * times}, ensure_ascii=False) + "\n" for times in (1, 2))
    first, second = read("all.jsonl", rows.encode(codec))
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert first.text == ENGLISH
    assert second.text == ENGLISH * 2


def test_zip_of_every_format() -> None:
    files = {
        "b/story.md": f"# The Lamp\n\n{prose(9)}".encode(),
        "a/story.txt": prose(10).encode(),
        "all.jsonl": json.dumps({"title": "The Well", "text": prose(11)}).encode(),
    }
    records = read("stories.zip", zipped(files))
    assert all(isinstance(record, Record) for record in records)
    assert [(record.entry, record.title) for record in records if isinstance(record, Record)] == [
        ("a/story.txt", "Story"),
        ("all.jsonl", "The Well"),
        ("b/story.md", "The Lamp"),
    ]


def test_the_formats_that_are_read() -> None:
    assert set(readers()) >= {".txt", ".md", ".jsonl", ".zip"}
