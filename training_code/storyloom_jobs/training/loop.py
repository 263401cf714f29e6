"""The training loop, in plain PyTorch."""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict

from storyloom_jobs.container import JobError, StopSignal, require_free_space
from storyloom_jobs.hardware import PrecisionConfig
from storyloom_jobs.hyperparameters import Hyperparameters
from storyloom_jobs.tokenization import TokenSequence
from storyloom_jobs.training.checkpoints import (
    Checkpoint,
    CheckpointFiles,
    Tensors,
    TrainingProgress,
    fingerprint,
)
from storyloom_jobs.training.distributed import ProcessGroup, rng_state, set_rng_state
from storyloom_jobs.training.forward_backward import ForwardBackward
from storyloom_jobs.training.metrics_log import MetricsLogger, log_progress
from storyloom_jobs.training.schedule import (
    TimeBudget,
    affordable_steps,
    checkpoint_interval,
    learning_rate,
    plan_steps,
    validation_interval,
)

PACE_STEPS = 1
"""Steps after which the measured pace is good enough to plan with (the first step is a little slower)."""
PACE_STEPS_COMPILED = 2
"""The same for compiled layers, where the first step includes compiling."""

EndReason = Literal["all epochs", "time", "no more improvement", "stopped"]
_END_REASONS: tuple[EndReason, ...] = ("all epochs", "time", "no more improvement", "stopped")
"""Ordered: if processes have different reasons, the last one counts, so one that is told to stop stops
all."""


@dataclass(frozen=True)
class TrainingData:
    """Rows to train on, and rows to measure the validation loss on."""

    train: Sequence[TokenSequence]
    validation: Sequence[TokenSequence]


@dataclass(frozen=True)
class OutputFolders:
    """Folders of the checkpoints and of the result."""

    checkpoints: Path
    result: Path


class TrainingLoop:
    """Trains an adapter until all epochs are done, time is up, or the validation loss stops falling."""

    def __init__(
        self,
        model: Any,
        data: TrainingData,
        settings: Hyperparameters,
        *,
        precision: PrecisionConfig,
        budget: TimeBudget,
        stop: StopSignal,
        folders: OutputFolders,
        metrics: MetricsLogger | None = None,
        group: ProcessGroup | None = None,
        sharded: bool = False,
    ) -> None:
        """Prepare the loop, and resume from the newest checkpoint of the same data and settings.

        Args:
            model: a peft model on its device.
            data: all rows, the same in every process.
            settings: hyperparameters, none of them open.
            precision: device and number format of the model.
            budget: time of all attempts together.
            stop: ends the loop after the current step.
            folders: folders to write to.
            metrics: receives the metrics of each step.
            group: the processes that train together.
            sharded: whether the base model is sharded over the processes.
        """
        self.model = model
        self.data = data
        self.settings = settings
        self.stop = stop
        self._metrics = metrics or MetricsLogger()
        self.group = group or ProcessGroup()
        self._folders = folders
        self._trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self._trainable, lr=0.0, weight_decay=settings.weight_decay)
        self.plan = plan_steps(
            [len(row) for row in data.train], settings.batch_tokens, settings.epochs, settings.seed
        )
        self._validation_rows = list(data.validation)
        # Shuffled, so that the first few rows represent all.
        random.Random(settings.seed).shuffle(self._validation_rows)  # noqa: S311 (not a secret)
        self._checkpoints = CheckpointFiles(
            folders.checkpoints,
            fingerprint(settings, data.train, model.get_base_model().config.to_json_string()),
            str(precision.dtype).removeprefix("torch."),
        )
        self.progress = TrainingProgress(
            micro_batch_tokens=settings.micro_batch_tokens or settings.batch_tokens
        )
        merge = settings.merge_adapters != "no"
        self.passes = ForwardBackward(
            model,
            precision,
            self.group,
            self.progress,
            merge=merge,
            sharded=sharded,
            compiled=settings.compile_layers == "yes",
        )
        # Each process needs its own random numbers for dropout.
        torch.manual_seed(settings.seed + self.group.rank)
        self._resume()
        self._pace_steps = PACE_STEPS_COMPILED if settings.compile_layers == "yes" else PACE_STEPS
        self.budget = replace(budget, spent_before=self.progress.seconds)
        self._checkpointed_at = (self.progress.step, time.monotonic())
        self._checkpointed = False

    def run(self) -> EndReason:
        """Train; afterwards the model has the best adapter, and `progress` has the results."""
        self.model.train()
        reason = self._between_steps()
        while reason is None:
            self._step()
            self.progress.validation_is_due = self._validation_is_due()
            reason = self._between_steps()
        if reason == "stopped":
            self._save_checkpoint()
        elif self._last_validated() != self.progress.step:
            self._validate()
            if self.progress.validation_is_due:
                reason = "stopped"
                self._save_checkpoint()
        self.progress.seconds = self.budget.elapsed()
        set_peft_model_state_dict(self.model, self.progress.best_adapter or self._adapter())
        return reason

    def total_steps(self) -> int:
        """Return the steps of all epochs, or as many as the time allows at the measured pace."""
        pace = self.progress.pace
        if pace.steps < self._pace_steps:
            return len(self.plan)
        left = self.budget.left() - self._validation_seconds_left()
        return int(
            self.group.all_reduce_max(
                affordable_steps(len(self.plan), self.progress.step, pace.seconds_per_step, left)
            )
        )

    def _between_steps(self) -> EndReason | None:
        """Validate and save a checkpoint if due; return the reason to end, None to continue."""
        if self.progress.validation_is_due and not self._should_stop():
            self._validate()
        reason = self._end_reason()
        if reason is None and self._checkpoint_is_due():
            self._save_checkpoint()
        return reason

    def _should_stop(self) -> bool:
        return bool(self.group.all_reduce_max(self.stop.received))

    def _end_reason(self) -> EndReason | None:
        local = max((_END_REASONS.index(reason) for reason in self._local_reasons()), default=-1)
        last = int(self.group.all_reduce_max(local))
        return _END_REASONS[last] if last >= 0 else None

    def _local_reasons(self) -> list[EndReason]:
        """List this process's reasons to end now."""
        progress, reasons = self.progress, list[EndReason]()
        if progress.step >= len(self.plan):
            reasons.append("all epochs")
        elif progress.step and self.budget.left() < (
            progress.pace.seconds_per_step + progress.validation_seconds
        ):
            reasons.append("time")
        if not reasons and progress.without_improvement >= self.settings.patience:
            reasons.append("no more improvement")
        if self.stop.received:
            reasons.append("stopped")
        return reasons

    def _step(self) -> None:
        """Make one optimiser step over the planned rows."""
        started = time.monotonic()
        total = self.total_steps()
        progress = self.progress
        rate = learning_rate(progress.step, total, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = [self.data.train[row] for row in self.plan[progress.step]]
        loss = self.passes.backward(rows)
        norm = torch.nn.utils.clip_grad_norm_(self._trainable, self.settings.max_gradient_norm)
        if not (math.isfinite(loss) and math.isfinite(float(norm))):
            raise JobError(
                f"The loss is not a number at step {progress.step + 1}. Lower learning_rate "
                f"(now {self.settings.learning_rate:g}) or set precision to fp32, and run again."
            )
        self.optimizer.step()
        self.passes.refresh_merged_weights()
        progress.step += 1
        progress.num_loss_tokens += sum(row.num_loss_tokens for row in rows)
        seconds = self.group.all_reduce_max(time.monotonic() - started)
        progress.pace.add(seconds)
        self._log_step(loss, sum(len(row) for row in rows) / seconds, rate, total)

    def _validation_is_due(self) -> bool:
        progress = self.progress
        if progress.validate_every is None and progress.pace.steps >= self._pace_steps:
            progress.validate_every = validation_interval(
                self.total_steps(),
                progress.pace.seconds_per_step,
                progress.validation_seconds,
                self.settings.eval_fraction_seconds,
            )
        return progress.validate_every is not None and progress.step % progress.validate_every == 0

    def _validate(self) -> None:
        """Measure the validation loss, and keep the adapter if it is the best so far.

        If SIGTERM interrupts the validation, it stays due, and the next attempt does it.
        """
        progress = self.progress
        started = time.monotonic()
        allowed = self.settings.eval_fraction_seconds * self.settings.max_seconds / 8
        measured = self.passes.validation_loss(
            self._validation_rows[: progress.validation_rows],
            lambda: self.stop.received,
            allowed if progress.validation_rows is None else None,
        )
        if measured is None:
            progress.validation_is_due = True
            return
        loss, progress.validation_rows = measured
        progress.validation_is_due = False
        progress.validation_seconds = self.group.all_reduce_max(time.monotonic() - started)
        if progress.first_loss is None:
            progress.first_loss = loss
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_step = loss, progress.step
            progress.best_adapter = self._adapter()
            progress.without_improvement = 0
        else:
            progress.without_improvement += 1
        self._log_validation(loss)

    def _log_validation(self, loss: float) -> None:
        """Add the loss to the row of the last step, or as a row of its own before the first step."""
        measured = self._metrics.validation(self.progress.step, loss, self.budget.elapsed())
        rows = self.progress.rows
        if rows and rows[-1].step == self.progress.step:
            rows[-1] = replace(rows[-1], validation_loss=loss)
        else:
            rows.append(measured)

    def _log_step(self, loss: float, tokens_per_second: float, rate: float, total: int) -> None:
        step, seconds = self.progress.step, self.budget.elapsed()
        self.progress.rows.append(self._metrics.step(step, loss, tokens_per_second, rate, seconds))
        # Before the pace is known, the total is that of all epochs, which may not fit the time.
        left = min(self.progress.pace.seconds_per_step * (total - step), self.budget.left())
        log_progress(step, max(step, total), seconds, max(0.0, left))

    def _validation_seconds_left(self) -> float:
        progress = self.progress
        every = progress.validate_every
        validations = (len(self.plan) - progress.step) / every if every else 0.0
        share = self.settings.eval_fraction_seconds * max(0.0, self.budget.left())
        return min(validations * progress.validation_seconds, share) + progress.validation_seconds

    def _last_validated(self) -> int:
        return max((row.step for row in self.progress.rows if row.validation_loss is not None), default=-1)

    def _adapter(self) -> Tensors:
        """Copy the adapter's weights to main memory."""
        state = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}

    def _checkpoint_is_due(self) -> bool:
        step, moment = self._checkpointed_at
        if self.settings.checkpoint_steps:
            return self.progress.step - step >= self.settings.checkpoint_steps
        # The first one is saved at once, which shows early whether the folder can be written.
        due = not self._checkpointed or time.monotonic() - moment >= checkpoint_interval(self.settings)
        return bool(self.group.all_reduce_max(due)) and self.progress.step > step

    def _save_checkpoint(self) -> None:
        """Gather the random states of all processes; the main process writes the checkpoint."""
        self._checkpointed_at = (self.progress.step, time.monotonic())
        self._checkpointed = True
        self.progress.seconds = self.budget.elapsed()
        rng_states = self.group.all_gather(rng_state())
        if not self.group.is_main:
            return
        adapter = self._adapter()
        checkpoint = Checkpoint(self.progress, adapter, self.optimizer.state_dict(), rng_states)
        if not self._checkpoints.save(checkpoint):
            require_free_space(self._folders.result, sum(value.nbytes for value in adapter.values()))

    def _resume(self) -> None:
        """Resume from the main process's newest checkpoint, if there is one."""
        found = self.group.broadcast(self._checkpoints.load() if self.group.is_main else None)
        if found is None:
            return
        self.progress = found.progress
        set_peft_model_state_dict(self.model, found.adapter)
        self.optimizer.load_state_dict(found.optimizer)
        self.passes.restore(self.progress)
        if len(found.rng_states) == self.group.world_size:
            set_rng_state(found.rng_states[self.group.rank])
        print(f"Resuming from step {self.progress.step} of an earlier attempt.", flush=True)
