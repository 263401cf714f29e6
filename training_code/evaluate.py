"""The evaluation job: what the new adapter is worth, against its base and the model that answers now.

    python3 /opt/ml/processing/input/code/evaluate.py

Writes `evaluation.json` for the gate and `evaluation.html` for people.
"""

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

import hashlib
import json
import math
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import transformers

from training_code.allocator import keep_freed_memory
from training_code.container import JobError, ProcessingPaths, run_job
from training_code.data import Batch, TokenSequence, in_batches, prepare, read_examples
from training_code.loss import ChunkedLoss
from training_code.metrics import log_metric
from training_code.model import ADAPTER_WEIGHTS, end_tokens, load_adapter, load_base, load_tokenizer
from training_code.packing import use_packed_attention
from training_code.perplexity import Surprise, measure
from training_code.precision import Numerics, choose
from training_code.report import to_html
from training_code.samples import CopyDetector, choose_prompts, write_samples

WINDOW_TOKENS = 1024
BATCH_TOKENS = 4096
SAMPLE_PROMPTS = 3
SAMPLE_TOKENS = 80
SAMPLE_SECONDS = 25.0
"""For all models together. A GPU needs a fraction; on two cores a model writes about 40 tokens a second."""

SCORE_SECONDS = 120.0
"""For the base model. Where the held-out stories need longer, all models score the same random part."""

SEED = 17


def main() -> int:
    """Run the job that SageMaker describes; the exit code."""
    keep_freed_memory()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries' talk about each other
    paths = ProcessingPaths.from_environment()
    return run_job(lambda: evaluate(paths), paths.failure)


def evaluate(paths: ProcessingPaths) -> int:
    """Score every model and write the two files; 0.

    Raises:
        JobError: unusable data, base model or adapter, or a candidate whose loss is not a number.
    """
    started = time.monotonic()
    test = read_examples(paths.test, "test")
    training = read_examples(paths.train, "train")
    tokenizer = load_tokenizer(paths.base_model)
    numerics = choose()
    models = Contenders(paths, numerics)
    ends = end_tokens(models.base, tokenizer)
    length = min(WINDOW_TOKENS, getattr(models.base.config, "max_position_embeddings", None) or WINDOW_TOKENS)
    rows = prepare(test, tokenizer, ends, length)

    attention = models.base.config._attn_implementation
    batches = shuffled_batches(rows, numerics, packs=use_packed_attention(models.base))
    scores = {"base": score(models, "base", batches, numerics, seconds=SCORE_SECONDS)}
    batches = batches[: scores["base"].batches]
    scores |= {name: score(models, name, batches, numerics) for name in models.names[1:]}
    if not math.isfinite(scores["candidate"].loss):
        raise JobError("The new adapter's loss is not a number. Train again with a lower learning_rate.")
    models.base.set_attn_implementation(attention)  # generation keeps a cache, packed rows have none
    prompts = choose_prompts(test, SAMPLE_PROMPTS)
    answers = {name: sample(models, name, tokenizer, prompts, numerics) for name in models.names}

    result = summarise(scores, prompts, answers, texts_of(training))
    result["adapter_sha256"] = sha256(paths.candidate / ADAPTER_WEIGHTS)
    result["test_stories"] = len({example.get("story_id") for example in test})
    paths.output.mkdir(parents=True, exist_ok=True)
    (paths.output / "evaluation.html").write_text(to_html(result), encoding="utf-8")
    (paths.output / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"Evaluated {', '.join(models.names)} in {time.monotonic() - started:.0f} s.", flush=True)
    return 0


class Contenders:
    """The base model, loaded once, and the adapters that can be switched onto it."""

    def __init__(self, paths: ProcessingPaths, numerics: Numerics) -> None:
        self.base = load_base(paths.base_model, numerics)
        self.model = load_adapter(self.base, paths.candidate, "candidate")
        self.names = ["base", "candidate"]
        if (paths.live / ADAPTER_WEIGHTS).exists():
            load_adapter(self.model, paths.live, "live")
            self.names.append("live")

    def switched_to(self, name: str) -> AbstractContextManager[object]:
        """A context in which the model is the named one."""
        if name == "base":
            context: AbstractContextManager[object] = self.model.disable_adapter()
            return context
        self.model.set_adapter(name)
        return nullcontext()


def shuffled_batches(rows: Sequence[TokenSequence], numerics: Numerics, *, packs: bool) -> list[Batch]:
    """All rows in batches, in an order in which the first few batches stand for all."""
    order = list(rows)
    random.Random(SEED).shuffle(order)  # noqa: S311 (not a secret)
    return list(in_batches(order, BATCH_TOKENS if packs else 0, numerics.device))


def score(
    models: Contenders, name: str, batches: Sequence[Batch], numerics: Numerics, seconds: float = math.inf
) -> Surprise:
    """How surprised the named model is by the batches' taught tokens, as far as `seconds` go."""
    with models.switched_to(name), numerics.autocast():
        surprise = measure(ChunkedLoss(models.model), batches, seconds)
    log_metric(f"{name}_perplexity", surprise.perplexity, 0)
    if surprise.batches < len(batches):
        print(f"Scored {surprise.tokens} tokens: there was no time for more.", flush=True)
    return surprise


def sample(
    models: Contenders, name: str, tokenizer: Any, prompts: Sequence[str], numerics: Numerics
) -> list[str]:
    """The named model's answer to each prompt; the same seed for all."""
    seconds = SAMPLE_SECONDS / len(models.names)
    with models.switched_to(name), numerics.autocast():
        return write_samples(
            models.model, tokenizer, prompts, max_tokens=SAMPLE_TOKENS, max_seconds=seconds, seed=SEED
        )


def summarise(
    scores: dict[str, Surprise],
    prompts: Sequence[str],
    answers: dict[str, list[str]],
    training_texts: Sequence[str],
) -> dict[str, Any]:
    """The content of `evaluation.json`, but for the adapter's hash and the number of stories."""
    figures = {
        name: {"perplexity": round(surprise.perplexity, 4), "tokens": surprise.tokens}
        for name, surprise in scores.items()
    }
    base, candidate = scores["base"].perplexity, scores["candidate"].perplexity
    return {
        "base": figures["base"],
        "candidate": figures["candidate"],
        "live": figures.get("live"),
        "improvement_percent": round(100 * (base - candidate) / base, 2),
        "copy_rate": round(CopyDetector(training_texts).rate(answers["candidate"]), 4),
        "samples": [
            {
                "prompt": prompt,
                "base": answers["base"][place],
                "candidate": answers["candidate"][place],
                "live": answers["live"][place] if "live" in answers else None,
            }
            for place, prompt in enumerate(prompts)
        ],
    }


def texts_of(examples: Sequence[dict[str, Any]]) -> list[str]:
    """The stories' own words: the assistant's turns, or the plain text."""
    return [
        " ".join(turn["content"] for turn in example["messages"] if turn["role"] == "assistant")
        if "messages" in example
        else str(example["text"])
        for example in examples
    ]


def sha256(path: Path) -> str:
    """The file's sha256 as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
