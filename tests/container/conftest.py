"""What runs inside SageMaker's containers: AWS's own programs from PyPI start what we hand them.

They run beside this checkout's packages in `make test`, and in an environment with the training image's own
versions in `make test-container`, which names its Python in STORYLOOM_CONTAINER_PYTHON.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("STORYLOOM_CONTAINER_PYTHON", sys.executable)
PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "sagemaker-training")


def in_container(program: str, *arguments: str, **environment: str) -> str:
    """Run a Python program with the container's packages; what it prints."""
    ended = subprocess.run(
        [PYTHON, "-c", program, *arguments],
        env={**os.environ, **environment},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def pytest_report_header() -> str:
    program = (
        "import sys; from importlib.metadata import version; "
        "print('container: Python', sys.version.split()[0], *(f'{n} {version(n)}' for n in sys.argv[1:]))"
    )
    return in_container(program, *PACKAGES)


@pytest.fixture(scope="session")
def training_image() -> dict[str, str]:
    """The pinned versions of the training image's packages, by name."""
    lines = Path(__file__).with_name("requirements.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines[: lines.index("")] if not line.startswith("#")]
    return dict(pins)
