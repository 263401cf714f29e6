"""``Custom::CDKBucketDeployment``: CDK's own handler with the AWS CLI of CDK's own layer.

The handler calls ``/opt/awscli/aws``, a path that only exists on AWS. Nothing is emulated here: the
path is found in the layer that the app deployed, so pruning, content types, markers and the role's
permissions are the real ones.
"""

import inspect

from local.plugin import ministack_web


def install() -> None:
    """Add it to the MiniStack of this process."""
    source = inspect.getsource(find_opt_in_layers)
    ministack_web.prepend_to_python_worker(f"{source}\n{find_opt_in_layers.__name__}()\n")
    # CDK points the handler at the authorities of Amazon Linux; here they must include our certificate.
    ministack_web.reserve_variables("AWS_CA_BUNDLE")


# Its source runs in the functions' worker processes, so it brings its own imports.
# ruff: noqa: PLC0415
def find_opt_in_layers() -> None:
    """Let a program of a layer be started by its AWS path.

    On AWS a function's layers lie unpacked in /opt. Here each lies in a folder of its own, named in
    ``_LAMBDA_LAYERS_DIRS``, without its executable bits and with an interpreter line of AWS's.
    """
    import os
    import subprocess
    import sys
    from pathlib import Path
    from typing import Any

    original: Any = subprocess.Popen.__init__

    def in_layer(command: Any) -> Any:
        if not isinstance(command, list) or not str(command[0]).startswith("/opt/"):
            return command
        layers = [
            Path(folder) for folder in os.environ.get("_LAMBDA_LAYERS_DIRS", "").split(os.pathsep) if folder
        ]
        for layer in reversed(layers):  # a later layer hides an earlier one
            program = layer / str(command[0]).removeprefix("/opt/")
            if program.is_file():
                with program.open("rb") as opened:
                    interpreter = [sys.executable] if b"python" in opened.readline() else []
                return [*interpreter, str(program), *command[1:]]
        return command

    def start(process: Any, args: Any, *rest: Any, **named: Any) -> None:
        original(process, in_layer(args), *rest, **named)

    subprocess.Popen.__init__ = start  # type: ignore[method-assign,assignment]
