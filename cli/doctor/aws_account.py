"""The account to deploy to: its clients, its console, and what its errors mean."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cli.doctor.findings import Finding, warning

if TYPE_CHECKING:
    import boto3

CLIENT_CONFIG = Config(
    connect_timeout=5,
    read_timeout=15,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=4,
)
_DENIED = re.compile(r"AccessDenied|Unauthorized|AuthorizationError|NotAuthorized|^403$|^Forbidden$")
_THROTTLED = re.compile(r"Throttl|TooManyRequests|RequestLimitExceeded|^SlowDown$")
_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z*]+)")
_CONSOLES = {
    "aws": "https://{region}.console.aws.amazon.com",
    "aws-cn": "https://{region}.console.amazonaws.cn",
    "aws-us-gov": "https://{region}.console.amazonaws-us-gov.com",
}


@dataclass
class AwsAccount:
    """One account and region, with the caller's credentials."""

    session: boto3.Session
    region: str
    account_id: str
    caller_arn: str
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str, region: str = "") -> Any:
        """Return the client of a service; a session makes clients one at a time, and threads share them."""
        key = service, region or self.region
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self.session.client(  # type: ignore[call-overload]
                    service, region_name=key[1], config=CLIENT_CONFIG
                )
            return self._clients[key]

    @property
    def partition(self) -> str:
        """Return `aws`, `aws-cn` or `aws-us-gov`."""
        return self.caller_arn.split(":")[1]

    @property
    def is_root(self) -> bool:
        """Tell whether the caller is the account's root user."""
        return self.caller_arn.endswith(":root")

    def console(self, path: str) -> str:
        """Return the address of a page of the AWS console in this region."""
        console = _CONSOLES.get(self.partition, _CONSOLES["aws"])
        return f"{console.format(region=self.region)}/{path}"


def code_of(error: ClientError) -> str:
    """Return AWS's code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_denied(error: ClientError) -> bool:
    """Tell whether the caller lacks a permission."""
    return bool(_DENIED.search(code_of(error)))


def not_checked(subject: str, error: Exception, permissions: tuple[str, ...] = ()) -> Finding:
    """Make a warning with the reason why something could not be checked.

    Args:
        subject: what was to be checked.
        error: what AWS or botocore raised.
        permissions: those of the check, for errors that do not name the missing permission.
    """
    if isinstance(error, ClientError):
        return _refused(subject, error, permissions)
    if isinstance(error, BotoCoreError):
        reason = _one_line(error)
        return warning(
            subject,
            f"could not be checked: {reason}",
            "Check that this machine can reach AWS (network, proxy, VPN), and run the command again.",
        )
    return warning(
        subject,
        f"could not be checked: {type(error).__name__}: {_one_line(error)}",
        "Run the command again; if it stays, report it with this line.",
    )


def _refused(subject: str, error: ClientError, permissions: tuple[str, ...]) -> Finding:
    message = str(error.response.get("Error", {}).get("Message", ""))
    if is_denied(error):
        named = _ACTION.search(message)
        missing = named[1] if named else " and ".join(permissions) or error.operation_name
        return warning(
            subject,
            f"could not be checked: the caller lacks the permission {missing}",
            f"Ask for the permission {missing}, or check by hand as docs/deploying.md describes.",
        )
    if _THROTTLED.search(code_of(error)):
        return warning(
            subject,
            f"could not be checked: AWS throttles {error.operation_name}",
            "Run the command again in a minute.",
        )
    return warning(
        subject,
        f"could not be checked: {error.operation_name} answered {code_of(error)}: {_one_line(message)}",
        "Run the command again; if it stays, look the answer up in AWS's documentation of that operation.",
    )


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
