"""The training job: reads examples and a base model, writes a LoRA adapter.

    python3 /opt/ml/input/data/code/train.py

It ends by itself when its epochs are done, its time is up or the validation loss stops falling, and always
writes the best adapter it had. Interrupted, it goes on from its last checkpoint.
"""

import gc
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

    # Where a launcher starts this again for each process, the job has begun before.
    STARTED = float(os.environ.setdefault("STORYLOOM_STARTED", str(time.monotonic())))
    # Read when torch is imported: threads that sleep while they wait, rather than spin, leave the processor
    # to whatever else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _package = types.ModuleType("training_code")
    _package.__path__ = [str(Path(__file__).resolve().parent)]
    sys.modules["training_code"] = _package
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

    # Before the libraries are imported, which takes seconds: a process that only starts others needs none.
    from training_code.launch import start_others

    if (_code := start_others(Path(__file__).resolve())) is not None:
        raise SystemExit(_code)

    # Importing makes millions of objects and no garbage: looking for some takes a seventh of the time.
    gc.disable()

import dataclasses
import json
from dataclasses import replace
from typing import Any, Literal

import peft
import torch
import transformers

from training_code import choices, metrics, sharding
from training_code.allocator import keep_freed_memory
from training_code.checkpoints import Checkpoints
from training_code.container import (
    STOP_FILE,
    TERMINATED,
    JobError,
    StopSignal,
    TrainingPaths,
    run_job,
)
from training_code.data import prepare, read_examples
from training_code.distributed import Team
from training_code.hyperparameters import Hyperparameters
from training_code.launch import Cluster
from training_code.loop import Data, Ending, Folders, TrainingLoop
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
from training_code.plain_chats import are_plain, plain_template
from training_code.precision import Numerics, choose
from training_code.provenance import base_hash, folder_hash
from training_code.schedule import TimeBudget
from training_code.trackers import open_trackers


def main(started: float) -> int:
    """Run the job that SageMaker describes; the exit code. `started` is `time.monotonic()` at its start."""
    keep_freed_memory()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries' talk about each other
    paths = TrainingPaths.from_environment()
    if STOP_FILE in os.environ:
        return run_job(lambda: train_in_team(paths, started), paths.failure)
    return run_job(lambda: train(paths, started), paths.failure)


def train_in_team(paths: TrainingPaths, started: float) -> int:
    """Train as one of several processes. One that stops early has not failed: the launcher knows why."""
    team = Team.join()
    if not team.is_first:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (all would say the same)
    train(paths, started, team)
    team.leave()
    return 0


def train(paths: TrainingPaths, started: float, team: Team | None = None) -> int:
    """Train one adapter; 0, or TERMINATED when SIGTERM came first (the best so far is written all the same).

    Raises:
        JobError: a wrong setting, unusable data or base model, a loss that is not a number, a full disk.
    """
    stop = StopSignal()
    team = team or Team()
    given = Hyperparameters.load(paths.hyperparameters)
    examples = {
        "train": read_examples(paths.train, "train"),
        "validation": read_examples(paths.validation, "validation"),
    }
    tokenizer = load_tokenizer(paths.base_model)
    # What an earlier attempt computed in is not measured again: it might come out differently.
    numerics = choose(Checkpoints(paths.checkpoints).precision() or given.precision)
    numerics = replace(numerics, dtype=team.same(numerics.dtype))
    dtype: Literal["fp32", "bf16"] = "fp32" if numerics.dtype == torch.float32 else "bf16"
    shape, machine = base_shape(paths.base_model), Machine.here(numerics.device, team.on_instance)
    weights = shape.parameters * numerics.dtype.itemsize
    sharded = sharding.is_needed(given.sharding, weights, machine, team)
    if sharded:
        given = replace(given, quantization="none", merge_adapters="no")
        machine = sharding.with_others(machine, weights, team)
    chosen = choices.choose_for_base(given, shape, machine, dtype)
    where = replace(numerics, device=torch.device("cpu")) if sharded else numerics
    base = load_base(paths.base_model, where, chosen.settings.quantization)

    ends = end_tokens(base, tokenizer)
    length = min(chosen.settings.sequence_length, shape.context or chosen.settings.sequence_length)
    data = Data(
        train=prepare(examples["train"], tokenizer, ends, length),
        validation=prepare(examples["validation"], tokenizer, ends, length),
    )
    require_enough(data)
    print(
        f"Training on {len(examples['train'])} examples ({len(data.train)} rows, "
        f"{sum(len(row) for row in data.train)} tokens) in {numerics.dtype} on {numerics.device}"
        + (f" and {team.size - 1} more." if team.size > 1 else "."),
        flush=True,
    )

    size = choices.DataSize(
        tokens=sum(len(row) for row in data.train), taught=sum(sum(row.taught) for row in data.train)
    )
    settings = choices.choose_for_data(chosen, size, shape, machine, dtype).settings
    model = add_adapter(base, settings)
    flops = flops_per_token(model, length)
    if sharded:
        sharding.shard(model, numerics.device, team)
    peak = peak_flops(numerics)
    monitor = Monitor(
        device=numerics.device,
        flops_per_token=flops,
        peak_flops=peak and peak * team.size,
        usd_per_hour=settings.usd_per_hour * len(Cluster.read(paths).hosts),
        live_file=paths.model / "metrics.jsonl" if team.is_first else None,
        trackers=open_trackers(paths.tensorboard, dataclasses.asdict(settings)) if team.is_first else (),
    )
    loop = TrainingLoop(
        model,
        data,
        settings,
        numerics=numerics,
        budget=TimeBudget(settings.max_seconds, started),
        stop=stop,
        folders=Folders(paths.checkpoints, paths.model),
        monitor=monitor,
        team=team,
        sharded=sharded,
    )
    ending = loop.run()
    monitor.close()
    if team.is_first:
        if are_plain(examples["train"]):
            tokenizer.chat_template = plain_template(tokenizer)
        save_adapter(model, tokenizer, paths.model)
        metrics.write_rows(loop.progress.rows, paths.model / "metrics.jsonl")
        record = {**describe(loop, ending, numerics), "chosen": chosen.record(), **origin(paths)}
        (paths.model / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(last_words(loop, ending), flush=True)
    return TERMINATED if ending == "stopped" else 0


def require_enough(data: Data) -> None:
    """Refuse what nothing can be learned from.

    Raises:
        JobError: there is but one row to learn from, or none to measure by.
    """
    if len(data.train) < 2:
        tokens = sum(len(row) for row in data.train)
        raise JobError(
            f"The train dataset has a single short example ({tokens} tokens), which a model would only "
            "learn by heart. Add more stories and run again."
        )
    if not data.validation:
        raise JobError(
            "The validation dataset has no text that could be measured. Add more stories and run again."
        )


def last_words(loop: TrainingLoop, ending: Ending) -> str:
    """How it went, in one line."""
    progress = loop.progress
    line = f"Ended after {progress.step} steps and {progress.seconds:.0f} s ({ending})"
    if progress.first_loss is None or progress.best_loss is None:
        return f"{line}; the validation loss was not measured yet."
    return f"{line}; validation loss {progress.first_loss:.4f} before, {progress.best_loss:.4f} at its best."


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
        "processes": loop.team.size,
        "sharded": loop.passes.sharded,
        "memory_ran_out": progress.memory_ran_out,
        "seconds": round(progress.seconds, 1),
        "metrics": {
            "validation_loss_before": progress.first_loss,
            "validation_loss": progress.best_loss,
            "best_step": progress.best_step,
        },
    }


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    raise SystemExit(main(STARTED))
