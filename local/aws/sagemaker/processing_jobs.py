"""Processing jobs: CreateProcessingJob and its family."""

import os
from dataclasses import dataclass
from pathlib import Path

from local.aws.errors import in_use, invalid
from local.aws.sagemaker import job as jobs
from local.aws.sagemaker import simulated_clock
from local.aws.sagemaker.instance_holds import acquire_instances_for
from local.aws.sagemaker.job import PROCESSING, Job, JobFailed, JobStopped, write_json
from local.aws.sagemaker.job_process import start_folder
from local.aws.sagemaker.record_store import STORE, Record, public_members, sagemaker_arn
from local.aws.sagemaker.roles import require_trusted
from local.aws.sagemaker.transfer import S3Uri, download_prefix, upload_folder

PROCESSING_ROOT = "LOCAL_AWS_PROCESSING_ROOT"
"""Variable that stands for ``/opt/ml/processing``: SageMaker has none of its own for it."""

EXIT_MESSAGE_BYTES = 1024

_WORKING: dict[str, Job] = {}


def create_processing_job(request: Record) -> Record:
    """Answer CreateProcessingJob."""
    _check(request)
    name = request["ProcessingJobName"]
    now = simulated_clock.current_time()
    record = {
        **{key: value for key, value in request.items() if key != "Tags"},
        "ProcessingJobArn": sagemaker_arn("processing-job", name),
        "ProcessingJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    if not STORE.add("processing-job", name, record):
        raise in_use(
            "Job name must be unique within an AWS account and region, and a processing job with this name "
            f"already exists ({sagemaker_arn('processing-job', name)})"
        )
    cluster = request["ProcessingResources"]["ClusterConfig"]
    instances = cluster["InstanceType"], "processing job", cluster["InstanceCount"]
    hold = acquire_instances_for("processing-job", name, *instances)
    STORE.tag(sagemaker_arn("processing-job", name), request.get("Tags", []))
    work = Job(PROCESSING, name, start_folder("processing", name), request["RoleArn"], [], {}, hold)
    _WORKING[name] = work
    work.start(lambda started: _Processing(started, request).run())
    return {"ProcessingJobArn": sagemaker_arn("processing-job", name)}


def describe_processing_job(request: Record) -> Record:
    """Answer DescribeProcessingJob."""
    return public_members(_get(request["ProcessingJobName"]))


def stop_processing_job(request: Record) -> Record:
    """Answer StopProcessingJob."""
    name = request["ProcessingJobName"]
    jobs.require_in_progress("processing job", _get(name)["ProcessingJobStatus"])
    STORE.update("processing-job", name, ProcessingJobStatus="Stopping")
    _WORKING[name].stop()
    return {}


def delete_processing_job(request: Record) -> Record:
    """Answer DeleteProcessingJob."""
    name = request["ProcessingJobName"]
    return jobs.delete_ended("processing-job", name, str(_get(name)["ProcessingJobStatus"]))


def summarize_processing_job(record: Record) -> Record:
    """Return one entry of ListProcessingJobs."""
    keys = (
        "ProcessingJobName ProcessingJobArn CreationTime ProcessingEndTime LastModifiedTime "
        "ProcessingJobStatus FailureReason ExitMessage"
    )
    return {key: record[key] for key in keys.split() if key in record}


def _get(name: str) -> Record:
    record = STORE.get("processing-job", name)
    if record is None:
        raise invalid(f"Could not find requested job with name: {name}")
    return record


def _check(request: Record) -> None:
    """Refuse what SageMaker would refuse although its service model allows it."""
    if not request["AppSpecification"].get("ContainerEntrypoint"):
        raise invalid(
            "On this machine a processing job needs AppSpecification.ContainerEntrypoint: "
            "there is no image whose own entrypoint could be run."
        )
    if request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] != 1:
        raise invalid("On this machine a processing job has one instance: set InstanceCount to 1.")
    for item in [*request.get("ProcessingInputs", []), *_outputs(request)]:
        place = item.get("S3Input") or item.get("S3Output")
        name = item.get("InputName") or item.get("OutputName")
        if place is None:
            raise invalid(f"On this machine {name} must be in S3.")
        if not str(place.get("LocalPath", "")).startswith("/opt/ml/processing"):
            raise invalid(f"LocalPath of {name} must be a path under /opt/ml/processing.")
        try:
            S3Uri.parse(place["S3Uri"])
        except ValueError as error:
            raise invalid(f"The S3 URI {place['S3Uri']} of {name} is not valid") from error
    require_trusted(request["RoleArn"])


def _outputs(request: Record) -> list[Record]:
    return list(request.get("ProcessingOutputConfig", {}).get("Outputs", []))


@dataclass
class _Processing:
    """The life of one job."""

    job: Job
    request: Record

    def run(self) -> None:
        try:
            self._download()
            self._configure()
            started = simulated_clock.current_time()
            self.job.update(ProcessingStartTime=started)
            application = self.request["AppSpecification"]
            stopping = self.request.get("StoppingCondition", {})
            ended = self.job.run_container(
                [*application["ContainerEntrypoint"], *application.get("ContainerArguments", [])],
                self._environment(),
                stopping.get("MaxRuntimeInSeconds", 86400),
                lambda: None,
            )
            self.job.update(ProcessingEndTime=simulated_clock.current_time(), **self._exit_message())
            if ended.stopped_by:
                raise JobStopped(ended.stopped_by)
            if ended.exit_code != 0:
                raise JobFailed("AlgorithmError: See job logs for more information")
            self._upload()
            self.job.finish("Completed")
        except (JobFailed, JobStopped):
            self.job.update(ProcessingEndTime=simulated_clock.current_time())
            raise
        finally:
            _WORKING.pop(self.job.name, None)

    def _download(self) -> None:
        for item in self.request.get("ProcessingInputs", []):
            self.job.check_stop()
            uri = S3Uri.parse(item["S3Input"]["S3Uri"])
            try:
                count = download_prefix(self.job.clients.s3, uri, self._path(item["S3Input"]["LocalPath"]))
            except jobs.DATA_ERRORS as error:
                raise jobs.data_error(f"Data download of {uri} (input {item['InputName']})", error) from error
            if count == 0:
                raise JobFailed(
                    f'ClientError: No S3 objects found under S3 URL "{uri}" (input {item["InputName"]})'
                )

    def _configure(self) -> None:
        for output in _outputs(self.request):
            self._path(output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
        config = self.job.root / "config"
        write_json(config / "resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
        arn_of_job = {"ProcessingJobArn": sagemaker_arn("processing-job", self.job.name)}
        write_json(config / "processingjobconfig.json", {**arn_of_job, **self.request})

    def _environment(self) -> dict[str, str]:
        isolated = self.request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
        return {
            **jobs.job_environment(self.job.clients, isolated),
            "PROCESSING_JOB_NAME": self.job.name,
            PROCESSING_ROOT: str(self.job.root / "processing"),
            "SM_NUM_CPUS": str(os.cpu_count() or 1),
            "SM_NUM_GPUS": "0",
            **self.request.get("Environment", {}),
        }

    def _upload(self) -> None:
        for output in _outputs(self.request):
            uri = S3Uri.parse(output["S3Output"]["S3Uri"])
            try:
                upload_folder(self.job.clients.s3, self._path(output["S3Output"]["LocalPath"]), uri)
            except jobs.DATA_ERRORS as error:
                raise jobs.data_error(f"Upload of {output['OutputName']} to {uri}", error) from error

    def _exit_message(self) -> dict[str, str]:
        """Return the first kilobyte of ``/opt/ml/output/message``, which must be UTF-8."""
        message = self.job.root / "output" / "message"
        if not message.exists():
            return {}
        content = message.read_bytes()
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise JobFailed("ClientError: The exit message is not UTF-8 encoded.") from error
        return {"ExitMessage": content[:EXIT_MESSAGE_BYTES].decode(errors="ignore")}

    def _path(self, container_path: str) -> Path:
        return self.job.root / container_path.removeprefix("/opt/ml/")
