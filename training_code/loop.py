"""The training loop: plain PyTorch, so that each line of what happens to the model can be read here."""

import itertools
import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict

from training_code import checkpoints
from training_code.checkpoints import Progress, Tensors
from training_code.container import JobError, StopSignal
from training_code.data import Batch, TokenSequence, in_batches, plan_steps
from training_code.hyperparameters import Hyperparameters
from training_code.loss import ChunkedLoss
from training_code.merged import MergedAdapters
from training_code.metrics import Monitor, log_progress
from training_code.packing import use_packed_attention
from training_code.perplexity import measure
from training_code.precision import Numerics
from training_code.schedule import (
    TimeBudget,
    affordable_steps,
    checkpoint_interval,
    learning_rate,
    validation_interval,
)

PACE_STEPS = 1
"""Steps after which the pace is known well enough to plan by (the first is on the slow side)."""

Ending = Literal["all epochs", "time", "no more improvement", "stopped"]


@dataclass(frozen=True)
class Data:
    """The rows to learn from, and those that tell when to stop."""

    train: Sequence[TokenSequence]
    validation: Sequence[TokenSequence]


class TrainingLoop:
    """Trains an adapter until its epochs are done, time is up, or the validation loss stops falling."""

    def __init__(
        self,
        model: Any,
        data: Data,
        settings: Hyperparameters,
        *,
        numerics: Numerics,
        budget: TimeBudget,
        stop: StopSignal,
        checkpoint_folder: Path,
        monitor: Monitor | None = None,
    ) -> None:
        """Resumes from the checkpoint in `checkpoint_folder` where it is of the same data and settings."""
        self.model = model
        self.data = data
        self.settings = settings
        self.numerics = numerics
        self.stop = stop
        self.monitor = monitor or Monitor()
        self._packs = use_packed_attention(model.get_base_model())
        merge = settings.merge_adapters != "no" and MergedAdapters.can_merge(model)
        self._merged = MergedAdapters(model) if merge else None
        self.losses = ChunkedLoss(model)
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trainable, lr=0.0, weight_decay=settings.weight_decay)
        self.plan = plan_steps(
            [len(row) for row in data.train], settings.batch_tokens, settings.epochs, settings.seed
        )
        self.micro_batch_tokens = settings.micro_batch_tokens or settings.batch_tokens
        self._validation_rows = list(data.validation)
        # So that the first few batches stand for all.
        random.Random(settings.seed).shuffle(self._validation_rows)  # noqa: S311 (not a secret)
        self.checkpoint_folder = checkpoint_folder
        self.fingerprint = checkpoints.fingerprint(
            settings, data.train, model.get_base_model().config.to_json_string()
        )
        self.progress = self._resume()
        self.budget = replace(budget, spent_before=self.progress.seconds)
        self._pace = _Pace()
        self._validation_seconds = 0.0

    def run(self) -> Ending:
        """Train; afterwards the model carries the best adapter and `progress` tells how it went."""
        self.model.train()
        if self.progress.first_loss is None:
            self._validate()
        next_checkpoint = time.monotonic() + checkpoint_interval(self.settings)
        ending = self._ending()
        while ending is None:
            self._step()
            if self._validation_is_due():
                self._validate()
            if time.monotonic() >= next_checkpoint:
                self._save_checkpoint()
                next_checkpoint = time.monotonic() + checkpoint_interval(self.settings)
            ending = self._ending()
        if ending == "stopped":
            self._save_checkpoint()
        elif self._last_validated() != self.progress.step:
            self._validate()
        self.progress.seconds = self.budget.elapsed()
        set_peft_model_state_dict(self.model, self.progress.best_adapter)
        return ending

    def total_steps(self) -> int:
        """Steps of the whole training: all epochs, or as many as the time allows at the pace measured."""
        if self._pace.steps < PACE_STEPS:
            return len(self.plan)
        left = self.budget.left() - self._time_for_validations()
        return affordable_steps(len(self.plan), self.progress.step, self._pace.seconds_per_step, left)

    def _ending(self) -> Ending | None:
        if self.stop.received:
            return "stopped"
        if self.progress.step >= len(self.plan):
            return "all epochs"
        if self.progress.without_improvement >= self.settings.patience:
            return "no more improvement"
        if self.progress.step and self.budget.left() < self._pace.seconds_per_step + self._validation_seconds:
            return "time"
        return None

    def _step(self) -> None:
        """One step of the optimiser over one planned batch."""
        started = time.monotonic()
        total = self.total_steps()
        progress = self.progress
        rate = learning_rate(progress.step, total, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = [self.data.train[row] for row in self.plan[progress.step]]
        loss = self._gradients_within_memory(rows)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_gradient_norm)
        if not (math.isfinite(loss) and math.isfinite(float(norm))):
            raise JobError(
                f"The loss is not a number at step {progress.step + 1}. Lower learning_rate "
                f"(now {self.settings.learning_rate:g}) or set precision to fp32, and run again."
            )
        self.optimizer.step()
        self._refresh()
        progress.step += 1
        progress.tokens += sum(sum(row.taught) for row in rows)
        seconds = time.monotonic() - started
        self._pace.add(seconds)
        self._report(loss, sum(len(row) for row in rows) / seconds, rate, total)

    def _gradients_within_memory(self, rows: Sequence[TokenSequence]) -> float:
        """Gradients of the rows' mean token loss; takes smaller bites for as long as memory runs out."""
        while True:
            try:
                return self._gradients(rows)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
            self._use_less_memory(max(len(row) for row in rows))

    def _gradients(self, rows: Sequence[TokenSequence]) -> float:
        self.optimizer.zero_grad()
        taught = sum(sum(row.taught) for row in rows)
        with self._computing():
            return sum(
                self.losses.backward(batch, divisor=taught)
                for batch in self._batches(rows, self.micro_batch_tokens)
            )

    def _use_less_memory(self, longest: int) -> None:
        """Halve what goes through the model at once; then trade time for memory; then give up."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.micro_batch_tokens > longest:
            self.micro_batch_tokens //= 2
            print(f"Out of memory: going on with {self.micro_batch_tokens} tokens at once.", flush=True)
            return
        if not getattr(self.model.get_base_model(), "is_gradient_checkpointing", False):
            self.model.enable_input_require_grads()
            self.model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
            print("Out of memory: going on with gradient checkpointing.", flush=True)
            return
        raise JobError(
            f"The machine's memory does not hold one row of {longest} tokens. Lower sequence_length, "
            "or choose a smaller base model or an instance with more memory."
        )

    def _batches(self, rows: Sequence[TokenSequence], batch_tokens: int) -> Iterator[Batch]:
        return in_batches(rows, batch_tokens if self._packs else 0, self.numerics.device)

    def _computing(self) -> AbstractContextManager[object]:
        """Merged adapters come in the base weights' format by themselves; peft's own need to be cast."""
        return nullcontext() if self._merged else self.numerics.autocast()

    def _refresh(self) -> None:
        if self._merged:
            self._merged.refresh()

    def _validation_is_due(self) -> bool:
        progress = self.progress
        if progress.validate_every is None and self._pace.steps >= PACE_STEPS:
            progress.validate_every = validation_interval(
                self.total_steps(),
                self._pace.seconds_per_step,
                self._validation_seconds,
                self.settings.eval_fraction_seconds,
            )
        return progress.validate_every is not None and progress.step % progress.validate_every == 0

    def _validate(self) -> None:
        """Measure the validation loss, and keep the adapter where it is the best so far."""
        progress = self.progress
        started = time.monotonic()
        allowed = self.settings.eval_fraction_seconds * self.settings.max_seconds / 8
        batches = self._batches(self._validation_rows, self.settings.batch_tokens)
        with self._computing():
            if progress.validation_batches is None:
                surprise = measure(self.losses, batches, seconds=allowed)
                progress.validation_batches = surprise.batches
            else:
                surprise = measure(self.losses, itertools.islice(batches, progress.validation_batches))
        self._validation_seconds = time.monotonic() - started
        if progress.first_loss is None:
            progress.first_loss = surprise.loss
        if surprise.loss < progress.best_loss:
            progress.best_loss, progress.best_step = surprise.loss, progress.step
            progress.best_adapter = self._adapter()
            progress.without_improvement = 0
        else:
            progress.without_improvement += 1
        self._note_validation(surprise.loss)

    def _note_validation(self, loss: float) -> None:
        """Put the loss into the step's row (before the first step there is none yet)."""
        measured = self.monitor.validation(self.progress.step, loss, self.budget.elapsed())
        rows = self.progress.rows
        if rows and rows[-1].step == self.progress.step:
            rows[-1] = replace(rows[-1], validation_loss=loss)
        else:
            rows.append(measured)

    def _report(self, loss: float, tokens_per_second: float, rate: float, total: int) -> None:
        step, seconds = self.progress.step, self.budget.elapsed()
        self.progress.rows.append(self.monitor.step(step, loss, tokens_per_second, rate, seconds))
        log_progress(step, max(step, total), seconds)

    def _time_for_validations(self) -> float:
        every = self.progress.validate_every
        times = (len(self.plan) - self.progress.step) / every if every else 0.0
        share = self.settings.eval_fraction_seconds * max(0.0, self.budget.left())
        return min(times * self._validation_seconds, share) + self._validation_seconds

    def _last_validated(self) -> int:
        return max((row.step for row in self.progress.rows if row.validation_loss is not None), default=-1)

    def _adapter(self) -> Tensors:
        """A copy of the adapter's weights in main memory."""
        state = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}

    def _save_checkpoint(self) -> None:
        self.progress.seconds = self.budget.elapsed()
        checkpoints.save(
            self.checkpoint_folder, self.fingerprint, self.progress, self._adapter(), self.optimizer
        )

    def _resume(self) -> Progress:
        restored = checkpoints.load(self.checkpoint_folder, self.fingerprint, self.optimizer)
        if restored is None:
            return Progress()
        progress, adapter = restored
        set_peft_model_state_dict(self.model, adapter)
        self._refresh()
        print(f"Going on from step {progress.step} of an earlier attempt.", flush=True)
        return progress


class _Pace:
    """The mean time of a step, leaving out the first, in which memory is allocated and kernels are chosen."""

    def __init__(self) -> None:
        self.steps = 0
        self._first = 0.0
        self._others = 0.0

    def add(self, seconds: float) -> None:
        self.steps += 1
        if self.steps == 1:
            self._first = seconds
        else:
            self._others += seconds

    @property
    def seconds_per_step(self) -> float:
        return self._others / (self.steps - 1) if self.steps > 1 else self._first


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
