"""All checks, in the order of the table."""

from __future__ import annotations

from cli.doctor import (
    base_model_checks,
    bootstrap_checks,
    checkout_checks,
    cost_checks,
    leftover_checks,
    name_checks,
    quota_checks,
    region_checks,
    settings_checks,
)
from cli.doctor.examination import Check

SETTINGS, CHECKOUT, ACCOUNT, QUOTAS = "Settings", "This checkout", "Account and region", "Quotas"
MODEL, LEFT, COSTS = "Base model", "An earlier deployment", "Costs"
GROUPS = (SETTINGS, CHECKOUT, ACCOUNT, QUOTAS, MODEL, LEFT, COSTS)
"""Headings of the table, in its order."""

_INSTANCES = ("training_instance", "hosting_instance")

CHECKS = (
    Check("e_mail", SETTINGS, "admin_email", settings_checks.e_mail, settings=("admin_email",)),
    Check("python", CHECKOUT, "Python", checkout_checks.python),
    Check("node", CHECKOUT, "CDK CLI", checkout_checks.node),
    Check("setup", CHECKOUT, "make setup", checkout_checks.setup_done, settings=("function_python",)),
    Check(
        "bootstrap",
        ACCOUNT,
        "CDK bootstrap",
        bootstrap_checks.bootstrap,
        permissions=bootstrap_checks.BOOTSTRAP_PERMISSIONS,
    ),
    Check(
        "permission",
        ACCOUNT,
        "Permission to deploy",
        bootstrap_checks.may_deploy,
        permissions=bootstrap_checks.DEPLOY_PERMISSIONS,
    ),
    Check(
        "images",
        ACCOUNT,
        "Containers",
        region_checks.images,
        permissions=region_checks.IMAGE_PERMISSIONS,
        settings=_INSTANCES,
    ),
    Check(
        "web_adapter",
        ACCOUNT,
        "Lambda Web Adapter",
        region_checks.web_adapter,
        permissions=region_checks.LAYER_PERMISSIONS,
    ),
    Check(
        "cloudfront",
        ACCOUNT,
        "CloudFront",
        region_checks.cloudfront,
        permissions=region_checks.CLOUDFRONT_PERMISSIONS,
    ),
    Check(
        "quotas",
        QUOTAS,
        "SageMaker's quotas",
        quota_checks.instance_quotas,
        permissions=quota_checks.LIST_PERMISSIONS,
        settings=(
            "base_model",
            *_INSTANCES,
            "hosting_fallback_instances",
            "instance_count",
            "hosting_max_instances",
        ),
    ),
    Check(
        "concurrency",
        QUOTAS,
        "Concurrent executions",
        region_checks.concurrency,
        permissions=region_checks.CONCURRENCY_PERMISSIONS,
    ),
    Check(
        "base_model",
        MODEL,
        "Base model",
        base_model_checks.base_model,
        settings=("base_model", "base_model_revision", "huggingface_token_secret"),
    ),
    Check(
        "stacks",
        LEFT,
        "Stacks",
        leftover_checks.stacks,
        permissions=leftover_checks.STACK_PERMISSIONS,
        settings=("name",),
    ),
    Check(
        "endpoint",
        LEFT,
        "Endpoint",
        leftover_checks.endpoint,
        permissions=leftover_checks.ENDPOINT_PERMISSIONS,
        settings=("name",),
    ),
    Check(
        "jobs",
        LEFT,
        "Jobs",
        leftover_checks.jobs,
        permissions=leftover_checks.JOB_PERMISSIONS,
        settings=("name",),
    ),
    Check(
        "kept",
        LEFT,
        "Kept storage",
        leftover_checks.kept,
        permissions=leftover_checks.KEPT_PERMISSIONS,
        settings=("name",),
    ),
    Check("names", LEFT, "Names", name_checks.names, permissions=name_checks.PERMISSIONS, settings=("name",)),
    Check(
        "costs",
        COSTS,
        "Prices",
        cost_checks.costs,
        permissions=cost_checks.PERMISSIONS,
        settings=("base_model", *_INSTANCES, "hosting_fallback_instances", "instance_prices_usd"),
    ),
)

ALL_PERMISSIONS = tuple(
    sorted(
        {permission for check in CHECKS for permission in check.permissions}
        | set(base_model_checks.SECRET_PERMISSIONS)
    )
)
"""What the caller needs, so that everything can be seen."""
