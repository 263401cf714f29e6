"""Sees a deployment through: waits, asks the new version a few things, makes it live or puts the old back."""

import json
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from contracts import environment
from shared import clock
from shared.aws import chat_stack, clients
from shared.hosting import endpoint, endpoint_configs, hosting_state, instances, replacement, rollback
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import run_records
from smoke_test.checks import EndpointAnswer, SmokeTestFailed, is_sound, judge

log = Logger(service="smoke_test")

_GIVE_UP_SECONDS = 45 * 60
_HOW_TO_GO_ON = (
    "The version is kept as it is and nothing is trained again: storyloom models activate {version} "
    "deploys it."
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
"""For a base without chats, which goes on with what it is given."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look once at the deployment; the state machine calls again until it has passed.

    Args:
        event: `{"run_id", "deployment": {"version", "bundle_uri", "merged", "endpoint_config",
            "started_at"}}`.
        context: Lambda's.

    Returns:
        `{"status": "waiting" or "passed", "message"}`

    Raises:
        SmokeTestFailed: after the version that was live was put back.
    """
    run_id, deployment = event["run_id"], event["deployment"]
    version = deployment["version"]
    candidate = versions.get(version)
    if candidate is None:
        raise SmokeTestFailed(f"{version} is not registered.")
    if not _has_endpoint_manager(run_id):
        return _withdraw(run_id, version)
    config = _config_now(deployment)
    try:
        message = _look(candidate, deployment, config)
    except SmokeTestFailed as failure:
        if failure.blames_version:
            versions.set_status(version, "failed")
        _put_back(version, str(failure))
        raise
    except _NotReadyYet as waiting:
        run_records.enter(run_id, "SmokeTest", str(waiting))
        return {"status": "waiting", "message": str(waiting)}
    pointer = versions.make_live(candidate, deployment["bundle_uri"], merged=bool(deployment.get("merged")))
    hosting_state.mark_awake(version, config)
    facts = {"version": version, "adapter_sha256": pointer.adapter_sha256}
    run_records.enter(run_id, "Announce", message, **facts)
    log.info(message, extra={"run_id": run_id, **facts})
    return {"status": "passed", "message": message}


def _has_endpoint_manager(run_id: str) -> bool:
    """Whether something puts the endpoint to sleep. If that cannot be read, the next look asks again."""
    try:
        return chat_stack.is_deployed()
    except (ClientError, BotoCoreError) as error:
        log.warning("Could not see the Chat stack", extra={"run_id": run_id}, exc_info=error)
        return True


def _withdraw(run_id: str, version: str) -> dict[str, Any]:
    """Delete the endpoint, because the Chat stack has gone since it was asked for.

    Raises:
        SmokeTestFailed: once SageMaker has taken the deletion.
    """
    if not endpoint.delete():
        message = "The Chat stack is gone. The endpoint is deleted as soon as SageMaker allows it."
        run_records.enter(run_id, "SmokeTest", message)
        return {"status": "waiting", "message": message}
    hosting_state.mark_deleted()
    raise SmokeTestFailed(chat_stack.deployment_refusal(version), blames_version=False)


def _config_now(deployment: dict[str, Any]) -> str:
    """Return the configuration to deploy: the run's, or where there is none of its machine the next one's."""
    config, tried = str(deployment["endpoint_config"]), hosting_state.state().tried
    instance = instances.next_instance(tried)
    if instance is None or endpoint_configs.instance_of(config) not in tried:
        return config
    return endpoint_configs.ensure_config(deployment["bundle_uri"], instance)


class _NotReadyYet(Exception):  # noqa: N818 - a signal to look again, not an error
    """The endpoint does not host the version yet; the text says what it waits for."""


def _look(candidate: ModelVersion, deployment: dict[str, Any], config: str) -> str:
    """Return what the test saw.

    Raises:
        _NotReadyYet: while the endpoint is not ready.
        SmokeTestFailed: if it never will be, or the version does not answer well.
    """
    version = candidate.version
    if replacement.is_needed(config):
        _check_the_time(version, deployment)
        phase = replacement.advance(version, config, deployment["started_at"])
        raise _NotReadyYet(replacement.describe_phase(phase, version, config))
    if endpoint.describe() is None and hosting_state.state().status != "waking":
        # Also where the endpoint manager had to delete it meanwhile: it is awaited, and not to be tidied
        # away.
        hosting_state.clear_refusals()
        hosting_state.mark_waking(version, config)
    progress = endpoint.converge(config, watched=True)
    if progress.unpaid:
        raise SmokeTestFailed(
            f"{progress.message} {_HOW_TO_GO_ON.format(version=version)}", blames_version=False
        )
    if progress.state == "failed":
        _fall_back_to_next_machine(version, deployment, config, progress.message)
    elif progress.state == "waiting":
        _check_the_time(version, deployment)
        # It is not put to sleep while it changes.
        hosting_state.touch(at_once=True)
    if progress.state != "ready":
        raise _NotReadyYet(f"Waiting for the endpoint to host {version}.")
    return _judge_answers(version)


def _check_the_time(version: str, deployment: dict[str, Any]) -> None:
    state = hosting_state.state()
    # From when the endpoint began to be made for it: it may have waited for a quiet moment before.
    began = state.since if state.status == "waking" and state.version == version else None
    give_up = _GIVE_UP_SECONDS + rollback.watch_seconds()
    if clock.seconds_since(began or deployment["started_at"]) <= give_up:
        return
    live = versions.live()
    if began is None and live is not None and state.tried:
        raise SmokeTestFailed(
            f"There was no second instance for {version} within {give_up // 60} minutes, and {live.version} "
            f"goes on answering. {_HOW_TO_GO_ON.format(version=version)}",
            blames_version=False,
        )
    raise SmokeTestFailed(f"The endpoint did not take {version} within {give_up // 60} minutes.")


def _judge_answers(version: str) -> str:
    answers: list[EndpointAnswer] = []
    for prompt in _PROMPTS if environment.common().base_model.chat else _BEGINNINGS:
        answers.append(_ask(version, prompt))
        if is_sound(answers[-1]):
            break
    return judge(version, answers)


def _fall_back_to_next_machine(version: str, deployment: dict[str, Any], config: str, reason: str) -> None:
    """Have the next look try another machine if there is none of this.

    Raises:
        SmokeTestFailed: if that is not why it failed, or no machine is left and nothing answers.
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
            f"SageMaker could not host {version}: {why} {_HOW_TO_GO_ON.format(version=version)}",
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


def _put_back(version: str, why: str) -> None:
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
        # There is no instance to start the live version beside the one that did not pass.
        endpoint.delete()
    found = endpoint.describe()
    if found is not None and found.answers:
        hosting_state.mark_awake(live.version, config)
    else:
        hosting_state.mark_waking(live.version, config)
    log.warning("Put the live version back", extra={"version": live.version, "progress": progress.message})
