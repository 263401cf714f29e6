"""Proofs that the model is hosted only while it is used, and that alarms reach their topic."""

from __future__ import annotations

import time
from typing import Any

from cli.verify.outcome import NotProvenError, Proof
from cli.verify.verification import Verification
from contracts import statuses
from contracts.statuses import FINAL_RUN_STATUSES

_MINUTE = 60
_WAKE_SECONDS = 40 * _MINUTE
_SLEEP_SECONDS = 15 * _MINUTE
_ALARM_SECONDS = 5 * _MINUTE


def prove_endpoint(verification: Verification) -> Proof:
    """Wait until the version answers; wake the model if it sleeps."""
    started = time.monotonic()

    def hosted() -> dict[str, Any] | None:
        run = verification.api.run(verification.run_id)
        status = verification.api.status()
        hosting = status["hosting"]
        verification.show_progress(f"the endpoint: {hosting['status']}, {hosting.get('message') or ''}")
        if (
            verification.trains
            and run["status"] in FINAL_RUN_STATUSES
            and run["status"] != statuses.SUCCEEDED
        ):
            raise NotProvenError(f"The run ended as {run['status']}: {run.get('message')}")
        if run["status"] not in FINAL_RUN_STATUSES:
            return None
        if hosting["status"] == statuses.FAILING:
            raise NotProvenError(f"The model failed to start: {hosting.get('message')}")
        if hosting["status"] == statuses.ASLEEP:
            verification.api.wake()
        return hosting if hosting["status"] == statuses.AWAKE else None

    hosting = verification.wait(hosted, _WAKE_SECONDS, "the endpoint")
    found = verification.client("sagemaker").describe_endpoint(
        EndpointName=verification.app.outputs["EndpointName"]
    )
    if found["EndpointStatus"] != "InService":
        raise NotProvenError(f"SageMaker's status of the endpoint is {found['EndpointStatus']}.")
    seconds = time.monotonic() - started
    if not verification.trains and not verification.was_awake:
        verification.woke_after_seconds = seconds
    return Proof(f"{hosting['instance']}, in service after {seconds:.0f} s")


def prove_alarm(verification: Verification) -> Proof:
    """Set an alarm by hand, and wait until CloudWatch sends it to the topic that mails the owner."""
    cloudwatch = verification.client("cloudwatch")
    topic = verification.app.outputs["TopicArn"]
    pages = cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=verification.app.names.operations_stack, AlarmTypes=["MetricAlarm"]
    )
    alarms = [
        alarm
        for page in pages
        for alarm in page["MetricAlarms"]
        if alarm["ActionsEnabled"] and topic in alarm["AlarmActions"]
    ]
    if not alarms:
        raise NotProvenError("No alarm of the Operations stack sends to the app's topic.")
    # Only a change of state has an action, so an alarm that is on already would send nothing.
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
        done = verification.wait(
            lambda: _new_actions(before, _actions(cloudwatch, name)), _ALARM_SECONDS, "the alarm's action"
        )
    finally:
        cloudwatch.set_alarm_state(
            AlarmName=name, StateValue="OK", StateReason="storyloom verify has finished trying this alarm."
        )
    if not all("Successfully executed" in item["HistorySummary"] for item in done):
        raise NotProvenError(f"CloudWatch could not publish to the topic: {done[0]['HistorySummary']}")
    subscriptions = verification.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    mails = [one for one in subscriptions if one["Protocol"] == "email"]
    pending = [one for one in mails if one["SubscriptionArn"] == "PendingConfirmation"]
    unconfirmed = f"{len(pending)} of {len(subscriptions)} subscriptions wait for the link in AWS's e-mail"
    return Proof(f"CloudWatch published to the topic; {unconfirmed}")


def _new_actions(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Return the actions that are new; a history has at most a hundred, with a resolution of a second."""
    return [item for item in now if item not in before] or now[: max(0, len(now) - len(before))] or None


def _actions(cloudwatch: Any, name: str) -> list[dict[str, Any]]:
    """List the latest actions of an alarm."""
    found: list[dict[str, Any]] = cloudwatch.describe_alarm_history(
        AlarmName=name, HistoryItemType="Action", MaxRecords=100
    )["AlarmHistoryItems"]
    return found


def prove_sleep(verification: Verification) -> Proof:
    """Put the model to sleep, and check that SageMaker has no endpoint of this name."""
    started = time.monotonic()
    verification.api.sleep()
    seconds = _wait_until_gone(verification, started)
    return Proof(f"no endpoint is left after {seconds:.0f} s")


def _wait_until_gone(verification: Verification, started: float) -> float:
    sagemaker, name = verification.client("sagemaker"), verification.app.outputs["EndpointName"]

    def gone() -> bool | None:
        verification.show_progress("waiting until the endpoint is deleted")
        listed = sagemaker.list_endpoints(NameContains=name)["Endpoints"]
        return None if any(one["EndpointName"] == name for one in listed) else True

    verification.wait(gone, _SLEEP_SECONDS, "the endpoint to be deleted")
    return time.monotonic() - started


def prove_wake(verification: Verification) -> Proof:
    """Prove that a message wakes the model and is answered; put it to sleep again if it was asleep before."""
    if verification.woke_after_seconds:
        return Proof(
            f"it was asleep at the start, and answered {verification.woke_after_seconds:.0f} s later"
        )
    started = time.monotonic()

    def awake() -> bool | None:
        hosting = verification.api.status()["hosting"]
        verification.show_progress(f"waking: {hosting['status']}, {hosting.get('message') or ''}")
        if hosting["status"] == statuses.FAILING:
            raise NotProvenError(f"The model failed to start: {hosting.get('message')}")
        if hosting["status"] == statuses.ASLEEP:
            verification.api.wake()
        return True if hosting["status"] == statuses.AWAKE else None

    verification.wait(awake, _WAKE_SECONDS, "the model to wake")
    *_, (_, answer) = verification.api.chat([{"role": "user", "content": "Good morning."}], max_tokens=8)
    if answer is None or not answer.text:
        raise NotProvenError("The model woke, and its reply was empty.")
    seconds = time.monotonic() - started
    if not verification.was_awake:
        verification.api.sleep()
        _wait_until_gone(verification, time.monotonic())
    return Proof(f"it answered {seconds:.0f} s after it was woken")
