"""SageMaker, its runtime and Application Auto Scaling over HTTP, as small as the functions' tests need them.

The real local SageMaker starts real model servers; here a test decides what the endpoint does. Requests are
checked against the service model with its enumerations and patterns, which boto3 does not check, and refusals
have SageMaker's words.
"""

import json
import select
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local.aws.errors import AwsError
from local.aws.sagemaker.event_stream import failure, payload_part
from local.aws.service_models import service_model, validate

Body = dict[str, Any]
SCALING = service_model("application-autoscaling")
_ANSWER, _CANCEL = "storyloom-answer=", "storyloom-cancel="


class RefusalError(Exception):
    """A ValidationException, or what `code` says."""

    def __init__(self, message: str, code: str = "ValidationException") -> None:
        super().__init__(message)
        self.code = code


@dataclass
class StandIn:
    """What SageMaker holds, and what its endpoint answers."""

    endpoint: Body | None = None
    models: dict[str, Body] = field(default_factory=dict)
    configs: dict[str, Body] = field(default_factory=dict)
    packages: list[Body] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    asked: list[Body] = field(default_factory=list)
    meet: Callable[[int, Body], None] | None = None
    """Called with the number of each question and the question: decides what it meets."""
    answers: list[Body] = field(default_factory=list)
    """What InvokeEndpoint answers, in turn."""
    stream: list[bytes] = field(default_factory=list)
    """Payload parts of InvokeEndpointWithResponseStream."""
    part_seconds: float = 0.0
    dies: bool = False
    """Whether the stream ends with a ModelStreamError."""
    breaks: bool = False
    """Whether the connection breaks when the stream should end."""
    begins_after: float = 0.0
    """Seconds before the stream begins."""
    ends_when_told: bool = True
    """Whether the container has the code that ends an answer which another request cancels."""
    cancelled: set[str] = field(default_factory=set)
    """The answers that the container was told to end."""
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set when a stream ended because its client went away, or cancelled it."""
    over_quota: set[str] = field(default_factory=set)
    """Instance types that the account may not have."""
    unseen: int = 0
    """So many of the next operations do not know yet what they depend on: it was made just now."""
    refuses_to_delete: bool = False
    scalable: Body | None = None
    """Application Auto Scaling's scalable target, with the endpoint's variant as its resource."""
    policy: Body | None = None
    updates: list[Body] = field(default_factory=list)
    """What UpdateEndpoint was asked."""
    model_error: tuple[int, str] | None = None
    jobs: dict[str, Body] = field(default_factory=dict)
    """Transform jobs by name."""
    trainings: dict[str, Body] = field(default_factory=dict)
    """Training jobs by name, as DescribeTrainingJob tells of them."""
    evaluations: dict[str, Body] = field(default_factory=dict)
    """Processing jobs likewise."""
    search: Body | None = None
    """What DescribeHyperParameterTuningJob tells, with the `trials` of the list beside it."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def in_service(self) -> None:
        """Finish whatever the endpoint is doing."""
        assert self.endpoint is not None
        self.endpoint["EndpointStatus"] = "InService"
        self.endpoint["EndpointConfigName"] = self.endpoint.pop("wanted", self.endpoint["EndpointConfigName"])

    def created(self) -> int:
        """How many endpoints were made."""
        return self.calls.count("CreateEndpoint")

    def control(self, operation: str, body: Body) -> Body:
        scaling = operation in SCALING.operation_names
        try:
            validate(operation, body, "application-autoscaling" if scaling else "sagemaker")
        except AwsError as error:
            raise RefusalError(error.message, error.code) from error
        with self.lock:
            answer: Body = getattr(self, f"_{operation}")(body)
            self.calls.append(operation)
            return answer

    def _CreateModel(self, body: Body) -> Body:  # noqa: N802
        return self._once(self.models, body["ModelName"], body, "model")

    def _CreateEndpointConfig(self, body: Body) -> Body:  # noqa: N802
        if body["EndpointConfigName"] not in self.configs:
            self._see("model")
        return self._once(self.configs, body["EndpointConfigName"], body, "endpoint configuration")

    def _see(self, kind: str) -> None:
        if self.unseen > 0:
            self.unseen -= 1
            raise RefusalError(f'Could not find {kind} "arn:aws:sagemaker:::new".')

    def _once(self, kept: dict[str, Body], name: str, body: Body, kind: str) -> Body:
        if name in kept:
            raise RefusalError(f'Cannot create already existing {kind} "arn:aws:sagemaker:::{name}".')
        kept[name] = body
        return {"ModelArn": f"arn:{name}", "EndpointConfigArn": f"arn:{name}"}

    def _DescribeEndpoint(self, body: Body) -> Body:  # noqa: N802
        if self.endpoint is None:
            raise RefusalError(f'Could not find endpoint "arn:aws:sagemaker:::{body["EndpointName"]}".')
        return {name: value for name, value in self.endpoint.items() if name != "wanted"}

    def _CreateEndpoint(self, body: Body) -> Body:  # noqa: N802
        if self.endpoint is not None:
            raise RefusalError('Cannot create already existing endpoint "arn:aws:sagemaker:::it".')
        self._see("endpoint configuration")
        if body["EndpointConfigName"] not in self.configs:
            raise RefusalError("Could not find endpoint configuration.")
        self._within_quota(self.configs[body["EndpointConfigName"]])
        now = time.time()
        variant = self.configs[body["EndpointConfigName"]]["ProductionVariants"][0]
        self.endpoint = {
            "ProductionVariants": [
                {
                    "VariantName": variant["VariantName"],
                    "CurrentInstanceCount": variant["InitialInstanceCount"],
                    "DesiredInstanceCount": variant["InitialInstanceCount"],
                }
            ],
            "EndpointName": body["EndpointName"],
            "EndpointArn": f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{body['EndpointName']}",
            "EndpointConfigName": body["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        return {"EndpointArn": self.endpoint["EndpointArn"]}

    def _within_quota(self, config: Body) -> None:
        instance = config["ProductionVariants"][0]["InstanceType"]
        if instance in self.over_quota:
            limit = f"The account-level service limit '{instance} for endpoint usage' is 0 Instances."
            raise RefusalError(limit, "ResourceLimitExceeded")

    def _UpdateEndpoint(self, body: Body) -> Body:  # noqa: N802
        assert self.endpoint is not None
        if self.endpoint["EndpointStatus"] not in {"InService", "Failed"}:
            raise RefusalError('Cannot update in-progress endpoint "arn:aws:sagemaker:::it".')
        self._see("endpoint configuration")
        if not {self.endpoint["EndpointConfigName"], body["EndpointConfigName"]} <= set(self.configs):
            raise RefusalError("Could not find endpoint configuration.")
        if self.scalable is not None and self._changes_machine(body["EndpointConfigName"]):
            raise RefusalError("The variant(s) main must be deregistered as a target for autoscaling first.")
        self._within_quota(self.configs[body["EndpointConfigName"]])
        self.updates.append(body)
        self.endpoint |= {"EndpointStatus": "Updating", "wanted": body["EndpointConfigName"]}
        return {"EndpointArn": self.endpoint["EndpointArn"]}

    def _changes_machine(self, wanted: str) -> bool:
        assert self.endpoint is not None
        names = (wanted, self.endpoint["EndpointConfigName"])
        before, after = (self.configs[name]["ProductionVariants"][0]["InstanceType"] for name in names)
        return bool(before != after)

    def _UpdateEndpointWeightsAndCapacities(self, body: Body) -> Body:  # noqa: N802
        assert self.endpoint is not None
        (wanted,) = body["DesiredWeightsAndCapacities"]
        self.endpoint["ProductionVariants"][0]["CurrentInstanceCount"] = wanted["DesiredInstanceCount"]
        return {"EndpointArn": self.endpoint["EndpointArn"]}

    def _RegisterScalableTarget(self, body: Body) -> Body:  # noqa: N802
        if self.endpoint is None:
            raise RefusalError(f"The resource {body['ResourceId']} is not there.")
        self.scalable = {**body, "CreationTime": time.time(), "RoleARN": "arn:aws:iam:::role/linked"}
        return {"ScalableTargetARN": "arn:aws:application-autoscaling:::scalable-target/1"}

    def _DescribeScalableTargets(self, body: Body) -> Body:  # noqa: N802
        return {"ScalableTargets": [self.scalable] if self.scalable else []}

    def _DeregisterScalableTarget(self, body: Body) -> Body:  # noqa: N802
        if self.scalable is None:
            raise RefusalError("No scalable target found.", "ObjectNotFoundException")
        self.scalable = self.policy = None
        return {}

    def _PutScalingPolicy(self, body: Body) -> Body:  # noqa: N802
        if self.scalable is None:
            raise RefusalError("No scalable target registered.", "ObjectNotFoundException")
        self.policy = {**body, "PolicyARN": "arn:aws:autoscaling:::policy/1", "CreationTime": time.time()}
        return {"PolicyARN": self.policy["PolicyARN"], "Alarms": []}

    def _DescribeScalingPolicies(self, body: Body) -> Body:  # noqa: N802
        return {"ScalingPolicies": [self.policy] if self.policy else []}

    def _DeleteEndpoint(self, body: Body) -> Body:  # noqa: N802
        if self.endpoint is None:
            raise RefusalError(f'Could not find endpoint "arn:aws:sagemaker:::{body["EndpointName"]}".')
        if self.refuses_to_delete:
            raise RefusalError('Cannot update in-progress endpoint "arn:aws:sagemaker:::it".')
        self.endpoint = None
        return {}

    def _ListEndpointConfigs(self, body: Body) -> Body:  # noqa: N802
        found = [name for name in self.configs if body["NameContains"] in name]
        return {"EndpointConfigs": [{"EndpointConfigName": name, **_listed(name)} for name in found]}

    def _ListModels(self, body: Body) -> Body:  # noqa: N802
        found = [name for name in self.models if body["NameContains"] in name]
        return {"Models": [{"ModelName": name, **_listed(name)} for name in found]}

    def _DeleteEndpointConfig(self, body: Body) -> Body:  # noqa: N802
        if self.configs.pop(body["EndpointConfigName"], None) is None:
            raise RefusalError("Could not find endpoint configuration.")
        return {}

    def _DeleteModel(self, body: Body) -> Body:  # noqa: N802
        if self.models.pop(body["ModelName"], None) is None:
            raise RefusalError("Could not find model.")
        return {}

    def _CreateTransformJob(self, body: Body) -> Body:  # noqa: N802
        self._see("model")
        if body["ModelName"] not in self.models:
            raise RefusalError(f'Could not find model "{body["ModelName"]}".')
        instance = body["TransformResources"]["InstanceType"]
        if instance in self.over_quota:
            limit = f"The account-level service limit '{instance} for transform job usage' is 0 Instances."
            raise RefusalError(limit, "ResourceLimitExceeded")
        if body["TransformJobName"] in self.jobs:
            raise RefusalError("Job name must be unique.", "ResourceInUse")
        state = {"TransformJobStatus": "InProgress", "CreationTime": time.time()}
        self.jobs[body["TransformJobName"]] = {**body, **state}
        return {"TransformJobArn": f"arn:{body['TransformJobName']}"}

    def _DescribeTransformJob(self, body: Body) -> Body:  # noqa: N802
        if body["TransformJobName"] not in self.jobs:
            raise RefusalError(f"Could not find requested job with name: {body['TransformJobName']}")
        return self.jobs[body["TransformJobName"]]

    def _StopTransformJob(self, body: Body) -> Body:  # noqa: N802
        job = self._DescribeTransformJob(body)
        if job["TransformJobStatus"] != "InProgress":
            raise RefusalError("The request was rejected because the transform job has ended.")
        job["TransformJobStatus"] = "Stopping"
        return {}

    def _ListTransformJobs(self, body: Body) -> Body:  # noqa: N802
        found = [
            job
            for name, job in self.jobs.items()
            if body["NameContains"] in name
            and body.get("StatusEquals") in {None, job["TransformJobStatus"]}
            and job["CreationTime"] > body.get("CreationTimeAfter", 0)
        ]
        members = ("TransformJobName", "TransformJobStatus", "CreationTime")
        return {"TransformJobSummaries": [{member: job[member] for member in members} for job in found]}

    def _DescribeTrainingJob(self, body: Body) -> Body:  # noqa: N802
        return self._job(self.trainings, body["TrainingJobName"])

    def _DescribeProcessingJob(self, body: Body) -> Body:  # noqa: N802
        return self._job(self.evaluations, body["ProcessingJobName"])

    @staticmethod
    def _job(kept: dict[str, Body], name: str) -> Body:
        if name not in kept:
            raise RefusalError("Requested resource not found.")
        return kept[name]

    def _ListTrainingJobs(self, body: Body) -> Body:  # noqa: N802
        return {"TrainingJobSummaries": self._jobs_named(self.trainings, body, "TrainingJob")}

    def _ListProcessingJobs(self, body: Body) -> Body:  # noqa: N802
        return {"ProcessingJobSummaries": self._jobs_named(self.evaluations, body, "ProcessingJob")}

    @staticmethod
    def _jobs_named(kept: dict[str, Body], body: Body, kind: str) -> list[Body]:
        members = (f"{kind}Name", f"{kind}Arn", f"{kind}Status", "CreationTime")
        return [
            {member: job[member] for member in members if member in job}
            for name, job in kept.items()
            if body["NameContains"] in name and job["CreationTime"] > body.get("CreationTimeAfter", 0)
        ]

    def _DescribeHyperParameterTuningJob(self, body: Body) -> Body:  # noqa: N802
        if self.search is None or self.search["HyperParameterTuningJobName"] != next(iter(body.values())):
            raise RefusalError("Hyperparameter tuning job could not be found.", "ResourceNotFound")
        return {name: value for name, value in self.search.items() if name != "trials"}

    def _ListTrainingJobsForHyperParameterTuningJob(self, body: Body) -> Body:  # noqa: N802
        self._DescribeHyperParameterTuningJob({"name": body["HyperParameterTuningJobName"]})
        assert self.search is not None and body["SortOrder"] == "Ascending"
        # a page each
        place = int(body.get("NextToken", 0))
        more = {"NextToken": str(place + 1)} if place + 1 < len(self.search["trials"]) else {}
        return {"TrainingJobSummaries": self.search["trials"][place : place + 1], **more}

    def _CreateModelPackage(self, body: Body) -> Body:  # noqa: N802
        self.packages.append(body)
        package = f"model-package/storyloom/{len(self.packages)}"
        return {"ModelPackageArn": f"arn:aws:sagemaker:us-east-1:123456789012:{package}"}

    def _UpdateModelPackage(self, body: Body) -> Body:  # noqa: N802
        number = int(body["ModelPackageArn"].rpartition("/")[2])
        self.packages[number - 1] |= body
        return {"ModelPackageArn": body["ModelPackageArn"]}


def _listed(name: str) -> Body:
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:any/{name}"
    return {"CreationTime": time.time(), "EndpointConfigArn": arn, "ModelArn": arn}


class _Handler(BaseHTTPRequestHandler):
    """One request, of either API."""

    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/endpoints/"):
            self._runtime(json.loads(raw))
            return
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        try:
            self._json(200, self.stand_in.control(operation, json.loads(raw)))
        except RefusalError as refusal:
            self._json(400, {"__type": refusal.code, "message": str(refusal)})

    def _runtime(self, request: Body) -> None:
        it = self.stand_in
        attributes = self.headers["X-Amzn-SageMaker-Custom-Attributes"] or ""
        if attributes.startswith(_CANCEL):
            self._cancel(attributes.removeprefix(_CANCEL))
            return
        it.asked.append(request)
        if it.meet is not None:
            it.meet(len(it.asked), request)
        if it.endpoint is None:
            self._json(400, {"Message": "Endpoint it not found."}, {"x-amzn-errortype": "ValidationError"})
        elif it.model_error is not None:
            status, message = it.model_error
            body = {"OriginalStatusCode": status, "OriginalMessage": message, "Message": "Received an error"}
            self._json(424, body, {"x-amzn-errortype": "ModelError"})
        elif self.path.endswith("invocations"):
            self._json(200, it.answers.pop(0))
        else:
            self._stream(attributes.removeprefix(_ANSWER))

    def _cancel(self, answer_id: str) -> None:
        if self.stand_in.ends_when_told:
            self.stand_in.cancelled.add(answer_id)
            self._json(200, {"cancelled": True})
        else:
            body = {"OriginalStatusCode": 400, "OriginalMessage": "No messages.", "Message": "An error"}
            self._json(424, body, {"x-amzn-errortype": "ModelError"})

    def _stream(self, answer_id: str) -> None:
        it = self.stand_in
        time.sleep(it.begins_after)
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.amazon.eventstream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for part in it.stream:
                self._chunk(payload_part(part))
                self._pause(it.part_seconds, answer_id)
                if answer_id in it.cancelled:
                    it.hung_up.set()
                    break
            if it.breaks:
                self.close_connection = True
                return
            if it.dies:
                self._chunk(failure("ModelStreamError", b'{"Message": "The container died."}'))
            self._chunk(b"")
        except OSError:
            it.hung_up.set()
            self.close_connection = True

    def _pause(self, seconds: float, answer_id: str) -> None:
        """Sleep, unless the client hangs up meanwhile or the answer is cancelled."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and answer_id not in self.stand_in.cancelled:
            if select.select([self.connection], [], [], min(left, 0.05))[0]:
                raise ConnectionResetError("The client has hung up.")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _json(self, status: int, body: Body, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """Says nothing of a client that hangs up."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Stage:
    """The server, which lasts, so that boto3's clients do; each test puts a stand-in of its own on it."""

    def __init__(self) -> None:
        """Start on a free port."""
        self._handler = type("Handler", (_Handler,), {})
        self._server = _Server(("127.0.0.1", 0), self._handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def enter(self, stand_in: StandIn) -> None:
        """Have this stand-in answer from now on."""
        self._handler.stand_in = stand_in  # type: ignore[attr-defined]

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
