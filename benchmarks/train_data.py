"""Token rows for the training benchmarks: those to train on, and held-out ones."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from storyloom_jobs.lora_model import end_tokens, load_tokenizer
from storyloom_jobs.tokenization import TokenSequence, tokenize


def write_rows(rows: Sequence[TokenSequence], path: Path) -> None:
    """Write rows to a file that `read_rows` reads."""
    path.write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")


def read_rows(path: Path) -> list[TokenSequence]:
    """Read the rows of a file."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [TokenSequence(tuple(row["tokens"]), tuple(row["loss_mask"])) for row in rows]


def sample_rows(
    examples: Sequence[dict[str, Any]], base: Any, folder: Path, length: int, *, tokens: int
) -> list[TokenSequence]:
    """Sample the examples' rows up to a number of tokens; the same rows each time."""
    tokenizer = load_tokenizer(folder)
    rows = tokenize(examples, tokenizer, end_tokens(base, tokenizer), length)
    random.Random(17).shuffle(rows)  # noqa: S311 (not a secret)
    sample, count = [], 0
    for row in rows:
        if count + len(row) > tokens:
            break
        sample.append(row)
        count += len(row)
    return sample


def random_rows(vocabulary: int, length: int, count: int) -> list[TokenSequence]:
    """Make rows of random tokens; all but the first token count in the loss."""
    generator = random.Random(17)  # noqa: S311 (not a secret)
    loss_mask = (False, *[True] * (length - 1))
    return [
        TokenSequence(tuple(generator.randrange(vocabulary) for _ in range(length)), loss_mask)
        for _ in range(count)
    ]
