"""`storyloom check` reports of a folder what the pipeline reports of the same files in the bucket."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from rich.console import Console

from assemble import handler as assemble
from begin.handler import latest_versions
from cli.folder_check import check_folder
from cli.stories_folder import story_files
from contracts import s3_keys
from contracts import settings as app_settings
from read_stories import handler as read_stories
from shared.aws import clients
from shared.runs import run_records
from tests.unit.functions.conftest import BASE_MODEL, DeployedResources
from tests.unit.stories.material import prose, zipped

RUN = "20260901-120000-abcd"
CONTEXT = {
    "base_model": BASE_MODEL["name"],
    "training_instance": "ml.g5.xlarge",
    "minimum_words": 4000,
    "max_training_minutes": 77,
    "spot": True,
}
# What tells one run from another: its id, the versions of the files, and that nothing was kept from before.
_OF_THE_RUN = {"run_id", "source_version", "files_from_cache", "price_date"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some of everything: chapters, a zip, rows, damage to mend, a copy, and what cannot be used."""
    stories = tmp_path / "tales"
    (stories / "emma").mkdir(parents=True)
    files = {f"tale-of-{chr(97 + number)}.txt": prose(number).encode() for number in range(12)}
    files |= {
        f"emma/chapter-{number:02}.md": f"# {number}\n\n{prose(40 + number)}".encode() for number in range(6)
    }
    files |= {"wrapped.txt": prose(60).replace(". ", ".  \r\n").encode("utf-16")}
    files |= {"more.zip": zipped({"one.md": prose(100).encode(), "two.docx": b"?"})}
    files |= {"rows.jsonl": b'{"prompt": "Tell.", "completion": "Once there was a bell."}\n{"text": \n'}
    files |= {"photo.jpg": b"\xff\xd8\xff", "empty.txt": b"", "<b>.txt": b"\x00\x01\x02\x03" * 99}
    files |= {"a-copy.txt": files["tale-of-d.txt"]}
    for name, content in files.items():
        (stories / name).write_bytes(content)
    return stories


def _pipeline(resources: DeployedResources, folder: Path, context: LambdaContext) -> dict[str, Any]:
    paths = {key: path for path, key in story_files(folder)}
    for key, path in paths.items():
        clients.s3().put_object(Bucket=resources.stories, Key=key, Body=path.read_bytes())
    items = list(latest_versions(resources.stories))
    for item in items:
        # Of two copies the newest stays; in the bucket a file is as old as its upload.
        uploaded = datetime.fromisoformat(item["modified_at"]).timestamp()
        os.utime(paths[item["key"]], (uploaded, uploaded))
    run_records.create_run(RUN, "arn:aws:states:::execution", "test")
    for start in range(0, len(items), 7):
        read_stories.handler({"run_id": RUN, "files": items[start : start + 7]}, context)
    begun = {"files": len(items), "batches": {"bucket": resources.artifacts, "key": "k"}, "live": None}
    assemble.handler({"run_id": RUN, "begun": begun}, context)
    found = clients.s3().get_object(Bucket=resources.artifacts, Key=s3_keys.report(RUN))["Body"].read()
    report: dict[str, Any] = json.loads(found)
    return report


def _without_the_run(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_the_run(value) for name, value in content.items() if name not in _OF_THE_RUN}
    return [_without_the_run(each) for each in content] if isinstance(content, list) else content


def test_check_reports_what_the_pipeline_reports(
    resources: DeployedResources, context: LambdaContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = app_settings.read(CONTEXT)
    for name, value in {
        "MINIMUM_WORDS": str(settings.minimum_words),
        "MAX_TRAINING_MINUTES": str(settings.max_training_minutes),
        "TRAINING_INSTANCE": settings.training_instance,
        "TRAINING_CODE_URI": f"s3://{resources.artifacts}/training-code/abc/",
        "SPOT": "true",
        "ASK_BEFORE_TRAINING": "false",
        # these settings give no price: both take the one that ships
        "INSTANCE_PRICES": "{}",
    }.items():
        monkeypatch.setenv(f"STORYLOOM_{name}", value)
    deployed = _pipeline(resources, folder, context)
    checked = check_folder(folder, settings, Console(quiet=True)).model_dump(mode="json")
    assert _without_the_run(checked) == _without_the_run(deployed)
    assert checked["enough"]
    assert checked["duplicates"]
    assert len(checked["rejected"]) >= 4
    assert checked["works"] < checked["stories"]


def test_the_page_is_beside_the_json(
    resources: DeployedResources, context: LambdaContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "MINIMUM_WORDS": "1000000",
        "MAX_TRAINING_MINUTES": "3",
        "TRAINING_INSTANCE": "ml.g6.xlarge",
        "TRAINING_CODE_URI": f"s3://{resources.artifacts}/training-code/abc/",
        "SPOT": "false",
        "ASK_BEFORE_TRAINING": "false",
    }.items():
        monkeypatch.setenv(f"STORYLOOM_{name}", value)
    report = _pipeline(resources, folder, context)
    found = clients.s3().get_object(Bucket=resources.artifacts, Key=s3_keys.report_page(RUN))
    assert found["ContentType"] == "text/html; charset=utf-8"
    page = found["Body"].read().decode()
    assert f"{report['words']:,}" in page
    assert "tales/&lt;b&gt;.txt" in page
