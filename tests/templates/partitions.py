"""Which partitions of the table the code of each function can reach, read from the code itself.

Names are followed from a function's own modules through everything that they mention. Partitions are what
they mention of `contracts/table_keys.py`.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from contracts import table_keys

_LAMBDA = Path(__file__).resolve().parents[2] / "lambda"

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def of_function(function: str) -> set[str]:
    """Partitions that a folder of `lambda/` can reach, as IAM writes them: `USAGE#*`."""
    reached: set[str] = set()
    ahead = [name for name in _definitions() if name.startswith(f"{function}.")]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += _mentioned(name)
    return {partition for name in reached for partition in _partitions(name)}


@cache
def _modules() -> dict[str, ast.Module]:
    files = {
        ".".join(file.relative_to(_LAMBDA).with_suffix("").parts): file for file in _LAMBDA.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): ast.parse(file.read_text()) for name, file in files.items()}


@cache
def _imports(module: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(_modules()[module]):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    return found


@cache
def _definitions() -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for module, tree in _modules().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found[f"{module}.{node.name}"] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {f"{module}.{one.id}": node for one in targets if isinstance(one, ast.Name)}
    return found


@cache
def _mentioned(name: str) -> list[str]:
    module = name.rpartition(".")[0]
    nodes = ast.walk(_definitions()[name])
    names = {_resolved(module, node) for node in nodes if isinstance(node, ast.Name | ast.Attribute)}
    return [found for found in names if found in _definitions()]


def _resolved(module: str, node: ast.expr) -> str:
    """Name of the definition that `hosting.state` or `_KEY` stands for in a module."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    if f"{module}.{node.id}" in _definitions():
        return f"{module}.{node.id}"
    imported = _imports(module).get(node.id, "")
    return _defined(f"{imported}.{parts[0]}" if imported in _modules() and parts else imported)


def _defined(name: str) -> str:
    """Follow a name through the modules that only pass it on."""
    while name and name not in _definitions():
        module, _, last = name.rpartition(".")
        if module not in _modules() or last not in _imports(module):
            break
        name = _imports(module)[last]
    return name


def _partitions(name: str) -> Iterator[str]:
    imports = _imports(name.rpartition(".")[0])
    for node in ast.walk(_definitions()[name]):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if imports.get(node.value.id) == "contracts.table_keys":
            key = getattr(table_keys, node.attr)
            made = key("*") if callable(key) else key
            partition, of_many, _ = (made if isinstance(made, str) else made[0]).partition("#")
            yield f"{partition}#*" if of_many else partition
