"""The training loop: plain PyTorch, so that each line of what happens to the model can be read here."""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict

from training_code.checkpoints import Checkpoint, Checkpoints, Progress, Tensors, fingerprint
from training_code.container import JobError, StopSignal, require_room
from training_code.data import TokenSequence, plan_steps
from training_code.distributed import Team, random_state, set_random_state
from training_code.hyperparameters import Hyperparameters
from training_code.metrics import Monitor, log_progress
from training_code.passes import Passes
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
PACE_STEPS_COMPILED = 2
"""The same where the first step waits for the compiler."""

Ending = Literal["all epochs", "time", "no more improvement", "stopped"]
_ENDINGS: tuple[Ending, ...] = ("all epochs", "time", "no more improvement", "stopped")
"""Of two processes' endings the later one counts: when one has been told to stop, all do."""


@dataclass(frozen=True)
class Data:
    """The rows to learn from, and those that tell when to stop."""

    train: Sequence[TokenSequence]
    validation: Sequence[TokenSequence]


@dataclass(frozen=True)
class Folders:
    """Where the loop writes, and where its result will be."""

    checkpoints: Path
    result: Path


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
        folders: Folders,
        monitor: Monitor | None = None,
        team: Team | None = None,
        sharded: bool = False,
    ) -> None:
        """Resumes from the newest checkpoint that is of the same data and settings.

        Args:
            model: a peft model on its device.
            data: all rows, the same in every process.
            settings: with every choice made.
            numerics: what the model computes in.
            budget: the time for all attempts together.
            stop: ends the loop after the step at hand.
            folders: where to write.
            monitor: gets the figures of each step.
            team: the processes that train together.
            sharded: whether the model is divided among them (`sharding`).
        """
        self.model = model
        self.data = data
        self.settings = settings
        self.stop = stop
        self.monitor = monitor or Monitor()
        self.team = team or Team()
        self._folders = folders
        self._trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self._trainable, lr=0.0, weight_decay=settings.weight_decay)
        self.plan = plan_steps(
            [len(row) for row in data.train], settings.batch_tokens, settings.epochs, settings.seed
        )
        self._validation_rows = list(data.validation)
        # So that the first few stand for all.
        random.Random(settings.seed).shuffle(self._validation_rows)  # noqa: S311 (not a secret)
        self._checkpoints = Checkpoints(
            folders.checkpoints,
            fingerprint(settings, data.train, model.get_base_model().config.to_json_string()),
            str(numerics.dtype).removeprefix("torch."),
        )
        self.progress = Progress(micro_batch_tokens=settings.micro_batch_tokens or settings.batch_tokens)
        merge = settings.merge_adapters != "no"
        self.passes = Passes(
            model,
            numerics,
            self.team,
            self.progress,
            merge=merge,
            sharded=sharded,
            compiled=settings.compile_layers == "yes",
        )
        # Each process drops other units of its own rows.
        torch.manual_seed(settings.seed + self.team.rank)
        self._resume()
        self._pace_steps = PACE_STEPS_COMPILED if settings.compile_layers == "yes" else PACE_STEPS
        self.budget = replace(budget, spent_before=self.progress.seconds)
        self._checkpointed_at = (self.progress.step, time.monotonic())
        self._checkpointed = False

    def run(self) -> Ending:
        """Train; afterwards the model carries the best adapter and `progress` tells how it went."""
        self.model.train()
        ending = self._next()
        while ending is None:
            self._step()
            self.progress.validation_is_due = self._validation_is_due()
            ending = self._next()
        if ending == "stopped":
            self._save_checkpoint()
        elif self._last_validated() != self.progress.step:
            self._validate()
            if self.progress.validation_is_due:
                ending = "stopped"
                self._save_checkpoint()
        self.progress.seconds = self.budget.elapsed()
        set_peft_model_state_dict(self.model, self.progress.best_adapter or self._adapter())
        return ending

    def total_steps(self) -> int:
        """Steps of the whole training: all epochs, or as many as the time allows at the pace measured."""
        pace = self.progress.pace
        if pace.steps < self._pace_steps:
            return len(self.plan)
        left = self.budget.left() - self._time_for_validations()
        return int(
            self.team.agree(affordable_steps(len(self.plan), self.progress.step, pace.seconds_per_step, left))
        )

    def _next(self) -> Ending | None:
        """Do what comes between two steps; None where another step follows."""
        if self.progress.validation_is_due and not self._told_to_stop():
            self._validate()
        ending = self._ending()
        if ending is None and self._checkpoint_is_due():
            self._save_checkpoint()
        return ending

    def _told_to_stop(self) -> bool:
        return bool(self.team.agree(self.stop.received))

    def _ending(self) -> Ending | None:
        reached = max((_ENDINGS.index(ending) for ending in self._reached()), default=-1)
        agreed = int(self.team.agree(reached))
        return _ENDINGS[agreed] if agreed >= 0 else None

    def _reached(self) -> list[Ending]:
        """Every reason to end now."""
        progress, reached = self.progress, list[Ending]()
        if progress.step >= len(self.plan):
            reached.append("all epochs")
        elif progress.step and self.budget.left() < (
            progress.pace.seconds_per_step + progress.validation_seconds
        ):
            reached.append("time")
        if not reached and progress.without_improvement >= self.settings.patience:
            reached.append("no more improvement")
        if self.stop.received:
            reached.append("stopped")
        return reached

    def _step(self) -> None:
        """One step of the optimiser over one planned batch."""
        started = time.monotonic()
        total = self.total_steps()
        progress = self.progress
        rate = learning_rate(progress.step, total, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = [self.data.train[row] for row in self.plan[progress.step]]
        loss = self.passes.gradients(rows)
        norm = torch.nn.utils.clip_grad_norm_(self._trainable, self.settings.max_gradient_norm)
        if not (math.isfinite(loss) and math.isfinite(float(norm))):
            raise JobError(
                f"The loss is not a number at step {progress.step + 1}. Lower learning_rate "
                f"(now {self.settings.learning_rate:g}) or set precision to fp32, and run again."
            )
        self.optimizer.step()
        self.passes.refresh()
        progress.step += 1
        progress.tokens += sum(sum(row.taught) for row in rows)
        seconds = self.team.agree(time.monotonic() - started)
        progress.pace.add(seconds)
        self._report(loss, sum(len(row) for row in rows) / seconds, rate, total)

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
        """Measure the validation loss, and keep the adapter where it is the best so far.

        Broken off by SIGTERM it stays due, and is made up for by the attempt that goes on.
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
        progress.validation_seconds = self.team.agree(time.monotonic() - started)
        if progress.first_loss is None:
            progress.first_loss = loss
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_step = loss, progress.step
            progress.best_adapter = self._adapter()
            progress.without_improvement = 0
        else:
            progress.without_improvement += 1
        self._note_validation(loss)

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
        # Before the pace is known all epochs are planned, for which there may be no time.
        left = min(self.progress.pace.seconds_per_step * (total - step), self.budget.left())
        log_progress(step, max(step, total), seconds, max(0.0, left))

    def _time_for_validations(self) -> float:
        progress = self.progress
        every = progress.validate_every
        times = (len(self.plan) - progress.step) / every if every else 0.0
        share = self.settings.eval_fraction_seconds * max(0.0, self.budget.left())
        return min(times * progress.validation_seconds, share) + progress.validation_seconds

    def _last_validated(self) -> int:
        return max((row.step for row in self.progress.rows if row.validation_loss is not None), default=-1)

    def _adapter(self) -> Tensors:
        """A copy of the adapter's weights in main memory."""
        state = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}

    def _checkpoint_is_due(self) -> bool:
        step, moment = self._checkpointed_at
        if self.settings.checkpoint_steps:
            return self.progress.step - step >= self.settings.checkpoint_steps
        # The first one comes at once: whether the folder can be written is known before it is needed.
        due = not self._checkpointed or time.monotonic() - moment >= checkpoint_interval(self.settings)
        return bool(self.team.agree(due)) and self.progress.step > step

    def _save_checkpoint(self) -> None:
        """The first process writes what all of them need to go on."""
        self._checkpointed_at = (self.progress.step, time.monotonic())
        self._checkpointed = True
        self.progress.seconds = self.budget.elapsed()
        everyones = self.team.all_of(random_state())
        if not self.team.is_first:
            return
        adapter = self._adapter()
        checkpoint = Checkpoint(self.progress, adapter, self.optimizer.state_dict(), everyones)
        if not self._checkpoints.save(checkpoint):
            require_room(self._folders.result, sum(value.nbytes for value in adapter.values()))

    def _resume(self) -> None:
        """Go on from the first process's newest checkpoint, where it has one."""
        found = self.team.same(self._checkpoints.load() if self.team.is_first else None)
        if found is None:
            return
        self.progress = found.progress
        set_peft_model_state_dict(self.model, found.adapter)
        self.optimizer.load_state_dict(found.optimizer)
        self.passes.restore(self.progress)
        if len(found.random) == self.team.size:
            set_random_state(found.random[self.team.rank])
        print(f"Going on from step {self.progress.step} of an earlier attempt.", flush=True)
