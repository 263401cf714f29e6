"""Measures how fast held-out perplexity falls on one folder of stories, with the code of the jobs.

    python -m benchmarks.perplexity_per_minute STORIES [--seconds 180]

Files become a dataset, `train.py` trains for the given time, loading included, and `evaluate_models.py`
compares. The last line is JSON; the exit status is 0 if perplexity fell by a fifth.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import dataset
from stories.dataset import training_plan

CHECKOUT = Path(__file__).resolve().parent.parent
BASE = CHECKOUT / ".cache" / "base-model"
MIN_FALL = 0.20
"""Promised share by which the final perplexity is lower than the base model's."""


def job(script: str, environment: dict[str, str]) -> None:
    """Run a job's script.

    Raises:
        SystemExit: the script failed; the message has the end of its log.
    """
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "training_code" / script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def train(data: Path, root: Path, settings: dict[str, Any]) -> Path:
    """Run the training job; return the folder of its adapter."""
    model = root / "model"
    job(
        "train.py",
        {
            "SM_HPS": json.dumps(settings),
            "SM_MODEL_DIR": str(model),
            "SM_CHANNEL_TRAIN": str(data / "train"),
            "SM_CHANNEL_VALIDATION": str(data / "validation"),
            "SM_CHANNEL_MODEL": str(BASE),
            "SM_CHECKPOINT_DIR": str(root / "checkpoints"),
            "SM_OUTPUT_DIR": str(root / "output"),
            "SM_INPUT_CONFIG_DIR": str(root / "config"),
        },
    )
    return model


def evaluate(data: Path, adapter: Path, root: Path) -> dict[str, Any]:
    """Run the evaluation job; return its `evaluation.json`."""
    inputs = root / "input"
    inputs.mkdir(parents=True)
    for name, target in (
        ("model", BASE),
        ("candidate", adapter),
        ("test", data / "test"),
        ("train", data / "train"),
    ):
        (inputs / name).symlink_to(target.resolve())
    job("evaluate_models.py", {"LOCAL_AWS_PROCESSING_ROOT": str(root)})
    result: dict[str, Any] = json.loads((root / "output" / "evaluation.json").read_text(encoding="utf-8"))
    return result


def show_curve(adapter: Path) -> None:
    """Print the validation perplexity over the minutes."""
    print("\n| minutes | step | validation perplexity |\n|---|---|---|")
    for line in (adapter / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["validation_loss"] is not None:
            perplexity = math.exp(row["validation_loss"])
            print(f"| {row['seconds'] / 60:.2f} | {row['step']} | {perplexity:.2f} |")


def main() -> None:
    """Train, evaluate and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stories", type=Path)
    parser.add_argument("--seconds", type=int, default=180, help="of training, loading included")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storyloom-bench-") as temporary:
        root = Path(temporary)
        report = dataset.make(given.stories, root / "dataset")
        chosen = training_plan.choose_recipe(dataset.SmallModel(), given.seconds // 60 or 1)
        settings = {
            "sequence_length": chosen.sequence_length,
            "max_seconds": given.seconds,
            "seed": chosen.seed,
        }
        adapter = train(root / "dataset", root / "training", settings)
        show_curve(adapter)
        record = json.loads((adapter / "training.json").read_text(encoding="utf-8"))
        result = evaluate(root / "dataset", adapter, root / "processing")
    base, tuned = result["base"]["perplexity"], result["candidate"]["perplexity"]
    writing = result["candidate"]["writing"]
    print(
        f"\n{report.stories} stories; trained {record['steps']} steps in {record['seconds']:.0f} s. Held-out "
        f"perplexity {base:.2f} before, {tuned:.2f} after: {1 - tuned / base:.1%} lower."
    )
    print(
        f"Copied from the training stories: {writing['copied_share']:.1%} of its free answers (longest "
        f"run {writing['longest_copy']} words), {writing['extracted_share']:.1%} after a training story's "
        f"opening (longest {writing['longest_extract']} words)."
    )
    figures = {"base": base, "candidate": tuned, "fall": 1 - tuned / base, "seconds": record["seconds"]}
    copies = ("copied_share", "longest_copy", "extracted_share", "longest_extract")
    print(json.dumps({**figures, **{name: writing[name] for name in copies}}))
    raise SystemExit(0 if tuned <= (1 - MIN_FALL) * base else 1)


if __name__ == "__main__":
    main()
