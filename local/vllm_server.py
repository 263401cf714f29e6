"""Real vLLM behind an endpoint on one machine, in place of the small server.

    LOCAL_AWS_ENDPOINT_SERVER=local.vllm_server make run

What vLLM's SageMaker container does before it starts vLLM is done here too, for the same bundle and the same
variables; what a machine without a GPU needs in addition is in `ON_A_CPU` and `CPU_ARGUMENTS` only.
vLLM has packages of its own, in `.build/vllm-venv` (`make test-vllm` installs them).
"""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path

PREFIX = "SM_VLLM_"
MODEL_FOLDER = "/opt/ml/model"
"""SageMaker's folder of a bundle; the paths in the bundle start with it."""

_CHECKOUT = Path(__file__).resolve().parents[1]
PYTHON = _CHECKOUT / ".build" / "vllm-venv" / "bin" / "python"

ON_A_CPU = {
    # GB for the chats' keys and values; of itself vLLM takes nine tenths of the machine's memory.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Other things run on this machine: no thread is tied to a processor, and none spins while it waits, which
    # costs all of the speed if there are more threads than processors.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Its processes' sockets, in its working directory: an absolute path is too long for a socket.
    "VLLM_RPC_BASE_PATH": ".",
    # Nothing leaves the machine, as under the endpoint's network isolation.
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
CPU_ARGUMENTS = [
    # Only this machine may ask, and no web page on it; in the container vLLM listens to all, for SageMaker
    # guards it.
    "--host",
    "127.0.0.1",
    "--middleware",
    "local.aws.web.sites.PortGuard",
    # Exact enough to be compared token by token; on a GPU it is the base model's own, bf16 of most.
    "--dtype",
    "float32",
]


def main(arguments: list[str] | None = None) -> None:
    """Become vLLM's server.

    Raises:
        SystemExit: vLLM is not installed.
    """
    parser = argparse.ArgumentParser(prog="python -m local.vllm_server")
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with the bundle")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    if not PYTHON.exists():
        raise SystemExit(f"vLLM is not installed: there is no {PYTHON}. `make test-vllm` installs it.")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = server_arguments(variables, options.model_dir, options.port)
    print(f"vLLM's arguments: {' '.join(command)}", flush=True)
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", *command]
    # The folder with the module that CUSTOM_FASTAPI_MIDDLEWARE_PRE_POST_PROCESS names.
    variables["SAGEMAKER_MODEL_PATH"] = str(options.model_dir)
    variables["PYTHONPATH"] = str(_CHECKOUT)  # for the guard
    os.execve(PYTHON, command, {**variables, **ON_A_CPU})  # noqa: S606 (this process becomes the server)


def server_arguments(variables: Mapping[str, str], model_folder: Path, port: int) -> list[str]:
    """Return vLLM's arguments, as the container's entry point makes them of the model's variables.

    Args:
        variables: the process's environment; only what starts with `SM_VLLM_` is read.
        model_folder: the bundle, called `/opt/ml/model` in the variables and in the file they name.
        port: where to listen; 8080 in the container.
    """
    arguments = ["--port", str(port), *CPU_ARGUMENTS]
    if not variables.get(f"{PREFIX}MODEL"):
        # The container does so, and an argument wins over the configuration file.
        arguments += ["--model", str(model_folder)]
    for name in sorted(name for name in variables if name.startswith(PREFIX)):
        flag = "--" + name.removeprefix(PREFIX).lower().replace("_", "-")
        value = variables[name].replace(MODEL_FOLDER, str(model_folder))
        if flag == "--config":
            value = str(_with_own_paths(Path(value), model_folder))
        arguments += _tokens(flag, value)
    return arguments


def _tokens(flag: str, value: str) -> list[str]:
    """Return a flag and its values: `true` and `false` set or omit it, a JSON array is one value each."""
    if value.lower() in {"true", "false"}:
        return [flag] if value.lower() == "true" else []
    if not value:
        return [flag]
    values = _json_array(value)
    if values is None:
        return [flag, value]
    return [flag, *(item if isinstance(item, str) else json.dumps(item) for item in values)] if values else []


def _json_array(value: str) -> list[object] | None:
    try:
        parsed = json.loads(value)
    except ValueError:
        return None
    return parsed if isinstance(parsed, list) else None


def _with_own_paths(file: Path, model_folder: Path) -> Path:
    """Copy the configuration file with this machine's paths; the bundle stays as it is."""
    copy = model_folder.parent / file.name
    text = file.read_text(encoding="utf-8").replace(f"{MODEL_FOLDER}/", f"{model_folder}/")
    copy.write_text(text, encoding="utf-8")
    return copy


if __name__ == "__main__":
    main()
