"""Reads `serving.yaml`, the `--config` file of vLLM, for the models to serve."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CONTAINER_FOLDER = "/opt/ml/model"
DEFAULT_MAX_LENGTH = 4096
DTYPES = ("auto", "float32", "bfloat16")


class ServingConfigError(Exception):
    """The model folder cannot be served; the message names the file and what is wrong in it."""


@dataclass(frozen=True)
class AdapterConfig:
    """One adapter, and the name that requests ask for it by."""

    name: str
    path: Path


@dataclass(frozen=True)
class ServingConfig:
    """The models of one folder."""

    base: Path
    base_names: tuple[str, ...]
    """What requests may call it; answers give the first."""
    adapters: tuple[AdapterConfig, ...]
    max_length: int
    """Tokens of prompt and answer together."""
    dtype: str
    """`float32`, `bfloat16`, or `auto` for whichever is fast on this processor."""
    generation: dict[str, float]
    """`override-generation-config`: defaults of requests, before those of the model's own file."""
    chat_template: str | None
    """`chat-template`: in place of the tokenizer's own."""


def read_serving_config(model_folder: Path) -> ServingConfig:
    """Read `model_folder/serving.yaml`; `/opt/ml/model` in it means `model_folder`.

    Raises:
        ServingConfigError: the file or a folder it names is missing, or an entry has another form.
    """
    file = model_folder / "serving.yaml"
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError:
        raise ServingConfigError(f"{file} is missing: it names the models to serve.") from None
    except yaml.YAMLError as error:
        raise ServingConfigError(f"{file} is not YAML: {error}") from None
    if not isinstance(values, dict) or "model" not in values:
        raise ServingConfigError(f"{file} must have `model: {CONTAINER_FOLDER}/base`.")
    names = values.get("served-model-name", ["base"])
    modules = values.get("lora-modules") or []
    return ServingConfig(
        base=_folder(values["model"], model_folder, file),
        base_names=tuple([names] if isinstance(names, str) else names),
        adapters=tuple(_adapter(entry, model_folder, file) for entry in modules),
        max_length=int(values.get("max-model-len", DEFAULT_MAX_LENGTH)),
        dtype=_dtype(values.get("dtype", "auto"), file),
        generation=_generation(values.get("override-generation-config", "{}"), file),
        chat_template=_template(values.get("chat-template"), model_folder, file),
    )


def _generation(text: str, file: Path) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        raise ServingConfigError(
            f"{file}: override-generation-config must be a JSON object of numbers."
        ) from None


def _dtype(name: str, file: Path) -> str:
    if name not in DTYPES:
        raise ServingConfigError(f"{file} has dtype: {name}; it must be one of {', '.join(DTYPES)}.")
    return name


def _adapter(entry: Any, model_folder: Path, file: Path) -> AdapterConfig:
    try:
        parsed = json.loads(entry) if isinstance(entry, str) else entry
        return AdapterConfig(str(parsed["name"]), _folder(parsed["path"], model_folder, file))
    except (ValueError, KeyError, TypeError):
        raise ServingConfigError(
            f"{file}: each entry of lora-modules must be a JSON object with `name` and `path`."
        ) from None


def _template(text: Any, model_folder: Path, file: Path) -> str | None:
    if text is None:
        return None
    path = _here(text, model_folder)
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        raise ServingConfigError(f"{file} names {text}, and there is no file {path}.") from None


def _here(text: Any, model_folder: Path) -> Path:
    return Path(str(text).replace(CONTAINER_FOLDER, str(model_folder), 1))


def _folder(text: str, model_folder: Path, file: Path) -> Path:
    path = _here(text, model_folder)
    if not path.is_dir():
        raise ServingConfigError(f"{file} names {text}, and {path} is not a folder.")
    return path
