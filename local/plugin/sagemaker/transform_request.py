"""Checks of a CreateTransformJob request beyond those of the service model."""

from local.plugin.sagemaker.errors import invalid
from local.plugin.sagemaker.store import Record
from local.plugin.sagemaker.transfer import S3Uri

MOST_MEGABYTES = 100


def check(request: Record, model: Record) -> None:
    """Refuse what SageMaker would, and what one machine does not have. Raises `ApiError`."""
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
