"""Transform jobs: CreateTransformJob, DescribeTransformJob, StopTransformJob, ListTransformJobs.

The model's server is started as for an endpoint, gets a record at a time, and is stopped when the job ends.
An object's answers are written once all of its records are answered, and not at all if one is not; the other
objects go on, and the job then ends as Failed.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from local.aws.errors import in_use, invalid
from local.aws.processes import free_loopback_port
from local.aws.sagemaker import job as jobs
from local.aws.sagemaker import simulated_clock
from local.aws.sagemaker.instance_holds import acquire_instances_for
from local.aws.sagemaker.job import TRANSFORM, Job, JobFailed, JobStopped
from local.aws.sagemaker.job_process import start_folder
from local.aws.sagemaker.model_resources import get_model
from local.aws.sagemaker.model_servers import ModelServer, ModelServerFailed
from local.aws.sagemaker.record_store import STORE, Record, public_members, sagemaker_arn
from local.aws.sagemaker.telemetry import Telemetry
from local.aws.sagemaker.transfer import S3Uri

START_SECONDS = 1200
"""How long a container may take to answer /ping."""
INVOCATION_SECONDS, RETRIES, PAYLOAD_MEGABYTES = 600, 3, 6
"""SageMaker's own defaults."""
MOST_MEGABYTES = 100
PAUSE_SECONDS = 0.5
_STRATEGY = "SINGLE_RECORD"
_WORKING: dict[str, "_Transform"] = {}


def create_transform_job(request: Record) -> Record:
    """Answer CreateTransformJob."""
    model = get_model(request["ModelName"])
    _check_request(request, model)
    name = request["TransformJobName"]
    now = simulated_clock.current_time()
    record = {
        **{key: value for key, value in request.items() if key != "Tags"},
        "TransformJobArn": sagemaker_arn("transform-job", name),
        "TransformJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    if not STORE.add("transform-job", name, record):
        raise in_use(
            "Job name must be unique within an AWS account and region, and a transform job with this name "
            f"already exists ({sagemaker_arn('transform-job', name)})"
        )
    resources = request["TransformResources"]
    instances = resources["InstanceType"], "transform job", resources["InstanceCount"]
    hold = acquire_instances_for("transform-job", name, *instances)
    STORE.tag(sagemaker_arn("transform-job", name), request.get("Tags", []))
    job = Job(TRANSFORM, name, start_folder("transform", name), model["ExecutionRoleArn"], [], {}, hold)
    work = _WORKING[name] = _Transform(job, request, model)
    job.start(lambda _: work.run())
    return {"TransformJobArn": sagemaker_arn("transform-job", name)}


def describe_transform_job(request: Record) -> Record:
    """Answer DescribeTransformJob."""
    return public_members(_get(request["TransformJobName"]))


def stop_transform_job(request: Record) -> Record:
    """Answer StopTransformJob."""
    name = request["TransformJobName"]
    jobs.require_in_progress("transform job", _get(name)["TransformJobStatus"])
    STORE.update("transform-job", name, TransformJobStatus="Stopping")
    _WORKING[name].stop()
    return {}


def summarize_transform_job(record: Record) -> Record:
    """Return one entry of ListTransformJobs."""
    keys = (
        "TransformJobName TransformJobArn CreationTime TransformEndTime LastModifiedTime "
        "TransformJobStatus FailureReason"
    )
    return {key: record[key] for key in keys.split() if key in record}


def _get(name: str) -> Record:
    record = STORE.get("transform-job", name)
    if record is None:
        raise invalid(f"Could not find requested job with name: {name}")
    return record


def _check_request(request: Record, model: Record) -> None:
    """Refuse what SageMaker would, and what one machine does not have. Raises `AwsError`."""
    if "ModelDataSource" in model["PrimaryContainer"]:
        raise invalid(
            "SageMaker Batch currently doesn't support Model entity with container definitions which use "
            "ModelDataSource attribute"
        )
    _check_sizes(request)
    _check_splitting(request)
    for place in (
        request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"],
        request["TransformOutput"]["S3OutputPath"],
    ):
        try:
            S3Uri.parse(place)
        except ValueError as error:
            raise invalid(f"The S3 URI {place} is not valid") from error
    _check_what_is_here(request)


def _check_sizes(request: Record) -> None:
    megabytes, at_once = request.get("MaxPayloadInMB", 6), request.get("MaxConcurrentTransforms") or 1
    if megabytes > MOST_MEGABYTES or at_once * megabytes > MOST_MEGABYTES:
        raise invalid(
            f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MOST_MEGABYTES}; it is "
            f"{at_once} * {megabytes}"
        )


def _check_splitting(request: Record) -> None:
    split = request["TransformInput"].get("SplitType", "None")
    if request.get("BatchStrategy") and split == "None":
        raise invalid("BatchStrategy needs a SplitType: Line, RecordIO or TFRecord")
    if split not in {"None", "Line"}:
        raise invalid(f"On this machine a transform job has no SplitType {split}: give Line or None.")
    if split == "Line" and request.get("BatchStrategy") != "SingleRecord":
        raise invalid("On this machine a transform job gives the model one record at a time: SingleRecord.")


def _check_what_is_here(request: Record) -> None:
    if request["TransformResources"]["InstanceCount"] != 1:
        raise invalid("On this machine a transform job has one instance: set InstanceCount to 1.")
    source = request["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"]
    if source != "S3Prefix":
        raise invalid(f"On this machine a transform job reads an S3Prefix, no {source}.")
    if request["TransformInput"].get("CompressionType", "None") != "None":
        raise invalid("On this machine a transform job reads what is not compressed.")
    for member in ("DataProcessing", "DataCaptureConfig"):
        if request.get(member):
            raise invalid(f"On this machine a transform job has no {member}.")


class _RecordFailed(Exception):  # noqa: N818 (an outcome)
    """One record was not answered; the text is for the log, `side` names whose error it is."""

    def __init__(self, side: str, text: str) -> None:
        super().__init__(text)
        self.side = side


@dataclass
class _Transform:
    """The life of one job."""

    job: Job
    request: Record
    model: Record
    _fleet: ModelServer | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)
    _sides: set[str] = field(default_factory=set)

    def run(self) -> None:
        try:
            inputs = self._inputs()
            self.job.update(TransformStartTime=simulated_clock.current_time())
            self._start_server()
            self._log(
                f"MaxConcurrentTransforms={self._at_once}, MaxPayloadInMB={self._payload_megabytes}, "
                f"BatchStrategy={_STRATEGY}"
            )
            with (
                httpx.Client(timeout=self._invocation_seconds, trust_env=False) as http,
                ThreadPoolExecutor(self._at_once) as pool,
            ):
                for key in inputs:
                    self._transform(key, http, pool)
            if self._sides:
                side = "ClientError" if self._sides == {"ClientError"} else "AlgorithmError"
                raise JobFailed(f"{side}: See job logs for more information")
            self._end_server()
            self.job.update(TransformEndTime=simulated_clock.current_time())
            self.job.finish("Completed")
        except (JobFailed, JobStopped):
            self._end_server()
            self.job.update(TransformEndTime=simulated_clock.current_time())
            raise
        finally:
            self._end_server()
            _WORKING.pop(self.job.name, None)

    def stop(self) -> None:
        """Stop at once; what is written stays."""
        self._stopped.set()
        self.job.stop()
        threading.Thread(target=self._end_server, name=f"stop-{self.job.name}", daemon=True).start()

    def _inputs(self) -> list[str]:
        uri = S3Uri.parse(self.request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
        try:
            pages = self.job.clients.s3.get_paginator("list_objects_v2").paginate(
                Bucket=uri.bucket, Prefix=uri.key
            )
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        except jobs.DATA_ERRORS as error:
            raise jobs.data_error(f"Data download of {uri}", error) from error
        found = sorted(key for key in keys if not key.endswith("/"))
        if not found:
            raise JobFailed(f'ClientError: No S3 objects found under S3 URL "{uri}"')
        return found

    def _start_server(self) -> None:
        self.job.check_stop()
        stream = f"{self.job.name}/i-{time.time_ns():x}"
        self._fleet = ModelServer(
            self.job.name,
            {"VariantName": self.job.name, "ContainerStartupHealthCheckTimeoutInSeconds": START_SECONDS},
            self._model_in_a_batch(),
            self.job.root / "container",
            free_loopback_port(),
            Telemetry(self.job.clients, TRANSFORM.log_group, stream),
            self.job.clients,
        )
        self.job.check_stop()
        try:
            self._fleet.start()
        except ModelServerFailed as failed:
            self.job.check_stop()
            words = str(failed)
            raise JobFailed(
                words if words.startswith("ClientError") else f"AlgorithmError: {words}"
            ) from failed

    def _end_server(self) -> None:
        if self._fleet:
            self._fleet.stop()

    def _model_in_a_batch(self) -> Record:
        """Return the model with the variables that SageMaker adds."""
        container = self.model["PrimaryContainer"]
        variables = {
            **container.get("Environment", {}),
            **self.request.get("Environment", {}),
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_BATCH_STRATEGY": _STRATEGY,
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(self._at_once),
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(self._payload_megabytes),
        }
        return {**self.model, "PrimaryContainer": {**container, "Environment": variables}}

    def _transform(self, key: str, http: httpx.Client, pool: ThreadPoolExecutor) -> None:
        """Have one object's records answered, and write the answers."""
        self.job.check_stop()
        source = S3Uri.parse(self.request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
        try:
            content = self.job.clients.s3.get_object(Bucket=source.bucket, Key=key)["Body"].read()
        except jobs.DATA_ERRORS as error:
            raise jobs.data_error(f"Data download of s3://{source.bucket}/{key}", error) from error
        try:
            answers = list(pool.map(lambda record: self._ask(http, record), self._records(content)))
        except _RecordFailed as failed:
            self.job.check_stop()
            self._sides.add(failed.side)
            for line in str(failed).splitlines():
                self._log(f"{source.bucket}/{key}: {line}")
            return
        self._write(key, source, answers)

    def _records(self, content: bytes) -> Iterator[bytes]:
        if self.request["TransformInput"].get("SplitType", "None") == "None":
            yield content
            return
        yield from (line for line in content.split(b"\n") if line.strip())

    def _ask(self, http: httpx.Client, record: bytes) -> bytes:
        if len(record) > self._payload_megabytes * 2**20:
            raise _RecordFailed("ClientError", f"A record is over MaxPayloadInMB={self._payload_megabytes}")
        headers = {
            name: value
            for name, value in (
                ("content-type", self.request["TransformInput"].get("ContentType")),
                ("accept", self.request["TransformOutput"].get("Accept")),
            )
            if value
        }
        retries = self.request.get("ModelClientConfig", {}).get("InvocationsMaxRetries", RETRIES)
        failed = _RecordFailed("AlgorithmError", "Stopped")
        for _ in range(retries + 1):
            if self._stopped.is_set():
                break
            try:
                answer = http.post(f"{self._url}/invocations", content=record, headers=headers)
            except httpx.HTTPError as error:
                failed = _RecordFailed(
                    "AlgorithmError", f"Unable to get response from algorithm: {type(error).__name__}"
                )
                self._stopped.wait(PAUSE_SECONDS)
                continue
            if answer.is_success:
                return answer.content
            side = "ClientError" if answer.is_client_error else "AlgorithmError"
            status = answer.status_code
            failed = _RecordFailed(
                side, f"Bad HTTP status received from algorithm: {status}\n\nMessage:\n{answer.text}"
            )
            if answer.is_client_error:
                break  # the same request would be refused again
            self._stopped.wait(PAUSE_SECONDS)
        raise failed

    def _write(self, key: str, source: S3Uri, answers: list[bytes]) -> None:
        base = source.key if source.key.endswith("/") else source.key[: source.key.rfind("/") + 1]
        target = S3Uri.parse(self.request["TransformOutput"]["S3OutputPath"]).child(f"{key[len(base) :]}.out")
        lines = self.request["TransformOutput"].get("AssembleWith", "None") == "Line"
        body = b"".join(answer + b"\n" for answer in answers) if lines else b"".join(answers)
        try:
            self.job.clients.s3.put_object(Bucket=target.bucket, Key=target.key, Body=body)
        except jobs.DATA_ERRORS as error:
            raise jobs.data_error(f"Upload to {target}", error) from error

    def _log(self, line: str) -> None:
        self.job.telemetry.line(f"[sagemaker logs]: {line}")

    @property
    def _url(self) -> str:
        return self._fleet.url if self._fleet else ""

    @property
    def _at_once(self) -> int:
        return int(self.request.get("MaxConcurrentTransforms") or 1)

    @property
    def _payload_megabytes(self) -> int:
        return int(self.request.get("MaxPayloadInMB", PAYLOAD_MEGABYTES))

    @property
    def _invocation_seconds(self) -> float:
        config: dict[str, Any] = self.request.get("ModelClientConfig", {})
        return float(config.get("InvocationsTimeoutInSeconds", INVOCATION_SECONDS))
