"""The evaluation job: compares the new adapter with its base model and with the live version.

It writes `evaluation.json` for the gate and `evaluation.html` for people; the candidate's adapter, unpacked;
and, if the base model cannot be hosted with an adapter, the merged weights.
"""

import gc
import json
import math
import os
import random
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import transformers

from storyloom_jobs.artifacts import compute_sha256, is_hosted_merged, unpack_model
from storyloom_jobs.container import JobError, ProcessingPaths, log_metric, run_job
from storyloom_jobs.cpu.resources import tune_malloc
from storyloom_jobs.evaluation.bootstrap import sum_by_unit
from storyloom_jobs.evaluation.evaluation_page import render_page
from storyloom_jobs.evaluation.generation import (
    AnswerGenerator,
    GeneratedAnswer,
    join_by_story,
    make_prompt_rounds,
)
from storyloom_jobs.evaluation.result import SEED, assemble_result
from storyloom_jobs.gpu_check import ACCELERATOR, require_gpu
from storyloom_jobs.hardware import PrecisionConfig, choose_precision
from storyloom_jobs.lora_model import (
    ADAPTER_WEIGHTS,
    end_tokens,
    load_adapter,
    load_base,
    load_tokenizer,
    write_merged,
)
from storyloom_jobs.loss import ChunkedLoss, LossSum, measure_loss
from storyloom_jobs.merged_lora import MergedAdapters
from storyloom_jobs.packed_attention import use_packed_attention
from storyloom_jobs.tokenization import (
    TokenBatch,
    TokenSequence,
    encode,
    in_batches,
    read_examples,
    windows,
)

WINDOW_TOKENS = 1024
BATCH_TOKENS = 4096
SCORING_SECONDS = 120.0
"""Time limit of the base model's perplexity. If all rows take longer, all models score the same random
part."""
GENERATION_SECONDS = {"cpu": 7.0, "cuda": 60.0}
"""Time limit of the base model's answers; the other models write as much."""

ADAPTER_FOLDER = "adapter"
"""Output folder of the candidate's adapter, from which hosting copies it."""
MERGED_FOLDER = "merged"
"""Output folder of the merged weights."""


def run_evaluation() -> int:
    """Run the job that SageMaker describes; return the exit code."""
    tune_malloc()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)  # of libraries about each other
    paths = ProcessingPaths.from_environment()

    def job() -> int:
        require_gpu(os.environ.get(ACCELERATOR, "auto"))
        return evaluate(paths)

    return run_job(job, paths.failure)


def evaluate(paths: ProcessingPaths) -> int:
    """Compare the models, and write merged weights if the base model is hosted with them; return 0.

    Raises:
        JobError: data, base model or adapter are unusable, or the candidate's loss is not a number.
    """
    started = time.monotonic()
    paths = replace(paths, candidate=unpack_model(paths.candidate, paths.output / ADAPTER_FOLDER))
    precision = choose_precision()
    compare_models(paths, precision, started)
    if is_hosted_merged(paths.base_model):
        gc.collect()  # frees reference cycles of the compared models before the base is loaded again
        write_merged(paths.base_model, paths.candidate, paths.output / MERGED_FOLDER, precision.device)
        log_elapsed("Wrote the merged weights", started)
    return 0


def compare_models(paths: ProcessingPaths, precision: PrecisionConfig, started: float) -> None:
    """Score every model, generate its answers, and write `evaluation.json` and `evaluation.html`.

    Raises:
        JobError: data, base model or adapter are unusable, or the candidate's loss is not a number.
    """
    held_out = read_examples(paths.test, "test")
    training = read_examples(paths.train, "train")
    tokenizer = load_tokenizer(paths.base_model)
    models = ComparedModels(paths, precision)
    ends = end_tokens(models.base, tokenizer)
    context = getattr(models.base.config, "max_position_embeddings", None)
    length = min(WINDOW_TOKENS, context or WINDOW_TOKENS)
    rows = make_held_out_rows(held_out, tokenizer, ends, length)
    losses = score_models(models, rows, ends)
    log_elapsed(f"Scored {losses['base'].num_tokens} tokens with {', '.join(models.names)}", started)
    unit_losses = sum_by_unit(
        [row.story for row in rows],
        [row.example for row in rows],
        {name: losses[name].rows for name in losses},
    )

    generator = AnswerGenerator(tokenizer, ends, SEED)
    prompts = make_prompt_rounds(held_out, training, SEED)
    seconds = GENERATION_SECONDS.get(precision.device.type, GENERATION_SECONDS["cpu"])
    answers: dict[str, list[GeneratedAnswer]] = {}
    with models.activate_merged("base") as model:
        answers["base"], rounds = generator.generate_first(model, prompts, seconds)
    for name in models.names[1:]:
        with models.activate_merged(name) as model:
            answers[name] = generator.generate_again(model, rounds)
    log_elapsed(f"Each model wrote {len(answers['base'])} answers", started)

    result = {
        **assemble_result(losses, unit_losses, answers, join_by_story(training), join_by_story(held_out)),
        "adapter_sha256": compute_sha256(paths.candidate / ADAPTER_WEIGHTS),
        "test_stories": len({row.story for row in rows}),
    }
    paths.output.mkdir(parents=True, exist_ok=True)
    (paths.output / "evaluation.html").write_text(render_page(result), encoding="utf-8")
    (paths.output / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    log_elapsed("Evaluated", started)


def log_elapsed(what: str, started: float) -> None:
    """Log what is done, with the seconds since the start."""
    print(f"{what}, {time.monotonic() - started:.0f} s after the start.", flush=True)


class ComparedModels:
    """The base model, loaded once, and the adapters that are switched on it."""

    def __init__(self, paths: ProcessingPaths, precision: PrecisionConfig) -> None:
        """Load the base model, the candidate and, if a version is live, the live adapter."""
        self.precision = precision
        self.base = load_base(paths.base_model, precision)
        self.model = load_adapter(self.base, paths.candidate, "candidate")
        # The candidate comes before the live version, because merging and unmerging leave rounding errors.
        self.names = ["base", "candidate"]
        if (paths.live / ADAPTER_WEIGHTS).exists():
            load_adapter(self.model, paths.live, "live")
            self.names.append("live")
        for name, parameter in self.model.named_parameters():
            if "lora_" in name:  # otherwise autocast would cast it again for every product
                parameter.data = parameter.data.to(precision.dtype)

    @contextmanager
    def activate(self, name: str) -> Iterator[Any]:
        """Activate a model for the duration of the context, with its adapter unmerged."""
        with self.precision.autocast():
            if name == "base":
                with self.model.disable_adapter():
                    yield self.model
                return
            self.model.set_adapter(name)
            yield self.model

    @contextmanager
    def activate_merged(self, name: str) -> Iterator[Any]:
        """Activate a model with its adapter merged if possible, so that it generates as fast as the base."""
        with self.activate(name) as model:
            merge = name != "base" and MergedAdapters.can_merge(model, name)
            if merge:
                model.merge_adapter(adapter_names=[name])
            try:
                yield model
            finally:
                if merge:
                    model.unmerge_adapter()


@dataclass(frozen=True)
class HeldOutRow:
    """A row of tokens of a held-out story."""

    tokens: TokenSequence
    story: str
    example: int


def make_held_out_rows(
    examples: Sequence[dict[str, Any]], tokenizer: Any, ends: frozenset[int], length: int
) -> list[HeldOutRow]:
    """Tokenize all examples into rows, shuffled so that the first few represent all."""
    rows = [
        HeldOutRow(window, str(example.get("story_id", number)), number)
        for number, example in enumerate(examples)
        for window in windows(encode(example, tokenizer, ends), length)
    ]
    random.Random(SEED).shuffle(rows)  # noqa: S311 (not a secret)
    return rows


def score_models(
    models: ComparedModels, rows: Sequence[HeldOutRow], ends: frozenset[int]
) -> dict[str, LossSum]:
    """Measure each model's loss on the rows, or on as many as the base model's time limit allows.

    Raises:
        JobError: the candidate's loss is not a number.
    """
    attention = models.base.config._attn_implementation
    packed = use_packed_attention(models.base)
    batches: list[TokenBatch] = list(
        in_batches([row.tokens for row in rows], BATCH_TOKENS if packed else 0, models.precision.device)
    )
    losses: dict[str, LossSum] = {}
    for name in models.names:
        with models.activate(name) as model:
            limit = math.inf if losses else SCORING_SECONDS
            losses[name] = measure_loss(ChunkedLoss(model), batches, limit, ends)
        batches = batches[: losses[name].num_batches]
        log_metric(f"{name}_perplexity", losses[name].perplexity, 0)
    models.base.set_attn_implementation(attention)  # generation uses a cache, packed attention has none
    if not math.isfinite(losses["candidate"].mean):
        raise JobError("The new adapter's loss is not a number. Train again with a lower learning_rate.")
    return losses
