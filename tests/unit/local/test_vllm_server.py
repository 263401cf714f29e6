"""Real vLLM is started with the arguments that its container's entry point would give it."""

import importlib
import json
from pathlib import Path

import pytest
import yaml

from deploy.bundle import adapters_config, common_config
from local.aws.web.sites import PortGuard
from local.vllm_server import CPU_ARGUMENTS, server_arguments
from shared.hosting.endpoint_configs import CONTAINER_VARIABLES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "ml" / "model"
    model.mkdir(parents=True)
    config = common_config(8192) | adapters_config(["v2", "v1"], rank=8)
    (model / "serving.yaml").write_text(yaml.safe_dump(config))
    return model


def added(variables: dict[str, str], folder: Path) -> list[str]:
    """Return the arguments beside the port and what a machine without a GPU needs."""
    arguments = server_arguments(variables, folder, 8080)
    assert arguments[:2] == ["--port", "8080"]
    assert arguments[2 : 2 + len(CPU_ARGUMENTS)] == CPU_ARGUMENTS
    return arguments[2 + len(CPU_ARGUMENTS) :]


def test_no_web_page_may_ask(folder: Path) -> None:
    """vLLM itself takes any Host, and lets every origin read its answers."""
    arguments = server_arguments({}, folder, 8080)
    name = arguments[arguments.index("--middleware") + 1]
    module, _, guard = name.rpartition(".")
    assert getattr(importlib.import_module(module), guard) is PortGuard


def test_the_apps_variables_name_the_file_and_the_base(folder: Path) -> None:
    own = folder.parent / "serving.yaml"
    assert added(CONTAINER_VARIABLES, folder) == ["--config", str(own), "--model", str(folder / "base")]
    config = yaml.safe_load(own.read_text())
    assert config["model"] == str(folder / "base")
    assert [json.loads(module)["path"] for module in config["lora-modules"]] == [
        str(folder / "adapters" / version) for version in ("v2", "v1")
    ]
    assert yaml.safe_load((folder / "serving.yaml").read_text())["model"] == "/opt/ml/model/base"


def test_without_a_model_it_is_the_folder_whatever_the_file_says(folder: Path) -> None:
    variables = {"SM_VLLM_CONFIG": str(folder / "serving.yaml")}
    assert added(variables, folder)[:2] == ["--model", str(folder)]


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ("true", ["--flag-name"]),
        ("False", []),
        ("", ["--flag-name"]),
        ("4096", ["--flag-name", "4096"]),
        ("two words", ["--flag-name", "two words"]),
        ('["a", {"b": 1}]', ["--flag-name", "a", '{"b": 1}']),
        ("[]", []),
        ('{"b": 1}', ["--flag-name", '{"b": 1}']),
    ],
)
def test_a_variable_is_a_flag(folder: Path, value: str, tokens: list[str]) -> None:
    variables = {"SM_VLLM_MODEL": "m", "SM_VLLM_FLAG_NAME": value, "VLLM_FLAG_NAME": "not ours"}
    assert added(variables, folder) == [*tokens, "--model", "m"]
