"""Makes the dataset of a run out of what was read, reports on it, and lays out the jobs that follow."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import TypeAdapter

from assemble import plan
from shared import aws, environment, layout, runs
from stories.dataset import Options
from stories.dataset import assemble as assemble_dataset
from stories.models import PARTS, DataReport, Record, Reject

log = Logger(service="assemble")

_LINE: TypeAdapter[Record | Reject] = TypeAdapter(Record | Reject)


class FilesLostError(Exception):
    """Files of the manifest are neither among the records nor among the rejects."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Write dataset and report, and name the jobs.

    Args:
        event: `{"run_id", "begun"}`, what `Begin` returned under the second.
        context: Lambda's.

    Returns:
        `{"enough", "message", "words", "stories", "jobs"}`; the jobs as docs/contracts.md has them.

    Raises:
        FilesLostError: where the report does not account for every file.
    """
    run_id = event["run_id"]
    begun = event["begun"]
    runs.enter(run_id, "Assemble", "Putting the dataset together.")
    common = environment.common()
    settings = environment.read(environment.Assembly)
    hyperparameters = plan.hyperparameters(common.base_model, settings.max_training_minutes)
    options = Options(
        run_id=run_id,
        chat=common.base_model.chat,
        sequence_length=hyperparameters.sequence_length,
        epochs=hyperparameters.epochs,
        minimum_words=settings.minimum_words,
        parameters_millions=common.base_model.parameters_millions,
        instance=settings.training_instance,
        most_minutes=settings.max_training_minutes,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        report = assemble_dataset(_lines(common.artifacts_bucket, run_id), options, folder)
        _account_for(report, begun["files"])
        _publish(report, common.artifacts_bucket, folder)
    runs.enter(
        run_id, "Assemble", report.verdict, files=report.files, stories=report.stories, words=report.words
    )
    log.info("Assembled", extra={"run_id": run_id, "words": report.words, "enough": report.enough})
    return {
        "enough": report.enough,
        "message": report.verdict,
        "words": report.words,
        "stories": report.stories,
        "jobs": plan.jobs(common, settings, run_id, hyperparameters, begun.get("live")),
    }


def _lines(bucket: str, run_id: str) -> Iterator[Record | Reject]:
    """Yield every record and reject of the run, one at a time."""
    pages = (
        aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=layout.read_prefix(run_id))
    )
    for page in pages:
        for found in page.get("Contents", []):
            with tempfile.TemporaryFile() as lines:
                aws.s3().download_fileobj(bucket, found["Key"], lines)
                lines.seek(0)
                for line in lines:
                    yield _LINE.validate_json(line)


def _account_for(report: DataReport, files: int) -> None:
    if report.files != files:
        raise FilesLostError(
            f"The manifest has {files} files, but {report.files} were read or rejected. "
            "Look at the failed batches of the state Read, and start the run again."
        )


def _publish(report: DataReport, bucket: str, folder: Path) -> None:
    s3 = aws.s3()
    for part in PARTS:
        path = folder / part / "examples.jsonl"
        s3.upload_file(str(path), bucket, layout.examples(report.run_id, part))
    body = report.model_dump_json(indent=2).encode()
    key = layout.report(report.run_id)
    s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
