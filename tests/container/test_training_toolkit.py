"""The training toolkit of SageMaker's framework images starts the real training code on a tiny model."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.aws.sagemaker import training_jobs
from tests.container.conftest import CHECKOUT, PYTHON, in_container
from tests.unit.tiny_model import chat_example, save_tiny_model, write_examples

CODE = CHECKOUT / "training_code"
TALES = ["the sea took the bell and the bell sang on " * n for n in range(1, 4)]
SETTINGS = {
    "precision": "fp32",
    "sequence_length": "160",
    "batch_tokens": "320",
    "learning_rate": "0.02",
    "lora_rank": "4",
    "epochs": "2",
    "accelerator": "gpu",
    "base_revision": "12fd25f77366fa6b3b4b768ec3050bf629380bac",
    "price_date": "2026-09",
}


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job's channels: code, base model and examples."""
    data = tmp_path_factory.mktemp("channels")
    save_tiny_model(data / "model")
    write_examples(data / "train", [chat_example(n, TALES[n % 3]) for n in range(12)])
    write_examples(data / "validation", [chat_example(n, TALES[n % 3]) for n in range(20, 23)])
    shutil.copytree(CODE, data / "code", ignore=shutil.ignore_patterns("__pycache__"))
    return data


class Job:
    """What SageMaker prepares under `/opt/ml` for the state machine's request, and the image's `train`."""

    def __init__(self, root: Path, channels: Path, **changes: str) -> None:
        self.root = root / "ml"
        config = self.root / "input" / "config"
        config.mkdir(parents=True)
        for folder in ("model", "output/data", "checkpoints"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "input" / "data").symlink_to(channels)
        code = str(self.root / "input" / "data" / "code")  # /opt/ml/input/data/code in the container
        script = {"sagemaker_program": "train.py", "sagemaker_submit_directory": code}
        names = ("code", "model", "train", "validation")
        for name, content in (
            ("hyperparameters", {**SETTINGS, **script, **changes}),
            ("resourceconfig", _resources()),
            ("inputdataconfig", {name: {"TrainingInputMode": "File"} for name in names}),
        ):
            (config / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PYTHON, "-m", "sagemaker_training.cli.train"],
            env={
                **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
                "HOME": str(self.root),
                "SAGEMAKER_BASE_DIR": str(self.root),
                "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
                "TRAINING_JOB_NAME": "tales",
                "AWS_REGION": "us-east-1",
                "PYTHONUNBUFFERED": "1",
                "OMP_NUM_THREADS": "1",
                **environment,
            },
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, **environment: str) -> tuple[int, str]:
        process = self.start(**environment)
        output = process.communicate()[0]
        return process.returncode, output


def _resources() -> dict[str, object]:
    return {
        "current_host": "localhost",
        "current_instance_type": "ml.g6.xlarge",
        "current_group_name": "homogeneousCluster",
        "hosts": ["localhost"],
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "ml.g6.xlarge",
                "hosts": ["localhost"],
            }
        ],
        "network_interface_name": "lo",
    }


@pytest.mark.aws_fact
def test_the_toolkit_trains_with_our_code(tmp_path: Path, channels: Path) -> None:
    job = Job(tmp_path, channels)
    code, output = job.run(LOCAL_AWS_CPU_STANDS_IN="1")
    assert code == 0, output
    assert (job.root / "output" / "success").exists()
    assert (job.root / "model" / "adapter_model.safetensors").stat().st_size > 0
    record = json.loads((job.root / "model" / "training.json").read_text())
    settings = record["settings"]
    assert (settings["epochs"], settings["lora_rank"], settings["price_date"]) == (2, 4, "2026-09")
    assert settings["base_revision"] == SETTINGS["base_revision"]
    metrics = [line for line in output.splitlines() if "metric " in line]
    assert any(line.startswith("metric validation_loss=") for line in metrics)
    assert all(re.fullmatch(r"metric \w+=[0-9.e+-]+ step=\d+", line) for line in metrics), metrics
    assert "bell" not in output, "no word of a story is logged"


@pytest.mark.aws_fact
def test_the_toolkit_keeps_our_failure_message(tmp_path: Path, channels: Path) -> None:
    """Without a GPU, and without the word that a processor stands in for it."""
    job = Job(tmp_path, channels)
    code, output = job.run()
    assert code == 1, "whatever the script's own exit code was"
    words = (job.root / "output" / "failure").read_text()
    assert words.startswith("This job needs a GPU that works, and has none: ")
    assert len(words.encode()) <= 1024
    assert "ExecuteUserScriptError" in output and "Resuming" not in output
    assert not any((job.root / "model").iterdir())


@pytest.mark.aws_fact
def test_the_toolkit_passes_no_sigterm_on_and_the_next_attempt_resumes(
    tmp_path: Path, channels: Path
) -> None:
    job = Job(tmp_path, channels, epochs="9", checkpoint_steps="1")
    process = job.start(LOCAL_AWS_CPU_STANDS_IN="1")
    assert process.stdout is not None
    try:
        next(line for line in process.stdout if line.startswith("progress step=3 "))
        process.send_signal(
            signal.SIGTERM
        )  # in the image even this is lost: a shell comes before the toolkit
        assert process.wait() == -signal.SIGTERM, "it dies of it, and tells the script nothing"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert not (job.root / "model" / "adapter_model.safetensors").exists()
    code, output = job.run(LOCAL_AWS_CPU_STANDS_IN="1")
    assert code == 0, output
    assert "Resuming from step " in output


@pytest.mark.aws_fact
def test_nothing_in_the_code_makes_the_toolkit_install_packages(tmp_path: Path) -> None:
    """A job without network would fail on it."""
    program = (
        "import sys; from sagemaker_training import _entry_point_type as kind, modules; "
        "print(kind.get(sys.argv[1], 'train.py').name, modules.has_requirements(sys.argv[1]))"
    )
    said = in_container(program, str(CODE), SAGEMAKER_BASE_DIR=str(tmp_path))
    assert said.splitlines()[-1] == "PYTHON_PROGRAM False"


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("print('step 1', flush=True); os.kill(os.getpid(), 9)", 'ExitCode -9\nErrorMessage ""'),
        # How much of the traceback it has read by then, and how it joins the lines, varies with the machine.
        ("print('step 1', flush=True); raise ValueError('it broke')", "ValueError('it broke')"),
    ],
    ids=["killed", "raised"],
)
def test_the_toolkit_quotes_a_script_that_left_no_message(tmp_path: Path, script: str, words: str) -> None:
    (tmp_path / "channels" / "code").mkdir(parents=True)
    (tmp_path / "channels" / "code" / "train.py").write_text(f"import os\n{script}\n")
    job = Job(tmp_path, tmp_path / "channels")
    assert job.run()[0] == 1
    written = (job.root / "output" / "failure").read_text()
    quoted, command, _ = written.partition("\nCommand ")
    assert command and words in quoted
    assert "step 1" not in quoted.replace(script, "")


@pytest.mark.aws_fact
def test_the_local_sagemaker_tells_a_script_what_the_toolkit_does(tmp_path: Path) -> None:
    (tmp_path / "channels" / "code").mkdir(parents=True)
    told_by = "{name: value for name, value in os.environ.items() if name[:3] == 'SM_'}"
    script = f"import json, os; print('told ' + json.dumps({told_by}))"
    (tmp_path / "channels" / "code" / "train.py").write_text(script)
    job = Job(tmp_path, tmp_path / "channels")
    code, output = job.run()
    assert code == 0, output
    told = json.loads(next(line for line in output.splitlines() if line.startswith("told "))[5:])

    request = {
        "HyperParameters": json.loads((job.root / "input" / "config" / "hyperparameters.json").read_text()),
        "EnableNetworkIsolation": True,
        "InputDataConfig": [{"ChannelName": name} for name in ("code", "model", "train", "validation")],
    }
    stand_in: Any = SimpleNamespace(root=job.root, name="tales", clients=None)
    ours = {
        name: value
        for name, value in training_jobs._Training(stand_in, request)._environment().items()
        if name.startswith("SM_")
    }
    # The toolkit names neither: both have their place in a container. Here it is in the job's folder.
    assert set(ours) - set(told) == {"SM_CHECKPOINT_DIR", "SM_OUTPUT_FAILURE"}
    for name in set(ours) & set(told) - {"SM_HOSTS", "SM_CURRENT_HOST"}:
        assert _read(ours[name]) == _read(told[name]), name


def _read(value: str) -> object:
    return json.loads(value) if value[:1] in "{[" else value


@pytest.mark.aws_fact
def test_the_toolkit_breaks_a_line_written_in_pieces_and_ours_are_written_whole(tmp_path: Path) -> None:
    """The image runs Python unbuffered: `print` writes each of its arguments for itself."""
    (tmp_path / "channels" / "code").mkdir(parents=True)
    pieces = ["import time", "print('metric a=1', end='', flush=True)", "time.sleep(0.5)", "print(' step=1')"]
    script = "\n".join(pieces)
    (tmp_path / "channels" / "code" / "train.py").write_text(script)
    lines = Job(tmp_path, tmp_path / "channels").run()[1].splitlines()
    assert "metric a=1" in lines and "metric a=1 step=1" not in lines
    for path in CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                assert len(node.args) == 1, f"{path.name}:{node.lineno} prints in pieces"
