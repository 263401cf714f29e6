"""Forward and backward passes of a training: gradients of a step, validation loss, recovery from full
memory."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import torch

from storyloom_jobs.container import JobError
from storyloom_jobs.cpu.kernels import compile_layers, eager_layers
from storyloom_jobs.hardware import PrecisionConfig
from storyloom_jobs.loss import ChunkedLoss, measure_loss
from storyloom_jobs.merged_lora import MergedAdapters
from storyloom_jobs.packed_attention import use_packed_attention
from storyloom_jobs.tokenization import IGNORE_INDEX, TokenBatch, TokenSequence, collate, in_batches
from storyloom_jobs.training.checkpoints import TrainingProgress
from storyloom_jobs.training.distributed import ProcessGroup

T = TypeVar("T")


class ForwardBackward:
    """Runs rows through one model. If memory runs out, it computes less at once."""

    def __init__(
        self,
        model: Any,
        precision: PrecisionConfig,
        group: ProcessGroup,
        progress: TrainingProgress,
        *,
        merge: bool,
        sharded: bool,
        compiled: bool = False,
    ) -> None:
        """Prepare the model: packed attention, and merged adapters and compiled layers if they are asked for.

        A sharded model computes in lockstep: every process makes as many passes as the others. Only merged
        adapters are compiled, because peft's own forward passes differ from layer to layer.
        """
        self._model = model
        self._precision = precision
        self._group = group
        self.sharded = sharded
        self.progress = progress
        self._uses_packed_attention = use_packed_attention(model.get_base_model())
        merge = merge and not sharded and MergedAdapters.can_merge(model)
        self._merged = MergedAdapters(model) if merge else None
        self._losses = ChunkedLoss(model)
        if compiled and merge:
            compile_layers(model)
        self._trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def restore(self, progress: TrainingProgress) -> None:
        """Continue with the progress of an earlier attempt, and compute as it did."""
        self.progress = progress
        if progress.gradient_checkpointing:
            self._enable_gradient_checkpointing()
        self.refresh_merged_weights()

    def refresh_merged_weights(self) -> None:
        """Merge the adapter again; call it whenever the adapter has changed."""
        if self._merged:
            self._merged.refresh()

    def backward(self, rows: Sequence[TokenSequence]) -> float:
        """Compute the gradients of the rows' mean token loss, and return that loss.

        The rows are those of all processes in this step; each process computes its part.
        """
        num_loss_tokens = sum(row.num_loss_tokens for row in rows)
        local = self._group.local_rows(rows)
        loss = self._retry_out_of_memory(
            lambda: self._backward(local, rows[0], num_loss_tokens),
            max(map(len, rows)),
            in_lockstep=self.sharded,
        )
        self._group.all_reduce_gradients(self._trainable)
        return self._group.all_reduce_sum(loss)[0]

    def validation_loss(
        self, rows: Sequence[TokenSequence], stopping: Callable[[], bool], seconds: float | None
    ) -> tuple[float, int] | None:
        """Measure the rows' mean token loss; return it with the rows measured, or None if stopped.

        Args:
            rows: the rows to measure; the same for all processes.
            stopping: whether to stop at once, without a result.
            seconds: time limit, which may leave out the last rows; None measures all.
        """
        return self._retry_out_of_memory(
            lambda: self._measure(rows, stopping, seconds),
            max(map(len, rows)),
            in_lockstep=self._group.world_size > 1,
        )

    def _backward(
        self, local: Sequence[TokenSequence], any_row: TokenSequence, num_loss_tokens: int
    ) -> float:
        self._model.zero_grad()
        batches = self._batches(local)
        if self.sharded:
            batches = self._pad_batches(list(batches), any_row)
        with self._autocast():
            return sum(self._losses.backward(batch, divisor=num_loss_tokens) for batch in batches)

    def _measure(
        self, rows: Sequence[TokenSequence], stopping: Callable[[], bool], seconds: float | None
    ) -> tuple[float, int] | None:
        """Measure in rounds; in each round every process measures its next batch."""
        group, started = self._group, time.monotonic()
        local = itertools.islice(self._batches(rows), group.rank, None, group.world_size)
        nats, tokens, measured = 0.0, 0, 0
        while True:
            batch = next(local, None)
            if not group.all_reduce_max(batch is not None):
                break
            if batch is None and self.sharded:
                batch = self._dummy_batch(rows[0])
            elif batch is not None:
                measured += len(batch.lengths)
            if batch is not None:
                with eager_layers(), self._autocast():
                    loss = measure_loss(self._losses, [batch])
                nats, tokens = nats + loss.nats, tokens + loss.num_tokens
            if group.all_reduce_max(stopping()):
                return None
            if seconds is not None and group.all_reduce_max(time.monotonic() - started > seconds):
                break
        all_nats, all_tokens, all_measured = group.all_reduce_sum(nats, tokens, measured)
        return all_nats / max(1.0, all_tokens), int(all_measured)

    def _retry_out_of_memory(self, work: Callable[[], T], longest: int, *, in_lockstep: bool) -> T:
        """Do the work; while memory runs out in any process, all processes reduce what they compute at once.

        In lockstep the other processes wait for data that this one will not send, so it cannot retry.
        """
        while True:
            result, short = None, False
            try:
                result = work()
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                short = True
            if short and in_lockstep:
                raise JobError(_memory_message(longest))
            if not self._group.all_reduce_max(short):
                return result  # type: ignore[return-value]  # None only if the work returned it
            self._reduce_memory(longest)

    def _reduce_memory(self, longest: int) -> None:
        """Halve the tokens computed at once; then turn on gradient checkpointing; then give up."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        progress = self.progress
        if progress.micro_batch_tokens > longest:
            progress.micro_batch_tokens //= 2
            self._record(f"{progress.micro_batch_tokens} tokens at once")
        elif not progress.gradient_checkpointing:
            progress.gradient_checkpointing = True
            self._enable_gradient_checkpointing()
            self._record("gradient checkpointing")
        else:
            raise JobError(_memory_message(longest))

    def _record(self, what: str) -> None:
        self.progress.memory_ran_out.append(f"step {self.progress.step + 1}: {what}")
        print(f"Out of memory: continuing with {what}.", flush=True)

    def _enable_gradient_checkpointing(self) -> None:
        self._model.enable_input_require_grads()
        self._model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})

    def _batches(self, rows: Sequence[TokenSequence]) -> Iterator[TokenBatch]:
        return in_batches(
            rows,
            self.progress.micro_batch_tokens if self._uses_packed_attention else 0,
            self._precision.device,
        )

    def _pad_batches(self, batches: list[TokenBatch], any_row: TokenSequence) -> Iterator[TokenBatch]:
        """Append dummy batches, so that all processes have equally many."""
        missing = int(self._group.all_reduce_max(len(batches))) - len(batches)
        return itertools.chain(batches, itertools.repeat(self._dummy_batch(any_row), missing))

    def _dummy_batch(self, row: TokenSequence) -> TokenBatch:
        """Make a batch without loss tokens, for a process that has no batch while others have one."""
        batch = collate([row], self._precision.device)
        return replace(batch, labels=torch.full_like(batch.labels, IGNORE_INDEX))

    def _autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context; merged adapters need none, they are in the base weights' format."""
        return nullcontext() if self._merged else self._precision.autocast()


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _memory_message(longest: int) -> str:
    return (
        f"The machine's memory does not hold one row of {longest} tokens. Lower sequence_length, "
        "or choose a smaller base model or an instance with more memory."
    )
