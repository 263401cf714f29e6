"""The table of permissions in docs/security.md is what the templates say."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.templates.conftest import Synthesized, statements
from tests.templates.pages import check_table

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
_HEAD = "| who | may | on |\n|---|---|---|\n"
_NAMES = {
    "<StoriesBucketName>": "stories",
    "<ArtifactsBucketName>": "artifacts",
    "table/<TableName>": "table",
    "<HostingRoleArn>": "HostingRole",
    "<TransformRoleArn>": "TransformRole",
    "<TopicArn>": "Messages",
}

_SAID_ONCE = ("aws:ResourceAccount",)
"""Conditions that the page tells once for all statements."""


def test_the_page_has_the_table_of_the_templates(
    synthesized: Synthesized, pytestconfig: pytest.Config
) -> None:
    check_table(_PAGE, _HEAD, _table(synthesized), pytestconfig)


def _table(synthesized: Synthesized) -> str:
    rows = []
    for name, policy in synthesized.resources("AWS::IAM::Policy"):
        if name.startswith("Custom"):
            continue
        who = re.sub(r"(Role)?DefaultPolicy.*", "", name)
        for statement in statements(policy):
            if statement["Resource"] == [f"<{log}.Arn>" for log in _logs(synthesized) if log.startswith(who)]:
                continue  # the page says it once for all: each function writes its own log
            what = ", ".join(f"`{action}`" for action in statement["Action"])
            if statement["Effect"] == "Deny":
                what = f"never {what}"
            where = ", ".join(dict.fromkeys(f"`{_plain(resource)}`" for resource in statement["Resource"]))
            rows.append(f"| {who} | {what} | {where}{_limits(statement)} |\n")
    return _HEAD + "".join(sorted(rows))


def _logs(synthesized: Synthesized) -> list[str]:
    return [name for name, _ in synthesized.resources("AWS::Logs::LogGroup")]


def _limits(statement: dict[str, Any]) -> str:
    limits = []
    for operator, test in statement.get("Condition", {}).items():
        for key, value in test.items():
            if key in _SAID_ONCE or operator == "Null":
                continue
            values = [value] if isinstance(value, str) else value
            limits.append(f"; `{key}` {' or '.join(f'`{one}`' for one in values)}")
    return "".join(limits)


def _plain(resource: str) -> str:
    """Shorten an ARN to what a reader needs: kind and name."""
    text = re.sub(r"^arn:<AWS::Partition>:s3:::", "", resource)
    text = re.sub(r"^arn:<AWS::Partition>:[a-z-]+:<AWS::Region>:(<AWS::AccountId>|\d+):", "", text)
    for written, plain in _NAMES.items():
        text = text.replace(written, plain)
    # <DebounceUploadsFunction428169AF.Arn> and the like: the construct's own name.
    return re.sub(r"<(\w+?)(?:[0-9A-F]{8})?(?:\.Arn)?>", r"\1", text)
