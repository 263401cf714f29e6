"""Reading, cleaning and the following steps take linear time in the size of a file."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from stories.dataset.duplicates import drop_duplicates
from stories.dataset.names import find_names
from stories.dataset.passages import passages
from stories.dataset.record_store import open_record_store
from stories.dataset.similarity import compute_fingerprint
from stories.dataset.windows import cut_windows
from stories.records import Record
from tests.unit.stories.growth.files import FILES, Files
from tests.unit.stories.growth.measuring import STEEPEST, growth
from tests.unit.stories.growth.texts import TEXTS, Make
from tests.unit.stories.material import only_record, prose, read

_FIRST_BYTES = 10_000


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    """Load what is loaded with the first file."""
    read("a.txt", prose(1).encode())
    read("b.txt", b"Es war einmal ein Vergleich, der hatte alles geladen, bevor er begann.\n" * 5)
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_every_reader_is_linear(files: Files) -> None:
    found = growth(files.make, lambda content: read(files.name, content), _FIRST_BYTES)
    assert found.exponent <= STEEPEST, found


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_every_cleaning_step_is_linear(make: Make) -> None:
    found = growth(
        lambda size: make(size).encode("utf-8", "surrogatepass"),
        lambda text: read("a.txt", text),
        _FIRST_BYTES,
    )
    assert found.exponent <= STEEPEST, found


def _stories_of_one_form(size: int) -> list[Record]:
    """Make stories that share a third of their words with all others, too little to be duplicates."""
    [one] = read("one.txt", prose(0, 60).encode())
    form = prose(0, 45)
    return [
        one.model_copy(
            update={
                "text": f"{form}\n\n{prose(number + 1, 75)}",
                "source_key": f"{number}.txt",
                "work": str(number),
            }
        )
        for number in range(size // 500)
        if isinstance(one, Record)
    ]


def test_looking_for_duplicates_is_linear_in_the_stories(tmp_path: Path) -> None:
    def work(records: list[Record]) -> None:
        with open_record_store(tmp_path) as store:
            for record in records:
                store.add(record, compute_fingerprint(record))
            kept, _ = drop_duplicates(store)
        assert len(kept) == len(records)

    found = growth(_stories_of_one_form, work, 60_000)
    assert found.exponent <= STEEPEST, found


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_every_step_after_reading_is_linear(make: Make) -> None:
    record = only_record(read("a.txt", prose(1).encode()))

    def work(text: str) -> None:
        cut_windows(text, 2000, "en")
        passages(text)
        find_names(text, "en")
        compute_fingerprint(record.model_copy(update={"text": text}))

    found = growth(make, work, _FIRST_BYTES)
    assert found.exponent <= STEEPEST, found
