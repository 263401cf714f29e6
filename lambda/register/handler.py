"""Registers the trained adapter as a numbered version, in the Model Registry and in the table."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import aws, clock, environment, layout, runs, versions
from shared.models import ModelVersion

log = Logger(service="register")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Make the version; a retry finds the version that the first try made.

    Args:
        event: `{"run_id", "gate"}`.
        context: Lambda's.

    Returns:
        `{"version", "model_package_arn"}`
    """
    run_id, gate = event["run_id"], event["gate"]
    version = _version_of(run_id)
    runs.enter(run_id, "Register", f"Registering {version}.", version=version)
    known = versions.get(version)
    if known is not None and known.model_package_arn is not None:
        return {"version": version, "model_package_arn": known.model_package_arn}
    base = environment.common().base_model
    model = ModelVersion(
        version=version,
        run_id=run_id,
        status="approved" if gate["deploy"] else "rejected",
        adapter_uri=gate["adapter_uri"],
        adapter_sha256=gate["adapter_sha256"],
        base_model=base.id,
        base_revision=base.revision,
        base_perplexity=gate["base_perplexity"],
        tuned_perplexity=gate["tuned_perplexity"],
        live_perplexity=gate["live_perplexity"],
        created_at=clock.stamp(),
    )
    arn = _create_package(model, gate["decision"])
    versions.save(model.model_copy(update={"model_package_arn": arn}))
    log.info("Registered", extra={"run_id": run_id, "version": version, "model_package": arn})
    return {"version": version, "model_package_arn": arn}


def _version_of(run_id: str) -> str:
    run = runs.get(run_id)
    return run.version if run is not None and run.version else versions.next_version()


def _create_package(model: ModelVersion, decision: str) -> str:
    registry = environment.read(environment.Registry)
    bucket = environment.common().artifacts_bucket
    facts = {
        "version": model.version,
        "run_id": model.run_id,
        "base_model": model.base_model,
        "base_revision": model.base_revision,
        "adapter_sha256": model.adapter_sha256,
        "base_perplexity": _figure(model.base_perplexity),
        "tuned_perplexity": _figure(model.tuned_perplexity),
        "live_perplexity": _figure(model.live_perplexity),
    }
    evaluation = layout.uri(bucket, layout.evaluation_json(model.run_id))
    answer = aws.sagemaker().create_model_package(
        ModelPackageGroupName=registry.model_package_group,
        ModelPackageDescription=f"{model.version}: {decision}"[:1024],
        ModelApprovalStatus="Approved" if model.status == "approved" else "Rejected",
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
            "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": evaluation}}
        },
        CustomerMetadataProperties={name: value for name, value in facts.items() if value},
    )
    return answer["ModelPackageArn"]


def _figure(perplexity: float | None) -> str:
    return "" if perplexity is None else f"{perplexity:.4f}"
