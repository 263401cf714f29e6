"""Bad and odd tables and JSON files."""

import json

from tests.unit.stories.bad_files.kind import PARAGRAPH, STORY, Kind, always, as_json, refused, used

TABLES = [
    Kind(
        "CSV with ragged rows",
        "a.csv",
        f"text,note\n{PARAGRAPH}\n{PARAGRAPH},b,c,d\n,,,,\n".encode,
        1,
        "4 columns, but the first row has 2",
    ),
    used(
        "CSV with commas in unquoted texts",
        "a.csv",
        f"title,text\nA,{PARAGRAPH}, so, on\n".encode,
        1,
        "so, on",
    ),
    used(
        "CSV with line breaks in a cell",
        "a.csv",
        f'title,text\nA,"{STORY}"\n'.encode,
        1,
        STORY[-40:],
    ),
    used(
        "CSV with semicolons",
        "a.csv",
        lambda: f'Title;Story\r\nA;"{STORY}"\r\n'.encode("utf-16"),
        1,
        STORY[-40:],
    ),
    used("table with tabs", "a.tsv", f"text\ttitle\n{PARAGRAPH}\tA\n".encode),
    Kind(
        "CSV with a quotation mark that never closes",
        "a.csv",
        f'title,text\nA,"{PARAGRAPH}\nB,{PARAGRAPH}\nC,{PARAGRAPH}\n'.encode,
        2,
        "quotation marks",
    ),
    refused("CSV with other columns", "a.csv", always(b"id,price\n1,2\n"), "only “id”, “price”"),
    refused("CSV with a column twice", "a.csv", always(b"text,text\na,b\n"), "two columns"),
    refused("CSV with a first row only", "a.csv", always(b"title,text\n"), "No story"),
    Kind("CSV with NaN", "a.csv", f'title,text\nNaN,"{STORY}"\nB,NaN\n'.encode, 1, "empty"),
    Kind(
        "JSON with NaN",
        "a.json",
        lambda: b'[{"text": NaN}, {"text": "%s", "score": NaN}]' % PARAGRAPH.encode(),
        1,
        "“text” is empty",
    ),
    refused("JSON with a name twice", "a.json", always(b'{"text": "one", "text": "two"}'), "“text” twice"),
    used("JSON with raw line breaks", "a.json", lambda: b'{"text": "%s"}' % STORY.encode(), 1, STORY[-40:]),
    Kind(
        "JSON cut in the middle",
        "a.json",
        json.dumps([{"text": STORY}] * 2)[:-99].encode,
        1,
        "cut off",
    ),
    refused("JSON nested without end", "a.json", always(b'{"text": ' + b"[" * 100_000), "not JSON"),
    refused("JSON with a number without end", "a.json", always(b"9" * 100_000), "not JSON"),
    refused("JSON that is prose", "a.json", always(b"Once upon a time"), "not JSON from line 1"),
    refused("JSON of other things", "package.json", as_json({"version": "1.0", "main": "x.js"}), "“version”"),
    Kind(
        "JSON Lines cut in mid-line",
        "a.jsonl",
        (json.dumps({"text": STORY}) + "\n" + json.dumps({"text": STORY})[:-40]).encode,
        1,
        "last line is cut off",
    ),
    Kind(
        "JSON Lines with a bad line",
        "a.jsonl",
        lambda: b'nonsense\n{"text": "%s"}\n' % PARAGRAPH.encode(),
        1,
        "not JSON",
    ),
    refused(
        "JSON Lines with a Japanese escape that is cut",
        "a.jsonl",
        always(b"\x1b$B\x1b$x\xd1\x9d\x14\xc6\x14s"),
        "no encoding fits",
    ),
    refused("JSON Lines that are empty", "a.jsonl", always(b"\n\n"), "empty"),
    refused(
        "JSON Lines of lists", "a.jsonl", always(b'["Once upon a time"]\n'), "neither text nor an object"
    ),
    refused("JSON Lines of other fields", "a.jsonl", always(b'{"wat": "Once upon a time"}\n'), "“wat”"),
    refused("JSON Lines of numbers", "a.jsonl", always(b'{"text": 7}\n'), "“text” is no text"),
    refused("JSON Lines nested without end", "a.jsonl", always(b"[" * 100_000 + b"\n"), "not JSON"),
    refused(
        "one line of 11 MB in JSON Lines",
        "a.jsonl",
        lambda: b'{"text": "' + b"a " * 5_800_000,
        "longer than 10 MB",
    ),
    refused(
        "a chat without an answer",
        "a.jsonl",
        as_json({"messages": [{"role": "user", "content": "Hi"}]}),
        "alternate",
    ),
    refused("a chat without turns", "a.jsonl", as_json({"messages": []}), "alternate"),
    refused("a chat of odd turns", "a.jsonl", as_json({"messages": [{"role": "user"}]}), "role, content"),
]
