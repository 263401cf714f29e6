"""States that read the stories and build the dataset: from `Begin` to `EnoughText`.

Stories are read in batches; a file that kills its reader is rejected alone.
"""

from typing import Any

from aws_cdk import Aws

from contracts import s3_keys
from stacks.pipeline.states import (
    CATCH,
    RETRY_LAMBDA,
    RUN,
    FunctionTasks,
    State,
    choice,
    task_timeout_seconds,
)
from stories.format_list import usual_endings

_BATCHES_AT_ONCE = 40
_FILES_OF_A_BATCH_AT_ONCE = 5
# Errors of a function whose process was killed (out of memory, lost host) or that timed out.
KILLED = [
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Sandbox.Timedout",
    "States.Timeout",
]
# The host may have been at fault. A retry continues from what the first attempt cached.
_RETRY_KILLED = {"ErrorEquals": KILLED, "IntervalSeconds": 2, "MaxAttempts": 1, "BackoffRate": 2}


_NO_STORIES = (
    "The bucket has no stories yet, so nothing was trained and nothing was spent on a GPU. "
    f"Drop {usual_endings()} files into it: a run starts by itself."
)


def reading_states(tasks: FunctionTasks, begin: dict[str, Any]) -> dict[str, State]:
    """Return the states from `Begin` to `EnoughText`.

    Args:
        tasks: the functions.
        begin: event of a function that begins an execution.
    """
    return {
        "Begin": tasks.call("begin", {**begin, "input.$": "$"}, "$.begun", "AnyStories"),
        "AnyStories": choice({"Variable": "$.begun.files", "NumericGreaterThan": 0}, "Read", "NoStories"),
        "NoStories": {
            "Type": "Pass",
            "Result": {"message": _NO_STORIES},
            "ResultPath": "$.assembled",
            "Next": "StopEarly",
        },
        "Read": {**read_state(tasks.arn("read_stories")), "Catch": CATCH, "Next": "Assemble"},
        "Assemble": tasks.call("assemble", {**RUN, "begun.$": "$.begun"}, "$.assembled", "EnoughText"),
        "EnoughText": choice(
            {"Variable": "$.assembled.enough", "BooleanEquals": True}, "Preflight", "StopEarly"
        ),
    }


def read_state(reader_arn: str) -> State:
    """Return the state `Read`, a Distributed Map over the batches; it is the same for any number of files.

    Args:
        reader_arn: ARN of the function that reads one batch.
    """
    timeout_seconds = task_timeout_seconds("read_stories")
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
            **_batch_states({"Type": "Task", "Resource": reader_arn, "TimeoutSeconds": timeout_seconds}),
        },
        # Without a ResultWriter all results together are limited to 256 KiB, even if they are discarded.
        "ResultWriter": {
            "Resource": f"arn:{Aws.PARTITION}:states:::s3:putObject",
            "Parameters": {
                "Bucket.$": "$.begun.batches.bucket",
                "Prefix.$": f"States.Format('{s3_keys.read_results('{}').rstrip('/')}', $.run_id)",
            },
        },
        "ResultPath": None,
    }


def _batch_states(call: State) -> dict[str, Any]:
    """Return the states that read a batch and, if it kills the function twice, each of its files alone."""
    files = {"run_id.$": "$.run_id", "files.$": "$.files"}
    read_alone = {
        **call,
        "Retry": [*RETRY_LAMBDA, _RETRY_KILLED],
        "Catch": [{"ErrorEquals": KILLED, "ResultPath": "$.failure", "Next": "RejectFile"}],
        "End": True,
    }
    reject_file = {
        **call,
        "Parameters": {**files, "ended_by.$": "$.failure.Error"},
        "Retry": RETRY_LAMBDA,
        "End": True,
    }
    return {
        "StartAt": "ReadBatch",
        "States": {
            "ReadBatch": {
                **call,
                "Parameters": files,
                "ResultPath": "$.read",
                "Retry": [*RETRY_LAMBDA, _RETRY_KILLED],
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
                "Retry": RETRY_LAMBDA,
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
