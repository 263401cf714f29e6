"""The REST API: one FastAPI app, under `/api`."""

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import ASGIApp

from chat_api.dependencies import errors
from chat_api.dependencies.security_headers import SecurityHeaders
from chat_api.routes import (
    api_keys,
    approval,
    audit_trail,
    batches,
    cancelling,
    completions,
    control,
    monthly_costs,
    people,
    pipeline,
    stories,
    versions,
)

_ROOMS = (
    pipeline,
    approval,
    control,
    versions,
    stories,
    completions,
    cancelling,
    batches,
    api_keys,
    monthly_costs,
    people,
    audit_trail,
)


class Health(BaseModel):
    """The web server runs."""

    ok: bool = True


class _Api(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        # Around everything: what `add_middleware` adds lies within the handler of unforeseen errors.
        return SecurityHeaders(super().build_middleware_stack())


def create_app() -> FastAPI:
    """Make the app. Its own documentation pages are off: `docs/openapi.json` has the same."""
    app = _Api(
        title="Storyloom",
        version="1",
        description="Chat with your own story-telling model, and follow how it is made.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # API Gateway and CloudFront know the app by other addresses than it would redirect to.
        redirect_slashes=False,
    )
    for room in _ROOMS:
        app.include_router(room.router, prefix="/api")

    @app.get("/api/health", tags=["Pipeline"])
    def health() -> Health:
        """Say that the web server runs; needs no sign-in."""
        return Health()

    errors.install(app)
    app.add_middleware(audit_trail.AuditTrail)
    return app


app = create_app()
