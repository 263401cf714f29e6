"""What depends on the region: whether the app can be deployed there, and its Lambda layer.

Two containers, a Lambda layer and several services must be published there. Tests compare the lists with
the sagemaker package and boto3.
"""

REGIONS = (
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "ca-west-1", "sa-east-1"),
    *("eu-west-1", "eu-west-2", "eu-west-3", "eu-central-1", "eu-north-1", "eu-south-1"),
    *("ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-southeast-1", "ap-southeast-2"),
    *("ap-southeast-3", "ap-south-1", "ap-east-1", "af-south-1", "il-central-1", "me-central-1"),
)
"""Where the app can be deployed."""

LACKING = {
    "SageMaker's Hugging Face training container": (
        *("ap-east-2", "ap-south-2", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7"),
        *("eu-central-2", "eu-south-2", "mx-central-1"),
    ),
    "SageMaker's vLLM container": ("cn-north-1", "cn-northwest-1", "us-gov-east-1", "us-gov-west-1"),
    # https://github.com/aws/aws-lambda-web-adapter/blob/main/.github/workflows/prod.json
    "the layer of the Lambda Web Adapter": ("me-south-1",),
}
"""Where the app cannot be deployed, by what is not published there."""

# https://awslabs.github.io/aws-lambda-web-adapter/getting-started/zip-packages.html
_WEB_ADAPTER_ACCOUNT, _WEB_ADAPTER_VERSION = "753240598075", 26


def web_adapter_layer(partition: str, region: str) -> str:
    """Return the ARN of the Lambda Web Adapter's layer in a region."""
    return (
        f"arn:{partition}:lambda:{region}:{_WEB_ADAPTER_ACCOUNT}:layer:"
        f"LambdaAdapterLayerX86:{_WEB_ADAPTER_VERSION}"
    )


class UnsupportedRegionError(ValueError):
    """The app cannot be deployed in a region; the message has the reason and the cure."""

    def __init__(self, region: str) -> None:
        self.region = region
        super().__init__(f"Storyloom cannot be deployed in {region}: {_reason(region)}. {_cure(region)}")


def check(region: str) -> None:
    """Raise `UnsupportedRegionError` unless the app can be deployed in a region."""
    if region not in REGIONS:
        raise UnsupportedRegionError(region)


def _reason(region: str) -> str:
    for what, regions in LACKING.items():
        if region in regions:
            return f"{what} is not published there"
    return "it is not in Storyloom's list of regions"


def _cure(region: str) -> str:
    area = region.partition("-")[0]
    near = [name for name in REGIONS if name.startswith(f"{area}-")] or REGIONS
    names = ", ".join(near[:3])
    return f"Choose another region, such as {names}: set AWS_REGION, or region in your AWS profile."
