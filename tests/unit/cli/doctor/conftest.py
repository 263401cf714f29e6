"""An account whose services answer what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cli.doctor.aws_account import AwsAccount
from cli.doctor.examination import Check, Examination, run_all
from cli.doctor.findings import Finding
from contracts.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[4]
ACCOUNT, REGION = "111122223333", "eu-west-1"
ADMIN = f"arn:aws:iam::{ACCOUNT}:user/ada"
DENIAL = (
    "User: {who} is not authorized to perform: {action} "
    "because no identity-based policy allows the {action} action"
)


@dataclass
class StubbedAccount:
    """An account; a call that no test has prepared fails."""

    account: AwsAccount
    stubbers: dict[str, Stubber] = field(default_factory=dict)

    def answers(self, service: str, operation: str, answer: dict[str, Any], asked: Any = None) -> None:
        """Prepare the next answer of a service."""
        self._stubber(service).add_response(operation, answer, asked)

    def refuses(self, service: str, operation: str, code: str, message: str = "") -> None:
        """Prepare an error as the next answer of a service."""
        self._stubber(service).add_client_error(operation, service_error_code=code, service_message=message)

    def denies(self, service: str, operation: str, action: str) -> None:
        """Prepare the answer to a caller without the permission."""
        who = self.account.caller_arn
        self.refuses(service, operation, "AccessDeniedException", DENIAL.format(who=who, action=action))

    def _stubber(self, service: str) -> Stubber:
        if service not in self.stubbers:
            region = "us-east-1" if service == "pricing" else ""
            stubber = Stubber(self.account.client(service, region))
            stubber.activate()
            self.stubbers[service] = stubber
        return self.stubbers[service]


@pytest.fixture(scope="session")
def session() -> boto3.Session:
    """One for all tests: reading SageMaker's model takes half a second."""
    return boto3.Session("id", "secret", region_name=REGION)


@pytest.fixture(scope="session")
def clients() -> dict[tuple[str, str], Any]:
    """Clients that were made before, by service and region."""
    return {}


@pytest.fixture
def make_account(
    monkeypatch: pytest.MonkeyPatch, session: boto3.Session, clients: dict[tuple[str, str], Any]
) -> Iterator[Callable[..., StubbedAccount]]:
    """Makes an account of a caller."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    made: list[StubbedAccount] = []

    def make(caller: str = ADMIN) -> StubbedAccount:
        made.append(StubbedAccount(AwsAccount(session, REGION, ACCOUNT, caller, clients)))
        return made[-1]

    yield make
    for account in made:
        for stubber in account.stubbers.values():
            stubber.deactivate()


@pytest.fixture
def aws(make_account: Callable[..., StubbedAccount]) -> Iterator[StubbedAccount]:
    """The account of an IAM user. Every prepared answer has to be asked for."""
    stubbed = make_account()
    yield stubbed
    for stubber in stubbed.stubbers.values():
        stubber.assert_no_pending_responses()


def examination(aws: StubbedAccount | None, **settings: Any) -> Examination:
    """What there is to look at."""
    chosen = {"admin_email": "ada@example.com", **settings}
    return Examination(CHECKOUT, {}, Settings.model_validate(chosen), aws=aws.account if aws else None)


def found(check: Any, looked_at: Examination, permissions: tuple[str, ...] = ()) -> dict[str, Finding]:
    """What a check finds, by subject, as the command has it run."""
    (result,) = run_all([Check("a_check", "Group", "A check", check, permissions)], looked_at)
    return {finding.subject: finding for finding in result.findings}
