"""The functions' code: fetched beforehand, hashed by its sources, with a plain error if it is missing."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from stacks.functions import function_bundles, function_packages
from stacks.functions.function_groups import API, CHECKOUT, CONTROL, GROUPS, FunctionGroup, group_of


@pytest.fixture
def empty_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with nothing fetched; the requirements stay those of the project."""
    monkeypatch.setattr(function_packages, "CHECKOUT", tmp_path)
    return tmp_path


def test_missing_packages_name_the_command_that_fetches_them(empty_checkout: Path) -> None:
    with pytest.raises(function_packages.PackagesMissingError, match="make setup") as caught:
        function_packages.fetched_packages(CONTROL, "3.14")
    assert "python -m stacks.functions.function_packages --python 3.14" in str(caught.value)


def test_packages_are_keyed_by_lock_and_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    monkeypatch.setattr(FunctionGroup, "lock", lock)
    lock.write_text("a==1\n")
    first = function_packages.packages_folder(CONTROL, "3.14")
    assert first == function_packages.packages_folder(CONTROL, "3.14")
    assert first != function_packages.packages_folder(CONTROL, "3.13")
    lock.write_text("a==2\n")
    assert first != function_packages.packages_folder(CONTROL, "3.14")


def test_a_fetch_that_fails_leaves_nothing_behind(
    empty_checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lock = tmp_path_factory.mktemp("lock") / "lock.txt"
    lock.write_text("--no-index\nno-such-package-of-ours==1\n")
    monkeypatch.setattr(FunctionGroup, "lock", lock)
    with pytest.raises(subprocess.CalledProcessError):
        function_packages.fetch(CONTROL, "3.14")
    assert list((empty_checkout / ".build" / "functions").iterdir()) == []


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_every_package_is_pinned_and_boto3_is_lambdas_own(group: FunctionGroup) -> None:
    lines = [line.split("#")[0].strip() for line in group.requirements.read_text().splitlines()]
    pins = [line for line in lines if line]
    assert pins
    assert all("==" in pin for pin in pins)
    assert not any(pin.startswith(("boto3", "botocore")) for pin in pins)


def test_every_function_has_one_group_and_every_folder_is_deployed() -> None:
    named = [function for group in GROUPS for function in group.functions]
    assert len(named) == len(set(named))
    folders = {path.parent.name for path in (CHECKOUT / "lambda").glob("*/*.py")} - {"shared"}
    assert folders == set(named)
    assert group_of("chat_api") is API
    with pytest.raises(KeyError, match="nothing"):
        group_of("nothing")


def test_a_digest_depends_on_names_and_content_only(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder / "inner").mkdir(parents=True)
        (tmp_path / folder / "inner" / "code.py").write_text("x = 1\n")
    (tmp_path / "two" / "__pycache__").mkdir()
    (tmp_path / "two" / "__pycache__" / "code.pyc").write_bytes(b"compiled")
    (tmp_path / "two" / ".hidden").write_text("editor's")
    digest = function_bundles.content_digest
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    (tmp_path / "two" / "inner" / "code.py").write_text("x = 2\n")
    assert digest(tmp_path / "one") != digest(tmp_path / "two")
    (tmp_path / "two" / "inner" / "code.py").rename(tmp_path / "two" / "code.py")
    (tmp_path / "two" / "code.py").write_text("x = 1\n")
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


def test_a_bundle_has_functions_shared_code_packages_and_start_script(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (packages / "some_package").mkdir(parents=True)
    (packages / "some_package" / "__init__.py").write_text("")
    bundle = function_bundles.lay_out(API, packages, tmp_path / "bundle")
    assert {"chat_api", "authorizer", "shared", "some_package", "run.sh"} <= {
        path.name for path in bundle.iterdir()
    }
    assert (bundle / "run.sh").stat().st_mode & 0o111, "Lambda starts it as a program"
    assert not list(bundle.rglob("__pycache__"))


def test_a_zip_has_the_same_bytes_for_the_same_files_and_keeps_permissions(tmp_path: Path) -> None:
    for place, names in (("one", ("a.py", "b.py")), ("two", ("b.py", "a.py"))):
        folder = tmp_path / place
        (folder / "package").mkdir(parents=True)
        for name in names:
            (folder / "package" / name).write_text(f"# {name}\n")
        (folder / "run.sh").write_text("#!/bin/sh\n")
        (folder / "run.sh").chmod(0o755)
    one, two = (
        function_bundles.pack(tmp_path / place, tmp_path / f"{place}.zip") for place in ("one", "two")
    )
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as packed:
        assert packed.namelist() == ["package/a.py", "package/b.py", "run.sh"]
        assert packed.read("package/b.py") == b"# b.py\n"
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in packed.infolist()}
    assert modes["run.sh"] == 0o755
    assert modes["package/a.py"] & 0o111 == 0
