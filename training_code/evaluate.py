"""The evaluation job: what the new adapter is worth, against its base and the model that answers now.

    python3 /opt/ml/processing/input/code/evaluate.py

Writes `evaluation.json` for the gate and `evaluation.html` for people; the candidate's adapter, unpacked; and
its weights, merged into the base's, if the base cannot be hosted with an adapter.
"""

import gc
import os
import sys
import time
import warnings
from pathlib import Path

if __name__ == "__main__":
    # As in train.py: threads sleep while they wait, and this folder is the package, whatever its name here.
    import types

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    _package = types.ModuleType("training_code")
    _package.__path__ = [str(Path(__file__).resolve().parent)]
    sys.modules["training_code"] = _package
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    gc.disable()  # as in train.py, while libraries are imported

import hashlib
import json
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import transformers

from training_code.allocator import keep_freed_memory
from training_code.archives import unpack_model
from training_code.bootstrap import gather
from training_code.container import JobError, ProcessingPaths, run_job
from training_code.data import Batch, TokenSequence, encode, in_batches, read_examples, windows
from training_code.evaluation import SEED, evaluation
from training_code.gpu import ACCELERATOR, require_gpu
from training_code.loss import ChunkedLoss
from training_code.merged import MergedAdapters
from training_code.merging import is_hosted_merged, write_merged
from training_code.metrics import log_metric
from training_code.model import ADAPTER_WEIGHTS, end_tokens, load_adapter, load_base, load_tokenizer
from training_code.packing import use_packed_attention
from training_code.perplexity import Surprise, measure
from training_code.precision import Numerics, choose
from training_code.report import to_html
from training_code.requests import rounds_of_requests, texts_of
from training_code.samples import Answer, Writer

WINDOW_TOKENS = 1024
BATCH_TOKENS = 4096
WRITING_SECONDS = {"cpu": 7.0, "cuda": 60.0}
"""For the base model; the others write as much."""

ADAPTER_FOLDER = "adapter"
"""Folder of the candidate's adapter, beside the two files: hosting copies it from there."""
MERGED_FOLDER = "merged"
"""Of the merged weights, beside the two files."""

SCORE_SECONDS = 120.0
"""For the base model. Where the held-out stories need longer, all models score the same random part."""


def main() -> int:
    """Run the job that SageMaker describes; the exit code."""
    keep_freed_memory()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries' talk about each other
    paths = ProcessingPaths.from_environment()

    def job() -> int:
        require_gpu(os.environ.get(ACCELERATOR, "auto"))
        return evaluate(paths)

    return run_job(job, paths.failure)


def evaluate(paths: ProcessingPaths) -> int:
    """Judge the candidate, and write its merged weights where its base is hosted only so; 0.

    Raises:
        JobError: unusable data, base model or adapter, or a candidate whose loss is not a number.
    """
    started = time.monotonic()
    paths = replace(paths, candidate=unpack_model(paths.candidate, paths.output / ADAPTER_FOLDER))
    numerics = choose()
    judge(paths, numerics, started)
    if is_hosted_merged(paths.base_model):
        gc.collect()  # the judged models are gone, but for circles in them; the base is loaded once more
        write_merged(paths.base_model, paths.candidate, paths.output / MERGED_FOLDER, numerics.device)
        said("Wrote the merged weights", started)
    return 0


def judge(paths: ProcessingPaths, numerics: Numerics, started: float) -> None:
    """Score every model, let each write, and leave the two files.

    Raises:
        JobError: unusable data, base model or adapter, or a candidate whose loss is not a number.
    """
    held_out = read_examples(paths.test, "test")
    training = read_examples(paths.train, "train")
    tokenizer = load_tokenizer(paths.base_model)
    models = Contenders(paths, numerics)
    ends = end_tokens(models.base, tokenizer)
    length = min(WINDOW_TOKENS, getattr(models.base.config, "max_position_embeddings", None) or WINDOW_TOKENS)
    rows = shuffled_rows(held_out, tokenizer, ends, length)
    scores = score(models, rows, ends)
    said(f"Scored {scores['base'].tokens} tokens with {', '.join(models.names)}", started)
    sums = gather(
        [row.story for row in rows],
        [row.example for row in rows],
        {name: scores[name].rows for name in scores},
    )

    writer = Writer(tokenizer, ends, SEED)
    answers: dict[str, list[Answer]] = {}
    with models.alone("base") as model:
        seconds = WRITING_SECONDS.get(models.numerics.device.type, WRITING_SECONDS["cpu"])
        answers["base"], rounds = writer.first(model, rounds_of_requests(held_out, training, SEED), seconds)
    for name in models.names[1:]:
        with models.alone(name) as model:
            answers[name] = writer.same(model, rounds)
    said(f"Each model wrote {len(answers['base'])} answers", started)

    result = {
        **evaluation(scores, sums, answers, texts_of(training), texts_of(held_out)),
        "adapter_sha256": sha256(paths.candidate / ADAPTER_WEIGHTS),
        "test_stories": len({row.story for row in rows}),
    }
    paths.output.mkdir(parents=True, exist_ok=True)
    (paths.output / "evaluation.html").write_text(to_html(result), encoding="utf-8")
    (paths.output / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    said("Evaluated", started)


def said(what: str, started: float) -> None:
    """Log what is done and how long after the start that was."""
    print(f"{what}, {time.monotonic() - started:.0f} s after the start.", flush=True)


class Contenders:
    """The base model, loaded once, and the adapters that can be switched onto it."""

    def __init__(self, paths: ProcessingPaths, numerics: Numerics) -> None:
        self.numerics = numerics
        self.base = load_base(paths.base_model, numerics)
        self.model = load_adapter(self.base, paths.candidate, "candidate")
        # The candidate comes before the live one: merging and taking back leaves a trace of rounding.
        self.names = ["base", "candidate"]
        if (paths.live / ADAPTER_WEIGHTS).exists():
            load_adapter(self.model, paths.live, "live")
            self.names.append("live")
        for name, parameter in self.model.named_parameters():
            if "lora_" in name:  # autocast would round it so again for every product
                parameter.data = parameter.data.to(numerics.dtype)

    @contextmanager
    def switched_to(self, name: str) -> Iterator[Any]:
        """The named model, while the context lasts, with its adapter beside the base's weights."""
        with self.numerics.autocast():
            if name == "base":
                with self.model.disable_adapter():
                    yield self.model
                return
            self.model.set_adapter(name)
            yield self.model

    @contextmanager
    def alone(self, name: str) -> Iterator[Any]:
        """The same with the adapter merged where it can be: it then writes as fast as the base."""
        with self.switched_to(name) as model:
            merge = name != "base" and MergedAdapters.can_merge(model, name)
            if merge:
                model.merge_adapter(adapter_names=[name])
            try:
                yield model
            finally:
                if merge:
                    model.unmerge_adapter()


@dataclass(frozen=True)
class Row:
    """A row of tokens, and what it is cut from."""

    tokens: TokenSequence
    story: str
    example: int


def shuffled_rows(
    examples: Sequence[dict[str, Any]], tokenizer: Any, ends: frozenset[int], length: int
) -> list[Row]:
    """All rows, in an order in which the first few stand for all."""
    rows = [
        Row(window, str(example.get("story_id", number)), number)
        for number, example in enumerate(examples)
        for window in windows(encode(example, tokenizer, ends), length)
    ]
    random.Random(SEED).shuffle(rows)  # noqa: S311 (not a secret)
    return rows


def score(models: Contenders, rows: Sequence[Row], ends: frozenset[int]) -> dict[str, Surprise]:
    """How surprised each model is by the rows' taught tokens, as far as there is time for the base model.

    Raises:
        JobError: the candidate's loss is not a number.
    """
    attention = models.base.config._attn_implementation
    packs = use_packed_attention(models.base)
    batches: list[Batch] = list(
        in_batches([row.tokens for row in rows], BATCH_TOKENS if packs else 0, models.numerics.device)
    )
    scores: dict[str, Surprise] = {}
    for name in models.names:
        with models.switched_to(name) as model:
            limit = math.inf if scores else SCORE_SECONDS
            scores[name] = measure(ChunkedLoss(model), batches, limit, ends)
        batches = batches[: scores[name].batches]
        log_metric(f"{name}_perplexity", scores[name].perplexity, 0)
    models.base.set_attn_implementation(attention)  # generation keeps a cache, packed rows have none
    if not math.isfinite(scores["candidate"].loss):
        raise JobError("The new adapter's loss is not a number. Train again with a lower learning_rate.")
    return scores


def sha256(path: Path) -> str:
    """The file's sha256 as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    raise SystemExit(main())
