"""Models and endpoint configurations: what an endpoint is made of."""

from local.aws.errors import invalid, not_found
from local.aws.sagemaker import simulated_clock
from local.aws.sagemaker.record_store import STORE, Record, public_members, sagemaker_arn
from local.aws.sagemaker.roles import require_trusted
from local.aws.sagemaker.transfer import S3Uri

MODEL = "model"
CONFIG = "endpoint-config"


def create_model(request: Record) -> Record:
    """Answer CreateModel."""
    name = request["ModelName"]
    container = request.get("PrimaryContainer")
    if not container or request.get("Containers"):
        raise invalid("On this machine a model has one container: give PrimaryContainer and no Containers.")
    if not request.get("ExecutionRoleArn"):
        raise invalid("ExecutionRoleArn is required: it downloads the model.")
    model_location(container)
    require_trusted(request["ExecutionRoleArn"])
    record = {
        **{key: value for key, value in request.items() if key != "Tags"},
        "ModelArn": sagemaker_arn(MODEL, name),
        "CreationTime": simulated_clock.current_time(),
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
    }
    if not STORE.add(MODEL, name, record):
        raise invalid(f'Cannot create already existing model "{sagemaker_arn(MODEL, name)}".')
    STORE.tag(sagemaker_arn(MODEL, name), request.get("Tags", []))
    return {"ModelArn": sagemaker_arn(MODEL, name)}


def model_location(container: Record) -> tuple[S3Uri, bool]:
    """Return the URI of a container's model and whether it is a .tar.gz. Raises `AwsError`."""
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    uri = source["S3Uri"] if source else container.get("ModelDataUrl")
    if not uri:
        raise invalid("The container must name its model: ModelDataSource.S3DataSource or ModelDataUrl.")
    packed = source is None or source["CompressionType"] == "Gzip"
    if source and source["S3DataType"] == "S3Prefix" and not uri.endswith("/"):
        raise invalid(f"S3Uri {uri} of an S3Prefix data source must end with a slash.")
    try:
        return S3Uri.parse(uri), packed
    except ValueError as error:
        raise invalid(f"The S3 URI {uri} is not valid") from error


def describe_model(request: Record) -> Record:
    """Answer DescribeModel."""
    return public_members(get_model(request["ModelName"]))


def get_model(name: str) -> Record:
    """Return the model. Raises `AwsError` if it does not exist."""
    record = STORE.get(MODEL, name)
    if record is None:
        raise not_found("model", sagemaker_arn(MODEL, name))
    return record


def delete_model(request: Record) -> Record:
    """Answer DeleteModel."""
    get_model(request["ModelName"])
    STORE.remove(MODEL, request["ModelName"])
    return {}


def summarize_model(record: Record) -> Record:
    """Return one entry of ListModels."""
    return {key: record[key] for key in ("ModelName", "ModelArn", "CreationTime")}


def create_endpoint_config(request: Record) -> Record:
    """Answer CreateEndpointConfig."""
    name = request["EndpointConfigName"]
    variants = request["ProductionVariants"]
    if len(variants) != 1:
        raise invalid("On this machine an endpoint has one production variant.")
    for variant in variants:
        if not variant.get("ModelName"):
            raise invalid("On this machine a production variant names its model (no inference components).")
        if not variant.get("InstanceType") and not variant.get("ServerlessConfig"):
            raise invalid(f"InstanceType is required for production variant {variant['VariantName']}.")
        get_model(variant["ModelName"])
    record = {
        **{key: value for key, value in request.items() if key != "Tags"},
        "EndpointConfigArn": sagemaker_arn(CONFIG, name),
        "CreationTime": simulated_clock.current_time(),
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
    }
    if not STORE.add(CONFIG, name, record):
        raise invalid(
            f'Cannot create already existing endpoint configuration "{sagemaker_arn(CONFIG, name)}".'
        )
    STORE.tag(sagemaker_arn(CONFIG, name), request.get("Tags", []))
    return {"EndpointConfigArn": sagemaker_arn(CONFIG, name)}


def describe_endpoint_config(request: Record) -> Record:
    """Answer DescribeEndpointConfig."""
    return public_members(get_endpoint_config(request["EndpointConfigName"]))


def get_endpoint_config(name: str) -> Record:
    """Return the endpoint configuration. Raises `AwsError` if it does not exist."""
    record = STORE.get(CONFIG, name)
    if record is None:
        raise not_found("endpoint configuration", sagemaker_arn(CONFIG, name))
    return record


def delete_endpoint_config(request: Record) -> Record:
    """Answer DeleteEndpointConfig."""
    get_endpoint_config(request["EndpointConfigName"])
    STORE.remove(CONFIG, request["EndpointConfigName"])
    return {}


def summarize_endpoint_config(record: Record) -> Record:
    """Return one entry of ListEndpointConfigs."""
    return {key: record[key] for key in ("EndpointConfigName", "EndpointConfigArn", "CreationTime")}
