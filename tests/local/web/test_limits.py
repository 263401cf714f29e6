"""What API Gateway answers when the function behind it may not run."""

from collections.abc import Iterator

import pytest

from local.aws.account import account_file
from tests.local.web.conftest import WebApp

pytestmark = pytest.mark.cloud


@pytest.fixture
def no_concurrency(web: WebApp) -> Iterator[None]:
    """Return an account whose functions are all busy."""
    path = web.cloud.folders.account
    before = account_file.read_account(path)
    account_file.set_quota(path, "Concurrent executions", 0)
    yield
    account_file.write_account(path, before)


@pytest.mark.aws_fact
@pytest.mark.parametrize("path", ["/api/health", "/whole/anything"], ids=["streamed", "in one piece"])
def test_a_throttled_function_is_a_failure_of_the_integration(
    web: WebApp, no_concurrency: None, path: str
) -> None:
    with web.http(web.gateway) as client:
        answer = client.get(path)
    # INTEGRATION_FAILURE, whose status and words an API may choose; never the 429 of Lambda.
    assert answer.status_code == 504
    assert answer.json() == {"message": "Internal server error"}


def test_the_stack_of_the_bootstrap_tells_its_version(web: WebApp) -> None:
    (stack,) = web.client("cloudformation").describe_stacks(StackName="CDKToolkit")["Stacks"]
    told = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    parameter = web.client("ssm").get_parameter(Name="/cdk-bootstrap/hnb659fds/version")["Parameter"]
    assert told["BootstrapVersion"] == parameter["Value"]
    assert int(parameter["Value"]) >= 6


@pytest.mark.aws_fact
@pytest.mark.parametrize("size", [6 * 2**20, 7 * 2**20], ids=["6 MB", "7 MB"])
def test_a_request_of_which_the_function_would_get_more_than_6_mb_is_too_large(
    web: WebApp, size: int
) -> None:
    with web.http(web.gateway, headers=web.signed_in) as client:
        answer = client.post("/api/echo/large", content=b"x" * size)
        small = client.post("/api/echo/small", content=b"x" * 1000)
    assert answer.status_code == 413
    assert answer.json() == {"message": "Request Too Long"}
    assert small.status_code == 200
