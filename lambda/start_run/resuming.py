"""Plan how a failed run is resumed, or explain why it cannot be."""

from typing import Any, NamedTuple

from contracts import environment, s3_keys, statuses
from shared.aws import clients
from shared.items import Run
from shared.models import versions
from shared.recovery import attempts, failures
from shared.recovery.failures import FailedState
from shared.runs import run_records
from shared.spending import run_costs

_NEW_RUN = "Start a new run instead: storyloom start."


class CannotResume(Exception):  # noqa: N818 - the text is a whole sentence for a person
    """This run cannot be resumed."""


class Resumption(NamedTuple):
    """A new execution of a run that failed."""

    execution_name: str
    state: str
    """The state at which it continues."""
    data: dict[str, Any]
    """Its input, without the run's id and the reason."""
    job_names: dict[str, str]
    """Fields of the run's record with the names of the jobs that will run."""


def plan(run_id: str) -> Resumption:
    """Plan how a failed run is resumed. Changes nothing.

    Raises:
        CannotResume: the run did not fail, failed before anything was paid for, or its results are deleted or
            incompatible with the settings.
    """
    run = run_records.get(run_id)
    if run is None:
        raise CannotResume(f"There is no run {run_id}: storyloom runs lists the runs.")
    if run.is_active:
        raise CannotResume(f"Run {run_id} is in progress: it has not failed.")
    if run.status != statuses.FAILED:
        raise CannotResume(f"Run {run_id} did not fail: it ended as {run.status}. {_NEW_RUN}")
    failed = failures.failed_state(run.execution_arn) if run.execution_arn else None
    if failed is None:
        raise CannotResume(
            f"Run {run_id} failed in {run.step or 'its first step'} and has no results to continue with. "
            f"{_NEW_RUN}"
        )
    _require_the_same_base(run_id, failed)
    _require_what_was_made(run, failed)
    number = run.attempt + 1
    data = {**_with_fresh_names(run_id, failed), "resume": {"state": failed.resumes_at}}
    names = _job_names(failed.name, data["assembled"]["jobs"]) if "assembled" in data else {}
    return Resumption(f"{run_id}-{number}", failed.resumes_at, data, names)


def reserve_resumption(planned: Resumption) -> None:
    """Reserve the most that the resumed job can cost, or check that the month's limit allows the run.

    Raises:
        SpendingRefused: the run stays as it is, and can be resumed later.
    """
    if planned.state in {"ChooseBest", "Evaluate"}:
        run_costs.reserve_evaluation(planned.data["assembled"]["jobs"])
    elif planned.state == "Preflight":
        run_costs.require_budget_for_run(float(planned.data["assembled"]["estimate"]["training_minutes"]))
    else:
        run_costs.require_budget_for_start()


def _job_names(failed: str, jobs: dict[str, Any]) -> dict[str, str]:
    if failed == "Tune":
        return {"tuning_job": jobs["tuning"]["job_name"]}
    if failed == "Train":
        return {"training_job": jobs["training_job_name"]}
    return {"processing_job": jobs["processing_job_name"]} if failed == "Evaluate" else {}


def _with_fresh_names(run_id: str, failed: FailedState) -> dict[str, Any]:
    """Give the failed job a new name, which SageMaker never accepts twice, and the settings' instances."""
    kept = failed.kept
    if "assembled" not in kept:
        return kept
    jobs = kept["assembled"]["jobs"]
    instances = environment.read(environment.EvaluationInstances).processing_instances
    number = jobs["evaluation_attempt"] + (failed.name == "Evaluate")
    jobs = attempts.evaluation_attempt(run_id, jobs, number, instances)
    if failed.name == "Train":
        jobs = attempts.training_attempt(run_id, jobs, jobs["training_attempt"] + 1)
    if failed.name == "Tune":
        jobs = attempts.search_attempt(run_id, jobs, jobs["tuning"]["attempt"] + 1)
    # Resuming a run is itself the approval.
    return {**kept, "assembled": {**kept["assembled"], "jobs": jobs, "ask_before_training": False}}


def _require_the_same_base(run_id: str, failed: FailedState) -> None:
    common = environment.common()
    base = s3_keys.uri(
        common.artifacts_bucket, s3_keys.base_model(common.base_model.slug, common.base_model.revision)
    )
    if "registered" in failed.kept:
        return  # `_require_deployable` checks the version's base model
    if base not in [one["S3Input"]["S3Uri"] for one in failed.kept["assembled"]["jobs"]["processing_inputs"]]:
        raise CannotResume(
            f"Run {run_id} trained another base model than the one that is set now ({common.base_model.id}). "
            f"Set base_model and base_model_revision back and deploy, or start a new run: storyloom start."
        )


def _require_what_was_made(run: Run, failed: FailedState) -> None:
    if "registered" in failed.kept:
        _require_deployable(run, str(failed.kept["registered"]["version"]))
        return
    run_id, jobs = run.run_id, failed.kept["assembled"]["jobs"]
    needed = {
        "Preflight": s3_keys.examples(run_id, "train"),
        "ChooseBest": s3_keys.examples(run_id, "test"),
        "Evaluate": s3_keys.model_archive(run_id, jobs["training_job_name"]),
        "Gate": s3_keys.evaluation_json(run_id),
        "Register": s3_keys.adapter(run_id),
    }[failed.resumes_at]
    bucket = environment.common().artifacts_bucket
    if not clients.s3().list_objects_v2(Bucket=bucket, Prefix=needed, MaxKeys=1).get("KeyCount"):
        raise CannotResume(
            f"The results of run {run_id} are deleted: there is no s3://{bucket}/{needed}. {_NEW_RUN}"
        )


def _require_deployable(run: Run, version: str) -> None:
    model = versions.get(version)
    why = f"there is no version {version}" if model is None else versions.incompatibility_reason(model)
    if why is not None:
        raise CannotResume(f"Run {run.run_id} cannot continue its deployment: {why}")
