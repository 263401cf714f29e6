"""What the training image's transformers can load, compared with what is staged for it."""

import json

import pytest

from stage_base_model.architectures import ADAPTERS, MERGED
from tests.container.conftest import PYTHON, in_container

PROGRAM = """
import json
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as names
known = set()
for value in names.values():
    known |= {value} if isinstance(value, str) else set(value)
print(json.dumps(sorted(known)))
"""


@pytest.mark.aws_fact
def test_every_architecture_that_is_staged_can_be_trained_in_the_image() -> None:
    known = set(json.loads(in_container(PROGRAM, HF_HUB_OFFLINE="1").splitlines()[-1]))
    assert not (ADAPTERS | MERGED) - known


@pytest.mark.skipif("container-venv" not in PYTHON, reason="`make test-container` runs it")
def test_the_packages_are_those_of_the_image(training_image: dict[str, str]) -> None:
    program = (
        "import json, sys; from importlib.metadata import version; "
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    assert json.loads(in_container(program, *training_image)) == training_image
