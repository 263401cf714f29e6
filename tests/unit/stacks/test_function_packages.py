"""The functions' packages have bytecode beside them if this Python is theirs."""

import importlib.util
from pathlib import Path

from stacks.functions import function_packages

UNCHECKED = 0b01
"""Flags of bytecode that is found by a hash and not compared with its source (PEP 552)."""


def test_bytecode_needs_no_look_at_the_source_s_time(tmp_path: Path) -> None:
    source = tmp_path / "package" / "module.py"
    source.parent.mkdir()
    source.write_text("ANSWER = 42\n")
    function_packages._compile(tmp_path)
    compiled = Path(importlib.util.cache_from_source(str(source)))
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == UNCHECKED
    assert str(tmp_path).encode() not in compiled.read_bytes(), "no path of this machine"
