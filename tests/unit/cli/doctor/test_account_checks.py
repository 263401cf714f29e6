"""Bootstrap, permissions, containers, layer, CloudFront, Lambda and prices."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cli.doctor import region_checks
from cli.doctor.bootstrap_checks import bootstrap, may_deploy
from cli.doctor.cost_checks import costs
from cli.doctor.region_checks import cloudfront, concurrency
from stories.dataset.training_plan import AT_REST_USD
from tests.unit.cli.doctor.conftest import ACCOUNT, REGION, StubbedAccount, examination, found

ROLE = f"arn:aws:iam::{ACCOUNT}:role/cdk-hnb659fds-deploy-role-{ACCOUNT}-{REGION}"
BUCKET = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/AWSReservedSSO_Admin_1/ada"
SSO_ROLE = f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_1"


def version(aws: StubbedAccount, value: str) -> None:
    """Prepare the parameter with the version of the bootstrap stack; empty: there is none."""
    name = "/cdk-bootstrap/hnb659fds/version"
    if value:
        aws.answers("ssm", "get_parameter", {"Parameter": {"Name": name, "Value": value}}, {"Name": name})
    else:
        aws.refuses("ssm", "get_parameter", "ParameterNotFound")


def test_an_account_that_is_not_bootstrapped_gets_the_command(aws: StubbedAccount) -> None:
    version(aws, "")
    (finding,) = found(bootstrap, examination(aws)).values()
    assert finding.status == "fault"
    assert finding.cure == f"Run: npx --no-install cdk bootstrap aws://{ACCOUNT}/{REGION}"


@pytest.mark.parametrize(("value", "status"), [("5", "fault"), ("6", "ok"), ("33", "ok")])
def test_the_version_that_the_cdk_needs_is_held_against_the_accounts(
    aws: StubbedAccount, value: str, status: str
) -> None:
    version(aws, value)
    if status == "ok":
        aws.answers("s3", "head_bucket", {}, {"Bucket": BUCKET})
    (finding,) = found(bootstrap, examination(aws)).values()
    assert finding.status == status and value in finding.message


def test_a_bootstrap_whose_bucket_was_deleted_is_a_cross(aws: StubbedAccount) -> None:
    version(aws, "33")
    aws.refuses("s3", "head_bucket", "404")
    (finding,) = found(bootstrap, examination(aws)).values()
    assert finding.status == "fault" and BUCKET in finding.message


def test_a_bucket_that_may_not_be_seen_is_a_warning(aws: StubbedAccount) -> None:
    version(aws, "33")
    aws.refuses("s3", "head_bucket", "403", "Forbidden")
    (finding,) = found(bootstrap, examination(aws), ("s3:ListBucket",)).values()
    assert finding.status == "warning" and "s3:ListBucket" in finding.message


def simulated(aws: StubbedAccount, *decisions: tuple[str, str], source: str = "") -> None:
    results = [{"EvalActionName": action, "EvalDecision": decision} for action, decision in decisions]
    answer = {"EvaluationResults": results, "IsTruncated": False}
    asked = None
    if source:
        actions = [action for action, _ in decisions]
        asked = {"PolicySourceArn": source, "ActionNames": actions, "ResourceArns": [ROLE]}
    aws.answers("iam", "simulate_principal_policy", answer, asked)


@pytest.mark.aws_fact
def test_a_sessions_policies_are_those_of_its_role_whose_path_only_iam_knows(
    make_account: Callable[..., StubbedAccount],
) -> None:
    aws = make_account(SESSION)
    version(aws, "33")
    role = {"Path": "/", "RoleName": "r" * 3, "RoleId": "A" * 16, "Arn": SSO_ROLE, "CreateDate": "2026-01-01"}
    aws.answers("iam", "get_role", {"Role": role}, {"RoleName": "AWSReservedSSO_Admin_1"})
    simulated(aws, ("sts:AssumeRole", "allowed"), source=SSO_ROLE)
    (finding,) = found(may_deploy, examination(aws)).values()
    assert finding.status == "ok"


def test_a_caller_without_permissions_gets_the_missing_ones(aws: StubbedAccount) -> None:
    version(aws, "33")
    simulated(aws, ("sts:AssumeRole", "implicitDeny"))
    simulated(aws, ("cloudformation:CreateChangeSet", "implicitDeny"), ("iam:PassRole", "allowed"))
    (finding,) = found(may_deploy, examination(aws)).values()
    assert finding.status == "fault"
    assert "cloudformation:CreateChangeSet" in finding.message and "iam:PassRole" not in finding.message
    assert "role/cdk-hnb659fds-*" in finding.cure


def test_an_administrator_without_the_roles_may_deploy_all_the_same(aws: StubbedAccount) -> None:
    version(aws, "33")
    simulated(aws, ("sts:AssumeRole", "explicitDeny"))
    simulated(aws, ("cloudformation:CreateChangeSet", "allowed"))
    (finding,) = found(may_deploy, examination(aws)).values()
    assert finding.status == "ok"


@pytest.mark.parametrize(("assumed", "status"), [(True, "ok"), (False, "fault")])
def test_who_may_not_ask_iam_finds_out_by_assuming_the_role(
    aws: StubbedAccount, assumed: bool, status: str
) -> None:
    version(aws, "33")
    aws.denies("iam", "simulate_principal_policy", "iam:SimulatePrincipalPolicy")
    if assumed:
        aws.answers("sts", "assume_role", {})
    else:
        aws.refuses("sts", "assume_role", "AccessDenied")
    (finding,) = found(may_deploy, examination(aws)).values()
    assert finding.status == status and "deploy-role" in finding.message


def test_before_the_bootstrap_the_caller_has_to_be_able_to_do_it(aws: StubbedAccount) -> None:
    version(aws, "")
    simulated(aws, ("iam:CreateRole", "implicitDeny"))
    (finding,) = found(may_deploy, examination(aws)).values()
    assert finding.status == "fault" and "iam:CreateRole" in finding.message
    version(aws, "")
    aws.denies("iam", "simulate_principal_policy", "iam:SimulatePrincipalPolicy")
    (finding,) = found(may_deploy, examination(aws)).values()
    assert finding.status == "warning" and "iam:SimulatePrincipalPolicy" in finding.message


def image(aws: StubbedAccount, there: bool) -> None:
    images = [{"imageManifest": "{}"}] if there else []
    failures = [] if there else [{"failureCode": "ImageNotFound"}]
    aws.answers("ecr", "batch_get_image", {"images": images, "failures": failures})


@pytest.mark.parametrize(("there", "status"), [(True, "ok"), (False, "fault")])
def test_both_containers_are_looked_up_in_the_region(aws: StubbedAccount, there: bool, status: str) -> None:
    image(aws, True)
    image(aws, there)
    findings = found(region_checks.images, examination(aws))
    assert findings["Training container"].status == "ok"
    assert findings["Hosting container"].status == status and "vllm:" in findings["Hosting container"].message


def test_of_a_region_that_lacks_a_container_none_is_looked_up(
    make_account: Callable[..., StubbedAccount],
) -> None:
    aws = make_account()
    aws.account.region = "eu-south-2"  # its own check has said that AWS has no training container there
    assert found(region_checks.images, examination(aws)) == {}


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("code", "why", "status"),
    [
        (
            "AccessDeniedException",
            "no resource-based policy allows the lambda:GetLayerVersion action",
            "fault",
        ),
        (
            "AccessDeniedException",
            "no identity-based policy allows the lambda:GetLayerVersion action",
            "warning",
        ),
        ("ResourceNotFoundException", "gone", "fault"),
    ],
)
def test_a_layer_that_is_missing_in_the_region_is_distinguished_from_a_missing_permission(
    aws: StubbedAccount, code: str, why: str, status: str
) -> None:
    message = f"User: arn is not authorized to perform: lambda:GetLayerVersion on resource: arn because {why}"
    aws.refuses("lambda", "get_layer_version_by_arn", code, message)
    (finding,) = found(region_checks.web_adapter, examination(aws)).values()
    assert finding.status == status


@pytest.mark.parametrize(("quantity", "status"), [(0, "warning"), (2, "ok")])
def test_an_account_without_a_distribution_may_have_to_be_verified(
    aws: StubbedAccount, quantity: int, status: str
) -> None:
    listed: dict[str, Any] = {"Marker": "", "MaxItems": 1, "IsTruncated": False, "Quantity": quantity}
    aws.answers("cloudfront", "list_distributions", {"DistributionList": listed})
    (finding,) = found(cloudfront, examination(aws)).values()
    assert finding.status == status
    assert quantity or ("must be verified" in finding.message and "case" in finding.cure)


@pytest.mark.parametrize(("value", "status"), [(10, "warning"), (1000, "ok"), (9, "fault")])
def test_concurrency_is_what_lambda_itself_says(aws: StubbedAccount, value: int, status: str) -> None:
    aws.answers("lambda", "get_account_settings", {"AccountLimit": {"ConcurrentExecutions": value}})
    default = {"Quota": {"QuotaCode": "L-B99A9384", "Value": 1000.0, "Adjustable": True}}
    aws.answers("service-quotas", "get_aws_default_service_quota", default)
    aws.refuses("service-quotas", "list_requested_service_quota_change_history", "NoSuchResourceException")
    findings = found(concurrency, examination(aws))
    assert findings["Memory of a function"].status == "ok"
    assert findings["Concurrent executions"].status == status
    if status == "warning":
        assert (
            "for 1001: AWS takes no request for its default of 1000 or less"
            in findings["Concurrent executions"].cure
        )


INSTANCES = ("ml.g6.xlarge", "ml.g5.xlarge", "ml.g6e.xlarge")


def listed(usd: str, component: str) -> str:
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": usd}}
    attributes = {"component": component, "regionCode": REGION}
    terms = {"OnDemand": {"a": {"priceDimensions": {"b": dimension}}}}
    return json.dumps({"product": {"attributes": attributes}, "terms": terms})


def test_prices_are_those_of_the_region_if_the_list_may_be_read(aws: StubbedAccount) -> None:
    components = {
        "Notebook": "9.99",
        "Training": "3",
        "Hosting": "2.5",
        "Processing": "2",
        "BatchTransform": "2",
    }
    for instance in INSTANCES:
        filters = [
            {"Type": "TERM_MATCH", "Field": "regionCode", "Value": REGION},
            {"Type": "TERM_MATCH", "Field": "instanceName", "Value": instance},
        ]
        asked = {"ServiceCode": "AmazonSageMaker", "Filters": filters, "FormatVersion": "aws_v1"}
        prices = [listed(usd, component) for component, usd in components.items()]
        aws.answers("pricing", "get_products", {"PriceList": prices}, asked)
    findings = found(costs, examination(aws))
    assert findings["At rest"].message.startswith(f"about ${AT_REST_USD:.2f} a month")
    assert findings["Awake"].message.startswith("$2.50 an hour on ml.g6.xlarge, until 15 minutes")
    assert "price list of eu-west-1, today" in findings["Awake"].message
    # 240 and 30 minutes of training, 120 of evaluation, at three dollars an hour
    assert "never above $19.50" in findings["A run"].message
    assert findings["Prices"].status == "ok"
    assert "all 3 instance types" in findings["Prices"].message


@pytest.mark.parametrize("answer", ["denied", "nothing", "garbled"])
def test_without_a_price_list_nobody_guesses_from_another_region(aws: StubbedAccount, answer: str) -> None:
    """Other regions are up to half dearer than us-east-1: its price would let a limit be passed."""
    if answer == "denied":
        aws.denies("pricing", "get_products", "pricing:GetProducts")
    elif answer == "garbled":
        aws.answers("pricing", "get_products", {"PriceList": ["{}"]})
    else:
        for _ in INSTANCES:
            aws.answers("pricing", "get_products", {"PriceList": []})
    findings = found(costs, examination(aws))
    awake, prices = findings["Awake"], findings["Prices"]
    assert awake.status == findings["A run"].status == prices.status == "warning"
    assert "in us-east-1 it was $1.13 an hour" in awake.message
    assert awake.cure.endswith("-c instance_prices_usd=ml.g6.xlarge=PRICE")
    assert "ml.g6.xlarge for training, processing, hosting, transform" in prices.message
    assert answer != "denied" or "may not be read" in awake.message


def test_prices_that_the_settings_give_are_not_asked_for(aws: StubbedAccount) -> None:
    given = {"ml.g6.xlarge": 1.3, "ml.g5.xlarge": 1.6, "ml.g6e.xlarge": 3.0}
    findings = found(costs, examination(aws, instance_prices_usd=given))
    assert findings["Prices"].status == "ok"
    assert "$1.30 an hour" in findings["Awake"].message
    assert "the setting instance_prices_usd" in findings["Awake"].message


def test_more_instances_are_priced_at_worst(aws: StubbedAccount) -> None:
    given = dict.fromkeys(INSTANCES, 1.13)
    findings = found(costs, examination(aws, hosting_max_instances=4, instance_prices_usd=given))
    assert "at worst $4.52 with 4 of them" in findings["Awake"].message
