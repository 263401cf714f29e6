"""Proofs of the way from a dropped story to a registered version."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli.connection import TIMEOUT
from cli.errors import CommandError
from cli.progress import FINISHED
from cli.stories_folder import story_files
from cli.verify.outcome import NotProvenError, NotTriedError, Proof
from cli.verify.site_lines import allows_connection
from cli.verify.world import FOLDER, World

_PROBE = "This file was put here by storyloom verify, which takes it away again. It tells no story.\n"
_MINUTE = 60
_TRAINING_LOG = "/aws/sagemaker/TrainingJobs"
_TRIGGER_SECONDS = 15 * _MINUTE
"""How long a run may take to start once the bucket has been quiet."""
_BEFORE_TRAINING_SECONDS = 60 * _MINUTE
"""Reading, and copying the base model once."""


def prove_upload(world: World) -> Proof:
    """Send a story as the page's script would: by the presigned form, from the page's origin."""
    _require_rest(world)
    world.uploads_began = True
    if world.trains:
        files = [(path, f"{FOLDER}/{path.name}") for path, _ in story_files(world.stories)]
    else:
        files = [(Path(), f"{FOLDER}/probe.txt")]
    first, *others = files
    seen = _upload_as_a_browser(world, first[1], _content(first[0]))
    world.uploaded.append(first[1])
    for path, name in others:
        content = _content(path)
        world.say(f"uploading {name}")
        world.uploaded.append(world.api.upload(io.BytesIO(content), len(content), name))
    return Proof(f"{len(files)} files; {seen}")


def _require_rest(world: World) -> None:
    """Refuse to upload while a run of the user's own stories is due or in progress.

    Raises:
        NotTriedError: one is.
    """
    active = [run["run_id"] for run in world.api.runs() if run["status"] not in FINISHED]
    if active or world.find_timer():
        what = f"run {active[0]} is in progress" if active else "new stories are about to start a run"
        raise NotTriedError(f"Not tried, because {what}.", "Run storyloom verify again when it has ended.")


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.name else _PROBE.encode()


def _upload_as_a_browser(world: World, name: str, content: bytes) -> str:
    """Upload one file, and check what a browser would check; returns what was seen."""
    offer = httpx.post(
        f"{world.app.page_url}/api/stories",
        json={"name": name, "size": len(content)},
        headers=world.api.connection.headers,
        timeout=TIMEOUT,
    ).raise_for_status()
    form, origin = offer.json(), world.app.page_url
    host = urlsplit(form["url"]).netloc
    same_origin = host == urlsplit(origin).netloc
    if not same_origin and not allows_connection(world.policy, form["url"]):
        raise NotProvenError(
            f"The page's policy does not let a browser send to {host}, where the form leads."
        )
    sent = httpx.post(
        form["url"],
        data=form["fields"],
        files={"file": (name, content)},
        headers={"Origin": origin},
        timeout=TIMEOUT,
    )
    if sent.is_error or sent.is_redirect:
        raise NotProvenError(f"The bucket answered the form with {sent.status_code}: {sent.text[:200]}")
    allowed = sent.headers.get("access-control-allow-origin")
    if not same_origin and allowed not in {origin, "*"}:
        raise NotProvenError(
            f"The bucket does not let the page's origin read its answer (it allows {allowed})."
        )
    return (
        "the form leads to the page's own origin"
        if same_origin
        else "the bucket's regional host takes the form"
    )


def prove_trigger(world: World) -> Proof:
    """Wait for the run that the upload starts; a probe's run is stopped before it costs anything."""

    def new_run() -> dict[str, Any] | None:
        world.say("waiting until the bucket has been quiet, and a run starts")
        return next((run for run in world.api.runs() if run["run_id"] not in world.known_runs), None)

    patience = world.quiet_seconds + _TRIGGER_SECONDS
    run = world.wait(new_run, patience, "a run to start by itself")
    world.bill.count_jobs(run["run_id"])
    if world.trains:
        world.run_id = run["run_id"]
        return Proof("a run started by itself")
    return Proof(f"a run started by itself, and {_end(world, run['run_id'])} before anything was trained")


def _end(world: World, run_id: str) -> str:
    """End a run that an earlier version makes needless; returns how it ended, in words."""
    try:
        world.api.stop_run(run_id)
    except CommandError:
        if world.api.run(run_id)["status"] not in FINISHED:
            raise  # it had not ended by itself, for too little text

    def ended() -> dict[str, Any] | None:
        run = world.api.run(run_id)
        return run if run["status"] in FINISHED else None

    run = world.wait(ended, 10 * _MINUTE, "the run to stop")
    world.api.delete_story(world.uploaded.pop())
    return "was stopped" if run["status"] == "failed" else f"ended as {run['status']}"


def prove_dataset(world: World) -> Proof:
    """Look at the data report of the run."""
    run = _run_with(world, "report", _BEFORE_TRAINING_SECONDS, "the data report")
    link = run["report_url"]
    page = httpx.get(link, timeout=TIMEOUT)
    if page.status_code != httpx.codes.OK:
        raise NotProvenError(f"The link to the data report answered {page.status_code}.")
    return Proof(f"{run['stories']} stories, {run['words']:,} words; the link to the report opens")


def _run_with(world: World, field: str, seconds: float, waiting_for: str) -> dict[str, Any]:
    """Wait until the run's record has a field, and return the record.

    Raises:
        NotProvenError: the run ended without it, or it did not come within this time.
    """

    def run_if_it_has() -> dict[str, Any] | None:
        run = world.api.run(world.run_id)
        world.say(f"run {world.run_id}: {run.get('step') or 'starting'}")
        if run.get(field):
            return run
        if run["status"] in FINISHED:
            raise NotProvenError(f"The run ended as {run['status']}: {run.get('message')}")
        return None

    return world.wait(run_if_it_has, seconds, waiting_for)


def prove_training(world: World) -> Proof:
    """Follow the run until its training job has ended, and read SageMaker's description of the job."""

    def trained() -> dict[str, Any] | None:
        run = world.api.run(world.run_id)
        job = _job_of(world, run)
        world.say(f"run {world.run_id}: {run.get('step') or ''} {_pace(run)}".rstrip())
        if job is not None:
            world.checkpoints = max(world.checkpoints, _checkpoints(world, job))
            if job["TrainingJobStatus"] == "Completed":
                return job
        if run["status"] in FINISHED:
            if not world.trains:
                raise NotTriedError(
                    f"SageMaker no longer has the training job of run {world.run_id}: it went with an "
                    "earlier deployment of the app.",
                    "The next run that trains a version proves it; then run storyloom verify again.",
                )
            raise NotProvenError(f"The run ended as {run['status']}: {run.get('message')}")
        return None

    job = world.wait(trained, world.patience_seconds, "the training job")
    paid, ran = job.get("BillableTimeInSeconds", 0), job.get("TrainingTimeInSeconds", 0)
    kind = "spot capacity" if job.get("EnableManagedSpotTraining") else "capacity on demand (spot is off)"
    return Proof(f"{job['ResourceConfig']['InstanceType']} on {kind}: {paid} s billed of {ran} s")


def _pace(run: dict[str, Any]) -> str:
    progress = run.get("progress") or {}
    return f"step {progress['step']} of {progress['of']}" if progress.get("step") else ""


def _job_of(world: World, run: dict[str, Any]) -> dict[str, Any] | None:
    """Describe the training job of a run; None before it is there."""
    name = run.get("training_job")
    if not name:
        return None
    sagemaker = world.client("sagemaker")
    try:
        found: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
    except sagemaker.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":
            return None  # its name is known before it is made, and after it was deleted
        raise
    return found


def _checkpoints(world: World, job: dict[str, Any]) -> int:
    """Count the objects of a job's checkpoints."""
    uri = job.get("CheckpointConfig", {}).get("S3Uri")
    if not uri:
        return 0
    parts = urlsplit(uri)
    listed = world.client("s3").list_objects_v2(Bucket=parts.netloc, Prefix=parts.path.lstrip("/"))
    keys = [found["Key"] for found in listed.get("Contents", [])]
    return sum("/tensorboard/" not in key for key in keys)


def prove_checkpoint(world: World) -> Proof:
    """Prove that the job wrote checkpoints: while it trained by the bucket, for an earlier run by its log."""
    if world.checkpoints:
        return Proof(f"{world.checkpoints} objects below the job's checkpoint folder")
    job = world.api.run(world.run_id).get("training_job")
    pages = (
        world.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=_TRAINING_LOG, logStreamNamePrefix=f"{job}/", filterPattern='"checkpoint step="'
        )
    )
    written = [event["message"] for page in pages for event in page["events"]]
    if not written:
        raise NotProvenError("Neither the job's checkpoint folder nor its log has a checkpoint.")
    return Proof(f"{len(written)} written, by the job's log; they were deleted when the run had ended")


def prove_evaluation(world: World) -> Proof:
    """Wait for the evaluation's figures, and open its report."""
    run = _run_with(world, "tuned_perplexity", 3 * 60 * _MINUTE, "the evaluation")
    link = run.get("evaluation_url")
    if not link or httpx.get(link, timeout=TIMEOUT).status_code != httpx.codes.OK:
        raise NotProvenError("The link to the evaluation's report does not open.")
    lower = 100 * (1 - run["tuned_perplexity"] / run["base_perplexity"])
    seconds = sum(state["seconds"] for state in run["states"] if state["name"] == "Evaluate")
    return Proof(
        f"perplexity on stories it has not seen is {lower:.0f}% lower; {seconds:.0f} s; its report opens"
    )


def prove_registration(world: World) -> Proof:
    """Wait until the run has ended, and find its version in the Model Registry, with metrics."""

    def finished() -> dict[str, Any] | None:
        world.say(f"run {world.run_id}: waiting for the version to be registered and deployed")
        run = world.api.run(world.run_id)
        return run if run["status"] in FINISHED or run.get("version") else None

    run = world.wait(finished, 60 * _MINUTE, "the registration")
    if not run.get("version"):
        raise NotProvenError(f"The run ended as {run['status']}: {run.get('message')}")
    world.version = run["version"]
    sagemaker = world.client("sagemaker")
    packages = sagemaker.list_model_packages(
        ModelPackageGroupName=world.app.name, SortBy="CreationTime", SortOrder="Descending"
    )["ModelPackageSummaryList"]
    if not packages and not world.trains:
        raise NotTriedError(
            f"The model package group {world.app.name} is empty: its packages went with an earlier "
            "deployment of the app.",
            "The next run that trains a version proves it; then run storyloom verify again.",
        )
    if not packages:
        raise NotProvenError(f"The model package group {world.app.name} is empty.")
    newest = sagemaker.describe_model_package(ModelPackageName=packages[0]["ModelPackageArn"])
    if not newest.get("ModelMetrics"):
        raise NotProvenError("The newest model package has no metrics.")
    return Proof(f"{world.version}, {newest['ModelApprovalStatus']}, with its metrics")
