"""Hundreds of files through the real state and function, one of whose processes is killed at work."""

import json
import re
import shutil
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts import s3_keys
from local.cloud import LocalCloud
from shared.runs.story_batches import ManifestEntry, group_into_batches
from stacks.functions.function_bundles import lay_out
from stacks.functions.function_groups import STORIES
from stacks.functions.function_packages import fetch
from stacks.pipeline.reading_states import read_state
from stories.dataset.assembly import assemble
from stories.records import Record, Reject
from tests.local.sagemaker.conftest import Aws, free_port, until
from tests.unit.stories import documents, poison
from tests.unit.stories.bad_files.documents import ENTITY_BOMB
from tests.unit.stories.material import options, prose, zipped

pytestmark = pytest.mark.cloud

FILES = 800
RUN_SECONDS = 300.0
"""For a busy machine; with a load of seven on two processors it took 103 s."""
STORIES_BUCKET, ARTIFACTS_BUCKET = "reading-stories", "reading-artifacts"
FUNCTION = "read-stories"
RUN = "20260901-120000-abcd"
WORDS = ("ship", "lantern", "orchard", "winter", "sister", "bread", "letter", "owl", "harbour", "clock")


@dataclass(frozen=True)
class Reading:
    """The state `Read` on its own, with the function as it is deployed, and its stories."""

    aws: Aws
    machine_arn: str
    items: list[ManifestEntry]

    def start(self, run_id: str, items: list[ManifestEntry] | None = None) -> str:
        """Start a run that reads the stories, or others; returns its execution's ARN."""
        batches = "\n".join(json.dumps(batch) for batch in group_into_batches(items or self.items))
        key = s3_keys.batches(run_id)
        self.aws.client("s3").put_object(Bucket=ARTIFACTS_BUCKET, Key=key, Body=batches)
        begun = {"batches": {"bucket": ARTIFACTS_BUCKET, "key": key}}
        given = json.dumps({"run_id": run_id, "begun": begun})
        states = self.aws.client("stepfunctions")
        return str(states.start_execution(stateMachineArn=self.machine_arn, input=given)["executionArn"])

    def ended(self, execution: str) -> dict[str, Any]:
        """Return the execution's description when it has ended."""
        states = self.aws.client("stepfunctions")
        return until(
            lambda: states.describe_execution(executionArn=execution),
            lambda seen: seen["status"] != "RUNNING",
            seconds=RUN_SECONDS,
        )

    def children(self, execution: str) -> list[dict[str, Any]]:
        """Return the children of the execution's Distributed Map, each with its history."""
        states = self.aws.client("stepfunctions")
        [run] = states.list_map_runs(executionArn=execution)["mapRuns"]
        pages = states.get_paginator("list_executions").paginate(mapRunArn=run["mapRunArn"])
        children = [child for page in pages for child in page["executions"]]
        for child in children:
            history = states.get_execution_history(executionArn=child["executionArn"])
            child["events"] = history["events"]
        return children

    def why(self, execution: str) -> list[str]:
        """Return the reasons for which children failed."""
        details = [
            event["taskFailedEventDetails"]
            for child in self.children(execution)
            for event in child["events"]
            if event["type"] == "TaskFailed"
        ]
        return [f"{found['error']}: {json.loads(found['cause'])['errorMessage']}" for found in details]

    def keys(self, prefix: str) -> list[str]:
        """Return the objects below a prefix of the artifacts."""
        pages = self.aws.client("s3").get_paginator("list_objects_v2")
        listed = pages.paginate(Bucket=ARTIFACTS_BUCKET, Prefix=prefix)
        return [found["Key"] for page in listed for found in page.get("Contents", [])]

    def lines(self, run_id: str) -> list[dict[str, Any]]:
        """Return everything that was read in a run."""
        s3 = self.aws.client("s3")
        bodies = [
            s3.get_object(Bucket=ARTIFACTS_BUCKET, Key=key)["Body"].read()
            for key in self.keys(s3_keys.read_prefix(run_id))
        ]
        return [json.loads(line) for body in bodies for line in body.splitlines()]


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """Deploy it, and drop the stories."""
    folder = tmp_path_factory.mktemp("reading")
    cloud = LocalCloud(Path.cwd(), folder / "cloud", free_port(), free_port())
    try:
        cloud.up()
        aws = Aws(cloud)
        items = drop_stories(aws)
        deploy_function(aws, folder)
        yield Reading(aws, deploy_machine(aws), items)
    finally:
        cloud.down()
        shutil.rmtree(folder, ignore_errors=True)


def drop_stories(aws: Aws) -> list[ManifestEntry]:
    """Drop stories of a dozen words, and return their manifest."""
    s3 = aws.client("s3")
    for bucket in (STORIES_BUCKET, ARTIFACTS_BUCKET):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=STORIES_BUCKET, VersioningConfiguration={"Status": "Enabled"})

    def drop_tale(number: int) -> ManifestEntry:
        said = " ".join(WORDS[int(digit)] for digit in f"{number:04}")
        text = f"Number {number} told of {said}, and then it slept until noon.".encode()
        return drop(aws, f"tales/tale {number:04} of {WORDS[number % 10]}s.txt", text)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(drop_tale, range(FILES)))


def drop(aws: Aws, key: str, content: bytes) -> ManifestEntry:
    """Drop one file, and return its line of the manifest."""
    put = aws.client("s3").put_object(Bucket=STORIES_BUCKET, Key=key, Body=content)
    return {
        "key": key,
        "version_id": put["VersionId"],
        "size": len(content),
        "etag": put["ETag"].strip('"'),
        "modified_at": "2026-09-01T12:00:00.000Z",
    }


def deploy_function(aws: Aws, folder: Path) -> None:
    """Deploy read_stories from the same files as the stack does."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    bundle = lay_out(STORIES, fetch(STORIES, python), folder / "bundle")
    with_poison(bundle)
    with zipfile.ZipFile(folder / "bundle.zip", "w") as archive:
        for file in sorted(bundle.rglob("*")):
            archive.write(file, file.relative_to(bundle))
    aws.client("s3").upload_file(str(folder / "bundle.zip"), ARTIFACTS_BUCKET, "bundle.zip")
    below = f"arn:aws:s3:::{ARTIFACTS_BUCKET}"
    role = aws.role(
        "lambda.amazonaws.com",
        {
            "s3:GetObjectVersion": f"arn:aws:s3:::{STORIES_BUCKET}/*",
            "s3:GetObject": f"{below}/cache/stories/*",
            "s3:ListBucket": below,
            "s3:PutObject": f"{below}/*",
        },
    )
    model = {"name": "m", "id": "o/m", "slug": "m", "revision": "r", "gated": False, "chat": True}
    functions = aws.client("lambda")
    functions.create_function(
        FunctionName=FUNCTION,
        Runtime=f"python{python}",
        Role=role,
        Handler="read_stories.handler.handler",
        Code={"S3Bucket": ARTIFACTS_BUCKET, "S3Key": "bundle.zip"},
        Timeout=600,
        Environment={
            "Variables": {
                "STORYLOOM_NAME": "storyloom",
                "STORYLOOM_TABLE": "none",
                "STORYLOOM_STORIES_BUCKET": STORIES_BUCKET,
                "STORYLOOM_ARTIFACTS_BUCKET": ARTIFACTS_BUCKET,
                "STORYLOOM_BASE_MODEL": json.dumps(
                    {**model, "context_length": 8192, "parameters_millions": 135}
                ),
            }
        },
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=FUNCTION)


def with_poison(bundle: Path) -> None:
    """Let the function know poisonous files, of which each may take no more than seconds."""
    shutil.copy(poison.__file__, bundle / "stories" / "formats" / "readers" / "poison.py")
    rules = bundle / "stories" / "file_rules.py"
    text = rules.read_text(encoding="utf-8")
    rules.unlink()  # it may be a link to the checkout's
    rules.write_text(text.replace("_SECONDS_A_FILE = 30", "_SECONDS_A_FILE = 3"), encoding="utf-8")


def deploy_machine(aws: Aws) -> str:
    """Deploy the state `Read` as the pipeline has it, and nothing else."""
    function = aws.client("lambda").get_function(FunctionName=FUNCTION)["Configuration"]["FunctionArn"]
    definition = {"StartAt": "Read", "States": {"Read": {**read_state(function), "End": True}}}
    # The CDK's word for `aws` until it is deployed.
    text = re.sub(r"\$\{Token\[AWS\.Partition\.\d+\]\}", "aws", json.dumps(definition))
    role = aws.role(
        "states.amazonaws.com",
        {
            "lambda:InvokeFunction": function,
            "s3:GetObject": f"arn:aws:s3:::{ARTIFACTS_BUCKET}/runs/*",
            "states:StartExecution": "*",
            **{
                f"s3:{action}": f"arn:aws:s3:::{ARTIFACTS_BUCKET}/runs/*/read-results/*"
                for action in ("PutObject", "ListMultipartUploadParts", "AbortMultipartUpload")
            },
        },
    )
    created = aws.client("stepfunctions").create_state_machine(name="reading", roleArn=role, definition=text)
    return str(created["stateMachineArn"])


def workers_at_work(aws: Aws) -> list[psutil.Process]:
    """Return the function's processes that have begun: those with a connection to S3."""
    processes = psutil.Process(aws.cloud.description()["pid"]).children(recursive=True)
    found = [
        process for process in processes if f"ministack-lambda-{FUNCTION}" in " ".join(process.cmdline())
    ]
    return [process for process in found if process.net_connections()]


@pytest.fixture(scope="module")
def first_execution(reading: Reading) -> str:
    """Return the first run's execution when it has ended; one of its processes was killed in mid-way."""
    execution = reading.start(RUN)
    until(
        lambda: {"at work": workers_at_work(reading.aws), "kept": reading.keys(s3_keys.CACHED_STORIES)},
        lambda seen: bool(seen["at work"] and seen["kept"]),
    )
    [victim, *_] = workers_at_work(reading.aws)
    victim.suspend()
    # The others read all that is not its own, so that it is its batch that is missing in the end.
    batches = FILES // 100
    read_so_far = until(
        lambda: {"batches": len(reading.keys(s3_keys.read_prefix(RUN)))},
        lambda seen: seen["batches"] >= batches - 1,
    )
    assert read_so_far["batches"] == batches - 1, "the process that is killed is in the middle of a batch"
    victim.kill()
    reading.ended(execution)
    return execution


def test_a_killed_child_is_retried_without_loss_or_duplicates(reading: Reading, first_execution: str) -> None:
    execution = first_execution
    ended = reading.ended(execution)
    assert ended["status"] == "SUCCEEDED", reading.why(execution)
    assert len(json.dumps(ended["output"])) < 1000, "what the children returned does not come back"
    children = reading.children(execution)
    assert len(children) == FILES // 100
    assert {child["status"] for child in children} == {"SUCCEEDED"}
    [why] = reading.why(execution)
    assert why.startswith("Runtime.ExitError"), "one child was killed, once"

    lines = reading.lines(RUN)
    told = Counter(line["source_key"] for line in lines if line["kind"] == "record")
    assert told == Counter(item["key"] for item in reading.items), "each story once"
    assert sum(line["files"] for line in lines if line["kind"] == "tally") == FILES
    assert not [line for line in lines if line["kind"] == "reject"]


def test_the_next_run_reads_no_file_again_and_gives_the_same_records(
    reading: Reading, first_execution: str
) -> None:
    again = "20260902-120000-bbbb"
    assert reading.ended(reading.start(again))["status"] == "SUCCEEDED"
    lines = reading.lines(again)
    assert sum(line["from_cache"] for line in lines if line["kind"] == "tally") == FILES

    def stories(found: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps(line) for line in found if line["kind"] == "record")

    assert stories(lines) == stories(reading.lines(RUN))


GOOD_FILES = 200
# By the name of the file: what it holds, and what its reject says.
POISON: dict[str, tuple[bytes, str]] = {
    "time.spin": (b"x", "Reading it takes longer than 4 seconds."),
    "memory.hog": (b"x", "Reading it takes more memory than a file may take."),
    "crash.crash": (b"x", "Its content crashes the program that reads it."),
    "function.kill": (b"x", "Reading it ended the function (Runtime.ExitError)"),
    "bomb.zip": (zipped({f"{n}.txt": b"a" * 1_000_000 for n in range(40)}), "zip bomb"),
    "endless.pdf": (
        documents.pdf_of(
            [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R] /Count 99999999 >>"]
        ),
        "",
    ),
    "deep.docx": (
        documents.docx("a", extra={"word/document.xml": b"<a>" * 40_000 + b"</a>" * 40_000}),
        "damaged Word document",
    ),
    "entities.odt": (documents.odt("&j;", prolog=ENTITY_BOMB), "entities"),
    "surrogate.json": (b'[{"\\ud800": 1}]', "no known column"),
    "gone.txt": (prose(1).encode(), "deleted while the run was starting"),
}


def test_a_run_with_ten_poisonous_files_trains_on_all_others_and_lists_the_ten(
    reading: Reading, first_execution: str, tmp_path: Path
) -> None:
    assert reading.ended(first_execution)["status"] == "SUCCEEDED"
    good = [
        drop(reading.aws, f"good/{chr(97 + n % 26)}{n}.txt", prose(n, 60).encode()) for n in range(GOOD_FILES)
    ]
    poisoned = [drop(reading.aws, f"poison/{name}", content) for name, (content, _) in POISON.items()]
    gone = poisoned[-1]
    reading.aws.client("s3").delete_object(
        Bucket=STORIES_BUCKET, Key=gone["key"], VersionId=gone["version_id"]
    )
    items = list(good)
    for number, item in enumerate(poisoned):
        items.insert(number * 20, item)
    run = "20260903-120000-cccc"
    execution = reading.start(run, items)
    assert reading.ended(execution)["status"] == "SUCCEEDED", reading.why(execution)

    lines = [line for line in reading.lines(run) if line["kind"] != "tally"]
    found: list[Record | Reject] = [
        (Record if line["kind"] == "record" else Reject).model_validate(line) for line in lines
    ]
    told = Counter(line.source_key for line in found if isinstance(line, Record))
    assert told == Counter(item["key"] for item in good), "each good story once, and nothing else"
    reasons = {line.source_key.partition("/")[2]: line.reason for line in found if isinstance(line, Reject)}
    assert set(reasons) == set(POISON)
    for name, (_, reason) in POISON.items():
        assert reason in reasons[name], name
    report = assemble(found, options(minimum_words=1000), tmp_path)
    assert (report.files, report.kept, report.stories) == (GOOD_FILES + len(POISON), GOOD_FILES, GOOD_FILES)
    assert report.enough
    assert {reject.source_key.partition("/")[2] for reject in report.rejected} == set(POISON)

    again = "20260904-120000-dddd"
    assert reading.ended(reading.start(again, items))["status"] == "SUCCEEDED"
    from_cache = sum(line["from_cache"] for line in reading.lines(again) if line["kind"] == "tally")
    assert from_cache == len(items) - 1, "no poison is taken twice, and what is gone is looked for again"
