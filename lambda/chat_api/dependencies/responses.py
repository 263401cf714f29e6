"""What every response has: the security headers, and one shape for errors, whatever happens."""

from typing import Any

from aws_lambda_powertools import Logger
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat_api.errors import ApiError, ErrorBody, ErrorDetail, internal_error

log = Logger(service="chat_api")

HEADERS = {
    # Each response is private to its caller, and no browser shows it as a page.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_HEADER_NAMES = frozenset(name for name, _ in _RAW_HEADERS)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class SecurityHeaders:
    """ASGI middleware that sets the headers on every response, also on errors of the framework itself."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its response back with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [pair for pair in message.get("headers", []) if pair[0].lower() not in _HEADER_NAMES]
                message = {**message, "headers": [*own, *_RAW_HEADERS]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe a route's errors: those given, and those that every route with a sign-in has."""
    return {status: {"model": ErrorBody} for status in (401, 403, *statuses, 429)}


def install_error_handlers(app: FastAPI) -> None:
    """Give every error of an app this shape, also the framework's own."""

    @app.exception_handler(ApiError)
    async def _api_error(request: Request, error: ApiError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
        # Without the faulty input itself: it may be a prompt, and logs and proxies keep bodies.
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'] if part != 'body') or 'body'}: {fault['msg']}"
            for fault in error.errors()
        )
        return error_response(_invalid_request_error(faults))

    @app.exception_handler(HTTPException)
    async def _framework_error(request: Request, error: HTTPException) -> JSONResponse:
        return _framework_response(request, error)

    @app.exception_handler(Exception)
    async def _unexpected_error(request: Request, error: Exception) -> JSONResponse:
        log.exception("Unexpected error", extra={"route": request.url.path})
        return error_response(internal_error())


def error_response(error: ApiError) -> JSONResponse:
    """Return an error as a response."""
    return JSONResponse(error.body, error.status, error.headers)


def _invalid_request_error(faults: str) -> ApiError:
    return ApiError("invalid_request", faults, "Correct the request; docs/api.md describes it.")


def _framework_response(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code == 400:
        # FastAPI's response to bytes that are not UTF-8, too deep a nesting, and infinite numbers.
        return error_response(_invalid_request_error("body: it cannot be read as JSON."))
    known = {404: "not_found", 405: "method_not_allowed"}
    kind = known.get(error.status_code, "invalid_request")
    detail = ErrorDetail(
        type=kind,
        message=f"{request.method} {request.url.path}: {error.detail}.",
        cure="docs/api.md lists every route and method.",
        code=kind,
    )
    headers = {"Allow": _allowed_methods(request)} if error.status_code == 405 else error.headers
    return JSONResponse(ErrorBody(error=detail).model_dump(exclude_none=True), error.status_code, headers)


def _allowed_methods(request: Request) -> str:
    """List every method of a path; Starlette lists only those of the path's first route."""
    scope = {"type": "http", "path": request.scope["path"], "root_path": "", "headers": []}
    return ", ".join(
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    )
