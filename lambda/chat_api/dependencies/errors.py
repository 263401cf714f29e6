"""Every error of the API has one shape, which OpenAI's clients read: `{"error": {type, message, cure}}`."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

log = Logger(service="chat_api")

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class ErrorDetail(BaseModel):
    """What went wrong and what to do about it."""

    type: str
    message: str
    cure: str
    code: str | None = None
    """The same as `type`, where OpenAI's clients look for it."""
    stage: str | None = None
    """503: asleep, waking or failing."""
    expected_seconds: int | None = None
    """503: a guess of how long until the model answers."""
    line: int | None = None
    """Of a file of prompts: which line is wrong; the first is 1."""
    answer: dict[str, Any] | None = None
    """Of an answer in one piece that ended early: what it said until then."""


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


class ApiError(Exception):
    """An error that the caller can do something about."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        cure: str,
        *,
        headers: Mapping[str, str] | None = None,
        stage: str | None = None,
        expected_seconds: int | None = None,
        line: int | None = None,
    ) -> None:
        """Describe it; `kind` is the machine-readable type, message and cure are for people."""
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.detail = ErrorDetail(
            type=kind,
            message=message,
            cure=cure,
            code=kind,
            stage=stage,
            expected_seconds=expected_seconds,
            line=line,
        )

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        return ErrorBody(error=self.detail).model_dump(exclude_none=True)


def unauthorized() -> ApiError:
    """No valid sign-in came with the request."""
    return ApiError(
        401,
        "unauthorized",
        "You are not signed in, or your sign-in has expired.",
        "Sign in again and send the new ID token, or an API key, as: Authorization: Bearer <token>.",
    )


def unforeseen() -> ApiError:
    """Something that should not have happened; the log has it."""
    return ApiError(
        500,
        "internal_error",
        "Something went wrong on our side.",
        "Try again. If it goes on, look at the log of the chat API in CloudWatch Logs.",
    )


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe a route's errors: those given, and those that every route with a sign-in has."""
    return {status: {"model": ErrorBody} for status in (401, 403, *statuses, 429)}


def install(app: FastAPI) -> None:
    """Make an app answer in this shape whatever happens."""

    @app.exception_handler(ApiError)
    async def _ours(request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status, error.headers)

    @app.exception_handler(RequestValidationError)
    async def _malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        # The faulty input itself stays out: it may be a prompt, and logs and proxies keep bodies.
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'] if part != 'body') or 'body'}: {fault['msg']}"
            for fault in error.errors()
        )
        ours = _malformed_request(faults)
        return JSONResponse(ours.body, ours.status)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        ours = _of_framework(request, error)
        return JSONResponse(ours.body, ours.status, ours.headers)

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.exception("Unforeseen error", extra={"route": request.url.path})
        ours = unforeseen()
        return JSONResponse(ours.body, ours.status)


def _malformed_request(faults: str) -> ApiError:
    return ApiError(422, "invalid_request", faults, "Correct the request; docs/api.md describes it.")


def _of_framework(request: Request, error: HTTPException) -> ApiError:
    """Say in our form what FastAPI itself refused."""
    if error.status_code == 400:
        # Its answer to bytes that are no UTF-8, too deep a nesting, and numbers without end.
        return _malformed_request("body: it cannot be read as JSON.")
    known = {404: "not_found", 405: "method_not_allowed"}
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return ApiError(
        error.status_code,
        known.get(error.status_code, "invalid_request"),
        f"{request.method} {request.url.path}: {error.detail}.",
        "docs/api.md lists every route and method.",
        headers=headers,
    )


def _allowed(request: Request) -> str:
    """Name every method of a path; Starlette names those of the path's first route alone."""
    asked = {"type": "http", "path": request.scope["path"], "root_path": "", "headers": []}
    return ", ".join(
        method
        for method in _METHODS
        if any(route.matches({**asked, "method": method})[0] is Match.FULL for route in request.app.routes)
    )
