"""Quotas of IAM, Lambda and CloudFront that only a deployment would meet."""

import json
from typing import Any

import pytest

from tests.templates.conftest import Synthesized

INTRINSIC_CHARACTERS = 120
"""An ARN that is only known at deployment, at its longest."""
_PSEUDO_PARAMETERS = {"AWS::Partition": 10, "AWS::Region": 14, "AWS::AccountId": 12, "AWS::URLSuffix": 16}
"""The most characters that each value has which CloudFormation fills in."""
ROLE_POLICIES_CHARACTERS = 10_240
VARIABLES_BYTES = 4_096
SECURITY_POLICY_CHARACTERS = 1_783
RESOURCES, TEMPLATE_BYTES = 500, 1_000_000


def _size(value: Any) -> int:
    """How many characters a value has without white space once it is resolved, at most."""
    if isinstance(value, dict):
        if "Fn::Join" in value:
            separator, parts = value["Fn::Join"]
            return sum(_size(part) + len(separator) for part in parts)
        if len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::")):
            return _PSEUDO_PARAMETERS.get(str(value.get("Ref")), INTRINSIC_CHARACTERS)
        return 2 + sum(len(key) + 4 + _size(item) for key, item in value.items())
    if isinstance(value, list):
        return 2 + sum(1 + _size(item) for item in value)
    return 2 + len(str(value))


@pytest.mark.aws_fact
def test_no_roles_inline_policies_are_too_long(synthesized: Synthesized) -> None:
    for template in synthesized.templates.values():
        sizes: dict[str, int] = {}
        for policy in template.find_resources("AWS::IAM::Policy").values():
            for role in policy["Properties"]["Roles"]:
                size = _size(policy["Properties"]["PolicyDocument"])
                sizes[json.dumps(role)] = sizes.get(json.dumps(role), 0) + size
        assert max(sizes.values(), default=0) <= ROLE_POLICIES_CHARACTERS, sizes


@pytest.mark.aws_fact
def test_no_function_has_too_many_variables(synthesized: Synthesized) -> None:
    for name, function in synthesized.resources("AWS::Lambda::Function"):
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        assert _size(variables) <= VARIABLES_BYTES, name


@pytest.mark.aws_fact
def test_the_content_security_policy_fits_into_cloudfronts(synthesized: Synthesized) -> None:
    policies = [found for _, found in synthesized.resources("AWS::CloudFront::ResponseHeadersPolicy")]
    assert len(policies) == 2, "the page's and the API's"
    for policy in policies:
        headers = policy["Properties"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
        assert _size(headers["ContentSecurityPolicy"]) <= SECURITY_POLICY_CHARACTERS


@pytest.mark.aws_fact
def test_no_template_is_too_large(synthesized: Synthesized) -> None:
    for name, template in synthesized.templates.items():
        content = template.to_json()
        assert len(content["Resources"]) <= RESOURCES, name
        assert len(json.dumps(content).encode()) <= TEMPLATE_BYTES, name
