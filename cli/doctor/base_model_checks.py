"""Checks of the base model: whether Hugging Face has it, and whether your token may read it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
from botocore.exceptions import ClientError

from cli.doctor.aws_account import code_of, is_denied, not_checked
from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, fault, ok, warning
from contracts.catalogue import CatalogueModel

SECRET_PERMISSIONS = ("secretsmanager:GetSecretValue",)
_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_TOKENS = "https://huggingface.co/settings/tokens"


class _NoToken(Exception):  # noqa: N818 (an outcome, with its finding)
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def base_model(examination: Examination) -> Iterator[Finding]:
    """Request the model's configuration from the hub, as the pipeline will; the token is never printed."""
    settings = examination.settings
    token = ""
    if settings.huggingface_token_secret:
        if examination.aws is None:
            yield warning(
                "Hugging Face token",
                "not checked without credentials",
                "Correct the credentials, and run again.",
            )
            return
        try:
            token = _token(examination, settings.huggingface_token_secret)
        except _NoToken as problem:
            yield problem.finding
            return
        yield ok("Hugging Face token", f"the secret {settings.huggingface_token_secret} exists")
    yield _access(examination, token)


def _token(examination: Examination, secret: str) -> str:
    subject = "Hugging Face token"
    region = examination.account.region
    keep = f"aws secretsmanager create-secret --name {secret} --secret-string TOKEN --region {region}"
    again = (
        f"aws secretsmanager put-secret-value --secret-id {secret} --secret-string TOKEN --region {region}"
    )
    try:
        answer = examination.account.client("secretsmanager").get_secret_value(SecretId=secret)
    except ClientError as error:
        code = code_of(error)
        if code == "ResourceNotFoundException":
            here = f"{region} of this account has no secret {secret}"
            raise _NoToken(fault(subject, here, f"Create a read token, then: {keep}", _TOKENS)) from error
        if code == "InvalidRequestException":
            marked = f"the secret {secret} is marked for deletion"
            restore = f"aws secretsmanager restore-secret --secret-id {secret}"
            raise _NoToken(fault(subject, marked, f"Restore it: {restore}")) from error
        if not is_denied(error):
            raise
        raise _NoToken(not_checked(subject, error, SECRET_PERMISSIONS)) from error
    token = str(answer.get("SecretString", "")).strip()
    if (
        not token
        or any(character.isspace() or not character.isascii() for character in token)
        or token[0] == "{"
    ):
        wrong = f"the secret {secret} must contain only the token; it has JSON, several words or nothing"
        raise _NoToken(fault(subject, wrong, f"Store it again: {again}", _TOKENS))
    return token


def _access(examination: Examination, token: str) -> Finding:
    settings = examination.settings
    model = settings.model
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        response = httpx.head(
            f"{hub}/{model.id}/resolve/{model.revision}/config.json", headers=headers, timeout=_TIMEOUT
        )
    except httpx.HTTPError as error:
        return warning(
            "Base model",
            f"could not be checked: {hub} cannot be reached from this machine ({type(error).__name__})",
            f"Check whether {hub}/{model.id} opens in a browser.",
        )
    return _meaning(response.status_code, model, settings.huggingface_token_secret if token else "")


def _meaning(status: int, model: CatalogueModel, secret: str) -> Finding:
    """Interpret the hub's status code; `secret` is the one whose token was sent, empty if none was."""
    subject, page = "Base model", f"https://huggingface.co/{model.id}"
    if status < 400:
        return ok(subject, f"Hugging Face has {model.id} at {model.revision[:12]}")
    if status in {401, 403} and not secret:
        return fault(
            subject,
            f"Hugging Face requires a token for {model.id}: it is gated, private or missing",
            "Check base_model; if it is gated, store a token as docs/settings.md describes.",
            page,
        )
    if status == 401:
        return fault(
            subject,
            "Hugging Face does not accept the token: it was deleted, or not copied completely",
            f"Create a read token and store it in the secret {secret}.",
            _TOKENS,
        )
    if status == 403:
        return fault(
            subject,
            f"the token's owner may not read {model.id}: its licence is not accepted, or the token is a "
            "fine-grained one without access to gated repositories",
            "Accept the licence on the model's page, or create a token of the type Read.",
            page,
        )
    if status == 404:
        return fault(
            subject,
            f"Hugging Face has no {model.id} at {model.revision}",
            "Correct base_model or base_model_revision in cdk.json.",
            f"{page}/commits",
        )
    return warning(
        subject, f"could not be checked: Hugging Face answers {status}", "Run the command again in a minute."
    )
