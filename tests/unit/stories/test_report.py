"""The report's page shows the figures of the JSON, and no file name can inject anything."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import get_args

import pytest
from selectolax.lexbor import LexborHTMLParser

from stories.records import Change, ChangeKind, Record, Reject
from stories.report import report_page
from stories.report.data_report import (
    Cleaning,
    CleaningTally,
    DataReport,
    Duplicate,
    Outcomes,
    count_outcomes,
    measure_lengths,
)
from stories.report.formatting import (
    CHANGES,
    count_noun,
    format_minutes,
    format_month,
    language_name,
    safe_text,
)
from stories.report.report_page import report_to_html
from stories.report.verdict import CLEAR_CHANGE_WORDS, PLENTY_WORDS, grade_words
from tests.unit.stories.material import Assembled, prose, read_all, zipped

HOSTILE = (
    "<script>alert(1)</script>.txt",
    '"><img src=x onerror=alert(1)>.txt',
    "{{ 7 * 7 }}{% raw %}.txt",
    "--></style><svg onload=alert(1)>.txt",
    "javascript:alert(1)",
    "https://evil.example/a.png",
    "\u202egpj.exe\x00\x1b[31m\ud800.txt",
)


@pytest.fixture
def report(assembled: Callable[..., Assembled]) -> DataReport:
    """A report with something in every section, most of it with a hostile name."""
    files = {f"tale-of-{chr(97 + number)}.txt": prose(number, 2500).encode() for number in range(12)}
    files |= dict.fromkeys(HOSTILE[:-1], b"")
    files |= {
        "copy.txt": files["tale-of-a.txt"],
        "both.zip": zipped({"a.md": prose(50).encode(), "b.txt": b""}),
    }
    found, _ = assembled(read_all(files), base_model="smollm2-135m", spot=True)
    name = HOSTILE[-1]
    return found.model_copy(
        update={
            "rejected": [*found.rejected, Reject(source_key=name, source_version="", reason=name, cure=name)],
            "duplicates": [
                *found.duplicates,
                Duplicate(kept=HOSTILE[0], dropped=HOSTILE[1], kind="near", similarity=0.71),
            ],
            "cleaning": [
                Cleaning(
                    kind="page numbers",
                    stories=1,
                    places=3,
                    removed=6,
                    source=HOSTILE[3],
                    before=f"one\n{HOSTILE[0]}\ntwo",
                    after="",
                )
            ],
        }
    )


class _Document(HTMLParser):
    """Collects the elements and attributes that a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def _text(html: str) -> str:
    body = LexborHTMLParser(html).body
    assert body is not None
    return " ".join(body.text(separator=" ").split())


def test_hostile_names_are_only_ever_text(report: DataReport) -> None:
    html = report_to_html(report)
    document = _Document(html)
    assert not {"script", "img", "iframe", "object", "embed", "link", "a", "base", "form"} & set(
        document.tags
    )
    assert not [name for name, _ in document.attributes if name.startswith("on") or name in {"style", "src"}]
    text = _text(html)
    for name in HOSTILE[:-1]:
        assert name in text
    assert "49.txt" not in text
    assert safe_text(HOSTILE[-1]) in text
    assert not set("\u202e\x00\x1b") & set(html)
    html.encode()  # no half of a surrogate pair either


def test_nothing_is_loaded_and_the_policy_forbids_it(report: DataReport) -> None:
    html = report_to_html(report)
    loaded = [
        value for name, value in _Document(html).attributes if name in {"href", "src", "xlink:href", "action"}
    ]
    assert loaded == []
    (css,) = re.findall(r"<style>(.*?)</style>", html, re.S)
    assert "url(" not in css
    assert "@import" not in css
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    (policy,) = (value for name, value in _Document(html).attributes if "default-src" in value)
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy


def test_the_figures_are_those_of_the_json(report: DataReport) -> None:
    text = _text(report_to_html(report))
    assert " ".join(report.verdict.split()) in text
    assert f"{report.files} files looked at" in text or f"files looked at {report.files}" in text
    for figure in (report.words, report.stories, report.lengths.median, report.lengths.longest):
        assert f"{figure:,}" in text
    for amount in (report.cost_estimate_usd, report.cost_estimate_spot_usd, report.cost_at_most_usd):
        assert f"${amount:.2f}" in text
    assert format_minutes(report.training_minutes_estimate) in text
    assert format_month(report.price_date) in text
    for size in report.split.values():
        assert f"{size.words:,}" in text
    for code, words in report.languages_words.items():
        assert language_name(code) in text
        assert f"{words:,}" in text
    for reject in report.rejected:
        assert safe_text(reject.cure) in text
    assert f"{report.outcomes.rejected} could not be used" in text
    assert f"{report.outcomes.partly} used in part" in text
    assert f"{report.outcomes.repeated} repeat another file" in text


def test_the_page_has_no_technical_terms(report: DataReport) -> None:
    text = _text(report_to_html(report)).lower()
    for word in ("token", "perplexity", "epoch", "hyperparameter", "lora", "shingle", "minhash", "dataset"):
        assert word not in text


def test_an_empty_folder_and_one_with_too_little_have_a_page(assembled: Callable[..., Assembled]) -> None:
    empty, _ = assembled([])
    assert "There were no files." in _text(report_to_html(empty))
    little, _ = assembled(read_all({"one.txt": prose(1).encode()}))
    text = _text(report_to_html(little))
    assert "Not enough stories yet" in text
    assert "4,400 more words" in text
    assert "$" not in text


def test_thousands_of_faults_make_a_page_that_can_be_read() -> None:
    rejects = [
        Reject(source_key=f"{number}.bin", source_version="", reason="It is no text.", cure="Leave it out.")
        for number in range(5000)
    ]
    report = DataReport.model_validate(
        {
            **dict.fromkeys(("kept", "stories", "words", "training_minutes_estimate"), 0),
            "run_id": "r",
            "files": 5000,
            "rejected": rejects,
            "languages": {},
            "duplicates": [],
            "split": {part: {} for part in ("train", "validation", "test")},
            "enough": False,
            "verdict": "v",
            "cost_estimate_usd": None,
            "price_date": "2026-09",
        }
    )
    html = report_to_html(report)
    assert html.count("It is no text.") == 1
    assert "5,000 files" in html
    assert "and 4,900 more" in html


@pytest.mark.parametrize(
    ("words", "minimum", "expected"),
    [
        (0, 5000, ("far too little", 5000)),
        (4999, 5000, ("far too little", 1)),
        (5000, 5000, ("too little", 20_000)),
        (CLEAR_CHANGE_WORDS, 5000, ("enough", 75_000)),
        (PLENTY_WORDS, 5000, ("plenty", 0)),
        (30_000, 50_000, ("far too little", 20_000)),
        (50_000, 50_000, ("enough", 50_000)),
    ],
)
def test_grades(words: int, minimum: int, expected: tuple[str, int]) -> None:
    assert grade_words(words, minimum) == expected


def test_the_verdict_of_too_little_text_gives_the_missing_words(assembled: Callable[..., Assembled]) -> None:
    files = {f"tale-of-{chr(97 + number)}.txt": prose(number).encode() for number in range(10)}
    report, _ = assembled(read_all(files))
    assert report.grade == "too little"
    assert "expect repetition" in report.verdict
    assert "Add about 19,000 words." in report.verdict


def test_the_scale_points_into_the_grade(report: DataReport) -> None:
    for words in (0, 2500, 4999, 5000, 24_999, 25_000, 99_999, 100_000, 5_000_000):
        scale = report_page.grade_scale(report.model_copy(update={"words": words, "minimum_words": 5000}))
        zone = scale.zones[int(scale.place * len(scale.zones) / 100)]
        assert zone.grade == grade_words(words, 5000)[0]
    high = report_page.grade_scale(report.model_copy(update={"words": 40_000, "minimum_words": 50_000}))
    assert [zone.grade for zone in high.zones] == ["far too little", "enough", "plenty"]


def test_all_segments_of_a_bar_are_visible_and_fill_it() -> None:
    shares = report_page.outcome_shares(Outcomes(used=100_000, partly=0, repeated=1, rejected=2))
    assert [share.value for share in shares] == [100_000, 1, 2]
    assert min(share.width for share in shares) > 0.5
    assert sum(share.width for share in shares) == pytest.approx(100, abs=0.01)
    assert report_page.outcome_shares(Outcomes()) == ()


def test_each_file_has_one_outcome() -> None:
    one, two, three, four = (("a", ""), ("b", ""), ("c", ""), ("d", ""))
    found = count_outcomes({one, two, three, four}, {one, two, three}, {one, two}, {two, four})
    assert found == Outcomes(used=1, partly=1, repeated=1, rejected=1)


def test_lengths_cover_all_stories_without_gaps() -> None:
    found = measure_lengths([10, 99, 100, 1200, 700_000])
    assert (found.shortest, found.median, found.longest) == (10, 100, 700_000)
    assert sum(each.stories for each in found.ranges) == 5
    assert (found.ranges[0].from_words, found.ranges[0].stories) == (0, 2)
    assert found.ranges[-1].to_words is None
    for one, following in zip(found.ranges, found.ranges[1:], strict=False):
        assert one.to_words == following.from_words
    assert measure_lengths([]).ranges == ()


def test_changes_add_up_in_any_order() -> None:
    records = [_changed("b.txt", 2), _changed("a.txt", 1), _changed("c.txt", 3)]
    summed = []
    for order in (records, records[::-1]):
        tally = CleaningTally()
        for record in order:
            tally.add(record)
        summed.append(tally.cleaning())
    assert summed[0] == summed[1]
    (found,) = summed[0]
    assert (found.stories, found.places, found.removed, found.source) == (3, 6, 12, "a.txt")
    assert found.before == "a.txt before"


def _changed(key: str, places: int) -> Record:
    change = Change(kind="hyphenation", places=places, removed=2 * places, before=f"{key} before", after="x")
    return Record(
        id="0" * 16,
        title="t",
        text="x",
        source_key=key,
        source_version="",
        modified_at="",
        work=key,
        language="en",
        words=1,
        changes=(change,),
    )


def test_every_kind_of_change_has_a_description() -> None:
    assert set(CHANGES) == set(get_args(ChangeKind)) - {"title"}


def test_numbers_and_names_are_formatted_for_people() -> None:
    assert count_noun(1, "story", "stories") == "1 story"
    assert count_noun(1234, "word") == "1,234 words"
    assert format_minutes(0.2) == "1 min"
    assert format_minutes(95.4) == "1 h 35 min"
    assert format_minutes(120) == "2 h"
    assert language_name("de") == "German"
    assert language_name("und") == "Could not tell"
    assert format_month("2026-09") == "September 2026"
