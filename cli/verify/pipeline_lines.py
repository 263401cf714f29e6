"""Proofs of the pipeline: from an uploaded story to a registered version."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli.api.connection import TIMEOUT
from cli.console import CommandError
from cli.stories_folder import story_files
from cli.verify.outcome import NotProvenError, Proof, SkippedError
from cli.verify.site_lines import allows_connection
from cli.verify.verification import FOLDER, Verification
from contracts import statuses
from contracts.resource_names import TRAINING_LOG
from contracts.statuses import FINAL_RUN_STATUSES

_PROBE = "storyloom verify uploaded this file and deletes it again. It is not a story.\n"
_MINUTE = 60
_TRIGGER_SECONDS = 15 * _MINUTE
"""How long a run may take to start after the quiet period."""
_BEFORE_TRAINING_SECONDS = 60 * _MINUTE
"""Reading, and copying the base model once."""


def prove_upload(verification: Verification) -> Proof:
    """Upload a story as the page's script does: with the presigned form, from the page's origin."""
    _require_idle(verification)
    verification.has_uploaded = True
    if verification.trains:
        files = [(path, f"{FOLDER}/{path.name}") for path, _ in story_files(verification.stories)]
    else:
        files = [(Path(), f"{FOLDER}/probe.txt")]
    first, *others = files
    seen = _upload_as_a_browser(verification, first[1], _content(first[0]))
    verification.uploaded.append(first[1])
    for path, name in others:
        content = _content(path)
        verification.show_progress(f"uploading {name}")
        verification.uploaded.append(verification.api.upload(io.BytesIO(content), len(content), name))
    return Proof(f"{len(files)} files; {seen}")


def _require_idle(verification: Verification) -> None:
    """Refuse to upload while a run of the user's own stories is scheduled or in progress.

    Raises:
        SkippedError: there is such a run.
    """
    active = [run["run_id"] for run in verification.api.runs() if run["status"] not in FINAL_RUN_STATUSES]
    if active or verification.find_schedule():
        what = f"run {active[0]} is in progress" if active else "new stories will start a run soon"
        raise SkippedError(f"Skipped, because {what}.", "Run storyloom verify again when it has ended.")


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.name else _PROBE.encode()


def _upload_as_a_browser(verification: Verification, name: str, content: bytes) -> str:
    """Upload one file, and check what a browser would check; return what was seen."""
    offer = httpx.post(
        f"{verification.app.page_url}/api/stories",
        json={"name": name, "size": len(content)},
        headers=verification.api.connection.headers,
        timeout=TIMEOUT,
    ).raise_for_status()
    form, origin = offer.json(), verification.app.page_url
    host = urlsplit(form["url"]).netloc
    same_origin = host == urlsplit(origin).netloc
    if not same_origin and not allows_connection(verification.policy, form["url"]):
        raise NotProvenError(
            f"The page's content security policy does not allow uploads to {host}, the address of the form."
        )
    sent = httpx.post(
        form["url"],
        data=form["fields"],
        files={"file": (name, content)},
        headers={"Origin": origin},
        timeout=TIMEOUT,
    )
    if sent.is_error or sent.is_redirect:
        raise NotProvenError(f"The bucket answered the upload with {sent.status_code}: {sent.text[:200]}")
    allowed = sent.headers.get("access-control-allow-origin")
    if not same_origin and allowed not in {origin, "*"}:
        raise NotProvenError(f"The bucket does not allow the page's origin (CORS; it allows {allowed}).")
    return "uploaded to the page's own origin" if same_origin else "uploaded to the bucket's regional host"


def prove_trigger(verification: Verification) -> Proof:
    """Wait for the run that the upload starts; the run of a probe is stopped before it costs anything."""

    def new_run() -> dict[str, Any] | None:
        verification.show_progress("waiting for the quiet period to end and a run to start")
        return next(
            (run for run in verification.api.runs() if run["run_id"] not in verification.known_runs), None
        )

    patience = verification.quiet_seconds + _TRIGGER_SECONDS
    run = verification.wait(new_run, patience, "a run to start by itself")
    verification.bill.count_jobs(run["run_id"])
    if verification.trains:
        verification.run_id = run["run_id"]
        return Proof("a run started by itself")
    return Proof(
        f"a run started by itself, and {_end(verification, run['run_id'])} before anything was trained"
    )


def _end(verification: Verification, run_id: str) -> str:
    """Stop the run of a probe; return how it ended."""
    try:
        verification.api.stop_run(run_id)
    except CommandError:
        if verification.api.run(run_id)["status"] not in FINAL_RUN_STATUSES:
            raise  # a run with too little text has ended by itself

    def ended() -> dict[str, Any] | None:
        run = verification.api.run(run_id)
        return run if run["status"] in FINAL_RUN_STATUSES else None

    run = verification.wait(ended, 10 * _MINUTE, "the run to stop")
    verification.api.delete_story(verification.uploaded.pop())
    return "was stopped" if run["status"] == statuses.FAILED else f"ended as {run['status']}"


def prove_dataset(verification: Verification) -> Proof:
    """Check the data report of the run."""
    run = _run_with(verification, "report", _BEFORE_TRAINING_SECONDS, "the data report")
    link = run["report_url"]
    page = httpx.get(link, timeout=TIMEOUT)
    if page.status_code != httpx.codes.OK:
        raise NotProvenError(f"The link to the data report answered {page.status_code}.")
    return Proof(f"{run['stories']} stories, {run['words']:,} words; the link to the report opens")


def _run_with(verification: Verification, field: str, seconds: float, waiting_for: str) -> dict[str, Any]:
    """Wait until the run's record has a field, and return the record.

    Raises:
        NotProvenError: the run ended without it, or the time is over.
    """

    def run_with_field() -> dict[str, Any] | None:
        run = verification.api.run(verification.run_id)
        verification.show_progress(f"run {verification.run_id}: {run.get('step') or 'starting'}")
        if run.get(field):
            return run
        if run["status"] in FINAL_RUN_STATUSES:
            raise NotProvenError(f"The run ended as {run['status']}: {run.get('message')}")
        return None

    return verification.wait(run_with_field, seconds, waiting_for)


def prove_training(verification: Verification) -> Proof:
    """Follow the run until its training job has ended, and read SageMaker's description of the job."""

    def trained() -> dict[str, Any] | None:
        run = verification.api.run(verification.run_id)
        job = _job_of(verification, run)
        verification.show_progress(
            f"run {verification.run_id}: {run.get('step') or ''} {_pace(run)}".rstrip()
        )
        if job is not None:
            verification.checkpoints = max(verification.checkpoints, _checkpoints(verification, job))
            if job["TrainingJobStatus"] == "Completed":
                return job
        if run["status"] in FINAL_RUN_STATUSES:
            if not verification.trains:
                raise SkippedError(
                    f"SageMaker no longer has the training job of run {verification.run_id}: it was deleted "
                    "with an earlier deployment of the app.",
                    "The next run that trains a version proves it; then run storyloom verify again.",
                )
            raise NotProvenError(f"The run ended as {run['status']}: {run.get('message')}")
        return None

    job = verification.wait(trained, verification.run_timeout_seconds, "the training job")
    paid, ran = job.get("BillableTimeInSeconds", 0), job.get("TrainingTimeInSeconds", 0)
    kind = "spot capacity" if job.get("EnableManagedSpotTraining") else "capacity on demand (spot is off)"
    return Proof(f"{job['ResourceConfig']['InstanceType']} on {kind}: {paid} s billed of {ran} s")


def _pace(run: dict[str, Any]) -> str:
    progress = run.get("progress") or {}
    return f"step {progress['step']} of {progress['of']}" if progress.get("step") else ""


def _job_of(verification: Verification, run: dict[str, Any]) -> dict[str, Any] | None:
    """Describe the training job of a run; None if there is none yet."""
    name = run.get("training_job")
    if not name:
        return None
    sagemaker = verification.client("sagemaker")
    try:
        found: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
    except sagemaker.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":
            return None  # the name is known before the job is created, and after it was deleted
        raise
    return found


def _checkpoints(verification: Verification, job: dict[str, Any]) -> int:
    """Count the objects of a job's checkpoints."""
    uri = job.get("CheckpointConfig", {}).get("S3Uri")
    if not uri:
        return 0
    parts = urlsplit(uri)
    listed = verification.client("s3").list_objects_v2(Bucket=parts.netloc, Prefix=parts.path.lstrip("/"))
    keys = [found["Key"] for found in listed.get("Contents", [])]
    return sum("/tensorboard/" not in key for key in keys)


def prove_checkpoint(verification: Verification) -> Proof:
    """Prove that the job wrote checkpoints: by the bucket while it trains, by its log for an earlier run."""
    if verification.checkpoints:
        return Proof(f"{verification.checkpoints} objects below the job's checkpoint folder")
    job = verification.api.run(verification.run_id).get("training_job")
    pages = (
        verification.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=TRAINING_LOG, logStreamNamePrefix=f"{job}/", filterPattern='"checkpoint step="'
        )
    )
    written = [event["message"] for page in pages for event in page["events"]]
    if not written:
        raise NotProvenError("Neither the job's checkpoint folder nor its log has a checkpoint.")
    return Proof(f"{len(written)} written, according to the job's log; they are deleted when a run ends")


def prove_evaluation(verification: Verification) -> Proof:
    """Wait for the evaluation's figures, and open its report."""
    run = _run_with(verification, "tuned_perplexity", 3 * 60 * _MINUTE, "the evaluation")
    link = run.get("evaluation_url")
    if not link or httpx.get(link, timeout=TIMEOUT).status_code != httpx.codes.OK:
        raise NotProvenError("The link to the evaluation's report does not open.")
    lower = 100 * (1 - run["tuned_perplexity"] / run["base_perplexity"])
    seconds = sum(state["seconds"] for state in run["states"] if state["name"] == "Evaluate")
    return Proof(f"perplexity on unseen stories is {lower:.0f}% lower; {seconds:.0f} s; its report opens")


def prove_registration(verification: Verification) -> Proof:
    """Wait until the run has ended, and find its version in the Model Registry, with metrics."""

    def finished() -> dict[str, Any] | None:
        verification.show_progress(
            f"run {verification.run_id}: waiting for the version to be registered and deployed"
        )
        run = verification.api.run(verification.run_id)
        return run if run["status"] in FINAL_RUN_STATUSES or run.get("version") else None

    run = verification.wait(finished, 60 * _MINUTE, "the registration")
    if not run.get("version"):
        raise NotProvenError(f"The run ended as {run['status']}: {run.get('message')}")
    verification.version = run["version"]
    sagemaker = verification.client("sagemaker")
    packages = sagemaker.list_model_packages(
        ModelPackageGroupName=verification.app.name, SortBy="CreationTime", SortOrder="Descending"
    )["ModelPackageSummaryList"]
    if not packages and not verification.trains:
        raise SkippedError(
            f"The model package group {verification.app.name} is empty: its packages were deleted with an "
            "earlier deployment of the app.",
            "The next run that trains a version proves it; then run storyloom verify again.",
        )
    if not packages:
        raise NotProvenError(f"The model package group {verification.app.name} is empty.")
    newest = sagemaker.describe_model_package(ModelPackageName=packages[0]["ModelPackageArn"])
    if not newest.get("ModelMetrics"):
        raise NotProvenError("The newest model package has no metrics.")
    return Proof(f"{verification.version}, {newest['ModelApprovalStatus']}, with its metrics")
