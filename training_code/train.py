"""The training job: reads examples and a base model, writes a LoRA adapter.

    python3 /opt/ml/input/data/code/train.py

It ends by itself when its epochs are done, its time is up or the validation loss stops falling, and always
writes the best adapter it had. Interrupted, it goes on from its last checkpoint.
"""

import os
import sys
import time
import warnings
from pathlib import Path

if __name__ == "__main__":
    # SageMaker starts this file by its path, in a folder that is called `code` there. Naming that folder as
    # the package lets the same imports work here and in the tests, and taking it off the path keeps modules
    # such as our `evaluate` from standing in the way of libraries of the same name.
    import types

    STARTED = time.monotonic()
    # Read when torch is imported: threads that sleep while they wait, rather than spin, leave the processor
    # to whatever else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _package = types.ModuleType("training_code")
    _package.__path__ = [str(Path(__file__).resolve().parent)]
    sys.modules["training_code"] = _package
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

import dataclasses
import hashlib
import json
from typing import Any

import peft
import torch
import transformers

from training_code import metrics
from training_code.allocator import keep_freed_memory
from training_code.container import TERMINATED, StopSignal, TrainingPaths, run_job
from training_code.data import prepare, read_examples
from training_code.hyperparameters import Hyperparameters
from training_code.loop import Data, TrainingLoop
from training_code.model import add_adapter, end_tokens, load_base, load_tokenizer, save_adapter
from training_code.precision import Numerics, choose
from training_code.schedule import TimeBudget


def main(started: float) -> int:
    """Run the job that SageMaker describes; the exit code. `started` is `time.monotonic()` at its start."""
    keep_freed_memory()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries' talk about each other
    paths = TrainingPaths.from_environment()
    return run_job(lambda: train(paths, started), paths.failure)


def train(paths: TrainingPaths, started: float) -> int:
    """Train one adapter; 0, or TERMINATED when SIGTERM came first (the best so far is written all the same).

    Raises:
        JobError: a wrong setting, unusable data or base model, a loss that is not a number, no memory.
    """
    stop = StopSignal()
    settings = Hyperparameters.load(paths.hyperparameters)
    examples = {
        "train": read_examples(paths.train, "train"),
        "validation": read_examples(paths.validation, "validation"),
    }
    tokenizer = load_tokenizer(paths.base_model)
    numerics = choose(settings.precision)
    base = load_base(paths.base_model, numerics)

    ends = end_tokens(base, tokenizer)
    length = min(settings.sequence_length, context_length(base, settings.sequence_length))
    data = Data(
        train=prepare(examples["train"], tokenizer, ends, length),
        validation=prepare(examples["validation"], tokenizer, ends, length),
    )
    print(
        f"Training on {len(examples['train'])} examples ({len(data.train)} rows, "
        f"{sum(len(row) for row in data.train)} tokens) in {numerics.dtype} on {numerics.device}.",
        flush=True,
    )

    budget = TimeBudget(settings.max_seconds, started)
    model = add_adapter(base, settings)
    loop = TrainingLoop(
        model,
        data,
        settings,
        numerics=numerics,
        budget=budget,
        stop=stop,
        checkpoint_folder=paths.checkpoints,
    )
    ending = loop.run()

    save_adapter(model, tokenizer, paths.model)
    metrics.write_rows(loop.progress.rows, paths.model / "metrics.jsonl")
    record = describe(loop, ending, numerics)
    (paths.model / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(
        f"Ended after {loop.progress.step} steps and {loop.progress.seconds:.0f} s ({ending}); "
        f"validation loss {loop.progress.first_loss:.4f} before, {loop.progress.best_loss:.4f} at its best.",
        flush=True,
    )
    return TERMINATED if ending == "stopped" else 0


def context_length(model: Any, otherwise: int) -> int:
    """Tokens the model can read at once, as its config says, or `otherwise` where it does not."""
    return int(getattr(model.config, "max_position_embeddings", None) or otherwise)


def describe(loop: TrainingLoop, ending: str, numerics: Numerics) -> dict[str, Any]:
    """What made this adapter: everything needed to make it again, and how it went."""
    progress = loop.progress
    return {
        "settings": dataclasses.asdict(loop.settings),
        "seed": loop.settings.seed,
        "code_sha256": code_hash(Path(__file__).resolve().parent),
        "precision": str(numerics.dtype).removeprefix("torch."),
        "device": str(numerics.device),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
        },
        "ended_by": ending,
        "steps": progress.step,
        "planned_steps": len(loop.plan),
        "taught_tokens": progress.tokens,
        "seconds": round(progress.seconds, 1),
        "metrics": {
            "validation_loss_before": progress.first_loss,
            "validation_loss": progress.best_loss,
            "best_step": progress.best_step,
        },
    }


def code_hash(folder: Path) -> str:
    """sha256 over the names and contents of the Python files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


if __name__ == "__main__":
    raise SystemExit(main(STARTED))
