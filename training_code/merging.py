"""Writes the base model's weights with the adapter added to them, for a base that is hosted only so.

Of some kinds of model, GPT-2's among them, the server that answers takes no adapters (docs/decisions/0011).
Which they are was decided when the base was staged; its `staged.json` says so.
"""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from training_code.model import load_adapter

_MARKER = "staged.json"


def is_hosted_merged(base: Path) -> bool:
    """Whether versions of this base model are hosted as whole weights."""
    marker = base / _MARKER
    if not marker.exists():
        return False
    return bool(json.loads(marker.read_text(encoding="utf-8")).get("hosting") == "merged")


def write_merged(base: Path, adapter: Path, folder: Path, device: torch.device) -> None:
    """Write the merged weights below `folder`, under the names and in the number format of the base's own.

    The base is loaded anew, as it is on disk: what was used before may have been rounded.

    Raises:
        JobError: the adapter does not fit the base.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    adapted = load_adapter(model.to(device), adapter, "candidate")
    adapted.merge_and_unload(safe_merge=True).save_pretrained(folder)
