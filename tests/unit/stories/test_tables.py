"""Tables, JSON and exported chats: every shape gives the same stories."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

import pytest

from stories.records import Record, Reject
from tests.unit.stories.material import Lines, only_record, only_reject, prose, read

STORY, OTHER = prose(1, 150), prose(2, 150)
ROWS = [{"title": "The Well", "text": STORY}, {"title": "The Lamp", "text": OTHER}]
QUESTION, ANSWER = "Tell me of the lamp, the old one.", f"It “shone”, they said.\n\n{STORY}"


def _csv(rows: Sequence[Mapping[str, str]], delimiter: str = ",") -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0].keys(), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _told(lines: Lines) -> list[tuple[str, str]]:
    assert all(isinstance(line, Record) for line in lines), lines
    return [(line.title, line.text) for line in lines if isinstance(line, Record)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *[(f"a.{'tsv' if mark == chr(9) else 'csv'}", _csv(ROWS, mark)) for mark in ",;\t|"],
        ("renamed.csv", _csv(ROWS, "\t")),
        ("sep.csv", "sep=;\r\n" + _csv(ROWS, ";")),
        ("marked.csv", "\ufeff" + _csv(ROWS)),
        ("list.json", json.dumps(ROWS)),
        ("indented.json", json.dumps(ROWS, indent=2)),
        ("wrapped.json", json.dumps({"version": 2, "stories": ROWS, "by": {"name": "x"}})),
        ("lines.json", "\n".join(map(json.dumps, ROWS))),
        ("lines.jsonl", "\r\n".join(map(json.dumps, ROWS))),
        ("list.jsonl", json.dumps(ROWS, indent=1)),
        ("comma.json", json.dumps(ROWS)[:-1] + ",\n]"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_every_shape_gives_the_same_stories(name: str, content: str, encoding: str) -> None:
    assert _told(read(name, content.encode(encoding))) == [("The Well", STORY), ("The Lamp", OTHER)]


@pytest.mark.parametrize("name", ["text", "Story", " CONTENT ", "body"])
def test_the_names_of_the_text(name: str) -> None:
    assert only_record(read("a.csv", _csv([{name: STORY, "Title": "The Well"}]).encode())).text == STORY
    assert only_record(read("a.json", json.dumps({name: STORY}).encode())).text == STORY


def _chat(record: Record) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in record.messages or ()]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("prompt", "completion"), ("Prompt", "Response"), ("instruction", "output"), ("question", "answer")],
)
def test_the_names_of_a_request_and_its_answer(asked: str, answered: str) -> None:
    for record in (
        only_record(read("a.csv", _csv([{asked: QUESTION, answered: ANSWER}]).encode())),
        only_record(read("a.jsonl", json.dumps({asked: QUESTION, answered: ANSWER}).encode())),
    ):
        assert _chat(record) == [("user", QUESTION), ("assistant", ANSWER)]


def test_the_input_of_an_instruction_is_part_of_the_request() -> None:
    row = {"instruction": "Go on.", "input": "Once", "output": ANSWER}
    assert _chat(only_record(read("a.json", json.dumps(row).encode())))[0] == ("user", "Go on.\n\nOnce")


def _node(parent: str | None, role: str, *parts: object) -> dict[str, object]:
    message = {"author": {"role": role}, "content": {"content_type": "text", "parts": list(parts)}}
    return {"parent": parent, "message": message}


EXPORTS: dict[str, object] = {
    "messages": {
        "messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    },
    "parts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": QUESTION}, {"type": "image_url"}]},
            {"role": "assistant", "content": ANSWER},
        ]
    },
    "ShareGPT": {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
    "Claude": {
        "name": "A lamp",
        "chat_messages": [{"sender": "human", "text": QUESTION}, {"sender": "assistant", "text": ANSWER}],
    },
    "ChatGPT": {
        "title": "A lamp",
        "current_node": "d",
        "mapping": {
            "a": {"parent": None, "message": None},
            "b": _node("a", "system", ""),
            "c": _node("b", "user", QUESTION),
            "left": _node("c", "assistant", "An answer that was asked for anew."),
            "tool": _node("c", "tool", "searching"),
            "d": _node("tool", "assistant", ANSWER),
        },
    },
}


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_chats_of_every_program(export: object) -> None:
    for name, content in (
        ("a.json", json.dumps([export])),
        ("a.jsonl", json.dumps(export)),
    ):
        assert _chat(only_record(read(name, content.encode()))) == [("user", QUESTION), ("assistant", ANSWER)]


def test_a_chat_in_a_cell() -> None:
    cell = json.dumps(EXPORTS["messages"]["messages"])  # type: ignore[index]
    assert _chat(only_record(read("a.csv", _csv([{"messages": cell}]).encode()))) == [
        ("user", QUESTION),
        ("assistant", ANSWER),
    ]


def test_two_turns_of_one_side_are_joined() -> None:
    turns = [("user", "One."), ("user", "Two."), ("assistant", "Three."), ("assistant", "Four.")]
    content = json.dumps({"messages": [{"role": role, "content": said} for role, said in turns]})
    assert _chat(only_record(read("a.jsonl", content.encode()))) == [
        ("user", "One.\n\nTwo."),
        ("assistant", "Three.\n\nFour."),
    ]


def test_a_damaged_row_is_rejected_with_its_line() -> None:
    good = STORY.replace("\n\n", " ")
    content = f'title,text\nA,"{good}\nB,"say ""{good}"""\nC,"he said "no" to {good}"\nD,{good}\n'
    lines = read("a.csv", content.encode())
    assert [(line.title, line.text[:8]) for line in lines if isinstance(line, Record)] == [
        ("B", f'say "{good[:3]}'),
        ("D", good[:8]),
    ]
    assert [line.entry for line in lines if isinstance(line, Reject)] == ["line 2", "line 4"]


def test_the_characters_of_unused_rows_are_counted() -> None:
    line = json.dumps({"wat": STORY})
    assert only_reject(read("a.jsonl", line.encode())).characters == len(line)
    row = f"{STORY.replace(chr(10), ' ')},b,c\n"
    assert only_reject(read("a.csv", f"text,note\n{row}".encode())).characters == len(row)


def test_many_bad_quotation_marks_are_handled_quickly() -> None:
    lines = read("a.csv", b"title,text\n" + b'A,"never closed\n' * 20_001)
    assert lines
    assert all(isinstance(line, Reject) for line in lines)
