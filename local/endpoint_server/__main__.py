"""Starts the endpoint: `python -m local.endpoint_server --model-dir DIR --port N`."""

import argparse
import gc
import os
import sys
import warnings
from pathlib import Path

# Read when torch and transformers are imported. Threads that sleep while they wait, rather than spin, leave
# the other core to whatever else runs on this machine; and nothing here may look for a model on the internet.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

from local.aws.web.sites import Site, SiteGuard
from local.endpoint_server.bundle_code import middleware
from local.endpoint_server.config import ServingConfig, ServingConfigError, read_serving_config


def main(arguments: list[str] | None = None) -> int:
    """Load the models and serve them on 127.0.0.1 until SIGTERM; return 1 if there is nothing to serve."""
    parser = argparse.ArgumentParser(prog="python -m local.endpoint_server")
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with serving.yaml")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries' warnings about each other
    try:
        _serve(read_serving_config(options.model_dir), options.model_dir, options.port)
    except ServingConfigError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _serve(config: ServingConfig, model_folder: Path, port: int) -> None:
    # Until the model is there it makes millions of objects and no garbage: looking for some takes a while.
    gc.disable()
    # Imported here because it takes seconds: a mistake in the folder is reported before.
    import uvicorn  # noqa: PLC0415 (seconds)
    from transformers.utils import logging  # noqa: PLC0415 (seconds)

    from local.endpoint_server.app import create_endpoint_app  # noqa: PLC0415 (seconds)
    from local.endpoint_server.loaded_models import load_models  # noqa: PLC0415 (seconds)

    logging.disable_progress_bar()
    models = load_models(config)
    gc.freeze()
    gc.enable()
    print(f"Serving {', '.join(models.by_name)} on port {port}.", flush=True)
    # Only this machine may ask, and no web page on it: on AWS it is SageMaker that guards the container.
    uvicorn.run(
        SiteGuard(
            create_endpoint_app(models, middleware(os.environ, model_folder)), Site.on_loopback(port, "http")
        ),
        host="127.0.0.1",
        port=port,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    raise SystemExit(main())
