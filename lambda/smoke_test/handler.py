"""Finish a deployment: wait, test the new version, then make it live or restore the live one."""

import json
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from contracts import environment, statuses
from shared import clock
from shared.aws import chat_stack, clients
from shared.hosting import endpoint, endpoint_configs, hosting_state, instances, replacement, rollback
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import run_records
from smoke_test.checks import EndpointAnswer, SmokeTestFailed, is_sound, judge

log = Logger(service="smoke_test")

_GIVE_UP_SECONDS = 45 * 60
_HOW_TO_CONTINUE = (
    "The version is kept and nothing has to be trained again. Deploy it with: storyloom models activate "
    "{version}"
)
_TOKENS = 128
_PROMPTS = (
    "Say good morning in one short sentence.",
    "Tell me a story in two sentences.",
    "What is your name? Answer in a few words.",
)
_BEGINNINGS = (
    "Once upon a time there was a lighthouse by the sea, and",
    "The morning after the storm, she opened the door and",
    "Nobody in the village remembered when the clock had stopped.",
)
"""Prompts for a base model without a chat format, which continues a text."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Check the deployment once; the state machine calls again until it has passed.

    Args:
        event: `{"run_id", "deployment": {"version", "bundle_uri", "merged", "endpoint_config",
            "started_at"}}`.
        context: Lambda's.

    Returns:
        `{"status": "waiting" or "passed", "message"}`

    Raises:
        SmokeTestFailed: the live version was restored.
    """
    run_id, deployment = event["run_id"], event["deployment"]
    version = deployment["version"]
    candidate = versions.get(version)
    if candidate is None:
        raise SmokeTestFailed(f"{version} is not registered.")
    if not _is_chat_deployed(run_id):
        return _withdraw(run_id, version)
    config = _current_config(deployment)
    try:
        message = _advance(candidate, deployment, config)
    except SmokeTestFailed as failure:
        if failure.blames_version:
            versions.set_status(version, statuses.FAILED)
        _restore_live(version, str(failure))
        raise
    except _NotReadyYet as waiting:
        run_records.enter(run_id, "SmokeTest", str(waiting))
        return {"status": statuses.WAITING, "message": str(waiting)}
    pointer = versions.make_live(candidate, deployment["bundle_uri"], merged=bool(deployment.get("merged")))
    hosting_state.mark_awake(version, config)
    facts = {"version": version, "adapter_sha256": pointer.adapter_sha256}
    run_records.enter(run_id, "Announce", message, **facts)
    log.info(message, extra={"run_id": run_id, **facts})
    return {"status": statuses.PASSED, "message": message}


def _is_chat_deployed(run_id: str) -> bool:
    """Return whether the Chat stack is deployed. If that cannot be read, the next call checks again."""
    try:
        return chat_stack.is_deployed()
    except (ClientError, BotoCoreError) as error:
        log.warning("Could not check the Chat stack", extra={"run_id": run_id}, exc_info=error)
        return True


def _withdraw(run_id: str, version: str) -> dict[str, Any]:
    """Delete the endpoint, because the Chat stack was deleted since the endpoint was requested.

    Raises:
        SmokeTestFailed: once SageMaker has accepted the deletion.
    """
    if not endpoint.delete():
        message = "The Chat stack was deleted. The endpoint is deleted as soon as SageMaker allows it."
        run_records.enter(run_id, "SmokeTest", message)
        return {"status": statuses.WAITING, "message": message}
    hosting_state.mark_deployment_deleted()
    raise SmokeTestFailed(chat_stack.deployment_refusal(version), blames_version=False)


def _current_config(deployment: dict[str, Any]) -> str:
    """Return the configuration to deploy: the run's, or one with the next instance type to try."""
    config, tried = str(deployment["endpoint_config"]), hosting_state.state().tried
    instance = instances.next_instance(tried)
    if instance is None or endpoint_configs.instance_of(config) not in tried:
        return config
    return endpoint_configs.ensure_config(deployment["bundle_uri"], instance)


class _NotReadyYet(Exception):  # noqa: N818 - a signal to look again, not an error
    """The endpoint does not host the version yet; the message says what it waits for."""


def _advance(candidate: ModelVersion, deployment: dict[str, Any], config: str) -> str:
    """Move the deployment one step forward, and test the version if it is in service.

    Returns:
        The result of the test, in words.

    Raises:
        _NotReadyYet: the endpoint is not ready yet.
        SmokeTestFailed: it will not be, or the version does not answer well.
    """
    version = candidate.version
    if replacement.is_needed(config):
        _check_timeout(version, deployment)
        phase = replacement.advance(version, config, deployment["started_at"])
        raise _NotReadyYet(replacement.describe_phase(phase, version, config))
    if endpoint.describe() is None and hosting_state.state().status != statuses.WAKING:
        # The endpoint manager may have had to delete it meanwhile: then it is expected, and not removed.
        hosting_state.clear_refusals()
        hosting_state.mark_waking(version, config)
    progress = endpoint.converge(config, watched=True)
    if progress.unpaid:
        raise SmokeTestFailed(
            f"{progress.message} {_HOW_TO_CONTINUE.format(version=version)}", blames_version=False
        )
    if progress.state == "failed":
        _fall_back_to_next_instance(version, deployment, config, progress.message)
    elif progress.state == "waiting":
        _check_timeout(version, deployment)
        # It is not put to sleep during the update.
        hosting_state.touch(at_once=True)
    if progress.state != "ready":
        raise _NotReadyYet(f"Waiting for the endpoint to host {version}.")
    return _judge_answers(version)


def _check_timeout(version: str, deployment: dict[str, Any]) -> None:
    state = hosting_state.state()
    # The time counts from the creation of its endpoint, because it may have waited before until nobody
    # chatted.
    began = state.since if state.status == statuses.WAKING and state.version == version else None
    give_up = _GIVE_UP_SECONDS + rollback.watch_seconds()
    if clock.seconds_since(began or deployment["started_at"]) <= give_up:
        return
    live = versions.live()
    if began is None and live is not None and state.tried:
        raise SmokeTestFailed(
            f"There was no second instance for {version} within {give_up // 60} minutes, and {live.version} "
            f"continues to answer. {_HOW_TO_CONTINUE.format(version=version)}",
            blames_version=False,
        )
    raise SmokeTestFailed(f"The endpoint did not load {version} within {give_up // 60} minutes.")


def _judge_answers(version: str) -> str:
    answers: list[EndpointAnswer] = []
    for prompt in _PROMPTS if environment.common().base_model.chat else _BEGINNINGS:
        answers.append(_ask(version, prompt))
        if is_sound(answers[-1]):
            break
    return judge(version, answers)


def _fall_back_to_next_instance(version: str, deployment: dict[str, Any], config: str, reason: str) -> None:
    """Choose the next instance type for the next call if this one cannot be had.

    Raises:
        SmokeTestFailed: it failed for another reason, or no instance type is left and nothing answers.
    """
    short, refused = instances.shortage(reason), endpoint_configs.instance_of(config)
    if short is None or refused is None:
        raise SmokeTestFailed(f"SageMaker could not host {version}: {reason}")
    state = hosting_state.state()
    why = instances.fall_back_to_next_instance(state, refused, short, deployment["bundle_uri"])
    if why is None:
        return
    if not replacement.another_answers(config):
        raise SmokeTestFailed(
            f"SageMaker could not host {version}: {why} {_HOW_TO_CONTINUE.format(version=version)}",
            blames_version=False,
        )
    hosting_state.record_tried({**state.tried, refused: short})


def _ask(version: str, prompt: str) -> EndpointAnswer:
    request = {
        "model": version,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": _TOKENS,
        "temperature": 0.7,
        "seed": 7,
    }
    name = environment.read(environment.Hosting).endpoint_name
    try:
        response = clients.sagemaker_runtime().invoke_endpoint(
            EndpointName=name, ContentType="application/json", Body=json.dumps(request).encode()
        )
        answer = json.loads(response["Body"].read())
        choice = answer["choices"][0]
        return EndpointAnswer(
            model=str(answer["model"]),
            text=str(choice["message"]["content"] or ""),
            stopped=choice["finish_reason"] == "stop",
        )
    except ClientError as error:
        raise SmokeTestFailed(f"{version} gave an error: {error.response['Error']['Message']}") from error
    except (LookupError, TypeError, ValueError) as error:
        raise SmokeTestFailed(f"{version} did not answer in the form of a chat completion.") from error


def _restore_live(version: str, why: str) -> None:
    live = versions.live()
    hosting_state.clear_refusals()
    if live is None:
        endpoint.delete()
        hosting_state.mark_failing(f"{version} did not pass its smoke test: {why}")
        return
    before = endpoint.describe()
    instance = instances.current_or_default_instance(before.config if before else None)
    config = endpoint_configs.ensure_config(live.bundle_uri, instance)
    progress = endpoint.converge(config)
    if progress.state == "failed" and instances.shortage(progress.message) == "quota":
        # There is no second instance for the live version beside the one that did not pass.
        endpoint.delete()
    found = endpoint.describe()
    if found is not None and found.answers:
        hosting_state.mark_awake(live.version, config)
    else:
        hosting_state.mark_waking(live.version, config)
    log.warning("Restored the live version", extra={"version": live.version, "progress": progress.message})
