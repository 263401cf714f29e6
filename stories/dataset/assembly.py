"""Assemble records into a dataset and its report: the same bytes for the same records, in any order."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stories.dataset import duplicates, splitting
from stories.dataset.examples import build_examples
from stories.dataset.record_store import RecordStore, StoryEntry, open_record_store
from stories.dataset.similarity import compute_fingerprint
from stories.dataset.split_ledger import SplitLedger
from stories.dataset.time_budget import DatasetTimeBudget
from stories.dataset.training_plan import DatasetOptions, estimate
from stories.records import PARTS, Record, Reject
from stories.report.data_report import (
    CleaningTally,
    DataReport,
    FileVersion,
    PartSize,
    count_outcomes,
    measure_lengths,
)
from stories.report.verdict import grade_words, verdict

EXAMPLES_FILE = "examples.jsonl"
LEDGER_FILE = "ledger.json"


@dataclass
class _Files:
    """The files that were read, those with at least one story, their rejects and what cleaning changed."""

    seen: set[FileVersion] = field(default_factory=set)
    kept: set[FileVersion] = field(default_factory=set)
    rejects: list[Reject] = field(default_factory=list)
    tally: CleaningTally = field(default_factory=CleaningTally)


def assemble(
    lines: Iterable[Record | Reject],
    options: DatasetOptions,
    folder: Path,
    ledger: SplitLedger | None = None,
    *,
    budget: DatasetTimeBudget | None = None,
) -> DataReport:
    """Write `train/`, `validation/` and `test/examples.jsonl` into a folder and return the data report.

    `ledger.json` beside them records the split. Passed to the next call, it keeps every story on its side.

    Memory holds about 2 kB for each story, however long it is; everything else is on disk.

    Args:
        lines: records and rejects of all files, in any order.
        options: the model, the job and the limits.
        folder: an empty folder with room for three times the text.
        ledger: the ledger of the previous dataset; None for the first.
        budget: the time limit.

    Raises:
        TimeBudgetExceededError: the time limit is exceeded, or is going to be.
    """
    budget = budget or DatasetTimeBudget()
    with open_record_store(folder) as store:
        files = _collect(budget.track(lines, "stories were read"), store)
        entries, dropped = duplicates.drop_duplicates(store, budget)
        split = splitting.split_stories(
            entries, dropped, lambda entry: store.read(entry).text, ledger or SplitLedger()
        )
        sizes = {part: _write(store, split.parts[part], options, folder / part, budget) for part in PARTS}
    (folder / LEDGER_FILE).write_text(split.ledger.to_json(), encoding="utf-8", newline="\n")
    tokens = sizes["train"].examples * options.sequence_length * options.epochs
    effort = estimate(
        tokens,
        options.parameters_millions,
        options.instance,
        options.max_minutes,
        options.instances,
        usd_per_hour=options.usd_per_hour,
    )
    words = sum(entry.words for entry in entries)
    judged, words_to_next_grade = grade_words(words, options.minimum_words)
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
        duplicates=[pair.duplicate for pair in dropped],
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
        lengths=measure_lengths(entry.words for entry in entries),
        outcomes=count_outcomes(
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


def _words_by_language(entries: Iterable[StoryEntry]) -> dict[str, int]:
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
            store.add(line, compute_fingerprint(line))
    return files


def _write(
    store: RecordStore,
    spans: Sequence[splitting.StorySpan],
    options: DatasetOptions,
    folder: Path,
    budget: DatasetTimeBudget,
) -> PartSize:
    """Write one part's examples.jsonl and return its size."""
    folder.mkdir()
    count = 0
    with (folder / EXAMPLES_FILE).open("w", encoding="utf-8", newline="\n") as file:
        # A story's spans are consecutive, so its record is read only once for all of them.
        in_time = budget.track(spans, "passages were written as examples")
        for entry, of_entry in itertools.groupby(in_time, key=lambda span: span.entry):
            record = store.read(entry)
            for span in of_entry:
                for example in build_examples(
                    record, span.begin, span.end, chat=options.chat, sequence_length=options.sequence_length
                ):
                    file.write(json.dumps(example, ensure_ascii=False) + "\n")
                    count += 1
    return PartSize(stories=len(spans), words=sum(span.words for span in spans), examples=count)
