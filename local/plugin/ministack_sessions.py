"""Gives functions unpredictable credentials of their roles.

MiniStack derives them from the function's and the role's names alone, so anybody can.
"""

import hashlib
import hmac
import os
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc
from ministack.services import sts as sts_service

from local.environment import ACCOUNT


def install() -> None:
    """Make the credentials of functions with the root user's secret as the key."""
    lambda_runtime.execution_credentials = _execution_credentials
    lambda_svc.execution_credentials = _execution_credentials


def _execution_credentials(configuration: dict[str, Any]) -> dict[str, str]:
    """Return the same for each call of one function and role: it may run in several processes."""
    function, role = configuration["FunctionArn"], configuration.get("Role", "")
    key = f"ASIA{_digest('key', function, role)[:16].upper()}"
    secret, token = _digest("secret", function, role), _digest("token", function, role)
    name, session = role.rsplit("/", 1)[-1], configuration.get("FunctionName", "")[:64]
    sts_service.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}",
            "UserId": f"{name}:{session}",
            "SecretAccessKey": secret,
            "SessionToken": token,
        },
    )
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}


def _digest(*parts: str) -> str:
    salt = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    return hmac.new(salt, ":".join(parts).encode(), hashlib.sha256).hexdigest()
