"""Build the dataset of a run from what was read, report on it, and plan the jobs that follow."""

import tempfile
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from assemble import inputs, job_plan
from assemble.inputs import RunStories
from contracts import environment, s3_keys
from shared.aws import clients
from shared.runs import run_records
from shared.spending import prices, run_costs
from stories.dataset import training_plan
from stories.dataset.assembly import EXAMPLES_FILE, LEDGER_FILE
from stories.dataset.assembly import assemble as assemble_dataset
from stories.dataset.time_budget import DatasetTimeBudget
from stories.records import PARTS
from stories.report.data_report import DataReport
from stories.report.report_page import report_to_html

log = Logger(service="assemble")

_RESERVE_SECONDS = 90
"""Time reserved for hashing and storing gigabytes of examples."""


class FilesLostError(Exception):
    """Files of the manifest are neither among the records nor among the rejects."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Write the dataset and its report, and plan the jobs.

    Args:
        event: `{"run_id", "begun"}`; `begun` is what `Begin` returned.
        context: Lambda's.

    Returns:
        `{"enough", "ask_before_training", "message", "words", "stories", "estimate", "tune", "jobs"}`;
        estimate and jobs as docs/contracts.md has them.

    Raises:
        FilesLostError: the report does not account for every file.
        LedgerUnreadableError: the ledger of the split was changed by hand.
        TimeBudgetExceededError: there is more to compare than a function has time for.
    """
    in_time = DatasetTimeBudget(context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS)
    run_id = event["run_id"]
    begun = event["begun"]
    run_records.enter(run_id, "Assemble", "Building the dataset.")
    common = environment.common()
    settings = environment.read(environment.Assembly)
    price = prices.usd_per_hour("training", settings.training_instance)
    chosen = training_plan.choose_recipe(common.base_model, settings.max_training_minutes)
    options = training_plan.dataset_options(run_id, common.base_model, settings, price)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        read = RunStories(common.artifacts_bucket, run_id)
        ledger = inputs.load_ledger(common.artifacts_bucket, run_id)
        report = assemble_dataset(read, options, folder, ledger, budget=in_time)
        report = report.model_copy(update={"files_from_cache": read.from_cache})
        _account_for(report, begun["files"])
        _publish(report, common.artifacts_bucket, folder)
        inputs.save_ledger(common.artifacts_bucket, (folder / LEDGER_FILE).read_bytes())
        jobs = job_plan.plan_jobs(common, settings, run_id, chosen, begun.get("live"), price=price)
        dataset_digest = inputs.training_digest(
            folder,
            common.base_model.id,
            settings.training_code_uri,
            jobs["hyperparameters"],
            settings.tune,
        )
    same = inputs.unchanged_message(dataset_digest) if report.enough and not begun.get("again") else None
    run_records.enter(
        run_id,
        "Assemble",
        report.verdict,
        files=report.files,
        files_from_cache=report.files_from_cache,
        stories=report.stories,
        words=report.words,
        dataset_digest=dataset_digest,
        unchanged=same is not None,
    )
    log.info("Assembled", extra={"run_id": run_id, "words": report.words, "enough": report.enough})
    if settings.tune:
        budget = run_costs.search_budget_usd(settings.tuning_budget_usd)
        settings = settings.model_copy(update={"tuning_budget_usd": budget})
    search = job_plan.plan_search(
        common, settings, run_id, jobs["hyperparameters"], report.training_minutes_estimate, price=price
    )
    return {
        "enough": report.enough and same is None,
        "ask_before_training": settings.ask_before_training,
        "message": same or report.verdict,
        "words": report.words,
        "stories": report.stories,
        "estimate": {
            "training_minutes": report.training_minutes_estimate,
            "cost_usd": report.cost_estimate_usd,
            "price_date": report.price_date,
        },
        "tune": search is not None,
        "jobs": {**jobs, "tuning": search},
    }


def _account_for(report: DataReport, files: int) -> None:
    if report.files != files:
        raise FilesLostError(
            f"The manifest has {files} files, but {report.files} were read or rejected. "
            "Look at the failed batches of the state Read, and start the run again."
        )


def _publish(report: DataReport, bucket: str, folder: Path) -> None:
    s3 = clients.s3()
    for part in PARTS:
        path = folder / part / EXAMPLES_FILE
        s3.upload_file(str(path), bucket, s3_keys.examples(report.run_id, part))
    s3.put_object(
        Bucket=bucket,
        Key=s3_keys.report(report.run_id),
        Body=report.model_dump_json(indent=2).encode(),
        ContentType="application/json",
    )
    s3.put_object(
        Bucket=bucket,
        Key=s3_keys.report_page(report.run_id),
        Body=report_to_html(report).encode(),
        ContentType="text/html; charset=utf-8",
    )
