"""Everything created at run time has the app's tag, found by reading every call that creates something."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.aws import sagemaker_calls
from shared.hosting import endpoint, endpoint_configs
from tests.unit.functions.sagemaker_stand_in import StandIn

FUNCTIONS = Path(__file__).resolve().parents[3] / "lambda"
OURS = [{"Key": "storyloom:app", "Value": "storyloom"}]
WITHOUT_TAGS = {
    "create_model_package": "a version of a group has the group's tags, and takes none of its own",
    "create_multipart_upload": "an object is content of a bucket, which is the stack's and has its tags",
    "create_schedule": "EventBridge Scheduler tags groups of schedules only; ours is the stack's",
}


def _creations() -> Iterator[tuple[str, str, set[str]]]:
    """File, operation and members of every call of an AWS operation that makes something."""
    for path in sorted(FUNCTIONS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            operation = ""
            if isinstance(node.func, ast.Attribute):
                operation = node.func.attr
            first = node.args[0] if node.args else None
            if operation == "create_once" and isinstance(first, ast.Constant):
                operation = str(first.value)  # sagemaker_calls.create_once("create_model", …)
            members = {keyword.arg or "**" for keyword in node.keywords}
            # The members of AWS's requests begin with a capital.
            if operation.startswith("create_") and any(name == "**" or name[0].isupper() for name in members):
                yield str(path.relative_to(FUNCTIONS)), operation, members


@pytest.mark.aws_fact
def test_every_call_that_makes_something_tags_it() -> None:
    found = {operation for _, operation, _ in _creations()}
    made = {"create_model", "create_endpoint_config", "create_endpoint", "create_transform_job"}
    assert made <= found, "the calls are found at all"
    assert set(WITHOUT_TAGS) <= found, "these exceptions are needed"
    for where, operation, members in _creations():
        if operation not in WITHOUT_TAGS:
            assert "Tags" in members, f"{where}: {operation} makes something without the app's tag"


def test_the_tag_is_that_of_the_stacks(live_v1: str, sagemaker: StandIn) -> None:
    assert sagemaker_calls.app_tags() == OURS
    endpoint.converge(endpoint_configs.ensure_config(live_v1, "ml.g6.xlarge"))
    for made in (*sagemaker.models.values(), *sagemaker.configs.values()):
        assert made["Tags"] == OURS
