"""Training jobs: CreateTrainingJob and its family."""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.aws.errors import in_use, invalid
from local.aws.sagemaker import job as jobs
from local.aws.sagemaker import simulated_clock
from local.aws.sagemaker.instance_holds import acquire_instances_for, training_instances
from local.aws.sagemaker.job import TRAINING, Job, JobFailed, JobStopped, write_json
from local.aws.sagemaker.job_process import Ended, start_folder, translate
from local.aws.sagemaker.record_store import STORE, Record, public_members, sagemaker_arn
from local.aws.sagemaker.telemetry import MetricDefinition
from local.aws.sagemaker.training_request import (
    CODE_FOLDER,
    SPOT_INTERRUPTION_TAG,
    check_training_request,
    entrypoint,
    failure_reason,
    submit_directory,
)
from local.aws.sagemaker.transfer import (
    FolderSync,
    S3Uri,
    download_prefix,
    remove_folder,
    unpack_archives,
    upload_archive,
    upload_folder,
)

_WORKING: dict[str, Job] = {}


def create_training_job(request: Record) -> Record:
    """Answer CreateTrainingJob."""
    check_training_request(request)
    name = request["TrainingJobName"]
    now = simulated_clock.current_time()
    record = {
        **{key: value for key, value in request.items() if key != "Tags"},
        "TrainingJobArn": sagemaker_arn("training-job", name),
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [],
        "CreationTime": now,
        "LastModifiedTime": now,
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": request.get("EnableInterContainerTrafficEncryption", False),
        "EnableManagedSpotTraining": request.get("EnableManagedSpotTraining", False),
        "ProfilingStatus": "Disabled",
    }
    if not STORE.add("training-job", name, record):
        raise in_use(
            "Job name must be unique within an AWS account and region, and a training job with this name "
            f"already exists ({sagemaker_arn('training-job', name)})"
        )
    hold = acquire_instances_for("training-job", name, *training_instances(request))
    STORE.tag(sagemaker_arn("training-job", name), request.get("Tags", []))
    work = Job(
        TRAINING,
        name,
        start_folder("training", name),
        request["RoleArn"],
        [
            MetricDefinition(definition["Name"], re.compile(definition["Regex"]))
            for definition in request["AlgorithmSpecification"].get("MetricDefinitions", [])
        ],
        {"TrainingJobName": name},
        hold,
    )
    _WORKING[name] = work
    interrupt = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}.get(SPOT_INTERRUPTION_TAG, "")
    work.start(lambda started: _Training(started, request, interrupt).run())
    return {"TrainingJobArn": sagemaker_arn("training-job", name)}


def describe_training_job(request: Record) -> Record:
    """Answer DescribeTrainingJob."""
    return public_members(_get(request["TrainingJobName"]))


def stop_training_job(request: Record) -> Record:
    """Answer StopTrainingJob."""
    name = request["TrainingJobName"]
    jobs.require_in_progress("training job", _get(name)["TrainingJobStatus"])
    STORE.update("training-job", name, TrainingJobStatus="Stopping", SecondaryStatus="Stopping")
    _WORKING[name].stop()
    return {}


def delete_training_job(request: Record) -> Record:
    """Answer DeleteTrainingJob."""
    name = request["TrainingJobName"]
    return jobs.delete_ended("training-job", name, str(_get(name)["TrainingJobStatus"]))


def summarize_training_job(record: Record) -> Record:
    """Return one entry of ListTrainingJobs."""
    keys = (
        "TrainingJobName TrainingJobArn CreationTime TrainingEndTime LastModifiedTime "
        "TrainingJobStatus SecondaryStatus"
    )
    return {key: record[key] for key in keys.split() if key in record}


def _get(name: str) -> Record:
    record = STORE.get("training-job", name)
    if record is None:
        raise invalid("Requested resource not found.")
    return record


def _typed(text: str) -> object:
    """Parse a hyperparameter as the toolkit does: as JSON if it is valid JSON, else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


_INTERRUPTED = "Interrupted"
"""SageMaker's secondary status of a job whose spot instance was reclaimed."""


@dataclass
class _Training:
    """The life of one job, in SageMaker's order."""

    job: Job
    request: Record
    interrupt_after: str = ""
    """Interrupt the spot instance at a log line that begins so; empty for never."""
    checkpoints: FolderSync | None = None
    _seconds: float = 0.0
    """Training time of all instances so far."""

    def run(self) -> None:
        try:
            ended = self._attempt()
            while ended.stopped_by == _INTERRUPTED:
                self._move()
                ended = self._attempt()
            if ended.exit_code != 0 and not ended.stopped_by:
                raise JobFailed(
                    failure_reason(self.request, self._output / "failure", ended.exit_code, ended.last_lines)
                )
            # Whatever a stopped job has written is kept too, as SageMaker does.
            self._enter("Uploading", "Uploading generated training model")
            self._upload()
            if ended.stopped_by:
                raise JobStopped(ended.stopped_by)
            self._close_transition()
            self.job.finish("Completed", SecondaryStatus="Completed", **self._final_metrics())
        except JobFailed:
            self._push_checkpoints()
            self._close_transition()
            self.job.update(
                SecondaryStatus="Failed",
                TrainingEndTime=simulated_clock.current_time(),
                **self._final_metrics(),
            )
            raise
        except JobStopped:
            self._close_transition()
            self.job.update(TrainingEndTime=simulated_clock.current_time(), **self._final_metrics())
            raise
        finally:
            _WORKING.pop(self.job.name, None)

    def _attempt(self) -> Ended:
        """Run the job on one instance, until its process ends."""
        self._enter("Downloading", "Downloading input data")
        self._download()
        self._configure()
        self.job.check_stop()
        self._enter("Training", "Training image download completed. Training in progress.")
        started = simulated_clock.current_time()
        if not self._seconds:
            self.job.update(TrainingStartTime=started)
        if self.interrupt_after:
            self.job.interrupt_at(self.interrupt_after, _INTERRUPTED)
            self.interrupt_after = ""
        longest = self.request["StoppingCondition"].get("MaxRuntimeInSeconds", 86400)
        ended = self.job.run_container(
            entrypoint(self.request),
            self._environment(),
            max(1, round(longest - self._seconds)),
            self._tick,
            # The toolkit runs the script, and forwards no signals.
            receives_sigterm=not submit_directory(self.request),
        )
        self._keep_times(started)
        return ended

    def _move(self) -> None:
        """Move to another spot instance, with the files that have reached S3."""
        self._push_checkpoints()
        self._enter(_INTERRUPTED, "Training job interrupted: the spot capacity was reclaimed.")
        remove_folder(self.job.root)
        self.job.root.mkdir(parents=True)
        self.job.check_stop()
        self._enter("Starting", "Launching requested ML instances")

    def _enter(self, status: str, message: str) -> None:
        self._close_transition()
        record = STORE.get("training-job", self.job.name) or {}
        transitions = record.get("SecondaryStatusTransitions", [])
        transitions.append(
            {"Status": status, "StartTime": simulated_clock.current_time(), "StatusMessage": message}
        )
        self.job.update(SecondaryStatus=status, SecondaryStatusTransitions=transitions)

    def _close_transition(self) -> None:
        record = STORE.get("training-job", self.job.name) or {}
        transitions = record.get("SecondaryStatusTransitions", [])
        if transitions:
            transitions[-1].setdefault("EndTime", simulated_clock.current_time())
            STORE.update("training-job", self.job.name, SecondaryStatusTransitions=transitions)

    def _download(self) -> None:
        for channel in self.request.get("InputDataConfig", []):
            self.job.check_stop()
            uri = S3Uri.parse(channel["DataSource"]["S3DataSource"]["S3Uri"])
            folder = self._data / channel["ChannelName"]
            try:
                count = download_prefix(self.job.clients.s3, uri, folder)
            except jobs.DATA_ERRORS as error:
                raise jobs.data_error(
                    f"Data download of {uri} (channel {channel['ChannelName']})", error
                ) from error
            if count == 0:
                raise JobFailed(
                    f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source'
                )
            if channel.get("CompressionType") == "Gzip":
                unpack_archives(folder)
        self._fetch_checkpoints()

    def _fetch_checkpoints(self) -> None:
        config = self.request.get("CheckpointConfig")
        if not config:
            return
        self._checkpoint_folder.mkdir(parents=True, exist_ok=True)
        self.checkpoints = FolderSync(
            self.job.clients.s3, self._checkpoint_folder, S3Uri.parse(config["S3Uri"])
        )
        try:
            self.checkpoints.fetch()
        except jobs.DATA_ERRORS as error:
            raise jobs.data_error(f"Checkpoint download of {config['S3Uri']}", error) from error

    def _configure(self) -> None:
        config = self.job.root / "input" / "config"
        for folder in (self._model, self._output / "data", self._checkpoint_folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(config / "hyperparameters.json", self.request.get("HyperParameters", {}))
        write_json(
            config / "resourceconfig.json",
            jobs.resource_config(self.request["ResourceConfig"]["InstanceType"]),
        )
        write_json(
            config / "inputdataconfig.json",
            {
                channel["ChannelName"]: {
                    "TrainingInputMode": "File",
                    "S3DistributionType": "FullyReplicated",
                    "RecordWrapperType": "None",
                    "ContentType": channel.get("ContentType", ""),
                }
                for channel in self.request.get("InputDataConfig", [])
            },
        )

        if source := submit_directory(self.request):
            self._copy_code(Path(translate(source, self.job.root)))

    def _copy_code(self, source: Path) -> None:
        """Copy the submitted folder to the one in which the toolkit runs it."""
        try:
            shutil.copytree(source, translate(CODE_FOLDER, self.job.root), dirs_exist_ok=True)
        except OSError as error:
            raise JobFailed(
                "AlgorithmError: the toolkit cannot read sagemaker_submit_directory: "
                f"{error.strerror}, exit code: 1"
            ) from error

    def _environment(self) -> dict[str, str]:
        # The script does not get the toolkit's own hyperparameters.
        hyperparameters = {
            name: value
            for name, value in self.request.get("HyperParameters", {}).items()
            if not name.startswith("sagemaker_")
        }
        channels = [channel["ChannelName"] for channel in self.request.get("InputDataConfig", [])]
        return {
            **jobs.job_environment(self.job.clients, self.request.get("EnableNetworkIsolation", False)),
            "TRAINING_JOB_NAME": self.job.name,
            "TRAINING_JOB_ARN": sagemaker_arn("training-job", self.job.name),
            "SM_MODEL_DIR": str(self._model),
            "SM_INPUT_DIR": str(self.job.root / "input"),
            "SM_INPUT_CONFIG_DIR": str(self.job.root / "input" / "config"),
            "SM_OUTPUT_DIR": str(self._output),
            "SM_OUTPUT_DATA_DIR": str(self._output / "data"),
            "SM_OUTPUT_FAILURE": str(self._output / "failure"),
            "SM_CHECKPOINT_DIR": str(self._checkpoint_folder),
            "SM_CHANNELS": json.dumps(channels),
            **{f"SM_CHANNEL_{name.upper()}": str(self._data / name) for name in channels},
            "SM_HPS": json.dumps({name: _typed(value) for name, value in hyperparameters.items()}),
            **{f"SM_HP_{name.upper()}": value for name, value in hyperparameters.items()},
            "SM_HOSTS": '["algo-1"]',
            "SM_CURRENT_HOST": "algo-1",
            "SM_NUM_GPUS": "0",
            "SM_NUM_CPUS": str(os.cpu_count() or 1),
            **self.request.get("Environment", {}),
        }

    def _tick(self) -> None:
        self._push_checkpoints(everything=False)
        STORE.update("training-job", self.job.name, **self._final_metrics())

    def _push_checkpoints(self, *, everything: bool = True) -> None:
        if not self.checkpoints:
            return
        try:
            self.checkpoints.push(everything=everything)
        except jobs.DATA_ERRORS as error:
            self.job.telemetry.line(str(jobs.data_error("Checkpoint upload", error)))

    def _upload(self) -> None:
        self._push_checkpoints()
        output = self.request["OutputDataConfig"]
        base = S3Uri.parse(output["S3OutputPath"]).child(f"{self.job.name}/output")
        s3 = self.job.clients.s3
        try:
            if output.get("CompressionType") == "NONE":
                upload_folder(s3, self._model, base.child("model"))
                upload_folder(s3, self._output / "data", base.child("data"))
                artifacts = f"{base.child('model')}/"
            else:
                upload_archive(s3, self._model, base.child("model.tar.gz"), self.job.root)
                if any((self._output / "data").iterdir()):
                    upload_archive(s3, self._output / "data", base.child("output.tar.gz"), self.job.root)
                artifacts = str(base.child("model.tar.gz"))
        except jobs.DATA_ERRORS as error:
            raise jobs.data_error(f"Upload of the model to {base}", error) from error
        self.job.update(
            ModelArtifacts={"S3ModelArtifacts": artifacts}, TrainingEndTime=simulated_clock.current_time()
        )

    def _keep_times(self, started: float) -> None:
        self._seconds += simulated_clock.current_time() - started
        seconds = max(1, round(self._seconds))
        self.job.update(TrainingTimeInSeconds=seconds, BillableTimeInSeconds=seconds)

    def _final_metrics(self) -> dict[str, Any]:
        found = self.job.telemetry.final_metrics
        return {
            "FinalMetricDataList": [
                {"MetricName": name, "Value": value, "Timestamp": when}
                for name, (value, when) in found.items()
            ]
        }

    @property
    def _data(self) -> Path:
        return self.job.root / "input" / "data"

    @property
    def _model(self) -> Path:
        return self.job.root / "model"

    @property
    def _output(self) -> Path:
        return self.job.root / "output"

    @property
    def _checkpoint_folder(self) -> Path:
        path = self.request.get("CheckpointConfig", {}).get("LocalPath", "/opt/ml/checkpoints")
        return self.job.root / str(path).removeprefix("/opt/ml/").lstrip("/")
