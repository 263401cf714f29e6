"""Explains why AWS does not accept the user's credentials, with one message and cure for all commands."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches

import botocore.session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import ConnectionError as UnreachableError

_GUIDE = "https://docs.aws.amazon.com/cli/latest/userguide/cli-chap-authentication.html"
_ACCOUNT_PAGE = "https://console.aws.amazon.com/billing/home#/account"
_EXPIRED = ("ExpiredToken", "ExpiredTokenException")
_UNKNOWN = ("InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure")
_MISMATCH = ("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature")
_TOO_LATE = ("RequestExpired", "RequestTimeTooSkewed")


@dataclass(frozen=True)
class CredentialProblem:
    """One reason, as a clause without a full stop, with its cure."""

    message: str
    cure: str
    link: str = _GUIDE
    is_network: bool = False
    """Whether AWS could not be reached."""

    @property
    def sentence(self) -> str:
        """Return the message as a sentence."""
        return f"{self.message[0].upper()}{self.message[1:]}."


def unknown_profile(profile: str) -> CredentialProblem:
    """Explain that a profile does not exist, and list those that do; an empty name stands for AWS_PROFILE."""
    wanted = profile or os.environ.get("AWS_PROFILE", "")
    known = list(botocore.session.Session().full_config.get("profiles", {}))
    close = get_close_matches(wanted, known, n=1)
    cure = f"Did you mean {close[0]}? " if close else ""
    cure += (
        f"The profiles are: {', '.join(known)}."
        if known
        else "There is no profile yet. Run: aws configure sso"
    )
    return CredentialProblem(f"there is no profile {wanted!r} in the AWS configuration", cure)


def credential_problem(
    error: BotoCoreError | ClientError, profile: str = "", region: str = ""
) -> CredentialProblem | None:
    """Explain an error; return None if it is not about credentials or the network.

    Args:
        error: raised by AWS or botocore.
        profile: the one that was given, for the command that signs in again.
        region: the one that was used.
    """
    sign_in_again = f"aws sso login{f' --profile {profile}' if profile else ''}"
    if isinstance(error, ClientError):
        return _explain_refusal(error, sign_in_again, region)
    if isinstance(error, HTTPClientError | UnreachableError):
        return CredentialProblem(
            f"AWS cannot be reached from this machine ({type(error).__name__})",
            "Connect to the internet, or set HTTPS_PROXY (and AWS_CA_BUNDLE) if there is a proxy; "
            "then run the command again.",
            "",
            is_network=True,
        )
    return _explain_missing(error, sign_in_again)


def _explain_missing(error: BotoCoreError, sign_in_again: str) -> CredentialProblem | None:
    match error:
        case NoCredentialsError():
            message = "there are no usable AWS credentials on this machine"
            cure = "Run aws configure sso (or aws configure), or name a profile with --profile."
        case PartialCredentialsError():
            message = f"only half of the AWS credentials are set: {error}"
            cure = "Set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither."
        case UnauthorizedSSOTokenError() | SSOTokenLoadError() | TokenRetrievalError():
            message = "the sign-in at IAM Identity Center has expired"
            cure = f"Sign in again: {sign_in_again}"
        case CredentialRetrievalError():
            message = (
                f"the program or role of the profile gives no credentials: {' '.join(str(error).split())}"
            )
            cure = "Correct credential_process or role_arn of the profile in ~/.aws/config."
        case _:
            return None
    return CredentialProblem(message, cure)


def _explain_refusal(error: ClientError, sign_in_again: str, region: str) -> CredentialProblem | None:
    answer = error.response.get("Error", {})
    code, message = str(answer.get("Code", "")), str(answer.get("Message", ""))
    wrong_clock = code in _MISMATCH and ("xpired" in message or "not yet current" in message)
    if code in _TOO_LATE or wrong_clock:
        return CredentialProblem(
            "AWS refuses the signature because this machine's clock is wrong", "Set the clock.", ""
        )
    if code in _EXPIRED:
        return CredentialProblem(
            "the credentials have expired", f"Sign in again: {sign_in_again}, or fetch new temporary keys."
        )
    if code in _UNKNOWN:
        disabled = f", or the region {region} is not enabled in the account" if region else ""
        return CredentialProblem(
            "AWS does not accept these credentials: the access key was deleted or deactivated, or is a "
            f"temporary one without its AWS_SESSION_TOKEN{disabled}",
            f"Create new keys, or sign in again: {sign_in_again}. Regions are enabled on the account page.",
            _ACCOUNT_PAGE,
        )
    if code in _MISMATCH:
        return CredentialProblem(
            "the secret access key does not belong to the access key",
            "Copy the complete AWS_SECRET_ACCESS_KEY again, or create new keys: aws configure",
        )
    return None
