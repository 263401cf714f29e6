"""Nothing is installed or shipped whose hash is not written down."""

import hashlib
import json
import re
import subprocess
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import lock_files
from lock_files import (
    CHECKOUT,
    LOCKS,
    TORCH_CPU_LOCK,
    TORCH_LOCK,
    LockFile,
    Pin,
    canonical_name,
    cpu_build,
    read_pins,
)
from stacks.functions import function_packages
from stacks.functions.function_groups import CONTROL, GROUPS, FunctionGroup

_EVERY_LOCK = [*(lock.output for lock in LOCKS), TORCH_LOCK, TORCH_CPU_LOCK]


def _pins(lock: str) -> dict[str, Pin]:
    return {pin.name: pin for pin in read_pins((CHECKOUT / lock).read_text())}


def _requirements(file: str) -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (CHECKOUT / file).read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


@pytest.mark.parametrize("lock", _EVERY_LOCK)
def test_every_package_of_a_lock_has_a_version_and_hashes(lock: str) -> None:
    pins = _pins(lock)
    assert pins
    for pin in pins.values():
        assert re.fullmatch(r"[\w.+]+", pin.version), pin.requirement
        assert pin.hashes, pin.requirement
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in pin.hashes), pin.requirement


@pytest.mark.parametrize("lock", _EVERY_LOCK)
def test_no_lock_says_where_packages_come_from(lock: str) -> None:
    """Whoever has a mirror installs from it: the hashes say what, never where."""
    text = (CHECKOUT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^--(index|extra|find)", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.output)
def test_a_lock_has_all_that_is_asked_for(lock: LockFile) -> None:
    """When this fails, run `make lock`."""
    present: dict[str, Pin] = {}
    for output in (TORCH_LOCK, *lock.installed_before, lock.output):
        present |= _pins(output)
    for file in lock.inputs:
        for requirement in _requirements(file):
            pin = present.get(canonical_name(requirement.name))
            assert pin is not None, f"{file} asks for {requirement}; {lock.output} lacks it"
            assert requirement.specifier.contains(pin.version, prereleases=True), (
                f"{requirement}: {pin.requirement}"
            )


def test_every_file_of_requirements_has_a_lock() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*requirements*"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    written = {file for file in listed if file.endswith(".txt")}
    assert {file for lock in LOCKS for file in lock.inputs} == written
    assert set(_EVERY_LOCK) == {file for file in listed if file.endswith(".lock")}


def test_every_installation_of_the_makefile_compares_hashes() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    installing = [
        line.strip() for line in makefile.splitlines() if line.startswith("\t") and "PIP_INSTALL" in line
    ]
    unlocked = [line for line in installing if "$(LOCKED)" not in line]
    assert len(installing) > 5
    assert unlocked == ["$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable ."]
    (locked,) = re.findall(r"^LOCKED := (.*)$", makefile, re.MULTILINE)
    assert locked.split() == ["--require-hashes", "--no-deps", "--no-build-isolation"]
    elsewhere = [line for line in makefile.splitlines() if "pip install" in line]
    assert [line.partition(" ")[0] for line in elsewhere] == ["PIP_INSTALL"]
    assert all(
        "npm ci" in line for line in re.findall(r"^\t.*npm (?:ci|i|install)\b.*$", makefile, re.MULTILINE)
    )


def test_both_builds_of_pytorch_are_the_same_version() -> None:
    version = _pins(TORCH_LOCK)["torch"].version
    assert _pins(TORCH_CPU_LOCK)["torch"].version == f"{version}+cpu"
    for name in set(_EVERY_LOCK) - {TORCH_LOCK, TORCH_CPU_LOCK, "tests/container/requirements.lock"}:
        assert "torch" not in _pins(name), "pip would take PyPI's build, with gigabytes of CUDA"


def test_the_locked_setuptools_builds_this_project() -> None:
    (build,) = re.findall(
        r'^requires = \["setuptools==([\d.]+)"\]$', (CHECKOUT / "pyproject.toml").read_text(), re.M
    )
    assert _pins("requirements-build.lock")["setuptools"].version == build


@pytest.mark.parametrize("folder", [".", "web"])
def test_every_package_of_node_has_its_integrity(folder: str) -> None:
    locked = json.loads((CHECKOUT / folder / "package-lock.json").read_text())
    packages = {name: entry for name, entry in locked["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert entry.get("integrity", "").startswith("sha512-"), name
        assert "resolved" not in entry, name


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_nothing_is_missing_below_a_functions_packages(group: FunctionGroup) -> None:
    """pip looks for nothing more than what a lock has."""
    pins = {pin.name: pin for pin in read_pins(group.lock.read_text())}
    asked = {
        canonical_name(one.name): one for one in _requirements(str(group.requirements.relative_to(CHECKOUT)))
    }
    ours = {"python_version": "3.14", "python_full_version": "3.14.0", "platform_machine": "x86_64"}
    missing = []
    for name, pin in pins.items():
        for written in metadata.requires(name) or []:
            needed = Requirement(written)
            extras = asked[name].extras or {""}
            if needed.marker and not any(
                needed.marker.evaluate({**ours, "extra": extra}) for extra in extras
            ):
                continue
            found = pins.get(canonical_name(needed.name))
            if found is None or not needed.specifier.contains(found.version, prereleases=True):
                missing.append(f"{pin.requirement} needs {needed}")
    assert not missing


def _wheel(folder: Path, content: str) -> Path:
    """A wheel of one module, as small as a wheel can be."""
    file = folder / "tampered-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("tampered.py", content)
        info = "tampered-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tampered\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file


def test_a_package_that_was_tampered_with_never_reaches_a_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    genuine = hashlib.sha256(_wheel(tmp_path, "ANSWER = 42\n").read_bytes()).hexdigest()
    lock = tmp_path / "control.lock"
    lock.write_text(f"--no-index\n--find-links {tmp_path}\ntampered==1.0 --hash=sha256:{genuine}\n")
    monkeypatch.setattr(function_packages, "CHECKOUT", tmp_path)
    monkeypatch.setattr(FunctionGroup, "lock", lock)
    assert (function_packages.fetch(CONTROL, "3.14") / "tampered.py").is_file()

    _wheel(tmp_path, "import os; os.system('true')\n")
    with pytest.raises(subprocess.CalledProcessError):
        function_packages.fetch(CONTROL, "3.13")
    assert "DO NOT MATCH THE HASHES" in capfd.readouterr().err
    lock.write_text(f"--no-index\n--find-links {tmp_path}\ntampered==1.0\n")
    with pytest.raises(subprocess.CalledProcessError):
        function_packages.fetch(CONTROL, "3.13")
    assert "missing from some requirements" in capfd.readouterr().err


def test_hashes_of_pytorchs_cpu_builds_are_kept_and_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").write_bytes(b"wheel")
    (tmp_path / "torch-2.12.0+cpu-cp311-cp311-linux_x86_64.whl").write_bytes(b"older")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    here = hashlib.sha256(b"wheel").hexdigest()
    known = Pin("torch==2.13.0+cpu", ["cd" * 32])
    assert cpu_build("2.13.0", [known]) == Pin("torch==2.13.0+cpu", sorted([here, "cd" * 32]))
    assert cpu_build("2.14.0", [known]).hashes == [], "other versions' hashes are not carried on"


def test_an_index_page_gives_the_hashes_of_cpu_builds_alone() -> None:
    names = ("2.13.0%2Bcpu-cp312", "2.13.0-cp312", "2.12.0%2Bcpu-cp312")
    links = [
        f'<a href="../torch-{name}.whl#sha256={number}">it</a>' for number, name in enumerate(names, start=1)
    ]
    assert lock_files.linked_hashes("\n".join(links), "2.13.0") == {"1"}
