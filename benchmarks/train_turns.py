"""Contestants take turns: each is a process that trains some steps when it is told to, and waits between.

So they all run within the same minutes, whatever else the machine does then, and each keeps what a training
keeps: its compiled kernels, its memory, its optimiser.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

import torch
from torch import distributed

from training_code import processors
from training_code.machine import memory_used

CHECKOUT = Path(__file__).resolve().parent.parent
PROFILED = 12
"""Operations named in a profile."""


@dataclass(frozen=True)
class Contest:
    """What is the same for all."""

    base: str
    """Folder of the base model."""
    rows: str
    """File of the rows that everybody trains on once, see `train_data`."""
    scratch: str
    length: int
    """Tokens of the longest row."""
    batch_tokens: int
    """Of one step, as nearly as a trainer can."""
    rank: int = 16
    learning_rate: float = 1e-3
    """At its highest, which is at once; it falls along a cosine."""
    seed: int = 17
    quantized: bool = False
    """Whether the frozen base is kept in 4 bits."""


Trainer = Literal["storyloom", "trainer", "sft"]
Precision = Literal["fp32", "bf16", "bf16 weights", "bf16 autocast"]
"""Weights and products in fp32; both in bf16; only the weights, without autocast; only the products."""


@dataclass(frozen=True)
class Contestant:
    """Who trains, and how."""

    name: str
    trainer: Trainer
    precision: Precision
    helped: bool = False
    """Whether it gets the tricks of ours that need no change to its code."""
    compiled: bool = False
    checkpointed: bool = False
    """Whether activations are computed again in the backward pass."""
    padding_free: bool = False
    """Whether it puts rows one after another (Trainer's flattening collator, TRL's packing)."""
    processes: int = 1
    """That train together, each with its share of the processors, as torchrun would start them."""

    @property
    def folder(self) -> str:
        """A name for its files."""
        return self.name.lower().replace(" ", "-").replace(",", "")


@dataclass(frozen=True)
class Turn:
    """What was done in one turn."""

    tokens: int
    """That are not padding."""
    seconds: float
    cpu_seconds: float
    """Of all threads of all its processes."""
    memory_gib: float
    """At its most so far: of the GPU where there is one, else of all its processes."""
    ended: bool
    """Whether all rows have been trained on."""
    profile: list[tuple[str, float]]
    """Names of operations and their share of the time, where it was asked for."""

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    @property
    def speed_of_two_cores(self) -> float:
        """Tokens in two seconds of one core: what two cores would do if nothing else ran."""
        return 2 * self.tokens / self.cpu_seconds


class Turns:
    """The contestant's side. The first turn is its warm-up, of one step, and begins by itself.

    Of several processes each has one; the first reports, and tells the others when to go on.
    """

    def __init__(self, steps: int, channel: IO[str] | None) -> None:
        """`steps`: of the whole training; `channel`: where turns are reported, None in all but the first."""
        self._channel = channel
        self._left = 1
        self._send({"steps": steps})
        self._begin(profile=False)

    @classmethod
    def take_channel(cls) -> IO[str] | None:
        """The standard output, for reports alone: whatever else is printed goes to the error output."""
        if int(os.environ.get("RANK", "0")):
            return None
        channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        return channel

    def step_done(self, tokens: int, *, ended: bool = False) -> None:
        """Count one step of so many tokens; waits here when it was the turn's last."""
        self._tokens += tokens
        self._left -= 1
        if self._left and not ended:
            return
        _wait_for_gpu()
        seconds, cpu_seconds = time.perf_counter() - self._started, time.process_time() - self._cpu_started
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        profile = self._profiled()
        cpu_seconds, memory = _sums(cpu_seconds, memory_used(device))
        turn = Turn(self._tokens, seconds, cpu_seconds, memory, ended, profile)
        self._send(asdict(turn))
        if not ended:
            order = self._next_order()
            self._left = order["steps"]
            self._begin(order["profile"])

    def _next_order(self) -> dict[str, Any]:
        order = [json.loads(sys.stdin.readline()) if self._channel else {}]
        if distributed.is_initialized():
            distributed.broadcast_object_list(order, src=0)
        return order[0]

    def _begin(self, profile: bool) -> None:
        self._tokens = 0
        self._profiler = torch.profiler.profile() if profile else None
        if self._profiler is not None:
            self._profiler.start()
        self._started, self._cpu_started = time.perf_counter(), time.process_time()

    def _profiled(self) -> list[tuple[str, float]]:
        if self._profiler is None:
            return []
        self._profiler.stop()
        times = {event.key: event.self_cpu_time_total for event in self._profiler.key_averages()}
        whole = sum(times.values())
        most = sorted(times, key=times.__getitem__, reverse=True)[:PROFILED]
        return [(name, times[name] / whole) for name in most]

    def _send(self, message: dict[str, Any]) -> None:
        if self._channel:
            print(json.dumps(message), file=self._channel, flush=True)


class Process:
    """The benchmark's side of one contestant."""

    def __init__(
        self, python: str, contest: Contest, contestant: Contestant, environment: Mapping[str, str]
    ) -> None:
        """Start it and wait until it has trained its first step."""
        self.contestant = contestant
        self.turns: list[Turn] = []
        self._log = Path(contest.scratch) / f"{contestant.folder}.log"
        team = [{**environment, **more} for more in _team_variables(contestant.processes)]
        settings = json.dumps({"contest": asdict(contest), "contestant": asdict(contestant)})
        command = [python, "-m", "benchmarks.train_contestants", settings]
        with self._log.open("w", encoding="utf-8") as log:
            self._others = [
                subprocess.Popen(
                    command, cwd=CHECKOUT, env=more, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
                for more in team[1:]
            ]
            self._process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=team[0],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.steps: int = self._receive()["steps"]
        self.warm_up = Turn(**self._receive())
        self._steps_done = 1

    def train(self, until: float, *, profile: bool = False) -> Turn | None:
        """Train until this share of all steps is done; None where it is already."""
        steps = round(until * self.steps) - self._steps_done
        if steps <= 0 or (self.turns and self.turns[-1].ended):
            return None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"steps": steps, "profile": profile}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()
        turn = Turn(**self._receive())
        self._steps_done += steps
        if not profile:
            self.turns.append(turn)
        return turn

    def finish(self) -> None:
        """Wait until it has saved its adapter."""
        if self._process.wait(timeout=120):
            self._fail()

    def stop(self) -> None:
        """End it, wherever it is."""
        everyone: list[subprocess.Popen[Any]] = [self._process, *self._others]
        for process in everyone:
            process.kill()
            process.wait()

    @property
    def memory_gib(self) -> float:
        """At its most."""
        return max(turn.memory_gib for turn in [self.warm_up, *self.turns])

    @property
    def tokens(self) -> int:
        """Measured ones, without the warm-up and what was profiled."""
        return sum(turn.tokens for turn in self.turns)

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        message: dict[str, Any] = json.loads(line)
        return message

    def _fail(self) -> NoReturn:
        status = self._process.wait(timeout=60)
        tail = self._log.read_text(encoding="utf-8")[-3000:]
        hint = " It was killed: the machine may have too little memory." if status == -signal.SIGKILL else ""
        raise SystemExit(f"{self.contestant.name} ended with status {status}.{hint}\n{tail}")


def _team_variables(processes: int) -> list[dict[str, str]]:
    """What torchrun would put into each process's environment; nothing for a single one."""
    if processes == 1:
        return [{}]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(processors.threads_of_each(processes)),
    }
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def _sums(*values: float) -> list[float]:
    """Each value summed over the processes that train together."""
    if not distributed.is_initialized():
        return list(values)
    together = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(together)
    sums: list[float] = together.tolist()
    return sums


def _wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
