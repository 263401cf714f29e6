"""The Price List API over the wire, as the app asks it, and for whom it answers."""

import pytest
from botocore.exceptions import ClientError

from price_list import aws_price_list
from tests.local.sagemaker.conftest import Aws

pytestmark = pytest.mark.cloud


def test_the_app_reads_a_price_of_each_kind(aws: Aws) -> None:
    found = aws_price_list.ask(aws.client("pricing"), "ml.g6.xlarge", "eu-west-1")
    assert set(found) == {"training", "processing", "hosting", "transform", "notebook"}
    assert all(0.5 < usd < 5 for usd in found.values())


def test_what_it_does_not_have_is_refused_in_words(aws: Aws) -> None:
    pricing = aws.client("pricing")
    with pytest.raises(ClientError, match="NotFoundException"):
        pricing.get_products(ServiceCode="AmazonEC2")
    with pytest.raises(ClientError, match="InvalidNextTokenException"):
        pricing.get_products(ServiceCode="AmazonSageMaker", NextToken="?")
    with pytest.raises(ClientError, match="InvalidParameterException"):
        pricing.describe_services()
