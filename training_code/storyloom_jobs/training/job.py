"""The training job: reads examples and a base model, writes a LoRA adapter.

It ends by itself if its epochs are done, its time is up or the validation loss stops falling, and always
writes the best adapter so far. If it was interrupted, it resumes from its last checkpoint.
"""

import dataclasses
import json
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import peft
import torch
import transformers

import storyloom_jobs
from storyloom_jobs.artifacts import base_model_sha256, folder_sha256
from storyloom_jobs.container import (
    STOP_FILE,
    TERMINATED,
    JobError,
    StopSignal,
    TrainingPaths,
    run_job,
)
from storyloom_jobs.cpu.resources import tune_malloc
from storyloom_jobs.hardware import MachineShare, PrecisionConfig, choose_precision, peak_flops
from storyloom_jobs.hyperparameters import Hyperparameters
from storyloom_jobs.lora_model import (
    add_adapter,
    end_tokens,
    flops_per_token,
    load_base,
    load_tokenizer,
    read_base_shape,
    save_adapter,
)
from storyloom_jobs.tokenization import (
    are_plain_texts,
    plain_chat_template,
    read_examples,
    tokenize,
)
from storyloom_jobs.training import choices
from storyloom_jobs.training.checkpoints import CheckpointFiles
from storyloom_jobs.training.distributed import (
    ProcessGroup,
    needs_sharding,
    shard,
    with_sharded_memory,
)
from storyloom_jobs.training.launcher import Cluster
from storyloom_jobs.training.loop import EndReason, OutputFolders, TrainingData, TrainingLoop
from storyloom_jobs.training.metrics_log import MetricsLogger, open_trackers, write_rows
from storyloom_jobs.training.schedule import TimeBudget


def run_training(started: float) -> int:
    """Run the job that SageMaker describes; return the exit code.

    Args:
        started: `time.monotonic()` at the job's start.
    """
    tune_malloc()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)  # of libraries about each other
    paths = TrainingPaths.from_environment()
    if STOP_FILE in os.environ:
        return run_job(lambda: train_in_group(paths, started), paths.failure)
    return run_job(lambda: train(paths, started), paths.failure)


def train_in_group(paths: TrainingPaths, started: float) -> int:
    """Train as one of several processes; return 0 even after SIGTERM, which the launcher handles."""
    group = ProcessGroup.from_environment()
    if not group.is_main:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (all would print the same)
    train(paths, started, group)
    group.destroy()
    return 0


def train(paths: TrainingPaths, started: float, group: ProcessGroup | None = None) -> int:
    """Train one adapter and write it; return 0, or TERMINATED if SIGTERM ended the training early.

    Raises:
        JobError: a hyperparameter is wrong, data or base model are unusable, the loss is not a number, the
            disk is
            full.
    """
    stop = StopSignal()
    group = group or ProcessGroup()
    given = Hyperparameters.load(paths.hyperparameters)
    examples = {
        "train": read_examples(paths.train, "train"),
        "validation": read_examples(paths.validation, "validation"),
    }
    tokenizer = load_tokenizer(paths.base_model)
    # A resumed training keeps the precision of its checkpoint: measured again, it might come out differently.
    precision = choose_precision(CheckpointFiles(paths.checkpoints).precision() or given.precision)
    precision = replace(precision, dtype=group.broadcast(precision.dtype))
    dtype: Literal["fp32", "bf16"] = "fp32" if precision.dtype == torch.float32 else "bf16"
    shape = read_base_shape(paths.base_model)
    machine = MachineShare.detect(precision.device, group.local_world_size)
    weight_bytes = shape.parameters * precision.dtype.itemsize
    sharded = needs_sharding(given.sharding, weight_bytes, machine, group)
    if sharded:
        given = replace(given, quantization="none", merge_adapters="no")
        machine = with_sharded_memory(machine, weight_bytes, group)
    chosen = choices.choose_for_base(given, shape, machine, dtype)
    load_to = replace(precision, device=torch.device("cpu")) if sharded else precision
    base = load_base(paths.base_model, load_to, chosen.settings.quantization)

    ends = end_tokens(base, tokenizer)
    length = min(chosen.settings.sequence_length, shape.context or chosen.settings.sequence_length)
    data = TrainingData(
        train=tokenize(examples["train"], tokenizer, ends, length),
        validation=tokenize(examples["validation"], tokenizer, ends, length),
    )
    require_enough(data)
    num_tokens = sum(len(row) for row in data.train)
    print(
        f"Training on {len(examples['train'])} examples ({len(data.train)} rows, {num_tokens} tokens) "
        f"in {precision.dtype} on {precision.device}"
        + (f", {group.world_size} processes." if group.world_size > 1 else "."),
        flush=True,
    )

    size = choices.DataSize(num_tokens, sum(row.num_loss_tokens for row in data.train))
    settings = choices.choose_for_data(chosen, size, shape, machine, dtype).settings
    model = add_adapter(base, settings)
    flops = flops_per_token(model, length)
    if sharded:
        shard(model, precision.device, group)
    peak = peak_flops(precision)
    metrics = MetricsLogger(
        device=precision.device,
        flops_per_token=flops,
        peak_flops=peak and peak * group.world_size,
        usd_per_hour=settings.usd_per_hour * len(Cluster.read(paths).hosts),
        live_file=paths.model / "metrics.jsonl" if group.is_main else None,
        trackers=open_trackers(paths.tensorboard, dataclasses.asdict(settings)) if group.is_main else (),
    )
    loop = TrainingLoop(
        model,
        data,
        settings,
        precision=precision,
        budget=TimeBudget(settings.max_seconds, started),
        stop=stop,
        folders=OutputFolders(paths.checkpoints, paths.model),
        metrics=metrics,
        group=group,
        sharded=sharded,
    )
    end_reason = loop.run()
    metrics.close()
    if group.is_main:
        if are_plain_texts(examples["train"]):
            tokenizer.chat_template = plain_chat_template(tokenizer)
        save_adapter(model, tokenizer, paths.model)
        write_rows(loop.progress.rows, paths.model / "metrics.jsonl")
        record = {
            **training_record(loop, end_reason, precision),
            "chosen": chosen.record(),
            **input_hashes(paths),
        }
        (paths.model / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(summary(loop, end_reason), flush=True)
    return TERMINATED if end_reason == "stopped" else 0


def require_enough(data: TrainingData) -> None:
    """Check that there is enough data.

    Raises:
        JobError: there is only one row to train on, or none to validate on.
    """
    if len(data.train) < 2:
        tokens = sum(len(row) for row in data.train)
        raise JobError(
            f"The train dataset has a single short example ({tokens} tokens), which a model would only "
            "memorise. Add more stories and run again."
        )
    if not data.validation:
        raise JobError(
            "The validation dataset has no text that could be measured. Add more stories and run again."
        )


def summary(loop: TrainingLoop, end_reason: EndReason) -> str:
    """Summarize the training in one line."""
    progress = loop.progress
    line = f"Ended after {progress.step} steps and {progress.seconds:.0f} s ({end_reason})"
    if progress.first_loss is None or progress.best_loss is None:
        return f"{line}; the validation loss was not measured yet."
    return f"{line}; validation loss {progress.first_loss:.4f} before, {progress.best_loss:.4f} at its best."


def input_hashes(paths: TrainingPaths) -> dict[str, Any]:
    """Hash all inputs: on the same machine, equal hashes give the same adapter."""
    channel = Path(storyloom_jobs.__file__).resolve().parent.parent
    return {
        "code_sha256": folder_sha256(channel, "**/*.py"),
        "data_sha256": {
            "train": folder_sha256(paths.train, "**/*.jsonl"),
            "validation": folder_sha256(paths.validation, "**/*.jsonl"),
        },
        "base_model_sha256": base_model_sha256(paths.base_model),
    }


def training_record(loop: TrainingLoop, end_reason: EndReason, precision: PrecisionConfig) -> dict[str, Any]:
    """Collect the settings, versions and results of the training, for `training.json`."""
    progress = loop.progress
    return {
        "settings": dataclasses.asdict(loop.settings),
        "seed": loop.settings.seed,
        "precision": str(precision.dtype).removeprefix("torch."),
        "device": str(precision.device),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
        },
        "ended_by": end_reason,
        "steps": progress.step,
        "planned_steps": len(loop.plan),
        "num_loss_tokens": progress.num_loss_tokens,
        "processes": loop.group.world_size,
        "sharded": loop.passes.sharded,
        "memory_ran_out": progress.memory_ran_out,
        "seconds": round(progress.seconds, 1),
        "metrics": {
            "validation_loss_before": progress.first_loss,
            "validation_loss": progress.best_loss,
            "best_step": progress.best_step,
        },
    }
