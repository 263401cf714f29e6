"""The endpoint manager: one endpoint for all callers, none without any, and a corrected table."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from endpoint_manager import handler as endpoint_manager
from endpoint_manager.handler import handler
from shared import clock, table
from shared.hosting import endpoint, endpoint_configs, hosting_state
from shared.models import versions
from shared.runs import lock
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.sagemaker_stand_in import StandIn

TICK = {"source": "aws.scheduler"}


def _awake(sagemaker: StandIn, context: LambdaContext) -> None:
    handler({"action": "wake"}, context)
    sagemaker.in_service()
    handler(TICK, context)
    assert hosting_state.state().status == "awake"


def _last_used(minutes_ago: float) -> None:
    then = clock.text(clock.now() - timedelta(minutes=minutes_ago))
    table.update("HOSTING", "STATE", {"last_used_at": then, "since": then})


def test_nothing_is_woken_before_there_is_a_model(
    resources: DeployedResources, sagemaker: StandIn, context: LambdaContext
) -> None:
    assert handler({"action": "wake"}, context)["status"] == "asleep"
    assert sagemaker.calls == []


def test_racing_wakes_make_one_endpoint(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    with ThreadPoolExecutor(10) as pool:
        states = list(pool.map(lambda _: handler({"action": "wake"}, context), range(20)))
    assert sagemaker.created() == 1
    assert {state["status"] for state in states} == {"waking"}
    (variant,) = next(iter(sagemaker.configs.values()))["ProductionVariants"]
    assert variant["InferenceAmiVersion"] == "al2023-ami-sagemaker-inference-gpu-4-1"


def test_waking_ends_awake_and_is_measured(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    handler({"action": "wake"}, context)
    assert handler(TICK, context)["status"] == "waking"
    time.sleep(0.2)
    sagemaker.in_service()
    assert handler(TICK, context)["status"] == "awake"
    measured = hosting_state.state().wake_seconds
    assert measured is not None
    assert 0.1 < measured < 10


def test_an_idle_endpoint_is_deleted_and_a_used_one_is_kept(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    _last_used(minutes_ago=14)
    assert handler(TICK, context)["status"] == "awake"
    assert sagemaker.endpoint is not None
    _last_used(minutes_ago=16)
    assert handler(TICK, context)["status"] == "asleep"
    assert sagemaker.endpoint is None


def test_a_message_that_arrives_during_the_decision_keeps_it_awake(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    _last_used(minutes_ago=16)
    seen = hosting_state.state()
    assert hosting_state.touch()
    assert not hosting_state.mark_asleep(seen, "Idle.")
    assert hosting_state.state().status == "awake"


def test_sleep_by_hand_and_wake_again(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    assert handler({"action": "sleep"}, context)["status"] == "asleep"
    assert sagemaker.endpoint is None
    assert handler({"action": "wake"}, context)["status"] == "waking"
    assert sagemaker.created() == 2


def test_no_endpoint_outlives_the_longest_life(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    assert sagemaker.endpoint is not None
    sagemaker.endpoint["CreationTime"] = time.time() - endpoint_manager.LONGEST_LIFE.total_seconds() - 60
    assert handler(TICK, context)["status"] == "asleep"
    assert sagemaker.endpoint is None


def test_an_endpoint_stays_as_it_is_when_its_other_version_answers(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    """Also when it is woken: both versions are in the same bundle."""
    _awake(sagemaker, context)
    before, config = list(sagemaker.calls), hosting_state.state().endpoint_config
    v1 = versions.get("v1")
    assert v1 is not None
    other = v1.model_copy(update={"version": "v2", "adapter_sha256": "c" * 64})
    versions.save(other)
    versions.make_live(other, live_v1)
    hosting_state.record_version("v2")
    state = handler(TICK, context)
    assert (state["status"], hosting_state.state().version) == ("awake", "v2")
    assert sagemaker.calls[len(before) :].count("UpdateEndpoint") == 0
    handler({"action": "sleep"}, context)
    sagemaker.endpoint = None
    _awake(sagemaker, context)
    assert (hosting_state.state().version, hosting_state.state().endpoint_config) == ("v2", config)


def test_an_endpoint_deleted_by_hand_is_recorded(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    sagemaker.endpoint = None
    assert handler(TICK, context)["status"] == "asleep"


def test_a_wake_that_died_before_creating_the_endpoint_is_finished(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    config = endpoint_configs.ensure_config(live_v1, "ml.g6.xlarge")
    assert hosting_state.claim_waking("v1", config)
    handler(TICK, context)
    assert sagemaker.created() == 1


def test_an_endpoint_that_nothing_accounts_for_is_deleted(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    table.update("HOSTING", "STATE", {"status": "asleep"})
    handler(TICK, context)
    assert sagemaker.endpoint is None


def test_a_failed_endpoint_says_why_and_is_tried_again_later(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    handler({"action": "wake"}, context)
    assert sagemaker.endpoint is not None
    sagemaker.endpoint |= {"EndpointStatus": "Failed", "FailureReason": "No capacity for ml.g6.xlarge."}
    state = handler(TICK, context)
    assert state["status"] == "failing"
    assert state["message"] == "No capacity for ml.g6.xlarge."
    handler({"action": "wake"}, context)
    assert sagemaker.created() == 1, "not tried again at once"
    table.update("HOSTING", "STATE", {"since": clock.text(clock.now() - timedelta(minutes=2))})
    assert handler({"action": "wake"}, context)["status"] == "waking"
    assert sagemaker.created() == 2


@pytest.mark.parametrize("running", [True, False])
def test_a_configuration_left_by_a_dead_deployment_is_put_back(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext, running: bool
) -> None:
    _awake(sagemaker, context)
    assert sagemaker.endpoint is not None
    before = sagemaker.endpoint["EndpointConfigName"]
    candidate = endpoint_configs.ensure_config(live_v1.replace("v1", "v2"), "ml.g6.xlarge")
    endpoint.converge(candidate)
    sagemaker.in_service()
    if running:
        assert lock.acquire("20260901-110000-bbbb", "arn")
    handler(TICK, context)
    wanted = sagemaker.endpoint.get("wanted", sagemaker.endpoint["EndpointConfigName"])
    assert wanted == (candidate if running else before)


CAPACITY = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."


def _machine(sagemaker: StandIn) -> str | None:
    assert sagemaker.endpoint is not None
    return endpoint_configs.instance_of(sagemaker.endpoint["EndpointConfigName"])


def _has_no_machine(sagemaker: StandIn) -> None:
    assert sagemaker.endpoint is not None
    sagemaker.endpoint |= {"EndpointStatus": "Failed", "FailureReason": CAPACITY}


def test_if_there_is_no_instance_the_next_of_the_list_is_tried(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    assert "ml.g6.xlarge" in handler({"action": "wake"}, context)["message"]
    _has_no_machine(sagemaker)
    state = handler(TICK, context)
    assert state["status"] == "waking"
    assert state["message"] == "ml.g6.xlarge (AWS has none free). Trying ml.g5.xlarge, the next of the list."
    handler(TICK, context)
    assert _machine(sagemaker) == "ml.g5.xlarge"
    sagemaker.in_service()
    assert handler(TICK, context)["status"] == "awake"
    handler(TICK, context)
    assert _machine(sagemaker) == "ml.g5.xlarge", "it stays where it is"
    handler({"action": "sleep"}, context)
    handler({"action": "wake"}, context)
    assert _machine(sagemaker) == "ml.g6.xlarge", "the first choice comes first again"


def test_if_the_quota_allows_no_instance_the_next_is_tried_at_once(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    sagemaker.over_quota = {"ml.g6.xlarge"}
    state = handler({"action": "wake"}, context)
    assert (state["status"], _machine(sagemaker)) == ("waking", "ml.g5.xlarge")
    assert "ml.g6.xlarge (over the account's quota)" in state["message"]


def test_if_all_instances_were_tried_the_message_says_so_and_it_waits(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    sagemaker.over_quota = {"ml.g6.xlarge", "ml.g6e.xlarge"}
    handler({"action": "wake"}, context)
    _has_no_machine(sagemaker)
    state = handler(TICK, context)
    if state["status"] == "waking":
        state = handler(TICK, context)
    assert state["status"] == "failing"
    for words in (
        "ml.g6.xlarge (over the account's quota), ml.g5.xlarge (AWS has none free), ml.g6e.xlarge (over",
        "servicequotas",
        "hosting_fallback_instances",
        "another region",
    ):
        assert words in state["message"]
    assert sagemaker.endpoint is None
    sagemaker.over_quota = set()
    for minutes, status in ((9, "failing"), (11, "waking")):
        then = clock.text(clock.now() - timedelta(minutes=minutes))
        table.update("HOSTING", "STATE", {"since": then})
        assert handler({"action": "wake"}, context)["status"] == status
    assert _machine(sagemaker) == "ml.g6.xlarge"


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack"])
def test_a_change_that_hangs_is_ended_as_soon_as_sagemaker_allows(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext, status: str
) -> None:
    _awake(sagemaker, context)
    assert lock.acquire("20260901-110000-bbbb", "arn")
    assert sagemaker.endpoint is not None
    changed = time.time() - hosting_state.LONGEST_CHANGE.total_seconds()
    sagemaker.endpoint |= {"EndpointStatus": status, "LastModifiedTime": changed + 60}
    handler(TICK, context)
    sagemaker.endpoint |= {"LastModifiedTime": changed - 60}
    sagemaker.refuses_to_delete = True
    handler(TICK, context)
    assert sagemaker.endpoint is not None
    sagemaker.refuses_to_delete = False
    assert handler(TICK, context)["status"] == "asleep"
    assert sagemaker.endpoint is None


def test_the_longest_life_holds_during_a_run_and_without_a_table(
    resources: DeployedResources,
    live_v1: str,
    sagemaker: StandIn,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _awake(sagemaker, context)
    assert lock.acquire("20260901-110000-bbbb", "arn")
    assert sagemaker.endpoint is not None
    sagemaker.endpoint["CreationTime"] = time.time() - endpoint_manager.LONGEST_LIFE.total_seconds() - 60
    monkeypatch.setenv("STORYLOOM_TABLE", "there-is-none")
    with pytest.raises(ClientError):
        handler(TICK, context)
    assert sagemaker.endpoint is None


def test_a_configuration_that_cannot_be_created_keeps_no_idle_endpoint(
    resources: DeployedResources,
    live_v1: str,
    sagemaker: StandIn,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _awake(sagemaker, context)
    _last_used(minutes_ago=16)
    monkeypatch.setattr(endpoint_configs, "ensure_config", lambda *_: 1 / 0)
    assert handler(TICK, context)["status"] == "asleep"
    assert sagemaker.endpoint is None


def test_an_endpoint_that_another_call_created_first_was_not_refused(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = endpoint_configs.ensure_config(live_v1, "ml.g6.xlarge")
    second = endpoint_configs.ensure_config(live_v1.replace("v1", "v2"), "ml.g6.xlarge")
    endpoint.converge(first)
    with monkeypatch.context() as late:
        late.setattr(endpoint, "describe", lambda: None)
        assert endpoint.converge(second).state == "waiting"
    sagemaker.in_service()
    assert endpoint.converge(second).state == "waiting", "now it is updated"
    assert sagemaker.calls.count("UpdateEndpoint") == 1
