"""What `make release` checks before it runs the tests and makes a tag."""

import subprocess
from datetime import date
from pathlib import Path

import pytest

from release_check import problems

TODAY = date(2026, 12, 1)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n')
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "package.json").write_text('{"version": "0.2.0"}')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [0.2.0] - 2026-12-01\n")
    _git(tmp_path, "init", "-q", "-b", "main")
    _commit(tmp_path)
    return tmp_path


def _git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True)


def _commit(folder: Path) -> None:
    _git(folder, "add", ".")
    _git(folder, "commit", "-q", "-m", "x")


def test_a_complete_release_has_no_problem(checkout: Path) -> None:
    assert problems(checkout, "0.2.0", TODAY) == []


@pytest.mark.parametrize("version", ["", "v0.2.0", "0.2"])
def test_something_else_than_a_version_is_refused(checkout: Path, version: str) -> None:
    assert "is not a version" in problems(checkout, version, TODAY)[0]


def test_every_problem_is_named_with_its_cure(checkout: Path) -> None:
    _git(checkout, "tag", "v0.3.0")
    _git(checkout, "switch", "-q", "-c", "other")
    (checkout / "new.txt").write_text("")
    assert problems(checkout, "0.3.0", TODAY) == [
        "pyproject.toml has version 0.2.0. Change it to 0.3.0.",
        "web/package.json has version 0.2.0. Change it to 0.3.0.",
        "CHANGELOG.md has no heading `## [0.3.0] - 2026-12-01`. Rename `## [Unreleased]` to it.",
        "There are changes that are not committed. Commit them.",
        "This is not the branch main. Run: git switch main",
        "The tag v0.3.0 already exists. Choose the next version.",
    ]


def test_yesterdays_heading_is_not_todays_release(checkout: Path) -> None:
    assert problems(checkout, "0.2.0", date(2026, 12, 2)) == [
        "CHANGELOG.md has no heading `## [0.2.0] - 2026-12-02`. Rename `## [Unreleased]` to it."
    ]
