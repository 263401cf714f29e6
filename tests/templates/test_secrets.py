"""No secret is where many can read it: variables, outputs, the state machine, logs."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.templates.conftest import Synthesized, definition, flat

_SECRET_NAME = re.compile(
    r"(SECRET|PASSWORD|TOKEN(?!S)|CREDENTIAL|PRIVATE|(?<![A-Z])API_?KEY)", re.IGNORECASE
)
_NOT_SECRET = {
    "STORYLOOM_HUGGINGFACE_TOKEN_SECRET": "the name of the secret, which Secrets Manager keeps",
}
_SECRET_VALUES = re.compile(
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|hf_[A-Za-z0-9]{20,}|-----BEGIN|\beyJ[A-Za-z0-9_-]{20,}\."
)


def _variables(app: Synthesized) -> Iterator[tuple[str, str, Any]]:
    for name, function in app.resources("AWS::Lambda::Function"):
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        for variable, value in variables.items():
            yield name, variable, value


@pytest.mark.parametrize("form", ["synthesized", "other", "everything"])
def test_no_variable_or_output_is_a_secret(form: str, request: pytest.FixtureRequest) -> None:
    app: Synthesized = request.getfixturevalue(form)
    variables = list(_variables(app))
    assert len(variables) > 100
    suspicious = {variable for _, variable, _ in variables if _SECRET_NAME.search(variable)}
    assert suspicious <= set(_NOT_SECRET)
    outputs = [name for template in app.templates.values() for name in template.to_json().get("Outputs", {})]
    assert outputs and not [name for name in outputs if _SECRET_NAME.search(name)]
    for stack, template in app.templates.items():
        written = json.dumps(template.to_json())
        assert not _SECRET_VALUES.search(written), stack
        assert "{{resolve:secretsmanager" not in written, f"{stack}: CloudFormation would write it out"


def test_the_secret_is_fetched_by_the_one_function_that_needs_it(everything: Synthesized) -> None:
    reading = [
        name
        for name, policy in everything.resources("AWS::IAM::Policy")
        if "secretsmanager:GetSecretValue" in json.dumps(policy)
    ]
    assert [name.partition("Role")[0] for name in reading] == ["StageBaseModel"]
    (named,) = {
        flat(value)
        for _, variable, value in _variables(everything)
        if variable == "STORYLOOM_HUGGINGFACE_TOKEN_SECRET"
    }
    assert named == "storyloom/huggingface"


def test_the_state_machine_hands_on_no_task_token_but_to_its_function(synthesized: Synthesized) -> None:
    states = definition(synthesized)["States"]
    with_token = [name for name, state in states.items() if "$$.Task.Token" in json.dumps(state)]
    assert all(":lambda:invoke" in states[name]["Resource"] for name in with_token)
    (machine,) = synthesized.pipeline.find_resources("AWS::StepFunctions::StateMachine").values()
    assert machine["Properties"]["LoggingConfiguration"]["IncludeExecutionData"] is False
