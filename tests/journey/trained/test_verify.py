"""`storyloom verify` proves every line against the deployed app, and names one that is broken on purpose."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.verify.lines import LINES
from local.aws.cloud_environment import ACCOUNT
from tests.journey.deployed_app import CHECKOUT, STORIES, Deployed
from tests.journey.trained.conftest import STATE

pytestmark = [pytest.mark.cloud, pytest.mark.journey]


def _verify(out: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code of the command, and the file that it writes."""
    command = [sys.executable, "-m", "cli", "verify", "--state", STATE.name, "--out", str(out), *arguments]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert out.exists(), ended.stderr
    document: dict[str, Any] = json.loads(out.read_text())
    return ended.returncode, document


def test_every_line_is_proven_and_the_file_can_be_shared(
    deployed: Deployed, first_run: dict[str, Any], tmp_path: Path
) -> None:
    people = deployed.client("cognito-idp").list_users(UserPoolId=deployed.outputs["UserPoolId"])["Users"]
    code, document = _verify(tmp_path / "verify.json")
    unproven = {line["id"]: line["detail"] for line in document["lines"] if line["status"] != "proven"}
    assert not unproven, f"{unproven}"
    assert code == 0
    assert [line["id"] for line in document["lines"]] == [line.id for line in LINES]
    assert document["local_cloud"] and document["cost_usd"] == 0
    assert document["settings"]["base_model"] == deployed.api.status()["base_model"]["id"]
    text = json.dumps(document)
    assert ACCOUNT not in text and "@" not in text
    assert STORIES[0].read_text().splitlines()[0][:40] not in text
    # Nothing that it made is left.
    left = deployed.client("cognito-idp").list_users(UserPoolId=deployed.outputs["UserPoolId"])["Users"]
    assert len(left) == len(people)
    assert not [story for story in deployed.api.stories() if story["key"].startswith("storyloom-verify")]
    made = [key for key in deployed.api.keys() if key["name"].startswith("storyloom-verify")]  # noqa: SIM118
    assert made and all(key["revoked_at"] for key in made)


def test_a_line_that_is_broken_on_purpose_is_named(deployed: Deployed, tmp_path: Path) -> None:
    cloudwatch = deployed.client("cloudwatch")
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix="Storyloom-Operations")["MetricAlarms"]
    names = [alarm["AlarmName"] for alarm in alarms]
    cloudwatch.disable_alarm_actions(AlarmNames=names)
    try:
        code, document = _verify(tmp_path / "verify.json", "--only", "alarm")
    finally:
        cloudwatch.enable_alarm_actions(AlarmNames=names)
    found = {line["id"]: line for line in document["lines"]}
    assert code == 1 and not document["proven"]
    assert found["alarm"]["status"] == "failed"
    assert "No alarm of the Operations stack sends to the app's topic" in found["alarm"]["detail"]
    assert found["deployment"]["status"] == "proven"
