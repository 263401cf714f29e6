"""Write the lock files: every package that is installed or shipped, with the hashes of its release's files.

`make lock` runs this. A person writes `requirements*.txt`; pip installs the `.lock` beside it,
with `--require-hashes`. A lock keeps its versions unless `requirements*.txt` asks for others or
`--upgrade` is given.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin

CHECKOUT = Path(__file__).resolve().parent
_PYTHON = "3.11.5"
"""The oldest Python that all packages of the tests take."""
_TRUE_EVERYWHERE = (
    " ; python_full_version < '3.15' and (sys_platform == 'darwin' or sys_platform == 'linux')",
    "python_full_version < '3.15' and ",
)
"""What uv writes on each line for `tool.uv.environments` of pyproject.toml: true wherever a lock is used."""
_CUDA = ("nvidia-", "cuda-", "triton")
"""How the packages begin that only PyTorch's CUDA build needs."""

_IN_EVERY_ENVIRONMENT = ("pip",)


@dataclass(frozen=True)
class LockFile:
    """One lock file and what it is made from."""

    output: str
    inputs: tuple[str, ...]
    installed_before: tuple[str, ...] = ()
    """Locks whose packages are there already: they are resolved with these, and left out of this file."""
    whole: bool = True
    """Whether what the packages need is looked up. If not, the input names the whole closure."""
    platform: str = ""
    """The one platform that it is for; empty: every one."""
    python: str = _PYTHON


LOCKS = (
    LockFile("requirements-build.lock", ("requirements-build.txt",)),
    LockFile("requirements.lock", ("requirements.txt",), installed_before=("requirements-build.lock",)),
    LockFile(
        "requirements-dev.lock",
        ("requirements-dev.txt",),
        installed_before=("requirements-build.lock", "requirements.lock"),
    ),
    LockFile("requirements-uv.lock", ("requirements-uv.txt",)),
    LockFile("requirements-model.lock", ("requirements-model.txt",), whole=False),
    *(
        LockFile(f"lambda/requirements/{group}.lock", (f"lambda/requirements/{group}.txt",), whole=False)
        for group in ("api", "control", "stories")
    ),
    LockFile("benchmarks/requirements.lock", ("benchmarks/requirements.txt",)),
    LockFile(
        "benchmarks/requirements-train.lock",
        ("benchmarks/requirements-train.txt",),
        installed_before=("requirements-build.lock", "requirements.lock"),
    ),
    LockFile(
        "local/requirements-vllm.lock",
        ("local/requirements-vllm.txt",),
        whole=False,
        platform="x86_64-manylinux_2_34",
    ),
    LockFile(
        "tests/container/requirements.lock",
        ("tests/container/requirements.txt",),
        whole=False,
        platform="x86_64-manylinux_2_34",
        python="3.12",
    ),
    LockFile("tests/checkov/requirements.lock", ("tests/checkov/requirements.txt",)),
)
TORCH_LOCK = "requirements-torch.lock"
"""PyPI's PyTorch, with CUDA's libraries on Linux."""
TORCH_CPU_LOCK = "requirements-torch-cpu.lock"
"""PyTorch's CPU build, which PyPI does not have. From one file with both, pip would take PyPI's."""
_HEADER = "# Written by `make lock` from {inputs}: change that, never this.\n"


@dataclass
class Pin:
    """One package of a lock file."""

    requirement: str
    """Name, version and marker, such as `greenlet==3.5.6 ; platform_machine == 'x86_64'`."""
    hashes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name as PyPI compares names."""
        return canonical_name(re.split(r"[\[=; ]", self.requirement, maxsplit=1)[0])

    @property
    def version(self) -> str:
        """The exact version."""
        return self.requirement.partition("==")[2].split(";")[0].strip()

    def __str__(self) -> str:
        return " \\\n".join([self.requirement, *(f"    --hash=sha256:{digest}" for digest in self.hashes)])


def canonical_name(name: str) -> str:
    """Write a package's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(text: str) -> list[Pin]:
    """Read the packages of a lock file."""
    pins: list[Pin] = []
    for line in text.splitlines():
        entry = line.strip().removesuffix("\\").strip()
        if entry.startswith("--hash=sha256:"):
            pins[-1].hashes.append(entry.removeprefix("--hash=sha256:"))
        elif entry and not entry.startswith("#"):
            pins.append(Pin(entry))
    return pins


def write(lock: LockFile, *, upgrade: bool) -> None:
    """Write one lock file, and those of PyTorch beside the app's."""
    output = CHECKOUT / lock.output
    before = {pin.name: pin for name in lock.installed_before for pin in _pins_of(name)}
    present = {pin.name: pin for pin in (*_pins_of(lock.output), *before.values())}
    pins = read_pins(_resolve(lock, {} if upgrade else present, before))
    for pin in pins:
        for marker in _TRUE_EVERYWHERE:
            pin.requirement = pin.requirement.replace(marker, "")
    pins = [pin for pin in pins if pin.name not in {*before, *_IN_EVERY_ENVIRONMENT}]
    if lock.output == "requirements.lock":
        torch = [pin for pin in pins if pin.name == "torch" or pin.name.startswith(_CUDA)]
        pins = [pin for pin in pins if pin not in torch]
        _put(CHECKOUT / TORCH_LOCK, lock, torch)
        (version,) = (pin.version for pin in torch if pin.name == "torch")
        _put(CHECKOUT / TORCH_CPU_LOCK, lock, [cpu_build(version, _pins_of(TORCH_CPU_LOCK))])
    _put(output, lock, pins)


def _put(file: Path, lock: LockFile, pins: Iterable[Pin]) -> None:
    header = _HEADER.format(inputs=" and ".join(lock.inputs))
    file.write_text(header + "".join(f"{pin}\n" for pin in pins))
    print(f"{file.relative_to(CHECKOUT)}: {len(read_pins(file.read_text()))} packages")


def _pins_of(name: str) -> list[Pin]:
    file = CHECKOUT / name
    pins = read_pins(file.read_text()) if file.is_file() else []
    return pins + (_pins_of(TORCH_LOCK) if name == "requirements.lock" else [])


def _resolve(lock: LockFile, preferred: Mapping[str, Pin], fixed: Mapping[str, Pin]) -> str:
    """Ask uv for versions and hashes, for every platform and Python at once."""
    scratch = CHECKOUT / ".build" / "lock"
    scratch.mkdir(parents=True, exist_ok=True)
    constraints = scratch / "installed-before.txt"
    constraints.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in fixed.values()))
    output = scratch / "resolved.txt"
    output.write_text(
        "".join(f"{pin}\n" for pin in preferred.values())
    )  # uv keeps the versions it finds here
    command = [
        *("uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"),
        *("--no-emit-index-url", "--python-version", lock.python, "--constraint", str(constraints)),
        *(["--no-strip-markers", "--python-platform", lock.platform] if lock.platform else ["--universal"]),
        *([] if lock.whole else ["--no-deps"]),
        *("--output-file", str(output), *lock.inputs),
    ]
    subprocess.run(command, cwd=CHECKOUT, check=True)
    return output.read_text()


class _Anchors(HTMLParser):
    """The addresses that a page links to."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of a link."""
        self.addresses += [value for name, value in attrs if tag == "a" and name == "href" and value]


def cpu_build(version: str, present: Iterable[Pin]) -> Pin:
    """PyTorch's CPU build of a version, with the hashes that are known.

    They are those that the lock has already, and those of the indexes and folders that pip is told of by
    PIP_EXTRA_INDEX_URL and PIP_FIND_LINKS, as the README advises for Linux.
    """
    requirement = f"torch=={version}+cpu"
    hashes = {digest for pin in present if pin.requirement == requirement for digest in pin.hashes}
    for folder in map(Path, os.environ.get("PIP_FIND_LINKS", "").split()):
        for wheel in folder.glob("torch-*.whl"):
            if _is_cpu_build(wheel.name, version):
                hashes.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    for index in os.environ.get("PIP_EXTRA_INDEX_URL", "").split():
        page = urljoin(index.rstrip("/") + "/", "torch/")
        with urllib.request.urlopen(page, timeout=60) as answer:  # noqa: S310 - the index that its user named
            hashes |= linked_hashes(answer.read().decode(), version)
    return Pin(requirement, sorted(hashes))


def linked_hashes(page: str, version: str) -> set[str]:
    """Hashes that a page of a package index gives for PyTorch's CPU builds of a version."""
    anchors = _Anchors()
    anchors.feed(page)
    links = [unquote(address).partition("#sha256=") for address in anchors.addresses]
    return {digest for path, _, digest in links if digest and _is_cpu_build(path.rpartition("/")[2], version)}


def _is_cpu_build(wheel: str, version: str) -> bool:
    return wheel.startswith(f"torch-{version}+cpu-") and wheel.endswith(".whl")


def main() -> None:
    """Write the lock files that are named, or all."""
    parser = argparse.ArgumentParser(description="Write the lock files, with hashes, from requirements*.txt.")
    parser.add_argument("lock", nargs="*", help="lock file, such as requirements.lock; all if none is named")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that are allowed")
    arguments = parser.parse_args()
    unknown = set(arguments.lock) - {lock.output for lock in LOCKS}
    if unknown:
        sys.exit(f"No lock file of this project: {', '.join(sorted(unknown))}.")
    for lock in LOCKS:
        if not arguments.lock or lock.output in arguments.lock:
            write(lock, upgrade=arguments.upgrade)


if __name__ == "__main__":
    main()
