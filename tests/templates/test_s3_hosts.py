"""The browser may reach S3 where the forms and links lead: at the region's own host, in every region."""

from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from chat_api.services import bucket_files
from tests.templates.conftest import Synthesized, flat

_BUCKET = "storyloom-stories"
_REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-3", "me-central-1", "cn-north-1")
"""The default, an old one, two opt-in ones that opened after March 2019, and one of another partition."""


def _in_region(text: str, region: str) -> str:
    """Fill in what CloudFormation does."""
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    values = {
        "<AWS::Region>": region,
        "<AWS::URLSuffix>": suffix,
        "<StoriesBucketName>": _BUCKET,
        "<ArtifactsBucketName>": "storyloom-artifacts",
    }
    for token, value in values.items():
        text = text.replace(token, value)
    return text


def _content_security_policy(synthesized: Synthesized) -> dict[str, list[str]]:
    policies = synthesized.chat.find_resources("AWS::CloudFront::ResponseHeadersPolicy").values()
    configs = [policy["Properties"]["ResponseHeadersPolicyConfig"] for policy in policies]
    (page,) = (config for config in configs if not flat(config["Name"]).endswith("-api"))
    rules = flat(page["SecurityHeadersConfig"]["ContentSecurityPolicy"]["ContentSecurityPolicy"]).split("; ")
    return {rule.split()[0]: rule.split()[1:] for rule in rules}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Credentials, and nothing that leads boto3 elsewhere."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return monkeypatch


@pytest.mark.aws_fact
@pytest.mark.parametrize("region", _REGIONS)
def test_the_page_may_send_a_form_to_where_it_leads(
    synthesized: Synthesized, environment: pytest.MonkeyPatch, region: str
) -> None:
    functions = synthesized.chat.find_resources("AWS::Lambda::Function")
    (chat_api,) = [function for name, function in functions.items() if name.startswith("ChatApi")]
    for name, value in chat_api["Properties"]["Environment"]["Variables"].items():
        environment.setenv(name, _in_region(flat(value), region))
    environment.setenv("AWS_DEFAULT_REGION", region)

    form = bucket_files.upload_form(_BUCKET, "a story.txt", 1000)
    link = bucket_files.download_link("runs/1/report.html", "text/html")

    reachable = _content_security_policy(synthesized)["connect-src"]
    assert form.url.rstrip("/") in [_in_region(source, region) for source in reachable]
    form_host, link_host = urlsplit(form.url).netloc, urlsplit(link).netloc
    assert form_host.partition(".")[2] == link_host.partition(".")[2] == _regional_host(region)


def _regional_host(region: str) -> str:
    """What boto3 itself calls the region's S3, once it is told not to use the global one."""
    config = Config(s3={"us_east_1_regional_endpoint": "regional"})
    return urlsplit(boto3.client("s3", region_name=region, config=config).meta.endpoint_url).netloc


def test_on_one_machine_the_environment_says_where_s3_is(other: Synthesized) -> None:
    for name, function in other.chat.find_resources("AWS::Lambda::Function").items():
        if name.startswith("ChatApi"):
            assert function["Properties"]["Environment"]["Variables"]["STORYLOOM_S3_ENDPOINT"] == ""
            return
    raise AssertionError("there is no API")
