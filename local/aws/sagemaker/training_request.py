"""A CreateTrainingJob request: checks beyond the service model, its command, the reason of a failure."""

import re
from pathlib import Path

from local.aws.errors import invalid
from local.aws.sagemaker.job import REASON_CHARACTERS
from local.aws.sagemaker.record_store import Record
from local.aws.sagemaker.roles import require_trusted
from local.aws.sagemaker.transfer import S3Uri

SPOT_INTERRUPTION_TAG = "local:interrupt-spot-after"
"""Tag of a managed spot job: its instance is reclaimed once its log has a line that begins with the value."""
DEBUGGER = (
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "TensorBoardOutputConfig",
)
"""Members of SageMaker Debugger, which closed to new customers on 2026-07-30."""

_NAMES_AN_ERROR = re.compile(r"[A-Za-z]+(Error|Exception)")

CODE_FOLDER = "/opt/ml/code"
"""The folder in which the toolkit of SageMaker's framework images runs the script."""


def check_training_request(request: Record) -> None:
    """Refuse what SageMaker would refuse although its service model allows it."""
    algorithm = request.get("AlgorithmSpecification")
    for member in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if member not in request:
            raise invalid(f"{member} is required for this training job.")
    for member in DEBUGGER:
        if member in request:
            raise invalid(
                f"{member} is not supported for this account: Amazon SageMaker Debugger is no longer open to "
                "new customers."
            )
    if not algorithm or bool(algorithm.get("TrainingImage")) == bool(algorithm.get("AlgorithmName")):
        raise invalid("You must specify exactly one of TrainingImage and AlgorithmName.")
    entrypoint(request)
    for definition in algorithm.get("MetricDefinitions", []):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise invalid(f"Invalid regular expression in metric {definition['Name']}: {error}") from error
    _check_spot(request)
    _check_channels(request)
    require_trusted(request["RoleArn"])


def entrypoint(request: Record) -> list[str]:
    """Return the command that the container runs.

    A job that names none gets the image's own: the toolkit of SageMaker's framework images copies the folder
    `sagemaker_submit_directory` to `/opt/ml/code` and runs its script `sagemaker_program` there, with all
    other hyperparameters as its arguments.
    """
    algorithm = request["AlgorithmSpecification"]
    if algorithm.get("ContainerEntrypoint"):
        return [*algorithm["ContainerEntrypoint"], *algorithm.get("ContainerArguments", [])]
    given = {name: str(value) for name, value in request.get("HyperParameters", {}).items()}
    program = given.get("sagemaker_program", "").strip('"')
    if not submit_directory(request) or not program:
        raise invalid(
            "On this machine a training job needs AlgorithmSpecification.ContainerEntrypoint, or the "
            "hyperparameters sagemaker_submit_directory and sagemaker_program: there is no image whose own "
            "entrypoint could be run."
        )
    arguments = [
        word
        for name, value in sorted(given.items())
        if not name.startswith("sagemaker_")
        for word in (f"--{name}", value)
    ]
    return ["python3", f"{CODE_FOLDER}/{program}", *arguments]


def submit_directory(request: Record) -> str:
    """Return the folder whose script the toolkit runs; empty if the job names its command itself."""
    if request["AlgorithmSpecification"].get("ContainerEntrypoint"):
        return ""
    return str(request.get("HyperParameters", {}).get("sagemaker_submit_directory", "")).strip('"')


def failure_reason(request: Record, file: Path, exit_code: int, last_lines: str) -> str:
    """Return the first characters of ``/opt/ml/output/failure``, as SageMaker shows them.

    Without that file there is no reason but the exit code, unless the image's own toolkit ran the script:
    it then writes the file.
    """
    if file.exists():
        words = file.read_text(errors="replace")[:REASON_CHARACTERS]
    elif submit_directory(request):
        words, exit_code = _toolkit_words(request, exit_code, last_lines), 1
    else:
        words = ""
    return f"AlgorithmError: {words}, exit code: {exit_code}"[:REASON_CHARACTERS]


def _toolkit_words(request: Record, exit_code: int, last_lines: str) -> str:
    """Return what the toolkit writes into the failure file of a script that left none.

    It quotes the script's output from the first line on that names an error: of a killed script, nothing.
    """
    lines = last_lines.strip().splitlines()
    first = next((number for number, line in enumerate(lines) if _NAMES_AN_ERROR.search(line)), len(lines))
    quoted = "\n".join(lines[first:])
    text = (
        f'ExecuteUserScriptError:\nExitCode {exit_code}\nErrorMessage "{quoted}"\n'
        f'Command "{" ".join(entrypoint(request))}"'
    )
    return text[: REASON_CHARACTERS - 60]


def _check_spot(request: Record) -> None:
    stopping = request["StoppingCondition"]
    longest_wait = stopping.get("MaxWaitTimeInSeconds")
    runtime = stopping.get("MaxRuntimeInSeconds", 86400)
    if request.get("EnableManagedSpotTraining"):
        if longest_wait is None or longest_wait < runtime:
            raise invalid(
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
                "MaxRuntimeInSeconds"
            )
    elif longest_wait is not None:
        raise invalid("MaxWaitTimeInSeconds is only allowed when EnableManagedSpotTraining is true.")
    elif any(tag["Key"] == SPOT_INTERRUPTION_TAG for tag in request.get("Tags", [])):
        raise invalid(f"Only a job with EnableManagedSpotTraining can have the tag {SPOT_INTERRUPTION_TAG}.")


def _check_channels(request: Record) -> None:
    channels = request.get("InputDataConfig", [])
    names = [channel["ChannelName"] for channel in channels]
    if len(set(names)) != len(names):
        raise invalid("Channel names must be unique.")
    for channel in channels:
        source = channel["DataSource"].get("S3DataSource")
        if source is None or source["S3DataType"] != "S3Prefix":
            raise invalid(
                f"On this machine channel {channel['ChannelName']} must be an S3Prefix S3DataSource."
            )
        _uri(source["S3Uri"])
    if request["ResourceConfig"].get("InstanceCount", 1) != 1:
        raise invalid(
            "On this machine a training job has one instance: set ResourceConfig.InstanceCount to 1."
        )


def _uri(text: str) -> S3Uri:
    try:
        return S3Uri.parse(text)
    except ValueError as error:
        raise invalid(f"The S3 URI {text} is not valid") from error
