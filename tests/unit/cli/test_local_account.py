"""`storyloom local … --account`: the local cloud is an account of the profile that is asked for."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import journey
from cli.app import app
from local.aws.local_aws import LocalAws
from local.cloud import LocalCloud


@pytest.mark.parametrize(("options", "profile"), [([], "usual"), (["--account", "new"], "new")])
def test_up_starts_a_cloud_of_that_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], profile: str
) -> None:
    started: list[LocalCloud] = []
    monkeypatch.setattr(journey, "start_and_deploy", lambda cloud, _: started.append(cloud))
    monkeypatch.setattr(LocalCloud, "status", lambda _: {"url": "http://localhost", "sign_in": {}})
    result = CliRunner().invoke(app, ["local", "up", "--state", str(tmp_path), *options, "--json"])
    assert result.exit_code == 0, result.output
    assert [cloud.account for cloud in started] == [profile]


def test_a_quota_that_was_set_before_the_start_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cloud = LocalCloud(tmp_path, tmp_path / "state", account="new")
    cloud.set_quota("ml.g6.xlarge for endpoint usage", 1)

    def start(_: LocalAws) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("local.aws.local_aws._require_free", lambda _: nullcontext())
    monkeypatch.setattr(LocalAws, "_start", start)
    monkeypatch.setattr(LocalAws, "down", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        cloud.up()
    written = json.loads(cloud.folders.account.read_text())
    assert written["profile"] == "new"
    assert written["quotas"] == {"ml.g6.xlarge for endpoint usage": 1}
