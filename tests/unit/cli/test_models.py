"""`storyloom models`: what it prints of versions that an API lists."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.commands import models
from cli.console import CommandError, out

FIRST = {
    "version": "v1",
    "status": "approved",
    "created_at": "2026-11-22T10:00:00.000Z",
    "run_id": "run-1",
    "stories": 1032,
    "words": 44_714,
    "base_perplexity": 40.5,
    "tuned_perplexity": 30.0,
    "decision": "better",
    "adapter_sha256": "a" * 64,
}
SECOND = {
    **FIRST,
    "version": "v2",
    "run_id": "run-2",
    "tuned_perplexity": 27.0,
    "decided_by": "ada@example.com",
}


class _Api:
    """Lists versions, and notes what it was told."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self.listed = listed
        self.decided: list[tuple[str, str]] = []

    def models(self) -> list[dict[str, Any]]:
        return self.listed

    def decide_version(self, version: str, decision: str) -> dict[str, Any]:
        self.decided.append((version, decision))
        return {"version": version, "message": f"{version}: [{decision}] it is."}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> _Api:
    known = _Api([SECOND, FIRST])
    monkeypatch.setattr(models, "connect", lambda: None)
    monkeypatch.setattr(models, "StoryloomApi", lambda connection: known)
    # the page of a terminal that is wide enough for every column
    monkeypatch.setattr(out, "_width", 200)
    return known


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_versions_are_listed_newest_first(api: _Api) -> None:
    _, *lines = run().splitlines()
    assert [line.split()[0] for line in lines] == ["v2", "v1"]
    assert "1,032" in lines[-1] and "2026-11-22 10:00" in lines[-1]
    assert json.loads(run("--json")) == [SECOND, FIRST]


def test_without_a_version_it_says_how_the_first_one_comes(api: _Api) -> None:
    api.listed = []
    assert "no version yet" in run()


def test_two_versions_side_by_side_say_which_is_better_and_how_sure_that_is(api: _Api) -> None:
    said = run("compare", "v1", "v2")
    assert "The perplexity of v2 on unseen stories is 10.0% lower than that of v1." in said
    assert "its own run" in said
    assert "ada@example.com" in said
    assert json.loads(run("compare", "v1", "v2", "--json")) == [FIRST, SECOND]


def test_versions_of_one_run_need_no_caution_and_unmeasured_ones_no_comparison() -> None:
    assert "own run" not in models.perplexity_difference(FIRST, {**SECOND, "run_id": "run-1"})
    assert "cannot be compared" in models.perplexity_difference(FIRST, {**SECOND, "tuned_perplexity": None})


def test_an_unknown_version_is_named_with_those_there_are(api: _Api) -> None:
    with pytest.raises(CommandError) as refused:
        run("compare", "v1", "v9")
    assert "v9" in str(refused.value)
    assert "v2, v1" in refused.value.cure


@pytest.mark.parametrize("decision", ["activate", "approve", "reject"])
def test_a_decision_is_sent_and_the_answer_printed_as_it_is(api: _Api, decision: str) -> None:
    assert f"v1: [{decision}] it is." in run(decision, "v1")
    assert api.decided == [("v1", decision)]
    assert json.loads(run(decision, "v1", "--json"))["version"] == "v1"
