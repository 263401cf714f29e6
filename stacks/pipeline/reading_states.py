"""Define the states that read a run's stories in batches and reject only the file that kills its reader."""

from typing import Any

from aws_cdk import Aws

_BATCHES_AT_ONCE = 40
_FILES_OF_A_BATCH_AT_ONCE = 5
# Errors of a function whose process was killed (out of memory, lost machine) or that timed out.
KILLED = [
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Sandbox.Timedout",
    "States.Timeout",
]
# The machine may have been at fault. A retry continues from what the first attempt cached.
_RETRY_KILLED = {"ErrorEquals": KILLED, "IntervalSeconds": 2, "MaxAttempts": 1, "BackoffRate": 2}


def read_state(reader_arn: str, timeout_seconds: int, retry: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the state `Read`, a Distributed Map over the batches; it is the same for any number of files.

    Args:
        reader_arn: ARN of the function that reads one batch.
        timeout_seconds: timeout of a task that invokes it.
        retry: retriers for errors of Lambda itself, such as throttling.
    """
    return {
        "Type": "Map",
        "Label": "Read",
        "ItemReader": {
            "Resource": f"arn:{Aws.PARTITION}:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSONL"},
            "Parameters": {"Bucket.$": "$.begun.batches.bucket", "Key.$": "$.begun.batches.key"},
        },
        # Begin makes the batches by the files' sizes; an ItemBatcher would only count files.
        "ItemSelector": {"run_id.$": "$.run_id", "files.$": "$$.Map.Item.Value.files"},
        "MaxConcurrency": _BATCHES_AT_ONCE,
        "ItemProcessor": {
            # Standard: a batch of large archives may take longer than an express child's 5 minutes.
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            **_batch_states(
                {"Type": "Task", "Resource": reader_arn, "TimeoutSeconds": timeout_seconds}, retry
            ),
        },
        # Without a ResultWriter all results together are limited to 256 KiB, even if they are discarded.
        "ResultWriter": {
            "Resource": f"arn:{Aws.PARTITION}:states:::s3:putObject",
            "Parameters": {
                "Bucket.$": "$.begun.batches.bucket",
                "Prefix.$": "States.Format('runs/{}/read-results', $.run_id)",
            },
        },
        "ResultPath": None,
    }


def _batch_states(call: dict[str, Any], retry: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the states that read a batch and, if it kills the function twice, each of its files alone."""
    files = {"run_id.$": "$.run_id", "files.$": "$.files"}
    read_alone = {
        **call,
        "Retry": [*retry, _RETRY_KILLED],
        "Catch": [{"ErrorEquals": KILLED, "ResultPath": "$.failure", "Next": "RejectFile"}],
        "End": True,
    }
    reject_file = {
        **call,
        "Parameters": {**files, "ended_by.$": "$.failure.Error"},
        "Retry": retry,
        "End": True,
    }
    return {
        "StartAt": "ReadBatch",
        "States": {
            "ReadBatch": {
                **call,
                "Parameters": files,
                "ResultPath": "$.read",
                "Retry": [*retry, _RETRY_KILLED],
                "Catch": [{"ErrorEquals": KILLED, "ResultPath": "$.failure", "Next": "DivideBatch"}],
                "Next": "IsBatchFinished",
            },
            # Each call reads at least one more file, so the loop ends.
            "IsBatchFinished": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.read.finished", "BooleanEquals": False, "Next": "ReadBatch"}],
                "Default": "BatchIsRead",
            },
            "BatchIsRead": {"Type": "Pass", "Result": {}, "End": True},
            "DivideBatch": {
                **call,
                "Parameters": {**files, "divide": True},
                "Retry": retry,
                "Next": "ReadEachAlone",
            },
            "ReadEachAlone": {
                "Type": "Map",
                "ItemsPath": "$.files",
                "ItemSelector": {
                    "run_id.$": "$.run_id",
                    "files.$": "States.Array($$.Map.Item.Value)",
                },
                "MaxConcurrency": _FILES_OF_A_BATCH_AT_ONCE,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "ReadAlone",
                    "States": {"ReadAlone": read_alone, "RejectFile": reject_file},
                },
                "Next": "BatchIsRead",
            },
        },
    }
