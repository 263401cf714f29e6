"""The regions that are refused are those that lack something, and the refusal says what to do."""

import boto3
import pytest

from stacks import regions
from stacks.containers import hosting_image, training_image
from stacks.regions import LACKING, REGIONS, UnsupportedRegionError

_INSTANCE = "ml.g6.xlarge"


def _has_containers(region: str) -> bool:
    try:
        training_image(region, _INSTANCE)
        hosting_image(region, _INSTANCE)
    except ValueError:
        return False
    return True


@pytest.mark.aws_fact
def test_the_regions_are_those_that_have_both_containers() -> None:
    session = boto3.Session()
    known = [
        region
        for partition in ("aws", "aws-cn", "aws-us-gov")
        for region in session.get_available_regions("sagemaker", partition)
    ]
    without_adapter = LACKING["the layer of the Lambda Web Adapter"]
    assert {region for region in known if _has_containers(region)} == {*REGIONS, *without_adapter}
    assert {region for lacking in LACKING.values() for region in lacking} == set(known) - set(REGIONS)


@pytest.mark.parametrize("service", ["cognito-idp", "scheduler", "sagemaker", "application-autoscaling"])
def test_the_services_are_in_each_of_them(service: str) -> None:
    assert set(REGIONS) <= set(boto3.Session().get_available_regions(service))


@pytest.mark.parametrize(
    ("region", "says"),
    [
        (
            "ap-east-2",
            "training container is not published there. Choose another region, such as ap-northeast-1",
        ),
        ("mx-central-1", "training container is not published there"),
        ("cn-north-1", "vLLM container is not published there"),
        (
            "me-south-1",
            "Lambda Web Adapter is not published there. Choose another region, such as me-central-1",
        ),
        ("eu-wst-1", "not in Storyloom's list of regions. Choose another region, such as eu-west-1"),
        ("mars", "such as us-east-1"),
    ],
)
def test_a_refusal_is_one_line_with_its_cure(region: str, says: str) -> None:
    with pytest.raises(UnsupportedRegionError) as caught:
        regions.check(region)
    text = str(caught.value)
    assert says in text
    assert "AWS_REGION" in text
    assert "\n" not in text


def test_the_other_regions_pass() -> None:
    for region in REGIONS:
        regions.check(region)
