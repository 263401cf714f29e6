"""Rows through the model: the gradients of a step and the validation loss, within memory and in a team."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import torch

from training_code.checkpoints import Progress
from training_code.compiled import compile_layers, uncompiled
from training_code.container import JobError
from training_code.data import NOT_TAUGHT, Batch, TokenSequence, collate, in_batches
from training_code.distributed import Team
from training_code.loss import ChunkedLoss
from training_code.merged import MergedAdapters
from training_code.packing import use_packed_attention
from training_code.perplexity import measure
from training_code.precision import Numerics

T = TypeVar("T")


class Passes:
    """Forward and backward passes of one model; what it did to stay within memory is in the progress."""

    def __init__(
        self,
        model: Any,
        numerics: Numerics,
        team: Team,
        progress: Progress,
        *,
        merge: bool,
        sharded: bool,
        compiled: bool = False,
    ) -> None:
        """`sharded` models compute in lockstep: every process makes as many passes as the others.

        Only merged adapters are compiled: peft's own passes look different from layer to layer.
        """
        self._model = model
        self._numerics = numerics
        self._team = team
        self.sharded = sharded
        self.progress = progress
        self._packs = use_packed_attention(model.get_base_model())
        merge = merge and not sharded and MergedAdapters.can_merge(model)
        self._merged = MergedAdapters(model) if merge else None
        self._losses = ChunkedLoss(model)
        if compiled and merge:
            compile_layers(model)
        self._trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def restore(self, progress: Progress) -> None:
        """Compute as an earlier attempt did, which left this progress and its adapter."""
        self.progress = progress
        if progress.gradient_checkpointing:
            self._checkpoint_gradients()
        self.refresh()

    def refresh(self) -> None:
        """To be called whenever the adapter has changed."""
        if self._merged:
            self._merged.refresh()

    def gradients(self, rows: Sequence[TokenSequence]) -> float:
        """Leave the gradients of the rows' mean token loss in the parameters; returns that loss.

        The rows are all that the team has in this step; each process computes its share.
        """
        taught = sum(sum(row.taught) for row in rows)
        mine = self._team.share(rows)
        loss = self._within_memory(
            lambda: self._backward(mine, rows[0], taught), max(map(len, rows)), in_lockstep=self.sharded
        )
        self._team.sum_gradients(self._trainable)
        return self._team.total(loss)[0]

    def validation_loss(
        self, rows: Sequence[TokenSequence], stopping: Callable[[], bool], seconds: float | None
    ) -> tuple[float, int] | None:
        """The mean loss of the rows' taught tokens, and how many rows were measured.

        Args:
            rows: what to measure; the same for all processes.
            stopping: whether there is no more time to lose; then there is no result.
            seconds: measure as many of the first rows as this allows, None for all.
        """
        return self._within_memory(
            lambda: self._measure(rows, stopping, seconds),
            max(map(len, rows)),
            in_lockstep=self._team.size > 1,
        )

    def _backward(self, mine: Sequence[TokenSequence], any_row: TokenSequence, taught: int) -> float:
        self._model.zero_grad()
        batches = self._batches(mine)
        if self.sharded:
            batches = self._in_step(list(batches), any_row)
        with self._computing():
            return sum(self._losses.backward(batch, divisor=taught) for batch in batches)

    def _measure(
        self, rows: Sequence[TokenSequence], stopping: Callable[[], bool], seconds: float | None
    ) -> tuple[float, int] | None:
        """Round by round, in each of which every process measures the next batch that is its own."""
        team, started = self._team, time.monotonic()
        mine = itertools.islice(self._batches(rows), team.rank, None, team.size)
        nats, tokens, measured = 0.0, 0, 0
        while True:
            batch = next(mine, None)
            if not team.agree(batch is not None):
                break
            if batch is None and self.sharded:
                batch = self._blank(rows[0])
            elif batch is not None:
                measured += len(batch.lengths)
            if batch is not None:
                with uncompiled(), self._computing():
                    surprise = measure(self._losses, [batch])
                nats, tokens = nats + surprise.nats, tokens + surprise.tokens
            if team.agree(stopping()):
                return None
            if seconds is not None and team.agree(time.monotonic() - started > seconds):
                break
        all_nats, all_tokens, all_measured = team.total(nats, tokens, measured)
        return all_nats / max(1.0, all_tokens), int(all_measured)

    def _within_memory(self, work: Callable[[], T], longest: int, *, in_lockstep: bool) -> T:
        """Do the work; take smaller bites, all processes alike, for as long as memory runs out for one.

        In lockstep the others wait amid their work for what this process will not send: there it is the end.
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
                raise JobError(_no_memory(longest))
            if not self._team.agree(short):
                return result  # type: ignore[return-value]  # None only where the work says so
            self._use_less_memory(longest)

    def _use_less_memory(self, longest: int) -> None:
        """Halve what goes through the model at once; then trade time for memory; then give up."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        progress = self.progress
        if progress.micro_batch_tokens > longest:
            progress.micro_batch_tokens //= 2
            self._note(f"{progress.micro_batch_tokens} tokens at once")
        elif not progress.gradient_checkpointing:
            progress.gradient_checkpointing = True
            self._checkpoint_gradients()
            self._note("gradient checkpointing")
        else:
            raise JobError(_no_memory(longest))

    def _note(self, what: str) -> None:
        self.progress.memory_ran_out.append(f"step {self.progress.step + 1}: {what}")
        print(f"Out of memory: going on with {what}.", flush=True)

    def _checkpoint_gradients(self) -> None:
        self._model.enable_input_require_grads()
        self._model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})

    def _batches(self, rows: Sequence[TokenSequence]) -> Iterator[Batch]:
        return in_batches(rows, self.progress.micro_batch_tokens if self._packs else 0, self._numerics.device)

    def _in_step(self, batches: list[Batch], any_row: TokenSequence) -> Iterator[Batch]:
        """The batches, and after them as many blank ones as another process has more."""
        missing = int(self._team.agree(len(batches))) - len(batches)
        return itertools.chain(batches, itertools.repeat(self._blank(any_row), missing))

    def _blank(self, row: TokenSequence) -> Batch:
        """A batch that teaches nothing, for a process that has none when the others have."""
        batch = collate([row], self._numerics.device)
        return replace(batch, labels=torch.full_like(batch.labels, NOT_TAUGHT))

    def _computing(self) -> AbstractContextManager[object]:
        """Merged adapters come in the base weights' format by themselves; peft's own need to be cast."""
        return nullcontext() if self._merged else self._numerics.autocast()


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _no_memory(longest: int) -> str:
    return (
        f"The machine's memory does not hold one row of {longest} tokens. Lower sequence_length, "
        "or choose a smaller base model or an instance with more memory."
    )
