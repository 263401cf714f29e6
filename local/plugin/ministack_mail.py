"""The mail that Cognito sends, as files: no mail leaves this machine.

MiniStack resets every password with the same code, which anybody on this machine could know. Here a code is
random, as on AWS, and only a user who may read the state folder can read the mail that has it.
"""

import os
import secrets
from pathlib import Path
from typing import Any

from ministack.services import cognito

from local.environment import Folders

TRIES = 5
"""After so many wrong codes the right one is refused too."""


def install() -> None:
    """Put the mail into the state folder."""
    _send, _deliver, _check = (
        cognito._send_verification_email,
        cognito._deliver_cognito_email,
        cognito._confirmation_code_error,
    )
    folder = Folders(Path(os.environ["STORYLOOM_LOCAL_STATE"])).mail

    def send(pool: Any, username: str, attributes: Any, code: str, attribute_name: str = "email") -> Any:
        user, _ = cognito._resolve_user(pool, username)
        if attribute_name == "password" and user:
            code = f"{secrets.randbelow(10**6):06}"
            user.update(_reset_code=code, _reset_tries=0)
        return _send(pool, username, attributes, code, attribute_name)

    def deliver(pool: Any, to: str, subject: str, body: str, *rest: Any, **named: Any) -> Any:
        if to:
            _write(folder, f"To: {to}\nSubject: {subject}\n\n{body}\n")
        return _deliver(pool, to, subject, body, *rest, **named)

    def check(action: str, given: Any) -> Any:
        wrong = _check(action, given)
        if wrong and action == "ConfirmForgotPassword":
            _count_a_try(given)
        return wrong

    cognito._send_verification_email = send
    cognito._deliver_cognito_email = deliver
    cognito._confirmation_code_error = check


def _count_a_try(given: Any) -> None:
    pool, _ = cognito._pool_for_client(given.get("ClientId"))
    user, _ = cognito._resolve_user(pool, given.get("Username"))
    user["_reset_tries"] = user.get("_reset_tries", 0) + 1
    if user["_reset_tries"] >= TRIES:
        user.pop("_reset_code", None)


def _write(folder: Path, text: str) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    number = 1 + max((int(mail.stem) for mail in folder.glob("*.txt")), default=0)
    mail = folder / f"{number:04}.txt"
    with os.fdopen(os.open(mail, os.O_WRONLY | os.O_CREAT, 0o600), "w") as opened:
        opened.write(text)
