"""The folders of one local cloud, and the environment variables of its programs."""

import os
from dataclasses import dataclass
from pathlib import Path

from local.aws.certificate import Certificate
from local.aws.private_file import ensure_root_secret
from local.aws.processes import MARKER, cloud_id

ACCOUNT = "123456789012"
"""The local account. MiniStack takes a 12-digit access key for that account's root user."""

REGION = "us-east-1"

STATE_VARIABLE = "LOCAL_AWS_STATE"
"""The state folder, in the environment of all processes of a cloud."""

SERVER_VARIABLE = "LOCAL_AWS_ENDPOINT_SERVER"
"""The Python module that serves a model of SageMaker: ``--model-dir DIR --port N``.

Whoever starts the cloud can set it in place of `LocalAws.endpoint_server`.
"""


@dataclass(frozen=True)
class CloudFolders:
    """The paths of one cloud, inside its state folder."""

    state: Path

    @classmethod
    def of_this_cloud(cls) -> "CloudFolders":
        """Return the folders of the cloud to which this process belongs."""
        return cls(Path(os.environ[STATE_VARIABLE]))

    @property
    def temporary(self) -> Path:
        return self.state / "tmp"

    @property
    def data(self) -> Path:
        return self.state / "data"

    @property
    def tls(self) -> Path:
        return self.state / "tls"

    @property
    def root_secret(self) -> Path:
        """The secret key of the account's root user."""
        return self.state / "root-secret"

    @property
    def home(self) -> Path:
        return self.state / "home"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def mail(self) -> Path:
        """The mail that Cognito has sent, in the order of its numbers."""
        return self.state / "mail"

    @property
    def sagemaker(self) -> Path:
        return self.state / "sagemaker"

    @property
    def assembly(self) -> Path:
        return self.state / "cdk.out"

    @property
    def outputs(self) -> Path:
        return self.state / "outputs.json"

    @property
    def account(self) -> Path:
        """What AWS allows this account (`account.account_file`)."""
        return self.state / "account.json"

    @property
    def prices(self) -> Path:
        """What instances cost (`services.pricing`)."""
        return self.state / "prices.json"

    @property
    def description(self) -> Path:
        return self.state / "cloud.json"

    def transient(self) -> list[Path]:
        """Return what is removed when the cloud stops: MiniStack keeps its state in memory only."""
        return [
            self.temporary,
            self.data,
            self.tls,
            self.root_secret,
            self.home,
            self.mail,
            self.sagemaker,
            self.assembly,
            self.outputs,
            self.account,
            self.prices,
            self.description,
        ]


def endpoint_url(port: int) -> str:
    """Return the URL of the AWS APIs: for an address SDKs put the bucket in the path, not in the host."""
    return f"https://127.0.0.1:{port}"


def client_environment(folders: CloudFolders, certificate: Certificate, port: int) -> dict[str, str]:
    """Return the variables with which the AWS CLI, the CDK and the SDKs use this cloud as the root user."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url(port),
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": ensure_root_secret(folders.root_secret),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        # The SDKs speak to this cloud only, and read the file for every connection: the bundle's 145
        # authorities would take 60 ms of a processor each time.
        "AWS_CA_BUNDLE": str(certificate.authority),
        "REQUESTS_CA_BUNDLE": str(certificate.bundle),
        "SSL_CERT_FILE": str(certificate.bundle),
        "NODE_EXTRA_CA_CERTS": str(certificate.authority),
        "AWS_EC2_METADATA_DISABLED": "true",
        # The person's own profiles, which may name a real account, are out of reach.
        "AWS_CONFIG_FILE": str(folders.home / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folders.home / "aws-credentials"),
        "CDK_DEFAULT_ACCOUNT": ACCOUNT,
        "CDK_DEFAULT_REGION": REGION,
    }


def inherited() -> dict[str, str]:
    """Return this process's environment without the variables of another AWS account or another Python."""
    unwanted = ("AWS_", "CDK_", "PYTHONPATH", "PYTHONHOME", "MINISTACK_", "LOCALSTACK_")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def server_environment(
    folders: CloudFolders, certificate: Certificate, port: int, page_port: int, endpoint_server: str = ""
) -> dict[str, str]:
    """Return the whole environment of the cloud's own processes. Lambda workers inherit it from MiniStack."""
    return {
        **inherited(),
        **client_environment(folders, certificate, port),
        MARKER: cloud_id(folders.state),
        SERVER_VARIABLE: os.environ.get(SERVER_VARIABLE) or endpoint_server,
        STATE_VARIABLE: str(folders.state),
        "LOCAL_AWS_PAGE_PORT": str(page_port),
        # MiniStack: every request is authorized, over TLS, on this machine only.
        "AUTH": "true",
        "USE_SSL": "1",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "MINISTACK_SSL_CERT": str(certificate.certificate),
        "MINISTACK_SSL_KEY": str(certificate.key),
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "S3_DATA_DIR": str(folders.data / "s3"),
        "STATE_DIR": str(folders.data / "state"),
        "LAMBDA_EXECUTOR": "local",
        # Neither Docker nor these listeners (fixed ports: two clouds would collide) are wanted.
        "DOCKER_HOST": f"unix://{folders.temporary}/no-docker.sock",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "INFO",
        # Nothing is left outside the state folder.
        "TMPDIR": str(folders.temporary),
        "HOME": str(folders.home),
        "XDG_CACHE_HOME": str(folders.home / ".cache"),
        # What is compiled once is kept: torch and transformers take a job 16 seconds of a processor.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONUNBUFFERED": "1",
    }
