"""One contestant of the training benchmark: reads the rows, trains on each once, saves its adapter.

    python -m benchmarks.train_contestants '{"contest": …, "contestant": …}'

`train_turns.ContestantProcess` starts it. Peers are used through their public classes, as their documentation
says.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    DataCollatorForSeq2Seq,
    DataCollatorWithFlattening,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.train_data import read_rows
from benchmarks.train_turns import Contest, Contestant, TurnReporter
from storyloom_jobs.container import StopSignal
from storyloom_jobs.cpu.resources import tune_malloc
from storyloom_jobs.hardware import choose_precision
from storyloom_jobs.hyperparameters import Hyperparameters
from storyloom_jobs.lora_model import add_adapter, load_base
from storyloom_jobs.tokenization import IGNORE_INDEX, TokenSequence
from storyloom_jobs.training.distributed import ProcessGroup
from storyloom_jobs.training.loop import OutputFolders, TrainingData, TrainingLoop
from storyloom_jobs.training.metrics_log import MetricsLogger, MetricsRow
from storyloom_jobs.training.schedule import TimeBudget


def main() -> None:
    """Train as the contestant that the argument describes."""
    channel = TurnReporter.take_channel()
    given = json.loads(sys.argv[1])
    contest, contestant = Contest(**given["contest"]), Contestant(**given["contestant"])
    rows = read_rows(Path(contest.rows))
    if contestant.trainer == "storyloom" or contestant.helped:
        tune_malloc()
    adapter = Path(contest.scratch) / contestant.folder
    if contestant.trainer == "storyloom":
        model = storyloom(contest, contestant, rows, channel)
    else:
        model = peer(contest, contestant, rows, channel)
    if channel is not None:
        model.save_pretrained(adapter, save_embedding_layers=False)


class _TurnMetrics(MetricsLogger):
    """Reports each step of our training loop."""

    reporter: TurnReporter
    tokens: list[int]
    """Tokens of each planned step."""

    def step(
        self, step: int, loss: float, tokens_per_second: float, learning_rate: float, seconds: float
    ) -> MetricsRow:
        row = super().step(step, loss, tokens_per_second, learning_rate, seconds)
        self.reporter.step_done(self.tokens[step - 1], ended=step == len(self.tokens))
        return row


def storyloom(contest: Contest, contestant: Contestant, rows: list[TokenSequence], channel: Any) -> Any:
    """Train with our loop, as the job runs it."""
    config = choose_precision("bf16" if contestant.precision == "bf16" else "fp32")
    settings = Hyperparameters(
        epochs=1,
        learning_rate=contest.learning_rate,
        lora_rank=contest.rank,
        sequence_length=contest.length,
        batch_tokens=contest.batch_tokens,
        micro_batch_tokens=contest.batch_tokens,
        warmup_fraction=0.0,
        eval_fraction_seconds=0.0,
        checkpoint_seconds=86_400,
        patience=1000,
        max_seconds=86_400,
        seed=contest.seed,
        quantization="nf4" if contest.quantized else "none",
        merge_adapters="no" if contest.quantized else "yes",
        # as the job chooses for trainings of more than five minutes
        compile_layers="yes" if config.device.type == "cpu" and contestant.precision == "bf16" else "no",
    )
    group = ProcessGroup.from_environment()
    model = add_adapter(load_base(Path(contest.base), config, settings.quantization), settings)
    scratch = Path(contest.scratch)
    metrics = _TurnMetrics(device=config.device)
    loop = TrainingLoop(
        model,
        TrainingData(rows, rows[:1]),
        settings,
        precision=config,
        budget=TimeBudget(settings.max_seconds, time.monotonic()),
        stop=StopSignal(),
        folders=OutputFolders(scratch / "checkpoints", scratch / "result"),
        metrics=metrics,
        group=group,
    )
    metrics.tokens = [sum(len(rows[row]) for row in step) for step in loop.plan]
    metrics.reporter = TurnReporter(len(loop.plan), channel)
    loop.run()
    group.destroy()
    return model


class _TurnCallback(TrainerCallback):  # type: ignore[misc]  # transformers' types are not read
    """Reports each step of transformers' Trainer."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._seen = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._reporter = TurnReporter(state.max_steps, self._channel)

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        tokens, self._seen = state.num_input_tokens_seen - self._seen, state.num_input_tokens_seen
        self._reporter.step_done(int(tokens), ended=state.global_step == state.max_steps)


def peer(contest: Contest, contestant: Contestant, rows: list[TokenSequence], channel: Any) -> Any:
    """Train with Trainer and peft, or with TRL's SFTTrainer."""
    import datasets  # noqa: PLC0415 - only in the peers' environment

    dataset = datasets.Dataset.from_list([_columns(row) for row in rows])
    tokenizer = AutoTokenizer.from_pretrained(contest.base)
    model = _base_of_peer(contest, contestant)
    lora = _lora(contest)
    callback = _TurnCallback(channel)
    if contestant.trainer == "sft":
        from trl import SFTConfig, SFTTrainer  # noqa: PLC0415 - only in the peers' environment

        arguments = SFTConfig(
            **_arguments(contest, contestant, rows),
            max_length=contest.length,
            packing=contestant.padding_free,
        )
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=dataset,
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=[callback],
        )
    else:
        trainer = Trainer(
            model=_with_adapter(model, lora, contest),
            args=TrainingArguments(**_arguments(contest, contestant, rows)),
            train_dataset=dataset,
            data_collator=DataCollatorWithFlattening()
            if contestant.padding_free
            else DataCollatorForSeq2Seq(tokenizer, padding=True),
            callbacks=[callback],
        )
    trainer.train()
    return trainer.model


def _columns(row: TokenSequence) -> dict[str, list[int]]:
    labels = [
        token if counts else IGNORE_INDEX for token, counts in zip(row.tokens, row.loss_mask, strict=True)
    ]
    return {"input_ids": list(row.tokens), "labels": labels}


def _lora(contest: Contest) -> Any:
    from peft import LoraConfig  # noqa: PLC0415 - beside its use

    return LoraConfig(
        r=contest.rank, lora_alpha=2 * contest.rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _with_adapter(model: Any, lora: Any, contest: Contest) -> Any:
    from peft import get_peft_model, prepare_model_for_kbit_training  # noqa: PLC0415 - beside its use

    if contest.quantized:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return get_peft_model(model, lora)


def _base_of_peer(contest: Contest, contestant: Contestant) -> Any:
    dtype = torch.float32 if contestant.precision in {"fp32", "bf16 autocast"} else torch.bfloat16
    more: dict[str, Any] = {}
    if contest.quantized:
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
        more["device_map"] = {"": 0}
    return AutoModelForCausalLM.from_pretrained(contest.base, dtype=dtype, **more)


def _arguments(contest: Contest, contestant: Contestant, rows: list[TokenSequence]) -> dict[str, Any]:
    """Return the arguments of both peers. All others stay at their defaults."""
    # TRL packs rows to the length of the longest one.
    packed = contestant.trainer == "sft" and contestant.padding_free
    mean = contest.length if packed else sum(map(len, rows)) / len(rows)
    return {
        "output_dir": str(Path(contest.scratch) / f"{contestant.folder}-output"),
        "num_train_epochs": 1,
        "per_device_train_batch_size": max(1, round(contest.batch_tokens / mean / contestant.processes)),
        "learning_rate": contest.learning_rate,
        "lr_scheduler_type": "cosine",
        "bf16": contestant.precision in {"bf16", "bf16 autocast"},
        "gradient_checkpointing": contestant.checkpointed,
        "torch_compile": contestant.compiled,
        "include_num_input_tokens_seen": "all" if contestant.padding_free else "non_padding",
        "seed": contest.seed,
        "use_cpu": not torch.cuda.is_available(),
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


if __name__ == "__main__":
    main()
