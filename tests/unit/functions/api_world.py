"""Something of everything that the API can be asked for, and a model that answers, breaks off and sleeps."""

import json
from typing import Any

from contracts.statuses import VersionStatus
from endpoint_manager import handler as endpoint_manager
from shared import clock, table
from shared.accounts import keys
from shared.aws import clients
from shared.batch_inference import batch_records
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import run_records
from tests.unit.functions.conftest import ACCOUNT, BASE_MODEL, DeployedResources
from tests.unit.functions.people import EMAIL
from tests.unit.functions.sagemaker_stand_in import Body, StandIn

_RUN = "20260904-090000-ffff"
_WORDS = ("The ", "hill ", "was — ", "as ever — ", "listening.")
_REQUESTS_A_MINUTE = 25
_MINUTES_AWAKE = 6
_KEPT = 20
_OTHERS: dict[str, VersionStatus] = {
    "v2": "previous",
    "v3": "pending",
    "v4": "rejected",
    "v5": "failed",
    "v6": "approved",
}


class World:
    """Deployed resources in use; time goes by with each request."""

    def __init__(self, resources: DeployedResources, sagemaker: StandIn) -> None:
        """Make the deployed resources, with v1 awake."""
        self._sagemaker, self._requests = sagemaker, 0
        sagemaker.meet = self._meet
        for key in ("The Hill.txt", "tales/ö.txt", "tales/well.txt"):
            clients.s3().put_object(Bucket=resources.stories, Key=key, Body=b"Once")
        sagemaker.packages.append({})  # v1's
        for version, status in _OTHERS.items():
            _save(version, status)
            sagemaker.packages.append({})
        run_records.enter(_RUN, "Train")
        run_records.finish(_RUN, "failed", "The machine was taken away.")
        keys.issue_key("nightly", ["read"], 60, by="somebody", email=EMAIL)

    def go_on(self) -> None:
        """Let the time of one request go by; the endpoint manager looks every minute, as scheduled."""
        self._requests += 1
        minute, second = divmod(self._requests, _REQUESTS_A_MINUTE)
        if second:
            return
        _forget()
        if self._sagemaker.endpoint is not None:
            self._sagemaker.in_service()
        if minute % _MINUTES_AWAKE:
            endpoint_manager.check_endpoint()
        else:
            endpoint_manager.sleep_endpoint("Asleep for a while.")

    def _meet(self, number: int, request: Body) -> None:
        """Decide how the model takes the question with this number: well, mostly."""
        self._sagemaker.stream = _written("messages" in request)
        self._sagemaker.dies = number % 7 == 0
        self._sagemaker.model_error = (500, "CUDA error") if number % 11 == 0 else None


def _forget() -> None:
    """Keep a few of what piles up: listing thousands of keys and batches would take longer than all else."""
    for partition in (keys._PARTITION, batch_records._PARTITION):
        for item in table.query(partition)[_KEPT:]:
            table.delete_item(partition, item["sk"])


def _save(version: str, status: VersionStatus) -> None:
    model = ModelVersion(
        version=version,
        run_id=_RUN,
        status=status,
        adapter_uri="s3://a/m/",
        adapter_sha256="b" * 64,
        model_package_arn=f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model-package/storyloom/{version[1:]}",
        base_model=str(BASE_MODEL["id"]),
        base_revision="r1",
        created_at=clock.stamp(),
    )
    versions.save(model)


def _written(chat: bool) -> list[bytes]:
    """What vLLM sends for a chat, or for a completion of a text."""
    kind = "chat.completion.chunk" if chat else "text_completion"

    def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
        chunk = {"id": "c1", "object": kind, "created": 5, "model": "v1", "choices": choices, **more}
        return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()

    def piece(text: str, reason: str | None = None) -> bytes:
        said: dict[str, Any] = {"delta": {"content": text}} if chat else {"text": text, "logprobs": None}
        return event([{"index": 0, **said, "finish_reason": reason}])

    counts = {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}
    return [*map(piece, _WORDS), piece("", "stop"), event([], usage=counts), b"data: [DONE]\n\n"]
