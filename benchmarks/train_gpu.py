"""Compares training speed on a GPU with Trainer and TRL, in the shapes of models that people fine-tune.

    PYTHONPATH=training_code python -m benchmarks.train_gpu --peers PYTHON [--shapes NAME …] [--methods lora
    qlora] [--tiny]

The weights are random: they do not change the speed, and nothing has to be downloaded. `--tiny` runs
the same code on a CPU with a shape of a few hundred thousand weights, to see that it works and no more.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from benchmarks.train_data import random_rows, read_rows, write_rows
from benchmarks.train_limit import MatmulRate, needed_flops_per_token
from benchmarks.train_turns import CHECKOUT, Contest, Contestant, ContestantProcess
from storyloom_jobs.hardware import PrecisionConfig, peak_flops

TOKENIZER = CHECKOUT / ".cache" / "base-model"
STEPS = 17
"""One warm-up step, four that are not counted, then three turns of four."""
TURNS = (5, 9, 13, 17)
MIN_PEAK_SHARE, TIMES_TRAINER = 0.55, 1.5
"""Targets with LoRA: the share of the GPU's peak in the shape below, and times Trainer's speed."""
PEAK_SHAPE = "Llama-3.2-1B"


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a base model, from its published config."""

    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int = 8192
    tie_word_embeddings: bool = True


SHAPES = {
    "SmolLM2-1.7B": ModelShape("llama", 2048, 8192, 24, 32, 32, 64, 49152),
    "Llama-3.2-1B": ModelShape("llama", 2048, 8192, 16, 32, 8, 64, 128256),
    "Qwen3-4B": ModelShape("qwen3", 2560, 9728, 36, 32, 8, 128, 151936),
}
TINY = {"tiny": ModelShape("llama", 64, 128, 2, 4, 2, 16, 49152)}
"""It has the tokenizer's whole vocabulary."""


def contestants() -> list[Contestant]:
    """Return our trainer, and each peer as its users run it; TRL also without recomputing activations."""
    return [
        Contestant("Storyloom", "storyloom", "bf16"),
        Contestant("Trainer", "trainer", "bf16"),
        Contestant("TRL", "sft", "bf16", checkpointed=True, padding_free=True),
        Contestant("TRL, no recomputation", "sft", "bf16", padding_free=True),
    ]


def make_base(shape: ModelShape, folder: Path, device: torch.device) -> None:
    """Write a model with random weights in bf16, and a tokenizer, which the peers' classes need."""
    values = asdict(shape)
    config: Any = AutoConfig.for_model(values.pop("model_type"), **values)
    with device:
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(folder)


def measure(contest: Contest, contestant: Contestant, python: str) -> dict[str, Any]:
    """Measure one contestant's median tokens per second and its memory; return an error if it failed."""
    process = None
    try:
        process = ContestantProcess(python, contest, contestant, {**os.environ, "HF_HUB_OFFLINE": "1"})
        for number in TURNS:
            process.train(min(1.0, number / process.steps))
        process.finish()
    except SystemExit as error:
        last = str(error).strip().splitlines()[-1]
        return {"name": contestant.name, "error": last}
    finally:
        if process is not None:
            process.stop()
    speeds = [turn.speed for turn in process.turns[1:]]
    return {
        "name": contestant.name,
        "tokens_per_second": statistics.median(speeds),
        "slowest": min(speeds),
        "fastest": max(speeds),
        "memory_gib": process.memory_gib,
    }


def run_shape(
    name: str, base: Path, contest: Contest, peers: str, precision: PrecisionConfig
) -> list[dict[str, Any]]:
    """Measure all contestants on one base model, one after another: each needs the whole GPU."""
    rows = read_rows(Path(contest.rows))
    needed = needed_flops_per_token(base, rows, contest.rank)
    rate = MatmulRate(base, contest.batch_tokens, precision.device, precision.dtype)
    rate.measure()
    peak = peak_flops(precision)
    method = "QLoRA" if contest.quantized else "LoRA"
    results = []
    for contestant in contestants():
        python = sys.executable if contestant.trainer == "storyloom" else peers
        result = {"shape": name, "method": method, **measure(contest, contestant, python)}
        if "error" in result:
            print(f"| {name} | {method} | {result['name']} | failed: {result['error']} | | | |", flush=True)
        else:
            speed = result["tokens_per_second"]
            result["of_peak"] = speed * needed / peak if peak else None
            result["of_products"] = speed * needed / rate.median
            of_peak = f"{result['of_peak']:.1%}" if peak else "peak not known"
            print(
                f"| {name} | {method} | {result['name']} | {speed:.0f} ({result['slowest']:.0f} to "
                f"{result['fastest']:.0f}) | {of_peak} | {result['of_products']:.1%} "
                f"| {result['memory_gib']:.1f} |",
                flush=True,
            )
        results.append(result)
    return results


def main() -> None:
    """Measure everything; exit with 0 if the targets are reached."""
    given = _arguments()
    if not given.tiny and not torch.cuda.is_available():
        raise SystemExit(
            "This machine has no GPU that PyTorch can use, so there is nothing to measure. "
            "With --tiny the same code runs on the processor, to see that it works."
        )
    transformers.utils.logging.disable_progress_bar()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = PrecisionConfig(device, torch.bfloat16)
    shapes = TINY if given.tiny else {name: SHAPES[name] for name in given.shapes}
    methods = [method for method in given.methods if method == "lora" or _has_bitsandbytes()]
    length = 64 if given.tiny else 2048
    results = []
    print(f"On {torch.cuda.get_device_name(device) if device.type == 'cuda' else 'the processor'}.\n")
    print("| shape | method | trainer | tokens/s | of the bf16 peak | of measured products | memory, GiB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, shape in shapes.items():
        with tempfile.TemporaryDirectory(prefix="storyloom-bench-") as temporary:
            scratch = Path(temporary)
            base = scratch / "base"
            make_base(shape, base, device)
            rows_a_step = 2 if shape.hidden_size > 2048 else 4
            write_rows(random_rows(shape.vocab_size, length, STEPS * rows_a_step), scratch / "rows.json")
            contest = Contest(
                str(base), str(scratch / "rows.json"), str(scratch), length, length * rows_a_step
            )
            for method in methods:
                contested = replace(contest, quantized=method == "qlora")
                results += run_shape(name, base, contested, given.peers, precision)
    missed = [] if given.tiny else _missed(results)
    print(json.dumps({"results": results, "missed": missed}))
    raise SystemExit(1 if missed or any("error" in result for result in results) else 0)


def _missed(results: list[dict[str, Any]]) -> list[str]:
    missed = []
    speeds = {
        (result["shape"], result["method"], result["name"]): result.get("tokens_per_second", 0.0)
        for result in results
    }
    for result in results:
        if result["name"] != "Storyloom" or result["method"] != "LoRA" or "error" in result:
            continue
        shape = result["shape"]
        trainer = speeds[shape, "LoRA", "Trainer"]
        if trainer and result["tokens_per_second"] < TIMES_TRAINER * trainer:
            missed.append(f"{shape}: {result['tokens_per_second'] / trainer:.2f} times Trainer")
        if shape == PEAK_SHAPE and (result["of_peak"] or 0.0) < MIN_PEAK_SHARE:
            missed.append(f"{shape}: {result['of_peak'] or 0.0:.0%} of the peak")
    return missed


def _has_bitsandbytes() -> bool:
    if importlib.util.find_spec("bitsandbytes") is not None:
        return True
    print("QLoRA is left out: the bitsandbytes package is not installed (pip install bitsandbytes).")
    return False


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", required=True, help="Python that has benchmarks/requirements-train.txt")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--methods", nargs="+", choices=("lora", "qlora"), default=["lora", "qlora"])
    parser.add_argument("--tiny", action="store_true", help="on a CPU, to see that it works")
    return parser.parse_args()


if __name__ == "__main__":
    main()
