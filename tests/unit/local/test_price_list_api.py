"""The local Price List API, read by botocore's own parser and by the app."""

import json
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.stub import Stubber
from botocore.validate import ParamValidator

from local.plugin import price_list_api
from local.plugin.sagemaker.errors import ApiError
from price_list import aws_price_list


def _request(**changes: Any) -> dict[str, Any]:
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"},
        {"Type": "TERM_MATCH", "Field": "instanceName", "Value": "ml.g6.xlarge"},
    ]
    return {"ServiceCode": "AmazonSageMaker", "Filters": filters, "FormatVersion": "aws_v1", **changes}


@pytest.mark.aws_fact
def test_each_product_is_json_in_a_string_as_the_service_model_has_it() -> None:
    model: Any = botocore.session.get_session().get_service_model("pricing").operation_model("GetProducts")
    request, answer = _request(), price_list_api.get_products(_request())
    assert not ParamValidator().validate(request, model.input_shape).has_errors()
    assert not ParamValidator().validate(answer, model.output_shape).has_errors()
    attributes = [json.loads(line)["product"]["attributes"] for line in answer["PriceList"]]
    assert {one["component"] for one in attributes} == {
        "Training",
        "Processing",
        "Hosting",
        "BatchTransform",
        "Notebook",
    }
    assert {one["regionCode"] for one in attributes} == {"eu-west-1"}


def test_the_app_reads_what_it_answers() -> None:
    pricing = boto3.client("pricing", "us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")
    with Stubber(pricing) as stubber:
        stubber.add_response("get_products", price_list_api.get_products(_request()), _request())
        found = aws_price_list.ask(pricing, "ml.g6.xlarge", "eu-west-1")
    kinds: list[str] = ["training", "processing", "hosting", "transform", "notebook"]
    assert found == dict.fromkeys(kinds, 1.127)


def test_pages_follow_one_another_to_the_last_product() -> None:
    seen: list[str] = []
    token: dict[str, str] = {}
    for _ in range(5):
        answer = price_list_api.get_products(_request(MaxResults=2, **token))
        seen += answer["PriceList"]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert seen == price_list_api.get_products(_request())["PriceList"]
    with pytest.raises(ApiError, match="pagination token"):
        price_list_api.get_products(_request(NextToken="?"))
