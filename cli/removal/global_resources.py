"""Resources that belong to no region: AWS lists them in all regions, so each listing filters by region.

A resource of an unknown region is listed as such and never deleted, because a running app may use it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from cli.aws.target import AwsTarget
from contracts.resource_names import REGION_TAG, TAG, AppNames

Entry = tuple[str, str]
"""A name, and the reason why it is kept; empty if a deletion should have removed it."""

_GATEWAY_ROLE = "API Gateway writes the logs of all APIs of the account with it; it costs nothing"
_UNKNOWN_REGION = "its region is unknown and the same app in another region may use it, so it was not deleted"
_ORIGIN = re.compile(r"\.(?:execute-api|s3)\.([a-z0-9-]+)\.amazonaws\.com")
_CONTROLS = ("list_origin_access_controls", "OriginAccessControlList")
_FUNCTIONS = ("list_functions", "FunctionList")
_POLICIES = ("list_response_headers_policies", "ResponseHeadersPolicyList")


def roles(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    """List the roles of this region's stacks, by the app's own tag: CloudFormation does not tag roles."""
    iam = target.client("iam")
    setting = target.client("apigateway").get_account().get("cloudwatchRoleArn", "")
    for page in iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            name = role["RoleName"]
            if not names.belongs_to_stacks(name):
                continue
            tags = {tag["Key"]: tag["Value"] for tag in iam.list_role_tags(RoleName=name)["Tags"]}
            if tags.get(TAG, names.name) != names.name:
                continue
            if role["Arn"] == setting:
                yield name, _GATEWAY_ROLE
            else:
                yield from _of_region(target, name, tags.get(REGION_TAG))


def distributions(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    """List the page's distribution, by the region in the names of its origins."""
    for found in _items(target, "list_distributions", "DistributionList"):
        if found.get("Comment") != f"{names.title}: chat page":
            continue
        origins = found.get("Origins", {}).get("Items", [])
        regions = [match[1] for one in origins if (match := _ORIGIN.search(one.get("DomainName", "")))]
        yield from _of_region(target, found["Id"], next(iter(regions), None))


def page_policies(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    """List the page's CloudFront policies, whose names contain app and region."""
    found = [control["Name"] for control in _items(target, *_CONTROLS)]
    for policy in _items(target, *_POLICIES, Type="custom"):
        found.append(policy["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]["Name"])
    yield from _of_page(target, names, found)


def page_functions(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    """List the page's CloudFront functions, which are named as its policies are."""
    yield from _of_page(target, names, [one["Name"] for one in _items(target, *_FUNCTIONS)])


def _of_page(target: AwsTarget, names: AppNames, found: list[str]) -> Iterator[Entry]:
    page = names.page(target.region)
    yield from ((name, "") for name in found if name in {page, f"{page}-api"})


def dashboards(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    """List the dashboards, by the region of their widgets."""
    client = target.client("cloudwatch")
    for page in client.get_paginator("list_dashboards").paginate():
        for entry in page["DashboardEntries"]:
            name = entry["DashboardName"]
            if names.belongs_to_stacks(name):
                body = json.loads(client.get_dashboard(DashboardName=name)["DashboardBody"])
                widgets = [widget.get("properties", {}) for widget in body.get("widgets", [])]
                regions = [widget["region"] for widget in widgets if widget.get("region")]
                yield from _of_region(target, name, next(iter(regions), None))


def budgets(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    """List the budgets, whose region is unknown."""
    pages = target.client("budgets").get_paginator("describe_budgets").paginate(AccountId=target.account)
    for page in pages:
        for budget in page.get("Budgets") or []:
            if names.belongs_to_stacks(budget["BudgetName"]):
                yield from _of_region(target, budget["BudgetName"], None)


def _of_region(target: AwsTarget, name: str, region: str | None) -> Iterator[Entry]:
    """Yield a resource of this region or of an unknown one."""
    if region in (None, target.region):
        yield name, "" if region else _UNKNOWN_REGION


def _items(target: AwsTarget, operation: str, key: str, **fields: Any) -> Iterator[Any]:
    """Yield all items of one of CloudFront's lists, page by page."""
    list_page = getattr(target.client("cloudfront"), operation)
    marker: dict[str, str] = {}
    while True:
        answer = list_page(**fields, **marker)[key]
        yield from answer.get("Items") or []
        if not answer.get("NextMarker"):
            return
        marker = {"Marker": answer["NextMarker"]}
