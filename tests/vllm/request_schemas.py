"""Writes down what vLLM's own classes take for the fields that the API lets through.

`PYTHONPATH=. .build/vllm-venv/bin/python -m tests.vllm.request_schemas` writes it, for the version of vLLM in
`local/requirements-vllm.txt`; `make test-vllm` compares. `tests/unit/endpoint/test_request_schemas.py` reads
it without vLLM.
"""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parents[1] / "unit" / "endpoint" / "vllm_request_schemas.json"
FIELDS = {
    "both": (
        *("model", "stream", "stream_options", "max_tokens", "temperature", "top_p", "top_k", "min_p", "n"),
        *("seed", "stop", "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias"),
        *("ignore_eos", "logprobs"),
    ),
    "chat": ("messages", "max_completion_tokens", "top_logprobs"),
    "completion": ("prompt",),
}

_PACKAGES = {"chat": "chat_completion", "completion": "completion"}


def written() -> str:
    """Ask vLLM's classes, and return the file's text."""
    found: dict[str, Any] = {"version": import_module("vllm").__version__}
    for kind, name in (("chat", "ChatCompletionRequest"), ("completion", "CompletionRequest")):
        module = import_module(f"vllm.entrypoints.openai.{_PACKAGES[kind]}.protocol")
        schema = getattr(module, name).model_json_schema()
        found[kind] = _kept(schema, (*FIELDS["both"], *FIELDS[kind]))
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def _kept(schema: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Return the names of all fields, and the schema of ours with the definitions that it refers to."""
    ours = {name: schema["properties"][name] for name in fields}
    needed: dict[str, Any] = {}
    waiting = [ours]
    while waiting:
        for name in re.findall(r'"#/\$defs/([^"]+)"', json.dumps(waiting.pop())):
            if name not in needed:
                needed[name] = schema["$defs"][name]
                waiting.append(needed[name])
    only_ours = {"type": "object", "additionalProperties": False, "properties": ours, "$defs": needed}
    return {"every_field": sorted(schema["properties"]), "schema": only_ours}


if __name__ == "__main__":
    KEPT.write_text(written(), encoding="utf-8")
    sys.stdout.write(f"Wrote {KEPT.name}.\n")
