"""The rows that every contestant trains on, and those that none has seen."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training_code.data import TokenSequence, prepare
from training_code.model import end_tokens, load_tokenizer


def write_rows(rows: Sequence[TokenSequence], path: Path) -> None:
    """Write rows for `read_rows`."""
    path.write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")


def read_rows(path: Path) -> list[TokenSequence]:
    """The rows of a file."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [TokenSequence(tuple(row["tokens"]), tuple(row["taught"])) for row in rows]


def rows_of(
    examples: Sequence[dict[str, Any]], base: Any, folder: Path, length: int, *, tokens: int
) -> list[TokenSequence]:
    """A sample of the examples' rows for a base model, of about so many tokens; the same each time."""
    tokenizer = load_tokenizer(folder)
    rows = prepare(examples, tokenizer, end_tokens(base, tokenizer), length)
    random.Random(17).shuffle(rows)  # noqa: S311 (not a secret)
    sample, count = [], 0
    for row in rows:
        if count + len(row) > tokens:
            break
        sample.append(row)
        count += len(row)
    return sample


def random_rows(vocabulary: int, length: int, count: int) -> list[TokenSequence]:
    """Rows of random tokens, all taught but the first, for a base model of random weights."""
    draw = random.Random(17)  # noqa: S311 (not a secret)
    taught = (False, *[True] * (length - 1))
    return [
        TokenSequence(tuple(draw.randrange(vocabulary) for _ in range(length)), taught) for _ in range(count)
    ]
