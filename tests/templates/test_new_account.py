"""What a new account has is enough: Lambda gives it less memory, and ten functions at once."""

from typing import Any

import pytest

from tests.templates.conftest import Synthesized

_MEMORY_MB = 3008
_FUNCTIONS_AT_ONCE = 10


@pytest.mark.aws_fact
def test_no_function_asks_for_more_memory_than_a_new_account_has(
    synthesized: Synthesized, other: Synthesized
) -> None:
    for app in (synthesized, other):
        functions = dict(app.resources("AWS::Lambda::Function"))
        assert any(name.startswith("CustomCDKBucketDeployment") for name in functions), (
            "the CDK's own count too"
        )
        for name, function in functions.items():
            assert function["Properties"].get("MemorySize", 128) <= _MEMORY_MB, name


@pytest.mark.aws_fact
def test_nothing_reserves_what_a_new_account_cannot_spare(synthesized: Synthesized) -> None:
    """Lambda keeps ten executions unreserved, which are all that a new account has."""
    for name, function in synthesized.resources("AWS::Lambda::Function"):
        assert "ReservedConcurrentExecutions" not in function["Properties"], name
    assert not list(synthesized.resources("AWS::Lambda::Version")), "provisioned concurrency needs one"


@pytest.mark.aws_fact
def test_a_new_account_reads_every_batch_ten_at_a_time(states: dict[str, Any]) -> None:
    read = states["Read"]["ItemProcessor"]["States"]["ReadBatch"]
    (throttled,) = [
        retry for retry in read["Retry"] if "Lambda.TooManyRequestsException" in retry["ErrorEquals"]
    ]
    rounds = -(-states["Read"]["MaxConcurrency"] // _FUNCTIONS_AT_ONCE)
    longest = throttled.get("MaxDelaySeconds", float("inf"))
    delays = [
        min(throttled["IntervalSeconds"] * throttled["BackoffRate"] ** attempt, longest)
        for attempt in range(throttled["MaxAttempts"])
    ]
    # Full jitter waits half of each on average; who is unlucky waits several times as long as the others.
    assert sum(delays) / 2 > 3 * rounds * read["TimeoutSeconds"]
