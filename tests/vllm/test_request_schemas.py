"""What is kept of vLLM's classes is what they say."""

import subprocess

from local.vllm_server import PYTHON
from tests.vllm.request_schemas import KEPT


def test_the_kept_schemas_are_vllms() -> None:
    command = [str(PYTHON), "-c", "from tests.vllm.request_schemas import written; print(written(), end='')"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert said[said.index("{") :] == KEPT.read_text(encoding="utf-8")
