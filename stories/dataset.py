"""Records in, a dataset and its report out: the same bytes for the same records, whatever their order."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stories import duplicates, splitting
from stories.estimate import estimate
from stories.examples import build
from stories.fingerprint import fingerprint
from stories.ledger import Ledger
from stories.models import PARTS, DataReport, PartSize, Record, Reject
from stories.store import Entry, RecordStore, record_store
from stories.summary import CleaningTally, File, lengths, outcomes
from stories.time_budget import TimeBudget
from stories.verdict import grade, verdict

LEDGER_FILE = "ledger.json"


@dataclass(frozen=True)
class Options:
    """What the dataset is made for."""

    run_id: str
    chat: bool
    """Whether the base model takes chats."""
    sequence_length: int
    """Tokens the model is trained on at a time."""
    epochs: int
    minimum_words: int
    parameters_millions: int
    instance: str
    """SageMaker training instance type."""
    most_minutes: float
    """When training ends by itself."""
    base_model: str = ""
    """Its name, for the report."""
    spot: bool = False
    """Whether training waits for spare machines, which cost less."""
    instances: int = 1
    """How many train together."""
    usd_per_hour: float | None = None
    """Price of one instance, on demand; None if it is not known."""
    price_month: str = ""
    """Of what month the price is, as `2026-09`."""
    price_source: str = ""
    """Who gave the price, in words for people."""


@dataclass
class _Files:
    """Which files there were, and which of them gave a story."""

    seen: set[File] = field(default_factory=set)
    kept: set[File] = field(default_factory=set)
    rejects: list[Reject] = field(default_factory=list)
    tally: CleaningTally = field(default_factory=CleaningTally)


def assemble(
    lines: Iterable[Record | Reject],
    options: Options,
    folder: Path,
    ledger: Ledger | None = None,
    *,
    budget: TimeBudget | None = None,
) -> DataReport:
    """Write `train/`, `validation/` and `test/examples.jsonl` into a folder and report on them.

    `ledger.json` beside them remembers the split: given to the next call it keeps every story on its side.

    Memory holds about 2 kB of each story, however long it is; all else waits on disk.

    Args:
        lines: what `read_file` yielded for all files, in any order.
        options: what the dataset is made for.
        folder: an empty folder with room for three times the text.
        ledger: of the dataset before this one; None for the first.
        budget: how long it may take.

    Raises:
        OutOfTimeError: it would take longer.
    """
    budget = budget or TimeBudget()
    with record_store(folder) as store:
        files = _collect(budget.track(lines, "stories were taken in"), store)
        entries, left_out = duplicates.leave_out(store, budget)
        split = splitting.split(entries, left_out, lambda entry: store.read(entry).text, ledger or Ledger())
        sizes = {part: _write(store, split.parts[part], options, folder / part, budget) for part in PARTS}
    (folder / LEDGER_FILE).write_text(split.ledger.to_json(), encoding="utf-8", newline="\n")
    tokens = sizes["train"].examples * options.sequence_length * options.epochs
    effort = estimate(
        tokens,
        options.parameters_millions,
        options.instance,
        options.most_minutes,
        options.instances,
        usd_per_hour=options.usd_per_hour,
    )
    words = sum(entry.words for entry in entries)
    judged, words_to_next_grade = grade(words, options.minimum_words)
    enough = words >= options.minimum_words and all(size.examples for size in sizes.values())
    data_report = DataReport(
        run_id=options.run_id,
        files=len(files.seen),
        kept=len(files.kept),
        rejected=sorted(
            files.rejects, key=lambda reject: (reject.source_key, reject.entry or "", reject.reason)
        ),
        stories=len(entries),
        words=words,
        languages=dict(sorted(Counter(entry.language for entry in entries).items())),
        duplicates=[pair.duplicate for pair in left_out],
        split=sizes,
        enough=enough,
        verdict="",
        training_minutes_estimate=effort.minutes,
        cost_estimate_usd=effort.on_demand_usd,
        price_date=options.price_month,
        price_source=options.price_source,
        grade=judged if enough else "far too little",
        words_to_next_grade=words_to_next_grade if enough else max(0, options.minimum_words - words),
        minimum_words=options.minimum_words,
        works=len({entry.work for entry in entries}),
        languages_words=_words_by_language(entries),
        lengths=lengths(entry.words for entry in entries),
        outcomes=outcomes(
            files.seen,
            files.kept,
            {entry.file for entry in entries},
            {(reject.source_key, reject.source_version) for reject in files.rejects},
        ),
        cleaning=files.tally.cleaning(),
        base_model=options.base_model,
        instance=options.instance,
        spot=options.spot,
        cost_estimate_spot_usd=effort.spot_usd,
        cost_at_most_usd=effort.at_most_usd,
    )
    said = verdict(data_report, options.minimum_words, len(split.large_works))
    return data_report.model_copy(update={"verdict": said})


def _words_by_language(entries: Iterable[Entry]) -> dict[str, int]:
    words: Counter[str] = Counter()
    for entry in entries:
        words[entry.language] += entry.words
    return dict(sorted(words.items()))


def _collect(lines: Iterable[Record | Reject], store: RecordStore) -> _Files:
    files = _Files()
    for line in lines:
        file = (line.source_key, line.source_version)
        files.seen.add(file)
        if isinstance(line, Reject):
            files.rejects.append(line)
        else:
            files.kept.add(file)
            files.tally.add(line)
            store.add(line, fingerprint(line))
    return files


def _write(
    store: RecordStore,
    pieces: Sequence[splitting.Piece],
    options: Options,
    folder: Path,
    budget: TimeBudget,
) -> PartSize:
    """Write one part's examples.jsonl and return its size."""
    folder.mkdir()
    count = 0
    with (folder / "examples.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        # A story's pieces follow one another: it is read once for all of them, however many there are.
        in_time = budget.track(pieces, "passages were written as examples")
        for entry, of_entry in itertools.groupby(in_time, key=lambda piece: piece.entry):
            record = store.read(entry)
            for piece in of_entry:
                for example in build(
                    record, piece.begin, piece.end, chat=options.chat, sequence_length=options.sequence_length
                ):
                    file.write(json.dumps(example, ensure_ascii=False) + "\n")
                    count += 1
    return PartSize(stories=len(pieces), words=sum(piece.words for piece in pieces), examples=count)
