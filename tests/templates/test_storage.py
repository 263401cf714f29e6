"""What a person uploaded, and what was made of it, stays and stays private."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Match

from tests.templates.conftest import Synthesized


def _buckets(synthesized: Synthesized) -> dict[str, Mapping[str, Any]]:
    return dict(synthesized.storage.find_resources("AWS::S3::Bucket"))


def test_nothing_is_deleted_with_the_stack(synthesized: Synthesized) -> None:
    kept = {**_buckets(synthesized), **synthesized.storage.find_resources("AWS::DynamoDB::Table")}
    assert len(kept) == 3
    for name, resource in kept.items():
        # Kept at every deletion; a creation that fails takes away again what it has made.
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate", name
        assert resource["UpdateReplacePolicy"] == "Retain", name


def test_nothing_but_the_cache_batches_and_retired_bundles_ever_expires(synthesized: Synthesized) -> None:
    expiring = [
        (re.sub(r"[0-9A-F]{8}$", "", name), rule.get("Prefix"), rule[key])
        for name, bucket in _buckets(synthesized).items()
        for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        for key in rule
        if "Expir" in key
    ]
    assert expiring == [
        ("Artifacts", "cache/", 30),
        ("Artifacts", "transforms/", 30),
        ("Artifacts", "hosting/", 1),
    ]


def test_a_bundle_expires_by_its_tag_and_never_by_its_age(synthesized: Synthesized) -> None:
    """The live bundle may be years old."""
    from contracts import s3_keys

    (rule,) = [
        rule
        for bucket in _buckets(synthesized).values()
        for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        if rule.get("Prefix") == s3_keys.HOSTING
    ]
    assert rule["TagFilters"] == [{"Key": s3_keys.RETIRED, "Value": "true"}]


def test_stories_keep_all_their_versions_and_tell_eventbridge(synthesized: Synthesized) -> None:
    synthesized.storage.has_resource_properties(
        "AWS::S3::Bucket",
        {
            "VersioningConfiguration": {"Status": "Enabled"},
            "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
            "CorsConfiguration": {"CorsRules": [Match.object_like({"AllowedMethods": ["POST"]})]},
        },
    )


@pytest.mark.parametrize("stack", ["storage", "chat"])
def test_buckets_are_private_encrypted_and_refuse_plain_http(synthesized: Synthesized, stack: str) -> None:
    template = synthesized.templates[stack]
    buckets = template.find_resources("AWS::S3::Bucket")
    policies = template.find_resources("AWS::S3::BucketPolicy")
    assert buckets
    for name, bucket in buckets.items():
        assert all(bucket["Properties"]["PublicAccessBlockConfiguration"].values()), name
        assert bucket["Properties"]["BucketEncryption"], name
        (policy,) = [p for p in policies.values() if p["Properties"]["Bucket"] == {"Ref": name}]
        statements = policy["Properties"]["PolicyDocument"]["Statement"]
        refused = [s for s in statements if s["Effect"] == "Deny"]
        assert refused[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}, name
        assert not [s for s in statements if s["Effect"] == "Allow" and s["Principal"] in ("*", {"AWS": "*"})]


def test_the_table_deletes_only_items_that_expire(synthesized: Synthesized) -> None:
    synthesized.storage.has_resource_properties(
        "AWS::DynamoDB::Table",
        {"TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True}},
    )


def test_the_table_can_be_restored_to_any_second(synthesized: Synthesized) -> None:
    synthesized.storage.has_resource_properties(
        "AWS::DynamoDB::Table",
        {
            "BillingMode": "PAY_PER_REQUEST",
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            "KeySchema": [
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        },
    )
