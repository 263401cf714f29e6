"""The table of what versions cost in storage in docs/costs.md; the functions decide how many copies stay."""

import json
from pathlib import Path

import pytest

from collect_garbage.garbage import MERGED_KEPT
from contracts.catalogue import CATALOGUE
from tests.templates.conftest import Synthesized

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "costs.md"
_HEAD = (
    "| base model | its size | after 1 version | after 2 | after 10 | 10 if every bundle stayed |\n"
    "|---|---|---|---|---|---|\n"
)
_USD_A_GB = 0.023
_ADAPTER_GB = 0.1
"""Adapter, tokenizer, dataset and reports of one run, roundly."""
_BUNDLES = 2
"""The live version's and the previous one's; a test of collect_garbage holds it."""
_MERGED = {"gpt2-xl"}


@pytest.mark.parametrize("versions", [1, 2, 10])
def test_more_versions_cost_little_more(versions: int) -> None:
    gigabytes = _gigabytes("smollm2-1.7b", versions)
    assert gigabytes < 3 * CATALOGUE["smollm2-1.7b"].download_gb + 0.2 * versions


def test_the_page_says_what_versions_cost(synthesized: Synthesized) -> None:
    rows = [_row(name) for name in ("smollm2-1.7b", "gpt2-xl", "llama-3.1-8b")]
    table = _HEAD + "".join(rows)
    assert table in _PAGE.read_text(), f"put this table into docs/costs.md:\n\n{table}"
    machine = json.dumps(synthesized.pipeline.to_json())
    assert "CollectGarbage" in machine, "what holds the number of bundles"


def _row(name: str) -> str:
    usual = "".join(f" {_price(_gigabytes(name, versions))} |" for versions in (1, 2, 10))
    size = CATALOGUE[name].download_gb
    return f"| `{name}` | {size:.1f} GB |{usual} {_price(_gigabytes(name, 10, bundles=10))} |\n"


def _gigabytes(name: str, versions: int, *, bundles: int = _BUNDLES) -> float:
    size = CATALOGUE[name].download_gb
    copies = 1 + min(versions, bundles)
    if name in _MERGED:
        copies += min(versions, MERGED_KEPT) if bundles == _BUNDLES else versions
    return copies * size + versions * _ADAPTER_GB


def _price(gigabytes: float) -> str:
    return f"{gigabytes:.0f} GB, ${gigabytes * _USD_A_GB:.2f} a month"
