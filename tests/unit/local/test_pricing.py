"""The local Price List API, read by botocore's own parser and by the app."""

import json
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.stub import Stubber
from botocore.validate import ParamValidator

from local.aws.cloud_environment import STATE_VARIABLE, CloudFolders
from local.aws.errors import AwsError
from local.aws.services import pricing
from local.cloud import LocalCloud
from price_list import aws_price_list


@pytest.fixture(autouse=True)
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the prices that ship with the app into the state folder of a cloud."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    CloudFolders(tmp_path).prices.write_text(json.dumps(LocalCloud(tmp_path, tmp_path).aws.prices))


def _request(**changes: Any) -> dict[str, Any]:
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"},
        {"Type": "TERM_MATCH", "Field": "instanceName", "Value": "ml.g6.xlarge"},
    ]
    return {"ServiceCode": "AmazonSageMaker", "Filters": filters, "FormatVersion": "aws_v1", **changes}


@pytest.mark.aws_fact
def test_each_product_is_json_in_a_string_as_the_service_model_has_it() -> None:
    model: Any = botocore.session.get_session().get_service_model("pricing").operation_model("GetProducts")
    request, answer = _request(), pricing.get_products(_request())
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
    client = boto3.client("pricing", "us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")
    with Stubber(client) as stubber:
        stubber.add_response("get_products", pricing.get_products(_request()), _request())
        found = aws_price_list.ask(client, "ml.g6.xlarge", "eu-west-1")
    kinds: list[str] = ["training", "processing", "hosting", "transform", "notebook"]
    assert found == dict.fromkeys(kinds, 1.127)


def test_pages_follow_one_another_to_the_last_product() -> None:
    seen: list[str] = []
    token: dict[str, str] = {}
    for _ in range(5):
        answer = pricing.get_products(_request(MaxResults=2, **token))
        seen += answer["PriceList"]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert seen == pricing.get_products(_request())["PriceList"]
    with pytest.raises(AwsError, match="pagination token"):
        pricing.get_products(_request(NextToken="?"))
