"""The split's ledger passes from run to run, and stays with each run so that it can be repeated."""

import json
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from announce.handler import handler as announce
from assemble import handler as assemble
from assemble.inputs import LedgerUnreadableError
from begin.handler import latest_versions
from contracts import s3_keys
from read_stories import handler as read_stories
from shared.aws import clients
from shared.runs import run_records
from tests.unit.functions.conftest import DeployedResources
from tests.unit.stories.material import prose

FIRST, SECOND, THIRD = (f"20260901-12000{number}-abcd" for number in range(3))


@pytest.fixture
def settings(settings: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> DeployedResources:
    """Fewer words are enough here."""
    monkeypatch.setenv("STORYLOOM_MINIMUM_WORDS", "1000")
    return settings


def _drop(resources: DeployedResources, letters: str) -> None:
    for letter in letters:
        body = prose(ord(letter), 240).encode()
        clients.s3().put_object(Bucket=resources.stories, Key=f"tale of {letter}.txt", Body=body)


def _run(resources: DeployedResources, context: LambdaContext, run_id: str) -> dict[str, Any]:
    items = list(latest_versions(resources.stories))
    run_records.create_run(run_id, "arn:aws:states:::execution", "test")
    read_stories.handler({"run_id": run_id, "files": items}, context)
    return assemble.handler({"run_id": run_id, "begun": {"files": len(items), "live": None}}, context)


def _object(resources: DeployedResources, key: str) -> bytes:
    return clients.s3().get_object(Bucket=resources.artifacts, Key=key)["Body"].read()


def _dataset(resources: DeployedResources, run_id: str) -> dict[str, bytes]:
    return {
        part: _object(resources, s3_keys.examples(run_id, part)) for part in ("train", "validation", "test")
    }


def _sides(dataset: dict[str, bytes]) -> dict[str, str]:
    return {
        json.loads(line)["story_id"]: part for part, lines in dataset.items() for line in lines.splitlines()
    }


def test_a_run_starts_from_the_ledger_of_the_last(
    settings: DeployedResources, context: LambdaContext
) -> None:
    _drop(settings, "abcdefgh")
    _run(settings, context, FIRST)
    before = _sides(_dataset(settings, FIRST))
    _drop(settings, "ijklmnopqrst")
    _run(settings, context, SECOND)
    after = _sides(_dataset(settings, SECOND))
    assert before.items() <= after.items()
    assert len(after) == 20
    _run(settings, context, THIRD)
    assert _dataset(settings, THIRD) == _dataset(settings, SECOND)
    assert _object(settings, s3_keys.LEDGER) == _object(settings, s3_keys.ledger_used(THIRD))


def test_a_retried_function_makes_the_same_dataset(
    settings: DeployedResources, context: LambdaContext
) -> None:
    _drop(settings, "abcdefgh")
    _run(settings, context, FIRST)
    _drop(settings, "ijkl")
    _run(settings, context, SECOND)
    first, used = _dataset(settings, SECOND), _object(settings, s3_keys.ledger_used(SECOND))
    assert used != _object(settings, s3_keys.LEDGER)
    assemble.handler({"run_id": SECOND, "begun": {"files": 12, "live": None}}, context)
    assert _dataset(settings, SECOND) == first
    assert _object(settings, s3_keys.ledger_used(SECOND)) == used


def test_a_ledger_changed_by_hand_is_named(settings: DeployedResources, context: LambdaContext) -> None:
    clients.s3().put_object(Bucket=settings.artifacts, Key=s3_keys.LEDGER, Body=b'{"format": 9}')
    _drop(settings, "ab")
    with pytest.raises(LedgerUnreadableError, match=r"split/ledger\.json.*delete it"):
        _run(settings, context, FIRST)


def test_unchanged_stories_are_not_trained_on_twice(
    settings: DeployedResources, context: LambdaContext
) -> None:
    _drop(settings, "abcdefgh")
    assert _run(settings, context, FIRST)["enough"]
    assert _run(settings, context, SECOND)["enough"], "the first has not trained"
    announce({"run_id": SECOND, "outcome": "not_better", "message": "It was not better."}, context)
    told = _run(settings, context, THIRD)
    assert not told["enough"]
    for words in (
        f"Nothing has changed since run {SECOND}",
        "nothing was spent",
        "Train again anyway",
        "storyloom start --again",
    ):
        assert words in told["message"]
    third = run_records.get(THIRD)
    assert third is not None and third.unchanged
    files = len(list(latest_versions(settings.stories)))
    begun = {"files": files, "live": None, "again": True}
    assert assemble.handler({"run_id": THIRD, "begun": begun}, context)["enough"]
    third = run_records.get(THIRD)
    assert third is not None and not third.unchanged
    _drop(settings, "i")
    assert _run(settings, context, "20260901-120003-abcd")["enough"]


def test_other_settings_make_another_training(
    settings: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drop(settings, "abcdefgh")
    _run(settings, context, FIRST)
    announce({"run_id": FIRST, "outcome": "succeeded", "message": "It answers."}, context)
    monkeypatch.setenv("STORYLOOM_MAX_TRAINING_MINUTES", "60")
    assert _run(settings, context, SECOND)["enough"]
