"""Register the trained adapter as a numbered version, in the Model Registry and in the table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment, s3_keys, statuses
from contracts.statuses import VersionStatus
from shared import clock
from shared.aws import clients
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import run_records

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import ModelApprovalStatusType

log = Logger(service="register")

_IN_THE_REGISTRY: "Mapping[VersionStatus, ModelApprovalStatusType]" = {
    statuses.PENDING: "PendingManualApproval",
    statuses.APPROVED: "Approved",
    statuses.REJECTED: "Rejected",
}


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Create the version; a retry finds the version of the first attempt.

    Args:
        event: `{"run_id", "gate", "training_job", "stories", "words"}`.
        context: Lambda's.

    Returns:
        `{"version", "model_package_arn", "status", "message"}`: the status is `approved`, which deploys
        it; `pending`, if a person has to approve it first; or `rejected`, by the gate.
    """
    run_id, gate = event["run_id"], event["gate"]
    version = _version_of(run_id)
    run_records.enter(run_id, "Register", f"Registering {version}.", version=version)
    known = versions.get(version)
    if known is not None and known.model_package_arn is not None:
        return _answer(known)
    base = environment.common().base_model
    model = ModelVersion(
        version=version,
        run_id=run_id,
        status=_status(gate["deploy"]),
        adapter_uri=gate["adapter_uri"],
        adapter_sha256=gate["adapter_sha256"],
        base_model=base.id,
        base_revision=base.revision,
        base_perplexity=gate["base_perplexity"],
        tuned_perplexity=gate["tuned_perplexity"],
        live_perplexity=gate["live_perplexity"],
        decision=gate["decision"],
        stories=event["stories"],
        words=event["words"],
        training_job=event["training_job"],
        created_at=clock.stamp(),
    )
    arn = _create_package(model, gate["decision"])
    model = model.model_copy(update={"model_package_arn": arn})
    versions.save(model)
    log.info("Registered", extra={"run_id": run_id, "version": version, "model_package": arn})
    return _answer(model)


def _status(passed_the_gate: bool) -> VersionStatus:
    if not passed_the_gate:
        return statuses.REJECTED
    approval = environment.read(environment.Registry).approval
    return statuses.APPROVED if approval == "automatic" else statuses.PENDING


def _answer(model: ModelVersion) -> dict[str, Any]:
    waits = f" {model.version} waits for your approval." if model.status == statuses.PENDING else ""
    return {
        "version": model.version,
        "model_package_arn": model.model_package_arn,
        "status": model.status,
        "message": f"{model.decision}{waits}",
    }


def _version_of(run_id: str) -> str:
    run = run_records.get(run_id)
    return run.version if run is not None and run.version else versions.next_version()


def _create_package(model: ModelVersion, decision: str) -> str:
    registry = environment.read(environment.Registry)
    bucket = environment.common().artifacts_bucket
    evaluation = s3_keys.uri(bucket, s3_keys.evaluation_json(model.run_id))
    facts = {
        "version": model.version,
        "run_id": model.run_id,
        "training_job": model.training_job,
        "stories": None if model.stories is None else str(model.stories),
        "words": None if model.words is None else str(model.words),
        "data_manifest": s3_keys.uri(bucket, s3_keys.manifest(model.run_id)),
        "evaluation_report": s3_keys.uri(bucket, s3_keys.evaluation_page(model.run_id)),
        "base_model": model.base_model,
        "base_revision": model.base_revision,
        "adapter_sha256": model.adapter_sha256,
        "base_perplexity": _figure(model.base_perplexity),
        "tuned_perplexity": _figure(model.tuned_perplexity),
        "live_perplexity": _figure(model.live_perplexity),
    }
    answer = clients.sagemaker().create_model_package(
        ModelPackageGroupName=registry.model_package_group,
        ModelPackageDescription=f"{model.version}: {decision}"[:1024],
        ModelApprovalStatus=_IN_THE_REGISTRY[model.status],
        InferenceSpecification={
            "Containers": [
                {
                    "Image": registry.hosting_image,
                    "ModelDataSource": {
                        "S3DataSource": {
                            "S3Uri": model.adapter_uri,
                            "S3DataType": "S3Prefix",
                            "CompressionType": "None",
                        }
                    },
                }
            ],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json", "text/event-stream"],
        },
        ModelMetrics={
            "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": evaluation}},
            "ModelDataQuality": {
                "Statistics": {
                    "ContentType": "application/json",
                    "S3Uri": s3_keys.uri(bucket, s3_keys.report(model.run_id)),
                }
            },
        },
        MetadataProperties={"GeneratedBy": model.training_job or model.run_id},
        CustomerMetadataProperties={name: value for name, value in facts.items() if value},
    )
    return answer["ModelPackageArn"]


def _figure(perplexity: float | None) -> str:
    return "" if perplexity is None else f"{perplexity:.4f}"
