"""`storyloom destroy` of one region touches and lists nothing of the same app in another region."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from cli.aws.target import AwsTarget
from cli.console import CommandError
from cli.removal import kept_data, regional_buckets, teardown
from cli.removal.app_resources import list_service
from cli.removal.kept_data import KeptData
from contracts.resource_names import AppNames

NAMES = AppNames("storyloom")
HERE, THERE = "us-east-1", "eu-west-1"
STORIES_HERE, STORIES_THERE = "storyloom-storage-stories-here", "storyloom-storage-stories-there"
PAGE_THERE = "storyloom-chat-pagebucket-there"
BUCKETS = {STORIES_HERE: HERE, STORIES_THERE: THERE, PAGE_THERE: THERE}


class _Body:
    """A response's body, as botocore reads it."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.text

    def read(self, *_: Any, **__: Any) -> bytes:
        return self.text


class _S3:
    """S3 with buckets in two regions. It answers HTTP, so it is boto3 that follows its redirects."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        """Buckets that a request would have changed."""

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        url = urlsplit(request.url)
        query = parse_qs(url.query, keep_blank_values=True)
        if "dynamodb" in url.netloc:
            return self._answer(request, '{"TableNames": []}')
        bucket = next((name for name in BUCKETS if name in url.netloc or name in url.path), "")
        if not bucket:
            return self._answer(request, self._list(query))
        home = BUCKETS[bucket]
        if home != (THERE if THERE in url.netloc else HERE):
            error = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"
            body = "" if request.method == "HEAD" else error
            return self._answer(request, body, 301, {"x-amz-bucket-region": home})
        if request.method in ("POST", "DELETE"):
            self.changed.append(bucket)
        return self._answer(request, self._of_bucket(query), headers={"x-amz-bucket-region": home})

    @staticmethod
    def _answer(
        request: Any, body: str, status: int = 200, headers: dict[str, str] | None = None
    ) -> AWSResponse:
        answered: Any = headers or {}
        return AWSResponse(request.url, status, answered, _Body(body))

    @staticmethod
    def _list(query: dict[str, list[str]]) -> str:
        """The regions only if the request has a parameter, as ListBuckets is documented."""
        asked = {"prefix", "bucket-region", "max-buckets", "continuation-token"} & set(query)
        (prefix,), (region,) = query.get("prefix", [""]), query.get("bucket-region", [""])
        entries = "".join(
            f"<Bucket><Name>{name}</Name>"
            + (f"<BucketRegion>{home}</BucketRegion>" if asked else "")
            + "</Bucket>"
            for name, home in BUCKETS.items()
            if name.startswith(prefix) and (not region or region == home)
        )
        return f"<ListAllMyBucketsResult><Buckets>{entries}</Buckets></ListAllMyBucketsResult>"

    @staticmethod
    def _of_bucket(query: dict[str, list[str]]) -> str:
        if "tagging" in query:
            tag = "<Tag><Key>storyloom:app</Key><Value>storyloom</Value></Tag>"
            return f"<Tagging><TagSet>{tag}</TagSet></Tagging>"
        if "versions" in query:
            version = "<Version><Key>a.txt</Key><VersionId>1</VersionId><Size>1000</Size></Version>"
            return f"<ListVersionsResult><IsTruncated>false</IsTruncated>{version}</ListVersionsResult>"
        return "<ListMultipartUploadsResult></ListMultipartUploadsResult>"


@pytest.fixture
def s3() -> _S3:
    return _S3()


@pytest.fixture
def here(s3: Any) -> AwsTarget:
    session = boto3.Session("key", "secret", region_name=HERE)
    session.events.register("before-send.*.*", s3)
    return AwsTarget(session, account="123456789012")


@pytest.mark.aws_fact
def test_boto3_follows_a_redirect_to_another_region(here: AwsTarget) -> None:
    tags = here.client("s3").get_bucket_tagging(Bucket=STORIES_THERE)["TagSet"]
    assert tags == [{"Key": "storyloom:app", "Value": "storyloom"}]


@pytest.mark.aws_fact
def test_the_stories_of_another_region_are_not_found(here: AwsTarget) -> None:
    assert kept_data.find_kept_data(here, NAMES).buckets == (STORIES_HERE,)
    assert list(regional_buckets.buckets_named(here, "storyloom-")) == [STORIES_HERE]


def test_the_stories_of_another_region_are_not_deleted(here: AwsTarget, s3: _S3) -> None:
    with pytest.raises(CommandError, match=f"{STORIES_THERE} is in {THERE}, not in {HERE}. Nothing"):
        kept_data.delete_kept_data(here, KeptData((STORIES_THERE,), (), 0.0), lambda line: None)
    assert s3.changed == []
    kept_data.delete_kept_data(here, KeptData((STORIES_HERE,), (), 0.0), lambda line: None)
    assert set(s3.changed) == {STORIES_HERE}


def test_buckets_of_another_region_are_not_listed(here: AwsTarget) -> None:
    assert [found.name for found in list_service("S3 buckets", here, NAMES)] == [STORIES_HERE]


class _Iam:
    """Roles of the app in two regions, one from before there was a tag for it, and one of another app."""

    def __init__(self) -> None:
        self.deleted: list[str] = []
        self.tags = {
            GATEWAY_ROLE_HERE: {"storyloom:app": "storyloom", "storyloom:region": HERE},
            GATEWAY_ROLE_THERE: {"storyloom:app": "storyloom", "storyloom:region": THERE},
            GATEWAY_ROLE_UNKNOWN: {"storyloom:app": "storyloom"},
            "Storyloom-Two-Chat-ApiCloudWatchRole": {"storyloom:app": "storyloom-two"},
        }

    def get_paginator(self, _: str) -> _Iam:
        return self

    def paginate(self) -> list[dict[str, Any]]:
        return [{"Roles": [{"RoleName": name, "Arn": f"arn:{name}"} for name in self.tags]}]

    def can_paginate(self, _: str) -> bool:
        return True

    def list_role_tags(self, RoleName: str) -> dict[str, Any]:  # noqa: N803 - boto3 names it so
        return {"Tags": [{"Key": key, "Value": value} for key, value in self.tags[RoleName].items()]}

    def list_attached_role_policies(self, RoleName: str) -> dict[str, Any]:  # noqa: N803
        return {"AttachedPolicies": []}

    def delete_role(self, RoleName: str) -> None:  # noqa: N803
        self.deleted.append(RoleName)


class _Gateway:
    def get_account(self) -> dict[str, str]:
        return {}


GATEWAY_ROLE_HERE, GATEWAY_ROLE_THERE, GATEWAY_ROLE_UNKNOWN = (
    f"Storyloom-Chat-ApiCloudWatchRole-{where}" for where in ("here", "there", "unknown")
)


@pytest.mark.aws_fact
def test_roles_of_another_region_are_neither_listed_nor_deleted() -> None:
    """AWS puts no tag of CloudFormation's on roles, so ours tells; what has none may be another region's."""
    iam = _Iam()
    target = _target(iam=iam, apigateway=_Gateway())
    found = list_service("IAM roles", target, NAMES)
    assert [one.name for one in found] == [GATEWAY_ROLE_HERE, GATEWAY_ROLE_UNKNOWN]
    assert [one.name for one in found if not one.kept] == [GATEWAY_ROLE_HERE]
    teardown._delete_orphaned_roles(target, NAMES, teardown._StepPrinter(0.0))
    assert iam.deleted == [GATEWAY_ROLE_HERE]


class _CloudFront:
    """The same app in two regions, and another app."""

    def list_distributions(self, Marker: str = "") -> dict[str, Any]:  # noqa: N803
        if not Marker:
            return {"DistributionList": {"Items": [self._page("there", THERE)], "NextMarker": "there"}}
        ours, other = self._page("here", HERE), self._page("other", HERE, "Storyloom: something else")
        return {"DistributionList": {"Items": [ours, other]}}

    @staticmethod
    def _page(id_: str, region: str, comment: str = "Storyloom: chat page") -> dict[str, Any]:
        origins = [{"DomainName": f"abc.execute-api.{region}.amazonaws.com"}]
        return {"Id": id_, "Comment": comment, "Origins": {"Items": origins}}

    def list_origin_access_controls(self) -> dict[str, Any]:
        names = ("storyloom-page-us-east-1", "storyloom-page-eu-west-1", "storyloom-two-page-us-east-1")
        return {"OriginAccessControlList": {"Items": [{"Name": name} for name in names]}}

    def list_response_headers_policies(self, Type: str) -> dict[str, Any]:  # noqa: N803
        configs = [{"Name": f"storyloom-page-{where}"} for where in (HERE, f"{HERE}-api", f"{THERE}-api")]
        policies = [{"ResponseHeadersPolicy": {"ResponseHeadersPolicyConfig": one}} for one in configs]
        return {"ResponseHeadersPolicyList": {"Items": policies}}

    def list_functions(self) -> dict[str, Any]:
        names = (f"storyloom-page-{HERE}-api", f"storyloom-page-{THERE}-api", "somebody-elses")
        return {"FunctionList": {"Items": [{"Name": name} for name in names]}}


def test_the_page_of_another_region_is_not_listed() -> None:
    target = _target(cloudfront=_CloudFront())
    assert [found.name for found in list_service("CloudFront distributions", target, NAMES)] == ["here"]
    policies = [found.name for found in list_service("CloudFront policies", target, NAMES)]
    assert policies == ["storyloom-page-us-east-1"] * 2 + ["storyloom-page-us-east-1-api"]
    functions = [found.name for found in list_service("CloudFront functions", target, NAMES)]
    assert functions == ["storyloom-page-us-east-1-api"]


class _Monitoring:
    """Dashboards of both regions, and a budget: CloudWatch and Budgets list them in every region."""

    def can_paginate(self, _: str) -> bool:
        return True

    def get_paginator(self, _: str) -> _Monitoring:
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        entries = [{"DashboardName": f"Storyloom-Operations-{region}"} for region in (HERE, THERE)]
        return [{"DashboardEntries": entries, "Budgets": [{"BudgetName": "Storyloom-Operations-Budget"}]}]

    def get_dashboard(self, DashboardName: str) -> dict[str, str]:  # noqa: N803
        region = DashboardName.removeprefix("Storyloom-Operations-")
        widgets = [{"type": "alarm", "properties": {}}, {"type": "metric", "properties": {"region": region}}]
        return {"DashboardBody": json.dumps({"widgets": widgets})}


@pytest.mark.aws_fact
def test_dashboards_and_budgets_belong_to_no_region() -> None:
    target = _target(cloudwatch=_Monitoring(), budgets=_Monitoring())
    dashboards = list_service("CloudWatch dashboards", target, NAMES)
    assert [(found.name, found.kept) for found in dashboards] == [(f"Storyloom-Operations-{HERE}", "")]
    (budget,) = list_service("AWS Budgets", target, NAMES)
    assert "region is unknown" in budget.kept


class _SageMaker:
    """Jobs, models and configurations of two apps whose names begin with the same letters."""

    def can_paginate(self, _: str) -> bool:
        return True

    def get_paginator(self, _: str) -> _SageMaker:
        return self

    def paginate(self) -> list[dict[str, Any]]:
        run = "20261130-100000-aaaa"
        jobs = (f"storyloom-train-{run}", f"storyloom-train-two-train-{run}", f"storyloom-{run}-001-0a1b2c3d")
        models = (
            "storyloom-v1-g6-xlarge-0f3c2a1b",
            "storyloom-vi-v1-g6-xlarge-0f3c2a1b",
            "storyloom-two-v1-x",
        )
        return [
            {
                "TrainingJobSummaries": [{"TrainingJobName": name, "TrainingJobArn": name} for name in jobs],
                "Models": [{"ModelName": name} for name in models],
                "EndpointConfigs": [{"EndpointConfigName": name} for name in models],
            }
        ]

    def list_tags(self, ResourceArn: str) -> dict[str, Any]:  # noqa: N803
        return {"Tags": [{"Key": "storyloom:app", "Value": "storyloom-two"}]}


@pytest.mark.parametrize(
    ("service", "ours"),
    [
        ("SageMaker training jobs", "storyloom-train-20261130-100000-aaaa"),
        ("SageMaker models", "storyloom-v1-g6-xlarge-0f3c2a1b"),
        ("SageMaker endpoint configurations", "storyloom-v1-g6-xlarge-0f3c2a1b"),
    ],
)
def test_another_app_whose_name_begins_the_same_is_not_listed(service: str, ours: str) -> None:
    target = _target(sagemaker=_SageMaker())
    assert [found.name for found in list_service(service, target, NAMES)] == [ours]


def _target(**clients: Any) -> AwsTarget:
    session = boto3.Session("key", "secret", region_name=HERE)
    return AwsTarget(session, account="123456789012", _clients=dict(clients))
