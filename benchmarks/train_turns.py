"""Contestants train in turns: each is a process that trains some steps on request and waits in between.

So all run within the same minutes, under the same load of the machine, and each keeps its compiled kernels,
its memory and its optimiser.
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

from storyloom_jobs.cpu import resources
from storyloom_jobs.hardware import peak_memory_gib

CHECKOUT = Path(__file__).resolve().parent.parent
TRAINING_CODE = CHECKOUT / "training_code"
PROFILED_OPERATIONS = 12
"""Operations listed in a profile."""


@dataclass(frozen=True)
class Contest:
    """Settings that are the same for all contestants."""

    base: str
    """Folder of the base model."""
    rows: str
    """File of the rows that each contestant trains on once, see `train_data`."""
    scratch: str
    length: int
    """Tokens of the longest row."""
    batch_tokens: int
    """Tokens of one step, as closely as a trainer allows."""
    rank: int = 16
    learning_rate: float = 1e-3
    """Learning rate of the first step; it falls along a cosine."""
    seed: int = 17
    quantized: bool = False
    """Whether the frozen base model is kept in 4 bits."""


Trainer = Literal["storyloom", "trainer", "sft"]
Precision = Literal["fp32", "bf16", "bf16 weights", "bf16 autocast"]
"""Weights and matrix products in fp32; both in bf16; only the weights in bf16; only the products
(autocast)."""


@dataclass(frozen=True)
class Contestant:
    """A trainer and its settings."""

    name: str
    trainer: Trainer
    precision: Precision
    helped: bool = False
    """Whether it gets those of our optimisations that need no change to its code."""
    compiled: bool = False
    checkpointed: bool = False
    """Whether activations are recomputed in the backward pass."""
    padding_free: bool = False
    """Whether it packs rows without padding (Trainer's flattening collator, TRL's packing)."""
    processes: int = 1
    """Processes that train together, each with its share of the processors, as torchrun would start them."""

    @property
    def folder(self) -> str:
        """Return the name of its files."""
        return self.name.lower().replace(" ", "-").replace(",", "")


@dataclass(frozen=True)
class TrainingTurn:
    """Result of one turn."""

    tokens: int
    """Tokens without padding."""
    seconds: float
    cpu_seconds: float
    """Processor time of all threads of all its processes."""
    memory_gib: float
    """Peak memory so far: of the GPU if there is one, otherwise of all its processes."""
    ended: bool
    """Whether all rows have been trained on."""
    profile: list[tuple[str, float]]
    """Operations and their share of the time, if a profile was requested."""

    @property
    def speed(self) -> float:
        """Return the tokens per second."""
        return self.tokens / self.seconds

    @property
    def speed_of_two_cores(self) -> float:
        """Return the tokens per two seconds of processor time: the speed of two cores if nothing else ran."""
        return 2 * self.tokens / self.cpu_seconds


class TurnReporter:
    """The contestant's side of the turns. The first turn is a warm-up of one step, which begins by itself.

    If several processes train together, each has a reporter; the first one reports and broadcasts the orders.
    """

    def __init__(self, steps: int, channel: IO[str] | None) -> None:
        """Begin the warm-up; `channel` is None in all processes but the first."""
        self._channel = channel
        self._left = 1
        self._send({"steps": steps})
        self._begin(profile=False)

    @classmethod
    def take_channel(cls) -> IO[str] | None:
        """Reserve the standard output for reports; everything else that is printed goes to stderr."""
        if int(os.environ.get("RANK", "0")):
            return None
        channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        return channel

    def step_done(self, tokens: int, *, ended: bool = False) -> None:
        """Count one step; at the end of a turn, report it and wait for the next order."""
        self._tokens += tokens
        self._left -= 1
        if self._left and not ended:
            return
        _wait_for_gpu()
        seconds, cpu_seconds = time.perf_counter() - self._started, time.process_time() - self._cpu_started
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        profile = self._profiled()
        cpu_seconds, memory = _sum_over_processes(cpu_seconds, peak_memory_gib(device))
        turn = TrainingTurn(self._tokens, seconds, cpu_seconds, memory, ended, profile)
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
        most = sorted(times, key=times.__getitem__, reverse=True)[:PROFILED_OPERATIONS]
        return [(name, times[name] / whole) for name in most]

    def _send(self, message: dict[str, Any]) -> None:
        if self._channel:
            print(json.dumps(message), file=self._channel, flush=True)


class ContestantProcess:
    """The benchmark's side of the turns: starts one contestant and sends its orders."""

    def __init__(
        self, python: str, contest: Contest, contestant: Contestant, environment: Mapping[str, str]
    ) -> None:
        """Start the contestant, and wait until it has trained its first step."""
        self.contestant = contestant
        self.turns: list[TrainingTurn] = []
        self._log = Path(contest.scratch) / f"{contestant.folder}.log"
        environments = [
            {**environment, "PYTHONPATH": str(TRAINING_CODE), **more}
            for more in _torchrun_variables(contestant.processes)
        ]
        settings = json.dumps({"contest": asdict(contest), "contestant": asdict(contestant)})
        command = [python, "-m", "benchmarks.train_contestants", settings]
        with self._log.open("w", encoding="utf-8") as log:
            self._others = [
                subprocess.Popen(
                    command, cwd=CHECKOUT, env=more, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
                for more in environments[1:]
            ]
            self._process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=environments[0],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.steps: int = self._receive()["steps"]
        self.warm_up = TrainingTurn(**self._receive())
        self._steps_done = 1

    def train(self, until: float, *, profile: bool = False) -> TrainingTurn | None:
        """Train until this share of all steps is done; return None if it is done already."""
        steps = round(until * self.steps) - self._steps_done
        if steps <= 0 or (self.turns and self.turns[-1].ended):
            return None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"steps": steps, "profile": profile}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()
        turn = TrainingTurn(**self._receive())
        self._steps_done += steps
        if not profile:
            self.turns.append(turn)
        return turn

    def finish(self) -> None:
        """Wait until the contestant has saved its adapter."""
        if self._process.wait(timeout=120):
            self._fail()

    def stop(self) -> None:
        """Kill the contestant's processes."""
        processes: list[subprocess.Popen[Any]] = [self._process, *self._others]
        for process in processes:
            process.kill()
            process.wait()

    @property
    def memory_gib(self) -> float:
        """Return the peak memory."""
        return max(turn.memory_gib for turn in [self.warm_up, *self.turns])

    @property
    def tokens(self) -> int:
        """Count the measured tokens, without the warm-up and the profiled turn."""
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


def _torchrun_variables(processes: int) -> list[dict[str, str]]:
    """Return the environment variables that torchrun sets in each process; none for a single process."""
    if processes == 1:
        return [{}]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(resources.threads_per_process(processes)),
    }
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def _sum_over_processes(*values: float) -> list[float]:
    """Sum each value over the processes that train together."""
    if not distributed.is_initialized():
        return list(values)
    together = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(together)
    sums: list[float] = together.tolist()
    return sums


def _wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
