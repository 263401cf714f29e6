"""Loads the ASGI middleware that a bundle brings, as the hosting standards in vLLM's container do."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from starlette.types import ASGIApp

VARIABLE = "CUSTOM_FASTAPI_MIDDLEWARE_PRE_POST_PROCESS"
"""Names a file of the model folder and a class in it: `name_adapter.py:NameAdapter`."""


def middleware(environment: Mapping[str, str], model_folder: Path) -> Callable[..., ASGIApp] | None:
    """Return the class that the environment names.

    Like the container, log one that cannot be loaded, and go on without it.
    """
    file, _, name = environment.get(VARIABLE, "").partition(":")
    if not file:
        return None
    try:
        spec = importlib.util.spec_from_file_location("bundle_code", model_folder / file)
        assert spec is not None and spec.loader is not None  # noqa: S101 (a .py file has a loader)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found: Callable[..., ASGIApp] = getattr(module, name)
    except (OSError, ImportError, AttributeError, SyntaxError) as error:
        print(f"{VARIABLE}: {file}:{name} cannot be loaded: {error!r}", flush=True)
        return None
    return found
