"""Staging the base model, from a small hub that speaks Hugging Face's API over HTTP."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import s3_keys
from shared import clock
from shared.aws import clients
from shared.runs import run_records
from stage_base_model import hub as hub_client
from stage_base_model import resumable
from stage_base_model.architectures import UnservedModelError
from stage_base_model.handler import handler
from stage_base_model.hub import HubError
from stage_base_model.verification import ContentHash
from tests.unit.functions.conftest import Context, DeployedResources
from tests.unit.functions.small_hub import COMMIT, FILES, NEEDED, SHARD, Hiccup, SmallHub

PART = 5 * 2**20


@pytest.fixture
def hub(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    """Serve it, in place of huggingface.co; what is larger than 5 MB is uploaded in parts."""
    monkeypatch.setattr(resumable, "PART_BYTES", PART)
    it = SmallHub()
    monkeypatch.setenv("HF_ENDPOINT", it.url)
    yield it
    it.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have waited before each further attempt."""
    seconds: list[float] = []
    monkeypatch.setattr(hub_client, "_sleep", seconds.append)
    return seconds


def _staged(resources: DeployedResources) -> dict[str, Any]:
    key = s3_keys.staged_marker("smollm2-135m", "r1")
    body = clients.s3().get_object(Bucket=resources.artifacts, Key=key)["Body"].read()
    parsed: dict[str, Any] = json.loads(body)
    return parsed


def test_only_the_needed_files_are_staged_and_listed_with_their_hashes(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext
) -> None:
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context) == {
        "done": True,
        "files_left": 0,
    }
    staged = _staged(resources)
    assert staged["commit"] == COMMIT
    assert (staged["architecture"], staged["hosting"]) == ("LlamaForCausalLM", "adapters")
    assert set(staged["files"]) == NEEDED
    for name, facts in staged["files"].items():
        key = s3_keys.base_model("smollm2-135m", "r1") + name
        stored = clients.s3().get_object(Bucket=resources.artifacts, Key=key)
        assert stored["Body"].read() == FILES[name]
        assert facts == {
            "bytes": len(FILES[name]),
            "sha256": hashlib.sha256(FILES[name]).hexdigest(),
            "etag": stored["ETag"],
        }
    run = run_records.get("r")
    assert run is not None
    assert run.step == "Train"


def test_a_staged_model_is_not_asked_for_again(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext
) -> None:
    key = s3_keys.staged_marker("smollm2-135m", "r1")
    clients.s3().put_object(Bucket=resources.artifacts, Key=key, Body=b'{"hosting": "adapters"}')
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    assert hub.asked == []


@pytest.mark.parametrize(
    ("architecture", "hosting"),
    [("LlamaForCausalLM", "adapters"), ("GPT2LMHeadModel", "merged"), ("MixtralForCausalLM", "merged")],
)
def test_how_versions_will_be_hosted_is_decided_by_the_architecture(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, architecture: str, hosting: str
) -> None:
    hub.files["config.json"] = json.dumps({"architectures": [architecture]}).encode()
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    assert (_staged(resources)["architecture"], _staged(resources)["hosting"]) == (architecture, hosting)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (b'{"architectures": ["GPTNeoForCausalLM"]}', "GPTNeoForCausalLM"),
        (b'{"architectures": ["Gemma4ForCausalLM"]}', "training container .transformers 5.3.0."),
        (b'{"architectures": []}', "names none"),
        (b"[", "names none"),
    ],
    ids=["not hosted", "not trained", "none", "no JSON"],
)
def test_what_could_not_be_hosted_is_refused_before_anything_large_is_copied(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, config: bytes, named: str
) -> None:
    hub.files["config.json"] = config
    with pytest.raises(UnservedModelError, match=named):
        handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)
    assert not any("safetensors" in path for path in hub.asked)
    assert "Contents" not in clients.s3().list_objects_v2(Bucket=resources.artifacts, Prefix="base-models/")


def test_a_model_that_was_staged_before_this_check_is_checked_too(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext
) -> None:
    prefix = s3_keys.base_model("smollm2-135m", "r1")
    clients.s3().put_object(
        Bucket=resources.artifacts, Key=f"{prefix}staged.json", Body=b'{"files": {"a": {}}}'
    )
    clients.s3().put_object(Bucket=resources.artifacts, Key=f"{prefix}a", Body=b"")
    with pytest.raises(UnservedModelError, match=r"has no config\.json"):
        handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)
    config = b'{"architectures": ["GPT2LMHeadModel"]}'
    clients.s3().put_object(Bucket=resources.artifacts, Key=f"{prefix}config.json", Body=config)
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    assert (_staged(resources)["hosting"], set(_staged(resources)["files"])) == ("merged", {"a"})
    assert hub.asked == []


def _names(resources: DeployedResources) -> set[str]:
    prefix = s3_keys.base_model("smollm2-135m", "r1")
    listed = clients.s3().list_objects_v2(Bucket=resources.artifacts, Prefix=prefix).get("Contents", [])
    return {entry["Key"].removeprefix(prefix) for entry in listed}


def test_a_damaged_file_is_never_kept(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext
) -> None:
    hub.damaged = SHARD
    with pytest.raises(HubError, match="arrived damaged twice"):
        handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)
    assert SHARD not in _names(resources)
    assert "model-00002-of-00002.safetensors" in _names(resources)
    hub.damaged, before = None, len(hub.asked)
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    fetched = [path.rpartition("/")[2] for path in hub.asked[before:] if "/resolve/" in path]
    assert fetched == ["config.json", SHARD], "what arrived whole is not fetched again"
    assert _names(resources) == {*NEEDED, "staged.json"}


class Hurried(Context):
    """A call with a second for downloads."""

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 31_000


def test_staging_continues_in_the_next_call_when_the_time_is_over(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext
) -> None:
    hub.slow = SHARD
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, Hurried()) == {
        "done": False,
        "files_left": 1,
    }
    hub.slow = None
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    assert _body(resources) == FILES[SHARD]


def _body(resources: DeployedResources) -> bytes:
    key = s3_keys.base_model("smollm2-135m", "r1") + SHARD
    return clients.s3().get_object(Bucket=resources.artifacts, Key=key)["Body"].read()


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("asked", "status", "headers"),
    [
        ("r1", 429, {"Retry-After": "55"}),
        (COMMIT, 502, {}),
        ("config.json", 500, {}),
        (SHARD, 429, {"RateLimit": '"resolvers";r=0;t=55'}),
        (SHARD, 503, {}),
        (SHARD, 504, {"Retry-After": "55"}),
    ],
)
def test_a_refusal_that_passes_is_waited_for(
    resources: DeployedResources,
    hub: SmallHub,
    context: LambdaContext,
    waits: list[float],
    *,
    asked: str,
    status: int,
    headers: dict[str, str],
) -> None:
    hub.hiccups[asked] = [Hiccup(status, headers)] * 2
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    first, second = waits
    if headers:
        assert (first, second) == (55, 55)
    else:
        assert 0.5 <= first <= 1 <= second <= 2


def test_a_refusal_for_longer_than_the_call_is_left_to_the_next(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, waits: list[float]
) -> None:
    hub.hiccups[COMMIT] = [Hiccup(429, {"Retry-After": format_datetime(clock.now() + timedelta(days=1))})]
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context) == {
        "done": False,
        "files_left": 1,
    }
    (wait,) = waits
    assert 500 < wait < 600, "all that was left of this call's time"
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]


@pytest.mark.aws_fact
def test_a_broken_connection_is_resumed_where_it_broke(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, waits: list[float]
) -> None:
    hub.hiccups[SHARD] = [Hiccup(breaks_after=6 * 2**20), Hiccup(breaks_after=2 * 2**20)]
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    first, second, third = hub.ranges[SHARD]
    assert first is None
    assert second == f"bytes={6 * 2**20}-"
    assert third == f"bytes={8 * 2**20}-"
    assert _body(resources) == FILES[SHARD]
    assert _staged(resources)["files"][SHARD]["sha256"] == hashlib.sha256(FILES[SHARD]).hexdigest()


@pytest.mark.aws_fact
def test_the_next_call_continues_in_the_middle_of_a_file(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, waits: list[float]
) -> None:
    hub.hiccups[SHARD] = [Hiccup(breaks_after=6 * 2**20), *[Hiccup(503)] * 7]
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context) == {
        "done": False,
        "files_left": 1,
    }
    assert SHARD not in _names(resources), "half a file is no file"
    before = len(hub.ranges[SHARD])
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    assert hub.ranges[SHARD][before:] == [f"bytes={PART}-"], "the whole parts are not asked for again"
    assert _body(resources) == FILES[SHARD]
    assert _names(resources) == {*NEEDED, "staged.json"}


def test_a_hub_that_knows_no_ranges_sends_the_file_again(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, waits: list[float]
) -> None:
    hub.hiccups[SHARD] = [Hiccup(breaks_after=6 * 2**20), Hiccup(ignores_range=True)]
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    assert _body(resources) == FILES[SHARD]


def test_a_file_that_changed_in_between_is_started_again(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, waits: list[float]
) -> None:
    hub.hiccups[SHARD] = [Hiccup(breaks_after=6 * 2**20, headers={"X-Linked-ETag": '"another"'})]
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    assert hub.ranges[SHARD] == [None, f"bytes={6 * 2**20}-", None]
    assert _body(resources) == FILES[SHARD]


def test_a_damaged_part_of_an_earlier_call_is_detected(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, waits: list[float]
) -> None:
    """The first part is damaged, and its hash died with the call that received it."""
    whole, hub.damaged = hub.files[SHARD], SHARD
    hub.hiccups[SHARD] = [Hiccup(breaks_after=6 * 2**20), *[Hiccup(503)] * 7]
    hub.etags[SHARD] = '"the same"'
    assert not handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    hub.damaged = None
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    assert _body(resources) == whole


def test_an_upload_that_s3_has_deleted_is_started_again(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, waits: list[float]
) -> None:
    hub.hiccups[SHARD] = [Hiccup(breaks_after=6 * 2**20), *[Hiccup(503)] * 7]
    assert not handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    partial = resumable.read_progress().partial
    assert partial is not None
    key = s3_keys.base_model("smollm2-135m", "r1") + SHARD
    clients.s3().abort_multipart_upload(Bucket=resources.artifacts, Key=key, UploadId=partial.upload_id)
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    assert _body(resources) == FILES[SHARD]


def test_a_hub_that_never_answers_is_an_error_with_its_cure(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, waits: list[float]
) -> None:
    hub.always[SHARD] = Hiccup(429)
    # The first call brings the other files, and so it has come further.
    for _ in range(6):
        assert not handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    with pytest.raises(HubError, match=r"answered 429\. .*huggingface_token_secret"):
        handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)
    assert sum(waits) > 300
    hub.always.clear()
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"], (
        "a run that is started again goes on"
    )


def test_what_will_not_pass_is_not_retried(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, waits: list[float]
) -> None:
    hub.always[SHARD] = Hiccup(451)
    with pytest.raises(HubError, match="answered 451"):
        handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)
    assert (waits, hub.downloads(SHARD)) == ([], 1)


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_says_what_to_do(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, status: int
) -> None:
    hub.status = status
    with pytest.raises(HubError, match=r"Accept its licence .* huggingface_token_secret"):
        handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)
    assert len(hub.asked) == 1, "asking again does not help"


def test_the_token_comes_from_secrets_manager(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients.secretsmanager().create_secret(Name=resources.table, SecretString="hf_secret\n")
    monkeypatch.setenv("STORYLOOM_HUGGINGFACE_TOKEN_SECRET", resources.table)
    handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)
    assert hub.tokens == {"Bearer hf_secret"}


def test_pickled_weights_are_refused(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext
) -> None:
    hub.files = {name: body for name, body in FILES.items() if not name.endswith(".safetensors")}
    with pytest.raises(HubError, match=r"no \.safetensors weights"):
        handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)


def test_an_unknown_revision_is_named(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext
) -> None:
    hub.status = 404
    with pytest.raises(HubError, match="revision/r1"):
        handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", SHARD, "model-00002-of-00002.safetensors"])
def test_an_object_of_the_right_size_and_another_content_is_copied_again(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, name: str
) -> None:
    """Of a small file the hub has git's hash, of a large one sha256."""
    key = s3_keys.base_model("smollm2-135m", "r1") + name
    clients.s3().put_object(Bucket=resources.artifacts, Key=key, Body=b"x" * len(FILES[name]))
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    assert clients.s3().get_object(Bucket=resources.artifacts, Key=key)["Body"].read() == FILES[name]


@pytest.mark.parametrize("name", ["tokenizer.json", SHARD])
@pytest.mark.parametrize("body", [None, b"x", b""], ids=["deleted", "same size", "shorter"])
def test_a_staged_model_that_was_changed_since_is_mended_before_it_is_used(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext, name: str, body: bytes | None
) -> None:
    key = s3_keys.base_model("smollm2-135m", "r1") + name
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    if body is None:
        clients.s3().delete_object(Bucket=resources.artifacts, Key=key)
    else:
        clients.s3().put_object(Bucket=resources.artifacts, Key=key, Body=body * len(FILES[name]))
    hub.asked.clear()
    assert handler({"training_job": "storyloom-train-x", "run_id": "r2"}, context)["done"]
    assert clients.s3().get_object(Bucket=resources.artifacts, Key=key)["Body"].read() == FILES[name]
    assert {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path} <= {name, "config.json"}
    hub.asked.clear()
    assert handler({"training_job": "storyloom-train-x", "run_id": "r3"}, context)["done"]
    assert hub.asked == [], "what is intact is not asked for again"


def test_a_list_without_etags_is_compared_by_content_once(
    resources: DeployedResources, hub: SmallHub, context: LambdaContext
) -> None:
    """An older version of the app wrote such a list; so does the local cloud."""
    assert handler({"training_job": "storyloom-train-x", "run_id": "r"}, context)["done"]
    listed = _staged(resources)
    for facts in listed["files"].values():
        del facts["etag"]
    marker = s3_keys.staged_marker("smollm2-135m", "r1")
    clients.s3().put_object(Bucket=resources.artifacts, Key=marker, Body=json.dumps(listed).encode())
    key = s3_keys.base_model("smollm2-135m", "r1") + SHARD
    clients.s3().put_object(Bucket=resources.artifacts, Key=key, Body=b"x" * len(FILES[SHARD]))
    assert handler({"training_job": "storyloom-train-x", "run_id": "r2"}, context)["done"]
    assert clients.s3().get_object(Bucket=resources.artifacts, Key=key)["Body"].read() == FILES[SHARD]
    assert all(facts["etag"] for facts in _staged(resources)["files"].values())


def test_git_itself_names_a_small_file_as_the_hub_does(tmp_path: Path) -> None:
    body = "ein Märchen\n".encode() * 999
    hashed = ContentHash(len(body))
    hashed.add(body[:7])
    hashed.add(body[7:])
    told = subprocess.run(["git", "hash-object", "--stdin"], input=body, capture_output=True, check=True)
    assert hashed.content.git_sha1 == told.stdout.decode().strip()
