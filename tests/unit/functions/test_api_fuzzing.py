"""No request makes the API break, or answer what its description does not say.

`make fuzz-api CASES=1000` asks more, and prints what became of each operation; SEED gives it other chance,
ONLY="^/api/(keys|batches)" asks the operations of some paths, so that several processes can share the work.
"""

import logging
import os
import re
import time
from collections.abc import Iterator

import pytest

from chat_api.app import app
from chat_api.services import model_access
from tests.unit.functions.api_fuzzing import Findings, fuzz
from tests.unit.functions.api_world import World
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.gateway import Gateway
from tests.unit.functions.people import SignedIn, somebody
from tests.unit.functions.sagemaker_stand_in import StandIn

_CASES = int(os.environ.get("FUZZ_CASES", "0"))
_FEW = 3
_SEED = int(os.environ.get("FUZZ_SEED", "1"))
_ONLY = os.environ.get("FUZZ_ONLY", "")
_CHAT = "POST /api/v1/chat/completions"


@pytest.fixture
def person(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> Iterator[SignedIn]:
    """Somebody who is signed in for the whole day, and may use many tokens."""
    monkeypatch.setenv("STORYLOOM_DAILY_TOKENS", str(10**9))
    with somebody(resources.table, hours=24) as signed_in:
        yield signed_in


def _table(found: dict[str, Findings]) -> str:
    lines = [f"{'operation':40} {'cases':>6} {'faults':>6}  statuses"]
    for operation, findings in found.items():
        statuses = ", ".join(f"{status}: {times}" for status, times in sorted(findings.statuses.items()))
        lines.append(f"{operation:40} {findings.cases:6} {len(findings.faults):6}  {statuses}")
    return "\n".join(lines)


def test_no_request_finds_a_fault(
    *,
    resources: DeployedResources,
    awake_v1: StandIn,
    lambdas_at_once: None,
    person: SignedIn,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for logger in ("", "authorizer", "chat_api", "endpoint_manager", "start_run"):
        caplog.set_level(logging.ERROR, logger)
    monkeypatch.setattr(model_access, "POLL_SECONDS", 0.2)
    world, began = World(resources, awake_v1), time.monotonic()
    gateway = Gateway(app, before=world.go_on)
    cases = _CASES or _FEW
    description = app.openapi()
    asked = {path: methods for path, methods in description["paths"].items() if re.search(_ONLY, path)}
    description = {**description, "paths": asked}
    found = fuzz(gateway, description, person.id_token, cases=cases, seed=_SEED, brief=not _CASES)
    total = sum(findings.cases for findings in found.values())
    print(f"\n{_table(found)}\n{total} cases in {time.monotonic() - began:.0f} s, seed {_SEED}")
    faults = [
        f"{operation}: {fault}\n{words}"
        for operation, findings in found.items()
        for fault, words in findings.faults.items()
    ]
    assert not faults, "\n\n".join([f"{len(faults)} faults", *faults])
    assert all(findings.cases >= cases for findings in found.values())
    if _CHAT in found:
        assert {200, 422, 502, 503} <= set(found[_CHAT].statuses), "the model answered, broke off, and slept"
