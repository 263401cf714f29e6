"""The REST API: one FastAPI app, under `/api`."""

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from chat_api import api_keys, approval, completions, control, errors, pipeline, stories, versions


class Health(BaseModel):
    """The web server runs."""

    ok: bool = True


def create_app() -> FastAPI:
    """Make the app. Its own documentation pages are off: `docs/openapi.json` has the same."""
    app = FastAPI(
        title="Storyloom",
        version="1",
        description="Chat with your own story-telling model, and follow how it is made.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    api = APIRouter(prefix="/api")
    api.include_router(pipeline.router)
    api.include_router(approval.router)
    api.include_router(control.router)
    api.include_router(versions.router)
    api.include_router(stories.router)
    api.include_router(completions.router)
    api.include_router(api_keys.router)

    @api.get("/health", tags=["Pipeline"])
    def health() -> Health:
        """Say that the web server runs; needs no sign-in."""
        return Health()

    app.include_router(api)
    errors.install(app)
    return app


app = create_app()
