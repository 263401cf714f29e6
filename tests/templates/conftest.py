"""The app's templates, synthesized once for all these tests, and ways to read them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template

from contracts import settings
from stacks.composition import Stacks, compose

Resource = Mapping[str, Any]
EMAIL = "writer@example.com"


@dataclass(frozen=True)
class Synthesized:
    """The four templates of one synthesis."""

    app: App
    stacks: Stacks
    storage: Template
    pipeline: Template
    chat: Template
    operations: Template

    @property
    def templates(self) -> dict[str, Template]:
        """Each template by its stack's short name."""
        return {name: getattr(self, name) for name in ("storage", "pipeline", "chat", "operations")}

    def resources(self, type_: str) -> Iterator[tuple[str, Resource]]:
        """Logical id and definition of every resource of a type, in all stacks."""
        for template in self.templates.values():
            yield from template.find_resources(type_).items()


def synthesize(built_page: Path, outdir: Path, **context: Any) -> Synthesized:
    """Make the app as `app.py` does, without its checks."""
    app = App(outdir=str(outdir), analytics_reporting=False, performance_reporting=False)
    stacks = compose(app, settings.read({"admin_email": EMAIL, **context}), built_page=built_page)
    templates = {name: Template.from_stack(stack) for name, stack in vars(stacks).items()}
    return Synthesized(app=app, stacks=stacks, **templates)


@pytest.fixture(scope="session")
def built_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page as small as a page can be: what is on it is no matter of the stacks."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text("<!doctype html><title>Storyloom</title>")
    return folder


@pytest.fixture(scope="session")
def synthesized(built_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """The app with its default settings."""
    return synthesize(built_page, tmp_path_factory.mktemp("assembly"))


@pytest.fixture(scope="session")
def other(built_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """The app with most settings changed: a second one, on one machine, without an address."""
    return synthesize(
        built_page,
        tmp_path_factory.mktemp("assembly"),
        name="fables",
        admin_email="",
        spot="false",
        ask_before_training="true",
        max_training_minutes="3",
        hosting_max_instances="3",
        monthly_budget_usd="20",
        browser_endpoint="http://localhost:8400",
    )


@pytest.fixture(scope="session")
def everything(built_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """The app with all that can be switched on, on AWS."""
    return synthesize(
        built_page,
        tmp_path_factory.mktemp("assembly"),
        tune="true",
        ask_before_training="true",
        approval="manual",
        instance_count="2",
        hosting_max_instances="3",
        huggingface_token_secret="storyloom/huggingface",
    )


@pytest.fixture(scope="session")
def states(synthesized: Synthesized) -> dict[str, Any]:
    """The states of the deployed state machine."""
    return definition(synthesized)["States"]  # type: ignore[no-any-return]


def definition(synthesized: Synthesized) -> dict[str, Any]:
    """The state machine's definition, with `<logical id>` for what CloudFormation fills in."""
    (machine,) = synthesized.pipeline.find_resources("AWS::StepFunctions::StateMachine").values()
    parsed: dict[str, Any] = json.loads(flat(machine["Properties"]["DefinitionString"]))
    return parsed


def flat(value: Any) -> str:
    """Write a resolved value as one string."""
    match value:
        case str():
            return value
        case {"Fn::Join": [delimiter, parts]}:
            return str(delimiter).join(flat(part) for part in parts)
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Ref": resource}:
            return f"<{resource}>"
        case {"Fn::Sub": template}:
            return re.sub(r"\$\{([^}]+)\}", r"<\1>", template)
        case {"Fn::GetStackOutput": {"OutputName": output}}:
            return f"<{output}>"
    raise TypeError(f"cannot write {value!r}")


def statements(policy: Resource) -> list[dict[str, Any]]:
    """The statements of a policy resource, actions and resources always as lists of strings."""
    return [
        {
            **statement,
            "Action": _listed(statement["Action"]),
            "Resource": [flat(resource) for resource in _listed(statement.get("Resource", []))],
        }
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
