"""The states that read the stories of a run: a batch each, and what ends the function costs one file."""

from typing import Any

from aws_cdk import Aws

_BATCHES_AT_ONCE = 40
_FILES_OF_A_BATCH_AT_ONCE = 5
# Errors of a function whose process was killed, for memory or with its machine, or that ran out of time.
KILLED = [
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Sandbox.Timedout",
    "States.Timeout",
]
# It may have been the machine. What was read until then is kept, so that a retry goes on from there.
_RETRY_KILLED = {"ErrorEquals": KILLED, "IntervalSeconds": 2, "MaxAttempts": 1, "BackoffRate": 2}


def read_state(reader_arn: str, timeout_seconds: int, retry: list[dict[str, Any]]) -> dict[str, Any]:
    """State `Read`: a Distributed Map over the batches, so ten files and ten million are the same state.

    Args:
        reader_arn: of the function that reads one batch.
        timeout_seconds: of a task that calls it.
        retry: when to call it again because Lambda was busy.
    """
    return {
        "Type": "Map",
        "Label": "Read",
        "ItemReader": {
            "Resource": f"arn:{Aws.PARTITION}:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSONL"},
            "Parameters": {"Bucket.$": "$.begun.batches.bucket", "Key.$": "$.begun.batches.key"},
        },
        # Begin made the batches: it knows how large the files are, and an ItemBatcher only how many.
        "ItemSelector": {"run_id.$": "$.run_id", "files.$": "$$.Map.Item.Value.files"},
        "MaxConcurrency": _BATCHES_AT_ONCE,
        "ItemProcessor": {
            # Standard: a batch of large archives may take longer than an express child's 5 minutes.
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            **_batch_states(
                {"Type": "Task", "Resource": reader_arn, "TimeoutSeconds": timeout_seconds}, retry
            ),
        },
        # Without it all results together may have 256 KiB, although the next line throws them away.
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
    """Read a batch; if that ends the function twice, read each of its files alone and reject the culprit."""
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
            # Each call reads at least one file more, so this comes to an end.
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
