"""checkov finds nothing in the templates that stacks/accepted_findings.py does not explain."""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stacks import accepted_findings
from tests.templates.conftest import Synthesized

_CHECKOUT = Path(__file__).resolve().parents[2]
_CHECKOV = _CHECKOUT / ".build" / "checkov-venv" / "bin" / "checkov"
_FORMS = ("synthesized", "other", "everything")


@pytest.fixture(scope="module")
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What checkov says of all templates in all forms of the app."""
    folder = tmp_path_factory.mktemp("templates")
    for form in _FORMS:
        app: Synthesized = request.getfixturevalue(form)
        for stack, template in app.templates.items():
            (folder / f"{form}-{stack}.template.json").write_text(json.dumps(template.to_json()))
    return _run(folder)


def _run(folder: Path) -> dict[str, Any]:
    assert _CHECKOV.is_file(), "Install checkov with: make .build/checkov-venv/.installed"
    # it asks nobody: neither for its vendor's guidelines nor for a newer version of itself
    environment = {**os.environ, "CHECKOV_RUN_SECRETS_SCAN": "false", "LOG_LEVEL": "ERROR"}
    command: list[str | Path] = [
        _CHECKOV,
        "--directory",
        folder,
        "--framework",
        "cloudformation",
        "--skip-download",
        # without each finding's whole template, which is one line of JSON: half a gigabyte
        "--compact",
    ]
    ran = subprocess.run(
        [*command, "--output", "json", "--soft-fail"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env=environment,
    )
    report: dict[str, Any] = json.loads(ran.stdout)
    return report


def test_checkov_finds_nothing_that_is_not_explained(judged: dict[str, Any]) -> None:
    assert judged["summary"]["parsing_errors"] == 0
    assert judged["summary"]["resource_count"] > 500
    found = [
        f"{finding['file_path']}: {finding['resource']}: {finding['check_id']} {finding['check_name']}"
        for finding in judged["results"]["failed_checks"]
    ]
    assert not found, "\n".join(found)


def test_every_explanation_is_of_something_found(judged: dict[str, Any]) -> None:
    """An exception that nothing needs any more would hide the next finding of its kind."""
    explained = {
        check
        for group in vars(accepted_findings).values()
        if isinstance(group, dict)
        for check in group
        if str(check).startswith("CKV_")
    }
    skipped = Counter(finding["check_id"] for finding in judged["results"]["skipped_checks"])
    assert set(skipped) == explained


def test_a_finding_without_an_explanation_is_found(tmp_path: Path, synthesized: Synthesized) -> None:
    template = json.loads(json.dumps(synthesized.storage.to_json()))
    for resource in template["Resources"].values():
        resource.get("Metadata", {}).pop("checkov", None)
    (tmp_path / "bare.template.json").write_text(json.dumps(template))
    found = {finding["check_id"] for finding in _run(tmp_path)["results"]["failed_checks"]}
    assert found == {"CKV_AWS_18", "CKV_AWS_21", "CKV_AWS_119"}
