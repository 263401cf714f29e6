"""The REST API: one FastAPI app, under `/api`.

Its OpenAPI description: `PYTHONPATH=lambda python -m chat_api.app > docs/openapi.json`
"""

import json
import sys

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import ASGIApp

from chat_api.dependencies.audit_trail import AuditTrail
from chat_api.dependencies.responses import SecurityHeaders, install_error_handlers
from chat_api.routes import (
    api_keys,
    audit,
    batches,
    chat_completions,
    costs,
    model,
    people,
    runs,
    stories,
    versions,
)

_ROUTE_MODULES = (
    model,
    runs,
    versions,
    stories,
    chat_completions,
    batches,
    api_keys,
    costs,
    people,
    audit,
)


class Health(BaseModel):
    """The web server responds."""

    ok: bool = True


class _Api(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        # Outermost, because `add_middleware` adds within the handler of unexpected errors.
        return SecurityHeaders(super().build_middleware_stack())


def create_app() -> FastAPI:
    """Create the app. It serves no documentation pages; `docs/openapi.json` has their content."""
    api = _Api(
        title="Storyloom",
        version="1",
        description="Chat with your own story-telling model, and follow how it is made.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # API Gateway and CloudFront have other addresses than the one that the app would redirect to.
        redirect_slashes=False,
    )
    for module in _ROUTE_MODULES:
        api.include_router(module.router, prefix="/api")

    @api.get("/api/health", tags=["Pipeline"])
    def get_health() -> Health:
        """Show that the web server responds; needs no sign-in."""
        return Health()

    install_error_handlers(api)
    api.add_middleware(AuditTrail)
    return api


def openapi_document() -> str:
    """Return the app's OpenAPI description as JSON, as it is committed."""
    return json.dumps(create_app().openapi(), indent=2, ensure_ascii=False) + "\n"


app = create_app()

if __name__ == "__main__":
    sys.stdout.write(openapi_document())
