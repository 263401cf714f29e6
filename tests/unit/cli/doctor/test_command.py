"""`storyloom doctor` as a person, or a program, runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.aws.context import ContextError, read_context
from cli.doctor.all_checks import ALL_PERMISSIONS, CHECKS, GROUPS
from cli.doctor.findings import SCHEMA, Finding
from cli.doctor.settings_checks import read_settings_for_checks
from tests.unit.cli.doctor.conftest import CHECKOUT

PAGE = CHECKOUT / "docs" / "deploying.md"


def _doctor(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    nowhere = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/none",
        "AWS_SHARED_CREDENTIALS_FILE": "/none",
    }
    return subprocess.run(
        [sys.executable, "-m", "cli", "doctor", *arguments],
        cwd=CHECKOUT,
        env={**environment, **nowhere, "HF_ENDPOINT": "http://127.0.0.1:9", "COLUMNS": "120", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_credentials_all_that_can_be_seen_is_seen_and_said_as_json() -> None:
    done = _doctor("--json", "--region", "eu-west-1")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == SCHEMA
    assert (document["ok"], document["account"]) == (False, "")
    assert set(document) == {
        "schema",
        "ok",
        "name",
        "account",
        "region",
        "counts",
        "findings",
        "requested",
    }
    for finding in document["findings"]:
        assert set(finding) == {"group", "check", "status", "subject", "message", "cure", "link"}
    by_check = {finding["check"]: finding for finding in document["findings"]}
    assert by_check["credentials"]["message"] == "there are no usable AWS credentials on this machine"
    assert by_check["e_mail"]["status"] == "fault"
    assert by_check["python"]["status"] == "ok"
    assert "quotas" not in by_check
    assert sum(document["counts"].values()) == len(document["findings"])
    assert "Traceback" not in done.stderr


def test_without_a_network_that_is_the_one_thing_said_of_aws() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    done = _doctor("--json", "--region", "eu-west-1", AWS_ENDPOINT_URL="http://127.0.0.1:9", **keys)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    of_account = [
        finding for finding in json.loads(done.stdout)["findings"] if finding["group"] == "Account and region"
    ]
    assert [(finding["status"], finding["subject"]) for finding in of_account] == [
        ("ok", "Region"),
        ("fault", "Network"),
    ]


def test_the_table_has_a_mark_and_a_cure_and_says_what_it_comes_to() -> None:
    done = _doctor("-c", "admin_email=ada@example.com", "--region", "eu-west-11")
    assert done.returncode == 1
    assert "✗ Region: 'eu-west-11' is not a region" in done.stdout
    assert "→ Did you mean eu-west-1" in done.stdout
    assert "The account was not checked. Fix the crosses first" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-c", "admin_email"), "key=value"),
        (("-c", "=x"), "key=value"),
        (("--yes",), "--fix"),
        (("--fix", "--json"), "--yes"),
        (("--fix",), "--yes"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_asked(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["doctor", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert said in done.stderr and done.stdout == ""


def test_starting_the_command_line_does_not_load_what_only_the_doctor_needs() -> None:
    program = "import sys, cli.app; print({'boto3', 'botocore', 'aws_cdk', 'pydantic'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(CHECKOUT / "cdk.json", tmp_path)
    return tmp_path


def _statuses(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.status, finding.subject) for finding in found]


def test_every_wrong_setting_is_a_cross_and_the_others_are_still_looked_at(checkout: Path) -> None:
    overrides = {"spot": "perhaps", "hosting_instance": "ml.p3.2xlarge", "quiet_secs": "5", "name": "tales"}
    looked_at, findings = read_settings_for_checks(checkout, overrides)
    assert sorted(_statuses(findings)) == [
        ("fault", "hosting_instance"),
        ("fault", "quiet_secs"),
        ("fault", "spot"),
    ]
    assert all(finding.cure for finding in findings)
    assert looked_at.wrong_settings >= {"spot", "hosting_instance"}
    assert looked_at.settings.name == "tales" and looked_at.settings.hosting_instance == "ml.g6.xlarge"


def test_a_model_that_cannot_be_used_is_a_cross(checkout: Path) -> None:
    _, findings = read_settings_for_checks(checkout, {"base_model": "llama-3.2-3b"})
    assert ("fault", "base_model") in _statuses(findings), "it is gated, and no secret is named"
    assert all("secretsmanager" in finding.cure for finding in findings)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing"),
        ("{", "is not valid JSON: Expecting property name"),
        ('{"context": {"name": "a",}}', "in line 1, column"),
        ("[]", "is not a JSON object"),
        ('{"context": []}', 'has no object under "context"'),
        (b"\xff\xfe{}", "is not UTF-8"),
    ],
)
def test_a_cdk_json_that_cannot_be_read_is_one_cross(checkout: Path, content: Any, said: str) -> None:
    file = checkout / "cdk.json"
    file.unlink() if content is None else file.write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    looked_at, (finding,) = read_settings_for_checks(checkout, {})
    assert (finding.status, finding.subject) == ("fault", "cdk.json")
    assert said in finding.message and finding.cure
    assert "base_model" in looked_at.wrong_settings, "nothing is said of settings that were not read"
    with pytest.raises(ContextError):
        read_context(checkout)


def test_context_comes_from_where_the_cdk_takes_it(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = checkout / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / ".cdk.json").write_text('{"context": {"name": "of-home", "one": 1}}')
    (checkout / "cdk.context.json").write_text('{"name": "looked-up", "two": 2}')
    context = read_context(checkout, {"spot": "false"})
    assert (context["name"], context["one"], context["two"], context["spot"]) == ("storyloom", 1, 2, "false")


def test_the_page_lists_every_check_and_every_permission() -> None:
    page = PAGE.read_text()
    for check in CHECKS:
        assert f"`{check.name}`" in page, "docs/deploying.md says what each check means"
        assert check.group in GROUPS
    policy = json.loads(re.findall(r"```json\n(\{\s+\"Version\".*?)```", page, re.DOTALL)[0])
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert allowed == set(ALL_PERMISSIONS)
    assert SCHEMA in page


def test_no_finding_is_without_its_cure() -> None:
    with pytest.raises(ValueError, match="needs a cure"):
        Finding("warning", "something", "is odd")
