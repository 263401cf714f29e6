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
import json
from typing import Any

import peft
import torch
import transformers

from training_code import choices, metrics
from training_code.allocator import keep_freed_memory
from training_code.container import TERMINATED, StopSignal, TrainingPaths, run_job
from training_code.data import prepare, read_examples
from training_code.hyperparameters import Hyperparameters
from training_code.loop import Data, TrainingLoop
from training_code.machine import Machine, peak_flops
from training_code.metrics import Monitor
from training_code.model import (
    add_adapter,
    base_shape,
    end_tokens,
    flops_per_token,
    load_base,
    load_tokenizer,
    save_adapter,
)
from training_code.precision import Numerics, choose
from training_code.provenance import base_hash, folder_hash
from training_code.schedule import TimeBudget
from training_code.trackers import open_trackers


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
    given = Hyperparameters.load(paths.hyperparameters)
    examples = {
        "train": read_examples(paths.train, "train"),
        "validation": read_examples(paths.validation, "validation"),
    }
    tokenizer = load_tokenizer(paths.base_model)
    numerics = choose(given.precision)
    dtype = "fp32" if numerics.dtype == torch.float32 else "bf16"
    shape, machine = base_shape(paths.base_model), Machine.here(numerics.device)
    chosen = choices.choose_for_base(given, shape, machine, dtype)
    base = load_base(paths.base_model, numerics, chosen.settings.quantization)

    ends = end_tokens(base, tokenizer)
    length = min(chosen.settings.sequence_length, shape.context or chosen.settings.sequence_length)
    data = Data(
        train=prepare(examples["train"], tokenizer, ends, length),
        validation=prepare(examples["validation"], tokenizer, ends, length),
    )
    print(
        f"Training on {len(examples['train'])} examples ({len(data.train)} rows, "
        f"{sum(len(row) for row in data.train)} tokens) in {numerics.dtype} on {numerics.device}.",
        flush=True,
    )

    size = choices.DataSize(
        tokens=sum(len(row) for row in data.train), taught=sum(sum(row.taught) for row in data.train)
    )
    settings = choices.choose_for_data(chosen, size, shape, machine, dtype).settings
    budget = TimeBudget(settings.max_seconds, started)
    model = add_adapter(base, settings)
    monitor = Monitor(
        device=numerics.device,
        flops_per_token=flops_per_token(model, length),
        peak_flops=peak_flops(numerics),
        usd_per_hour=settings.usd_per_hour,
        live_file=paths.model / "metrics.jsonl",
        trackers=open_trackers(paths.tensorboard, dataclasses.asdict(settings)),
    )
    loop = TrainingLoop(
        model,
        data,
        settings,
        numerics=numerics,
        budget=budget,
        stop=stop,
        checkpoint_folder=paths.checkpoints,
        monitor=monitor,
    )
    ending = loop.run()
    monitor.close()

    save_adapter(model, tokenizer, paths.model)
    metrics.write_rows(loop.progress.rows, paths.model / "metrics.jsonl")
    record = {**describe(loop, ending, numerics), "chosen": chosen.record(), **origin(paths)}
    (paths.model / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(
        f"Ended after {loop.progress.step} steps and {loop.progress.seconds:.0f} s ({ending}); "
        f"validation loss {loop.progress.first_loss:.4f} before, {loop.progress.best_loss:.4f} at its best.",
        flush=True,
    )
    return TERMINATED if ending == "stopped" else 0


def origin(paths: TrainingPaths) -> dict[str, Any]:
    """Hashes of all that went in: the same ones, on the same machine, give the same adapter."""
    code = Path(__file__).resolve().parent
    return {
        "code_sha256": folder_hash(code, "*.py"),
        "data_sha256": {
            "train": folder_hash(paths.train, "**/*.jsonl"),
            "validation": folder_hash(paths.validation, "**/*.jsonl"),
        },
        "base_model_sha256": base_hash(paths.base_model),
    }


def describe(loop: TrainingLoop, ending: str, numerics: Numerics) -> dict[str, Any]:
    """What made this adapter: everything needed to make it again, and how it went."""
    progress = loop.progress
    return {
        "settings": dataclasses.asdict(loop.settings),
        "seed": loop.settings.seed,
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


if __name__ == "__main__":
    raise SystemExit(main(STARTED))
