"""A local cloud of its own with the small app of `app/` deployed by the real CDK CLI, once a session."""

import os
import re
import secrets
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from local.aws.local_aws import LocalAws

ROOT = Path(__file__).resolve().parents[3]
APP = Path(__file__).parent / "app" / "app.py"
STACK = "LocalWeb"


@dataclass(frozen=True)
class WebApp:
    """The deployed app and the ways to it."""

    cloud: LocalAws

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Outputs of the stack."""
        stack = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    @property
    def front_door(self) -> str:
        """What a browser opens."""
        return self.cloud.page_url

    @cached_property
    def gateway(self) -> str:
        """The API's stage, past CloudFront."""
        api, stage = re.fullmatch(
            r"https://(\w+)\.execute-api\.[^/]+/(\w+)/", self.outputs["ApiUrl"]
        ).groups()  # type: ignore[union-attr]
        return f"https://127.0.0.1:{self.cloud.port}/_aws/execute-api/{api}/{stage}"

    def client(self, service: str, **config: Any) -> Any:
        """Return the administrator's boto3 client, kept because making one takes a quarter of a second."""
        key = (service, repr(sorted(config.items())))
        if key not in self._clients:
            environment = self.cloud.environment()
            self._clients[key] = self._session.client(
                service,
                endpoint_url=environment["AWS_ENDPOINT_URL"],
                verify=environment["AWS_CA_BUNDLE"],
                config=Config(**config),
            )
        return self._clients[key]

    @cached_property
    def _clients(self) -> dict[tuple[str, str], Any]:
        return {}

    @cached_property
    def _session(self) -> Any:
        environment = self.cloud.environment()
        return boto3.Session(
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_REGION"],
        )

    def http(self, base: str, **named: Any) -> httpx.Client:
        """Return an HTTP client that trusts the cloud and nothing of this machine's proxies."""
        return httpx.Client(base_url=base, verify=self._trust, trust_env=False, timeout=60, **named)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.cloud.environment()["AWS_CA_BUNDLE"])

    def cognito(self, action: str, body: dict[str, Any], *, directly: bool = False) -> httpx.Response:
        """Return a call of Cognito's public API as the page makes it: unsigned, through the front door.

        The front door passes what the page and the command line use; AWS itself takes more (`directly`).
        """
        base, path = self.front_door, "/aws/cognito-idp/"
        if directly:
            base, path = self.cloud.environment()["AWS_ENDPOINT_URL"], "/"
        with self.http(base) as client:
            headers = {
                "content-type": "application/x-amz-json-1.1",
                "x-amz-target": f"AWSCognitoIdentityProviderService.{action}",
            }
            return client.post(path, json=body, headers=headers)

    def new_person(self, *, temporary: bool = False) -> tuple[str, str]:
        """Return name and password of a person who may sign in; a temporary password has to be changed."""
        name, password = f"p{secrets.token_hex(4)}@example.com", f"{secrets.token_urlsafe(12)}-aA1"
        admin = self.client("cognito-idp")
        pool = self.outputs["UserPoolId"]
        admin.admin_create_user(
            UserPoolId=pool,
            Username=name,
            UserAttributes=[{"Name": "email", "Value": name}, {"Name": "email_verified", "Value": "true"}],
            TemporaryPassword=password,
            MessageAction="SUPPRESS",
        )
        if not temporary:
            admin.admin_set_user_password(UserPoolId=pool, Username=name, Password=password, Permanent=True)
        return name, password

    def initiate(self, name: str, password: str, client: str = "UserPoolClientId") -> dict[str, Any]:
        """Return the answer to a sign-in with name and password, through the client of an output."""
        answer = self.cognito(
            "InitiateAuth",
            {
                "AuthFlow": "USER_PASSWORD_AUTH",
                "ClientId": self.outputs[client],
                "AuthParameters": {"USERNAME": name, "PASSWORD": password},
            },
        )
        return dict(answer.json())

    @cached_property
    def signed_in(self) -> dict[str, str]:
        """The header that lets its bearer in."""
        tokens = self.initiate(*self.new_person())["AuthenticationResult"]
        return {"Authorization": f"Bearer {tokens['IdToken']}"}

    def wait_for_log(self, text: str, seconds: float = 10) -> str:
        """Return the first line of the web function's log with `text` in it."""
        group = f"/aws/lambda/{self.outputs['WebFunction']}"
        deadline = time.monotonic() + seconds
        lines: list[str] = []
        while time.monotonic() < deadline:
            events = self.client("logs").filter_log_events(logGroupName=group)["events"]
            lines = [event["message"] for event in events]
            if found := [line for line in lines if text in line]:
                return found[0]
            time.sleep(0.2)
        raise AssertionError(f"{text!r} is not in the log:\n" + "\n".join(lines[-20:]))

    def deploy(self, **context: str) -> None:
        """Deploy the app (again), with CDK context."""
        given = [part for name, value in context.items() for part in ("--context", f"{name}={value}")]
        endpoint = ["--context", f"browser_endpoint={self.front_door}"]
        app = ["--app", f"{sys.executable} {APP}", "--output", str(self.cloud.state / "cdk.out")]
        _cdk(
            self.cloud, "deploy", "--require-approval", "never", "--method", "direct", *app, *endpoint, *given
        )


def _cdk(cloud: LocalAws, *arguments: str) -> None:
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))},
        **cloud.environment(),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(cloud.state),
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
    }
    command = [str(ROOT / "node_modules" / ".bin" / "cdk"), *arguments, "--no-notices", "--no-color"]
    done = subprocess.run(
        command, cwd=cloud.state, env=variables, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """Return the app, deployed; the cloud is gone afterwards."""
    state = tmp_path_factory.mktemp("web-cloud")
    cloud = LocalAws(state, port=free_port(), page_port=free_port())
    cloud.up()
    try:
        _cdk(cloud, "bootstrap", "aws://123456789012/us-east-1")
        app = WebApp(cloud)
        app.deploy()
        yield app
    finally:
        cloud.down()
