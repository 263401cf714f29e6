"""Real vLLM behind the local SageMaker, over the bundle that the app makes of two trained adapters."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from benchmarks.dataset import make
from contracts import s3_keys
from contracts.environment import Common, Hosting
from contracts.settings import Settings
from deploy import bundle
from local.base_model import ensure_base_model
from local.cloud import LocalCloud
from local.vllm_server import PYTHON
from shared import clock
from shared.aws import clients
from shared.hosting import endpoint_configs
from shared.items import ModelVersion
from tests.local.sagemaker.conftest import JOB_PERMISSIONS, Aws, free_port, until
from tests.unit.endpoint.contract import Reply

BUCKET = "vllm-artifacts"
ENDPOINT = "storyloom"
BASE_MODEL = {
    "name": "smollm2-135m",
    "id": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "slug": "smollm2-135m",
    "revision": "r1",
    "chat": True,
    "context_length": 8192,
    "parameters_millions": 135,
    "gated": False,
}
START_SECONDS = 900.0
CHECKOUT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not PYTHON.exists():
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed: `make test-vllm` does that"))


@pytest.fixture(scope="session")
def base_model() -> Path:
    return ensure_base_model()


@pytest.fixture(scope="session")
def adapters(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters, newest first, trained on the sample stories for some steps by the training job itself."""
    root = tmp_path_factory.mktemp("training")
    make(CHECKOUT / "sample_stories", root / "dataset")
    return {
        version: _train(root / version, base_model, root / "dataset", seed)
        for version, seed in (("v2", 2), ("v1", 1))
    }


def _train(root: Path, base_model: Path, dataset: Path, seed: int) -> Path:
    settings = {
        "max_seconds": "60",
        "seed": str(seed),
        "sequence_length": "128",
        "batch_tokens": "256",
        "micro_batch_tokens": "256",
        "learning_rate": "0.002",
    }
    (root / "input" / "config").mkdir(parents=True)
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(settings))
    (root / "input" / "data").mkdir()
    for channel, folder in {
        "train": dataset / "train",
        "validation": dataset / "validation",
        "model": base_model,
    }.items():
        (root / "input" / "data" / channel).symlink_to(folder.resolve())
    subprocess.run(
        [sys.executable, str(CHECKOUT / "training_code" / "train.py")],
        env={**os.environ, "SM_MODEL_DIR": str(root / "model")},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return root / "model"


@dataclass(frozen=True)
class Hosted:
    """The endpoint, asked as the API asks it."""

    cloud: Aws
    folder: Path
    """Where the local SageMaker has put the bundle."""

    @property
    def log(self) -> list[str]:
        """What vLLM has said so far."""
        return self.cloud.log(f"/aws/sagemaker/Endpoints/{ENDPOINT}", "main/")

    @property
    def url(self) -> str:
        """vLLM's own address, for what SageMaker does not pass on."""
        (arguments,) = [line.split() for line in self.log if line.startswith("vLLM's arguments: ")]
        return f"http://127.0.0.1:{arguments[arguments.index('--port') + 1]}"

    def ask(self, body: bytes) -> Reply:
        try:
            answer = clients.sagemaker_runtime().invoke_endpoint(
                EndpointName=ENDPOINT, ContentType="application/json", Body=body
            )
        except ClientError as error:
            said: dict[str, Any] = dict(error.response)
            assert said["Error"]["Code"] == "ModelError", said
            return Reply(int(said["OriginalStatusCode"]), json.loads(said["OriginalMessage"]))
        return Reply(200, json.loads(answer["Body"].read()))

    def stream(self, body: bytes) -> list[bytes]:
        answer: Any = clients.sagemaker_runtime().invoke_endpoint_with_response_stream(
            EndpointName=ENDPOINT, ContentType="application/json", Accept="text/event-stream", Body=body
        )
        assert answer["ContentType"].startswith("text/event-stream")
        return [part["PayloadPart"]["Bytes"] for part in answer["Body"]]


@pytest.fixture(scope="session")
def hosted(
    base_model: Path, adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosted]:
    """The endpoint in service: the app's own code bundles, names and configures; SageMaker is ours."""
    state = tmp_path_factory.mktemp("vllm-cloud")
    cloud = LocalCloud(CHECKOUT, state, free_port(), free_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_AWS_ENDPOINT_SERVER", "local.vllm_server")
        try:
            cloud.up()
            account = Aws(cloud)
            for name, value in _app_environment(account).items():
                patch.setenv(name, value)
            _forget_clients()
            _put_models(account, base_model, adapters)
            made = bundle.build(_registered("v2"), _registered("v1"))
            config = endpoint_configs.ensure_config(made.uri, "ml.g6.xlarge")
            clients.sagemaker().create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=config)
            settled = until(
                lambda: dict(clients.sagemaker().describe_endpoint(EndpointName=ENDPOINT)),
                lambda seen: seen["EndpointStatus"] != "Creating",
                START_SECONDS,
            )
            assert settled["EndpointStatus"] == "InService", settled.get("FailureReason")
            (folder,) = (state / "sagemaker" / "endpoints" / ENDPOINT).glob("*/model")
            yield Hosted(account, folder)
        finally:
            cloud.down()
    _forget_clients()


def _registered(version: str) -> ModelVersion:
    return ModelVersion(
        version=version,
        run_id="20260901-100000-aaaa",
        status="approved",
        adapter_uri=f"s3://{BUCKET}/adapters/{version}/",
        adapter_sha256="a" * 64,
        base_model=str(BASE_MODEL["id"]),
        base_revision=str(BASE_MODEL["revision"]),
        created_at=clock.stamp(),
    )


def _app_environment(account: Aws) -> dict[str, str]:
    """What the stacks tell the deploy function, and what boto3 needs here."""
    allowed = {
        **JOB_PERMISSIONS,
        "s3:GetObject": f"arn:aws:s3:::{BUCKET}/hosting/*",
        "s3:ListBucket": f"arn:aws:s3:::{BUCKET}",
    }
    settings = Settings()
    common = Common.from_settings(
        settings, table="none", stories_bucket="none", artifacts_bucket=BUCKET, base_model=BASE_MODEL
    )
    hosting = Hosting.from_settings(
        settings,
        hosting_image="123456789012.dkr.ecr.us-east-1.amazonaws.com/vllm:any",
        hosting_fallback_instances=[],
        hosting_role_arn=account.role("sagemaker.amazonaws.com", allowed),
        endpoint_name=ENDPOINT,
        watch_minutes=0,
        inference_ami="",
        rollback_alarms=[],
    )
    return {**account.cloud.environment(), **common.variables(), **hosting.variables()}


def _put_models(account: Aws, base_model: Path, adapters: dict[str, Path]) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    folders = {s3_keys.base_model(BASE_MODEL["slug"], BASE_MODEL["revision"]): base_model}  # type: ignore[arg-type]
    folders |= {f"adapters/{version}/": folder for version, folder in adapters.items()}
    for prefix, folder in folders.items():
        for file in folder.iterdir():
            s3.upload_file(str(file), BUCKET, f"{prefix}{file.name}")


def _forget_clients() -> None:
    for make_client in vars(clients).values():
        if hasattr(make_client, "cache_clear"):
            make_client.cache_clear()
