"""Compares our trainer with transformers' Trainer and TRL's SFTTrainer, in turns, on the same rows.

    PYTHONPATH=training_code python -m benchmarks.train --peers PYTHON [--stories FOLDER] [--tokens N]
    [--precisions]

The exit status is 0 if the promises hold; the last line is JSON.
"""

import argparse
import ctypes.util
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

from benchmarks import dataset
from benchmarks.train_data import sample_rows, write_rows
from benchmarks.train_limit import MatmulRate, needed_flops_per_token
from benchmarks.train_turns import CHECKOUT, Contest, Contestant, ContestantProcess, Precision, TrainingTurn
from storyloom_jobs.cpu import resources
from storyloom_jobs.cpu.resources import GIBIBYTE
from storyloom_jobs.hardware import PrecisionConfig, choose_precision
from storyloom_jobs.lora_model import load_adapter, load_base
from storyloom_jobs.loss import ChunkedLoss, measure_loss
from storyloom_jobs.packed_attention import use_packed_attention
from storyloom_jobs.tokenization import TokenSequence, in_batches, read_examples

BASE = CHECKOUT / ".cache" / "base-model"
ROUNDS = 4
BATCH_TOKENS = 2048
LENGTH = 512
TRAINED_TOKENS = 16_384
MIN_TOKENS = 5 * BATCH_TOKENS
HELD_OUT_TOKENS = 8_192
AS_RUN, HELPED, OF_LIMIT = 2.0, 1.5, 0.35
"""Minimum speed: times the best peer as run, times the best peer helped, share of the limit."""
LOSS_TOLERANCE = 0.02
"""Nats per token by which our held-out loss may exceed the best peer's."""

NEEDED_GIB = 10
"""Maximum peak memory of a contestant."""

OURS = "Storyloom"


@dataclass(frozen=True)
class HeatResult:
    """Result of a heat."""

    processes: Sequence[ContestantProcess]
    profile: Sequence[tuple[str, float]]
    """Operations of our last step and their share of its time."""

    @property
    def ours(self) -> ContestantProcess:
        """Return our own contestant."""
        return next(process for process in self.processes if process.contestant.name == OURS)

    def times_best_peer(self, measure: Callable[[TrainingTurn], float]) -> float:
        """Return the ratio of our median turn to the best peer's."""
        medians = {
            process.contestant.name: statistics.median(map(measure, process.turns))
            for process in self.processes
        }
        return medians.pop(OURS) / max(medians.values())


Heat = list[Contestant]
"""Contestants that take turns. All contestants at once would need more memory than a small machine has."""


def heats(precision: Precision) -> list[Heat]:
    """Return the peers as their users run them; then each with those of our optimisations that fit it."""
    together = resources.fastest_process_count(BASE)
    ours = Contestant(OURS, "storyloom", precision, processes=together)
    helped: list[Contestant] = [
        Contestant("Trainer, helped", "trainer", precision, helped=True, processes=together),
        Contestant("TRL, helped", "sft", precision, helped=True, padding_free=True, processes=together),
    ]
    return [
        [
            ours,
            Contestant("Trainer, as run", "trainer", precision),
            # TRL recomputes activations by default; its documentation recommends packing.
            Contestant("TRL, as run", "sft", precision, checkpointed=True, padding_free=True),
        ],
        *([ours, peer] for peer in helped),
    ]


def heats_of_precisions() -> list[Heat]:
    """Return each peer in fp32 and in every form of bf16, to find its fastest."""
    forms: tuple[Precision, ...] = ("fp32", "bf16", "bf16 weights", "bf16 autocast")
    return [
        [
            Contestant(f"Trainer, {form}", "trainer", form),
            Contestant(f"TRL, {form}", "sft", form, checkpointed=True, padding_free=True),
        ]
        for form in forms
    ]


def environment(contestant: Contestant, preload: str | None) -> dict[str, str]:
    """Return the environment variables of a contestant's process."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "LD_PRELOAD"))}
    plain |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if contestant.trainer == "storyloom" or contestant.helped:
        plain["OMP_WAIT_POLICY"] = "PASSIVE"
    if contestant.helped and preload:
        plain["LD_PRELOAD"] = preload
    return plain


def compete(processes: Sequence[ContestantProcess], rate: MatmulRate) -> list[tuple[str, float]]:
    """Have all contestants train all rows in turns; return the profile of our last step."""
    ours = next((process for process in processes if process.contestant.name == OURS), None)
    for number in range(ROUNDS):
        rate.measure()
        for process in processes if number % 2 == 0 else reversed(processes):
            # Our last step is profiled, which slows it down.
            last = (process.steps - 1) / process.steps if process is ours else 1.0
            turn = process.train(min((number + 1) / ROUNDS, last))
            if turn:
                print(f"round {number + 1}: {process.contestant.name} {turn.speed:.0f} tokens/s", flush=True)
    turn = ours.train(1.0, profile=True) if ours is not None else None
    for process in processes:
        process.finish()
    return turn.profile if turn else []


def run_heat(heat: Heat, contest: Contest, peers: str, preload: str | None, rate: MatmulRate) -> HeatResult:
    """Run one heat."""
    processes: list[ContestantProcess] = []
    try:
        for contestant in heat:
            free = psutil.virtual_memory().available / GIBIBYTE
            if free < NEEDED_GIB:
                raise SystemExit(
                    f"{contestant.name} may need {NEEDED_GIB} GiB of memory and {free:.1f} are free. "
                    "End other programs and run this again."
                )
            python = sys.executable if contestant.trainer == "storyloom" else peers
            processes.append(ContestantProcess(python, contest, contestant, environment(contestant, preload)))
        return HeatResult(processes, compete(processes, rate))
    finally:
        for process in processes:
            process.stop()


def held_out_losses(
    adapters: Mapping[str, Path], rows: Sequence[TokenSequence], config: PrecisionConfig
) -> dict[str, float]:
    """Measure the held-out loss of each adapter and of the base model, in nats per token."""
    base = load_base(BASE, config)
    packs = use_packed_attention(base)

    def loss(model: Any) -> float:
        batches = in_batches(rows, BATCH_TOKENS if packs else 0, config.device)
        with config.autocast():
            return measure_loss(ChunkedLoss(model), batches).mean

    losses = {"base": loss(base)}
    model = base
    for number, (name, folder) in enumerate(adapters.items()):
        model = load_adapter(model, folder, f"adapter-{number}")
        model.set_adapter(f"adapter-{number}")
        losses[name] = loss(model)
    return losses


def spread(values: Sequence[float]) -> str:
    """Median, and the smallest and largest."""
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def table(heats: Sequence[HeatResult], losses: Mapping[str, float]) -> None:
    """Print one line for each contestant of each heat."""
    print("\n| trainer | tokens/s | tokens per 2 core-seconds | memory, GiB | tokens | held-out loss |")
    print("|---|---|---|---|---|---|")
    for process in (process for heat in heats for process in heat.processes):
        name, turns = process.contestant.name, process.turns
        loss = f"{losses[name]:.4f}" if name in losses else ""
        speeds = spread([turn.speed for turn in turns])
        of_cores = spread([turn.speed_of_two_cores for turn in turns])
        print(f"| {name} | {speeds} | {of_cores} | {process.memory_gib:.2f} | {process.tokens} | {loss} |")
    if "base" in losses:
        print(f"| (the base model) | | | | | {losses['base']:.4f} |")


def main() -> None:
    """Measure everything; exit with 0 if the promises hold."""
    given = _arguments()
    if given.tokens < MIN_TOKENS:
        raise SystemExit(f"--tokens is {given.tokens}, it must be at least {MIN_TOKENS}: five steps.")
    transformers.utils.logging.disable_progress_bar()
    config = choose_precision()
    precision: Precision = "bf16" if config.dtype == torch.bfloat16 else "fp32"
    preload = given.preload or ctypes.util.find_library("tcmalloc_minimal")
    with tempfile.TemporaryDirectory(prefix="storyloom-bench-") as temporary:
        scratch = Path(temporary)
        rows, held_out = _rows(given, scratch, config)
        contest = Contest(str(BASE), str(scratch / "rows.json"), str(scratch), LENGTH, BATCH_TOKENS)
        rate = MatmulRate(BASE, BATCH_TOKENS, config.device, config.dtype)
        print(
            f"{len(rows)} rows, {sum(map(len, rows))} tokens; {precision}; {torch.get_num_threads()} threads"
        )
        ran = [
            run_heat(heat, contest, given.peers, preload, rate)
            for heat in (heats_of_precisions() if given.precisions else heats(precision))
        ]
        names = {process.contestant for heat in ran for process in heat.processes}
        adapters = {contestant.name: scratch / contestant.folder for contestant in names}
        losses = {} if given.precisions else held_out_losses(adapters, held_out, config)
    table(ran, losses)
    if not given.precisions:
        verdict(ran, losses, needed_flops_per_token(BASE, rows, contest.rank), rate)


def verdict(ran: Sequence[HeatResult], losses: Mapping[str, float], needed: float, rate: MatmulRate) -> None:
    """Print the comparison, and exit with 0 if the promises hold."""
    as_run, *helped = ran
    peers_loss = min(loss for name, loss in losses.items() if name not in {OURS, "base"})
    speed = statistics.median(turn.speed for heat in ran for turn in heat.ours.turns)
    result = {
        "times_best_as_run": as_run.times_best_peer(lambda turn: turn.speed),
        "times_best_helped": min(heat.times_best_peer(lambda turn: turn.speed) for heat in helped),
        "times_best_as_run_per_core": as_run.times_best_peer(lambda turn: turn.speed_of_two_cores),
        "times_best_helped_per_core": min(
            heat.times_best_peer(lambda turn: turn.speed_of_two_cores) for heat in helped
        ),
        "share_of_limit": speed * needed / rate.median,
        "loss_above_best_peer": losses[OURS] - peers_loss,
    }
    low, high = min(rate.measured) / 1e9, max(rate.measured) / 1e9
    print(
        f"\nA step needs {needed / 1e9:.3f} GFLOP per token; matrix products of its shapes run at "
        f"{rate.median / 1e9:.0f} GFLOP/s ({low:.0f} to {high:.0f}): a limit of {rate.median / needed:.0f} "
        f"tokens/s, of which we reach {result['share_of_limit']:.0%}."
    )
    profile = ", ".join(f"{name} {share:.0%}" for name, share in as_run.profile)
    print(f"Time of our last step: {profile}.")
    failures = _failures(result)
    figures = {"gflop_per_token": needed / 1e9, "gflops_limit": rate.median / 1e9, "losses": dict(losses)}
    print(json.dumps({**result, **figures, "failures": failures}))
    raise SystemExit(1 if failures else 0)


def _failures(result: Mapping[str, float]) -> list[str]:
    checks = (
        (result["times_best_as_run"], AS_RUN, "times the best peer as run"),
        (result["times_best_helped"], HELPED, "times the best peer helped"),
        (result["share_of_limit"], OF_LIMIT, "of the limit"),
    )
    failures = [
        f"{reached:.2f} {what}, promised {least}" for reached, least, what in checks if reached < least
    ]
    if result["loss_above_best_peer"] > LOSS_TOLERANCE:
        failures.append(f"held-out loss is {result['loss_above_best_peer']:.3f} above the best peer's")
    return failures


def _rows(
    given: argparse.Namespace, scratch: Path, config: PrecisionConfig
) -> tuple[list[TokenSequence], list[TokenSequence]]:
    """Make the rows to train on, which are written to a file for the contestants, and the held-out rows."""
    dataset.make(given.stories, scratch / "dataset")
    examples = {part: read_examples(scratch / "dataset" / part, part) for part in ("train", "test")}
    base = load_base(BASE, config)
    rows = sample_rows(examples["train"], base, BASE, LENGTH, tokens=given.tokens)
    write_rows(rows, scratch / "rows.json")
    return rows, sample_rows(examples["test"], base, BASE, LENGTH, tokens=HELD_OUT_TOKENS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", required=True, help="Python that has benchmarks/requirements-train.txt")
    parser.add_argument("--stories", type=Path, default=CHECKOUT / "sample_stories")
    parser.add_argument("--tokens", type=int, default=TRAINED_TOKENS, help="that each trainer trains on")
    parser.add_argument("--precisions", action="store_true", help="only try the peers in every precision")
    parser.add_argument("--preload", help="a malloc library for the helped peers; default: tcmalloc if found")
    return parser.parse_args()


if __name__ == "__main__":
    main()
