"""Proofs that the model is hosted only while it is used, and that alarms reach their topic."""

from __future__ import annotations

import time
from typing import Any

from cli.progress import FINISHED
from cli.verify.outcome import NotProvenError, Proof
from cli.verify.world import World

_MINUTE = 60
_WAKE_SECONDS = 40 * _MINUTE
_SLEEP_SECONDS = 15 * _MINUTE
_ALARM_SECONDS = 5 * _MINUTE


def prove_endpoint(world: World) -> Proof:
    """Wait until the version answers; a sleeping model is woken."""
    started = time.monotonic()

    def hosted() -> dict[str, Any] | None:
        run = world.api.run(world.run_id)
        status = world.api.status()
        hosting = status["hosting"]
        world.say(f"the endpoint: {hosting['status']}, {hosting.get('message') or ''}")
        if world.trains and run["status"] in FINISHED and run["status"] != "succeeded":
            raise NotProvenError(f"The run ended as {run['status']}: {run.get('message')}")
        if run["status"] not in FINISHED:
            return None
        if hosting["status"] == "failing":
            raise NotProvenError(f"The model failed to start: {hosting.get('message')}")
        if hosting["status"] == "asleep":
            world.api.wake()
        return hosting if hosting["status"] == "awake" else None

    hosting = world.wait(hosted, _WAKE_SECONDS, "the endpoint")
    found = world.client("sagemaker").describe_endpoint(EndpointName=world.app.outputs["EndpointName"])
    if found["EndpointStatus"] != "InService":
        raise NotProvenError(f"SageMaker's status of the endpoint is {found['EndpointStatus']}.")
    seconds = time.monotonic() - started
    if not world.trains and not world.was_awake:
        world.woke_after_seconds = seconds
    return Proof(f"{hosting['instance']}, in service after {seconds:.0f} s")


def prove_alarm(world: World) -> Proof:
    """Set an alarm by hand, and wait until CloudWatch sends it to the topic that mails the owner."""
    cloudwatch = world.client("cloudwatch")
    topic = world.app.outputs["TopicArn"]
    pages = cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=world.app.stack("Operations"), AlarmTypes=["MetricAlarm"]
    )
    alarms = [
        alarm
        for page in pages
        for alarm in page["MetricAlarms"]
        if alarm["ActionsEnabled"] and topic in alarm["AlarmActions"]
    ]
    if not alarms:
        raise NotProvenError("No alarm of the Operations stack sends to the app's topic.")
    # Only a change of state has an action: of an alarm that rings already there would be none.
    alarm = min(alarms, key=lambda one: str(one["StateValue"]) == "ALARM")
    name = alarm["AlarmName"]
    if alarm["StateValue"] == "ALARM":
        cloudwatch.set_alarm_state(
            AlarmName=name, StateValue="OK", StateReason="storyloom verify is about to try this alarm."
        )
    before = _actions(cloudwatch, name)
    cloudwatch.set_alarm_state(
        AlarmName=name,
        StateValue="ALARM",
        StateReason="storyloom verify tries whether this alarm reaches you. Nothing is wrong.",
    )
    try:
        done = world.wait(
            lambda: _new_actions(before, _actions(cloudwatch, name)), _ALARM_SECONDS, "the alarm's action"
        )
    finally:
        cloudwatch.set_alarm_state(
            AlarmName=name, StateValue="OK", StateReason="storyloom verify has finished trying this alarm."
        )
    if not all("Successfully executed" in item["HistorySummary"] for item in done):
        raise NotProvenError(f"CloudWatch could not publish to the topic: {done[0]['HistorySummary']}")
    subscriptions = world.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    mails = [one for one in subscriptions if one["Protocol"] == "email"]
    pending = [one for one in mails if one["SubscriptionArn"] == "PendingConfirmation"]
    told = f"{len(pending)} of {len(subscriptions)} subscriptions wait for the link in AWS's e-mail"
    return Proof(f"CloudWatch published to the topic; {told}")


def _new_actions(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Return the actions that were not there before; a history lists a hundred at most, by the second."""
    return [item for item in now if item not in before] or now[: max(0, len(now) - len(before))] or None


def _actions(cloudwatch: Any, name: str) -> list[dict[str, Any]]:
    """List what an alarm has done lately."""
    found: list[dict[str, Any]] = cloudwatch.describe_alarm_history(
        AlarmName=name, HistoryItemType="Action", MaxRecords=100
    )["AlarmHistoryItems"]
    return found


def prove_sleep(world: World) -> Proof:
    """Put the model to sleep, and see that SageMaker has no endpoint of this name."""
    started = time.monotonic()
    world.api.sleep()
    seconds = _wait_until_gone(world, started)
    return Proof(f"no endpoint is left after {seconds:.0f} s")


def _wait_until_gone(world: World, started: float) -> float:
    sagemaker, name = world.client("sagemaker"), world.app.outputs["EndpointName"]

    def gone() -> bool | None:
        world.say("waiting until the endpoint is gone")
        listed = sagemaker.list_endpoints(NameContains=name)["Endpoints"]
        return None if any(one["EndpointName"] == name for one in listed) else True

    world.wait(gone, _SLEEP_SECONDS, "the endpoint to go")
    return time.monotonic() - started


def prove_wake(world: World) -> Proof:
    """Prove that a question wakes the model and is answered; unless it was awake before, it sleeps again."""
    if world.woke_after_seconds:
        return Proof(f"it slept when this began, and answered {world.woke_after_seconds:.0f} s later")
    started = time.monotonic()

    def awake() -> bool | None:
        hosting = world.api.status()["hosting"]
        world.say(f"waking: {hosting['status']}, {hosting.get('message') or ''}")
        if hosting["status"] == "failing":
            raise NotProvenError(f"The model failed to start: {hosting.get('message')}")
        if hosting["status"] == "asleep":
            world.api.wake()
        return True if hosting["status"] == "awake" else None

    world.wait(awake, _WAKE_SECONDS, "the model to wake")
    *_, (_, answer) = world.api.chat([{"role": "user", "content": "Good morning."}], max_tokens=8)
    if answer is None or not answer.text:
        raise NotProvenError("It woke, and gave no answer.")
    seconds = time.monotonic() - started
    if not world.was_awake:
        world.api.sleep()
        _wait_until_gone(world, time.monotonic())
    return Proof(f"it answered {seconds:.0f} s after it was woken")
