"""Verify request signatures with MiniStack's own functions, and return errors in AWS's form.

MiniStack checks the signatures of users and sessions, but not the root
user's, and not at every entry point. `request_gate` checks every request with this module.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ministack import app
from ministack.core import iam_actions, iam_evaluator, router, sigv4
from ministack.services import cloudfront, s3

from local.aws.cloud_environment import ACCOUNT
from local.aws.service_handlers import Response

UNSIGNED_BODIES = frozenset((sigv4.UNSIGNED_PAYLOAD, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"))
"""Values that S3 accepts in place of the hash of an unsigned body, which TLS protects."""

_QUERY_NAMES = frozenset(
    f"x-amz-{name}"
    for name in ("algorithm", "credential", "date", "expires", "security-token", "signature", "signedheaders")
)
_LONGEST_LINK_SECONDS = 7 * 24 * 3600
_UNKNOWN_KEY = "The security token included in the request is invalid."

Query = Mapping[str, list[str]]


class NotAuthenticatedError(Exception):
    """The request is not authenticated; `code` is one of AWS's error codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class SignedRequest:
    """A request as it was received, with its headers by lower-case name."""

    method: str
    raw_path: str
    headers: Mapping[str, str]
    query: Query

    @property
    def in_query(self) -> bool:
        """Whether the signature is in the query, as in a presigned URL."""
        return not self.headers.get("authorization", "").startswith("AWS4-")

    @property
    def service(self) -> str:
        """The service that the request is signed for; empty if the signature cannot be parsed."""
        signature = self._parsed()
        return "" if isinstance(signature, tuple) else str(signature.service)

    @property
    def body_hash(self) -> str | None:
        """The body hash that an S3 request declares; None if the actual body's hash is signed."""
        if self.service != "s3":
            return None
        return sigv4.UNSIGNED_PAYLOAD if self.in_query else self.headers.get("x-amz-content-sha256")

    def verify(self, body: bytes) -> str:
        """Check the key, session token, time and signature, and return the access key.

        If `body_hash` is not None, the caller must compare the body with it.

        Raises:
            NotAuthenticatedError: one of them is wrong.
        """
        signature = self._parsed()
        if isinstance(signature, tuple):
            raise NotAuthenticatedError(*signature)
        self._check_time(signature)
        secret = _secret_of(signature.access_key_id, self._token())
        self._check_signed_headers(signature.signed_headers.split(";"))
        headers = dict(self.headers)
        if self.service != "s3":
            headers["x-amz-content-sha256"] = self._hash_as_signed(body)
        failure = sigv4.header_signature_failure(
            signature,
            secret,
            self.method,
            self.raw_path,
            self.query,
            headers,
            body,
            presigned=self.in_query,
        )
        if failure:
            raise NotAuthenticatedError(*failure)
        return str(signature.access_key_id)

    def _parsed(self) -> Any:
        if self.in_query:
            return sigv4.parse_query_signature(self.query)
        return sigv4.parse_header_signature(self.headers)

    def _token(self) -> str:
        if self.in_query:
            return (self.query.get("X-Amz-Security-Token") or [""])[0]
        return self.headers.get("x-amz-security-token", "")

    def _hash_as_signed(self, body: bytes) -> str:
        """Return the body's actual hash, which a declared hash must equal for services other than S3."""
        actual = hashlib.sha256(body).hexdigest()
        if self.headers.get("x-amz-content-sha256", actual) != actual:
            raise NotAuthenticatedError("SignatureDoesNotMatch", sigv4.SIGNATURE_MISMATCH)
        return actual

    def _check_time(self, signature: Any) -> None:
        if not self.in_query:
            if failure := sigv4.request_time_failure(signature):
                raise NotAuthenticatedError(*failure)
            return
        given = (self.query.get("X-Amz-Expires") or [""])[0]
        if not re.fullmatch(r"[0-9]{1,6}", given) or not 0 < int(given) <= _LONGEST_LINK_SECONDS:
            raise NotAuthenticatedError(
                "RequestExpired", "X-Amz-Expires must be between 1 and 604800 seconds"
            )
        try:
            expired = sigv4.presigned_request_is_expired(signature.amz_date, given)
        except ValueError:
            expired = True
        if expired:
            raise NotAuthenticatedError("RequestExpired", "Request has expired")

    def _check_signed_headers(self, signed: list[str]) -> None:
        """Require `host` and every `x-amz-*` header to be signed, because others could have been added."""
        needed = ["host", *(name for name in self.headers if name.startswith("x-amz-"))]
        for name in needed:
            if name not in signed:
                message = f"'{name}' must be a 'SignedHeader' in the AWS Authorization."
                raise NotAuthenticatedError("SignatureDoesNotMatch", message)


def signature_kind(headers: Mapping[str, str], query: Query) -> Literal["none", "one", "unsupported"]:
    """Return whether a request is signed; `unsupported` for older algorithms and several signatures."""
    authorization = headers.get("authorization", "")
    in_header = authorization.startswith("AWS4-HMAC-SHA256")
    names = [name for name in query if name.lower() in _QUERY_NAMES]
    in_query = bool(names)
    older = authorization.startswith(("AWS ", "AWS4-")) and not in_header
    if older or "AWSAccessKeyId" in query or (in_header and in_query) or _repeated(names, query):
        return "unsupported"
    if in_header:
        fields = authorization.partition(" ")[2].split(",")
        parts = [field.strip().partition("=")[0] for field in fields]
        return "one" if len(parts) == len(set(parts)) else "unsupported"
    if not in_query:
        return "none"
    return "one" if query.get("X-Amz-Algorithm") == ["AWS4-HMAC-SHA256"] else "unsupported"


def _repeated(names: list[str], query: Query) -> bool:
    return len({name.lower() for name in names}) < len(names) or any(len(query[name]) > 1 for name in names)


def acting_key(headers: Mapping[str, str], query: Query) -> str:
    """Return the access key as which MiniStack would act."""
    return str(router.extract_access_key_id(dict(headers), dict(query)))


def _secret_of(access_key: str, token: str) -> str:
    if access_key == ACCOUNT and not token:
        return os.environ["AWS_SECRET_ACCESS_KEY"]
    if iam_evaluator.is_root_access_key(access_key):  # any 12 digits, and `test`
        raise NotAuthenticatedError("InvalidClientTokenId", _UNKNOWN_KEY)
    try:
        account = iam_evaluator.find_iam_access_key_account(access_key) or ACCOUNT
    except iam_evaluator.AmbiguousAccessKeyError:
        raise NotAuthenticatedError("InvalidClientTokenId", _UNKNOWN_KEY) from None
    found = iam_evaluator.resolve_credential(access_key, account, token)
    if isinstance(found, iam_evaluator.CredentialResolutionError):
        # AWS reports a session's key without its token as unknown.
        code = "InvalidClientTokenId" if found.code == "InvalidToken" and not token else found.code
        raise NotAuthenticatedError(code, _UNKNOWN_KEY if code == "InvalidClientTokenId" else found.message)
    return str(found.secret_access_key)


def unsigned_operations(service: str) -> frozenset[str]:
    """Return the operations of a service that AWS accepts without credentials."""
    return frozenset(iam_actions.unsigned_operations(service))


def detected_service(
    method: str, path: str, headers: Mapping[str, str], query: Query, body: bytes = b""
) -> str:
    """Return the service to which MiniStack would route a request."""
    given = dict(headers)
    parameters = app._routing_params(method, path, given, body, dict(query))
    return str(router.detect_service(method, path, given, parameters))


def names_bucket(host: str, path: str) -> bool:
    """Return whether an S3 request's host or path names an existing bucket."""
    return app._s3_cors_target(host, path) is not None


def names_distribution(host: str) -> bool:
    """Return whether a host is an existing distribution's; otherwise MiniStack would route to S3."""
    label = app._parse_cloudfront_dataplane_host(host)
    return label is not None and cloudfront.find_distribution_for_label(label) is not None


def refused(service: str, error: NotAuthenticatedError, headers: Mapping[str, str]) -> Response:
    """Return an authentication error in the words and the protocol of a service."""
    failure = iam_evaluator.AuthError(error.code, str(error))
    answer: Response = app._credential_failure(service, "", str(uuid.uuid4()), failure, dict(headers))
    return answer


def s3_error(code: str, message: str, status: int) -> Response:
    """Return an error response of S3."""
    answer: Response = s3._error(code, message, status)
    return answer
