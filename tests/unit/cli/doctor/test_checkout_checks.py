"""This checkout: what `make setup` installs, and what is missing without it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cli.doctor import checkout_checks
from cli.doctor.examination import Examination
from cli.doctor.findings import Finding
from tests.unit.cli.doctor.conftest import examination, found

CDK = "node_modules/aws-cdk/package.json"


@pytest.fixture
def bare(tmp_path: Path) -> Examination:
    """A checkout in which nothing was set up."""
    return replace(examination(None), checkout=tmp_path)


def put(looked_at: Examination, path: str, content: str, mode: int = 0o644) -> Path:
    file = looked_at.checkout / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    file.chmod(mode)
    return file


def only(findings: dict[str, Finding]) -> Finding:
    (finding,) = findings.values()
    return finding


def test_the_packages_of_this_checkout_are_those_that_it_pins() -> None:
    assert only(found(checkout_checks.python, examination(None))).status == "ok"


def test_another_version_of_the_cdk_than_the_pinned_one_is_a_cross(bare: Examination) -> None:
    put(bare, "requirements.txt", "constructs==1\naws-cdk-lib==1.2.3\n")
    finding = only(found(checkout_checks.python, bare))
    assert finding.status == "fault" and "made for 1.2.3" in finding.message and "make setup" in finding.cure


def test_a_missing_command_line_of_the_cdk_is_a_cross(bare: Examination) -> None:
    finding = only(found(checkout_checks.node, bare))
    assert finding.status == "fault" and finding.cure == "Run: make setup"


@pytest.mark.parametrize(
    ("version", "status"), [("v24.1.0", "ok"), ("v16.20.2", "fault"), ("", "fault"), ("gibberish", "fault")]
)
def test_a_node_that_is_too_old_or_broken_is_a_cross(
    bare: Examination, monkeypatch: pytest.MonkeyPatch, version: str, status: str
) -> None:
    put(bare, CDK, json.dumps({"version": "2.1148.1"}))
    node = put(bare, "bin/node", f"#!/bin/sh\necho '{version}'\n", 0o755)
    monkeypatch.setenv("PATH", f"{node.parent}{os.pathsep}{os.environ['PATH']}")
    finding = only(found(checkout_checks.node, bare))
    assert finding.status == status and "2.1148.1" in finding.message


def test_a_node_that_only_the_virtual_environment_has_is_a_warning(
    bare: Examination, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bare, CDK, json.dumps({"version": "2.1148.1"}))
    put(bare, ".venv/bin/node", "#!/bin/sh\necho v24.1.0\n", 0o755)
    monkeypatch.setenv("PATH", str(bare.checkout / "empty"))
    finding = only(found(checkout_checks.node, bare))
    assert finding.status == "warning" and "activate" in finding.cure


def test_what_setup_has_not_made_is_named(bare: Examination) -> None:
    looked_at = replace(bare, settings=bare.settings.model_copy(update={"function_python": "3.9"}))
    finding = only(found(checkout_checks.setup_done, looked_at))
    assert finding.status == "fault"
    assert "the page is not built" in finding.message and "for Python 3.9 are not fetched" in finding.message
    assert "python -m stacks.functions.function_packages --python 3.9" in finding.cure


@pytest.mark.skipif(shutil.which("make") is None, reason="make says what is out of date")
@pytest.mark.parametrize(("built", "status"), [(True, "ok"), (False, "warning")])
def test_what_make_would_make_again_is_a_warning(
    bare: Examination, monkeypatch: pytest.MonkeyPatch, built: bool, status: str
) -> None:
    monkeypatch.setattr(checkout_checks, "GROUPS", ())
    put(bare, "web/dist/index.html", "")
    put(bare, "Makefile", ".PHONY: setup\nsetup: made\nmade:\n\ttouch made\n")
    if built:
        put(bare, "made", "")
    monkeypatch.setenv("MAKEFLAGS", "--always-make")  # of a make around us, which is none of ours
    finding = only(found(checkout_checks.setup_done, bare))
    assert finding.status == status
