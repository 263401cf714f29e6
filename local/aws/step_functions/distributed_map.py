"""Distributed Maps: their permissions, batches of items, and results written to S3.

MiniStack has no ItemBatcher and no ResultWriter.
"""

import json
from collections.abc import Callable
from typing import Any

from ministack.services import stepfunctions as states

from local.aws.sagemaker.roles import RoleClients
from local.aws.services.iam import assume_role
from local.aws.step_functions.executions import Execution, Json, current_execution, execution_of
from local.aws.step_functions.state_limits import check_payload
from local.aws.step_functions.task_permissions import require_permission

MAP_CHILDREN = 4
"""How many children of a Distributed Map work at once: each is a process of this machine."""
BATCH_ITEMS = 100
"""How many items a batch has by default."""
_RESULT_ACTIONS = (
    "s3:PutObject",
    "s3:GetObject",
    "s3:ListMultipartUploadParts",
    "s3:AbortMultipartUpload",
)
"""Actions that a state machine's role needs on the prefix to which a ResultWriter writes."""


def run_as_on_aws() -> None:
    """Check before a Distributed Map starts its children, and give it an ItemBatcher and a ResultWriter."""
    _authorize_readers()
    _batch_items()


def _authorize_readers() -> None:
    """Check the role before an ItemReader reads."""
    read = states._read_map_items

    def read_items(reader: Json, effective: Any, context: Json) -> Any:
        parameters = states._resolve_params_obj(reader.get("Parameters") or {}, effective, context)
        _authorize_reader(current_execution(), str(reader.get("Resource", "")), parameters)
        return read(reader, effective, context)

    states._read_map_items = read_items


def _batch_items() -> None:
    run = _with_result_writer()

    def run_map(  # noqa: PLR0917 (MiniStack's own signature)
        state: Json, raw: Any, effective: Any, iterator: Json, record: Json, context: Json
    ) -> Any:
        with execution_of(record) as execution:
            require_permission(
                execution, "states:StartExecution", execution.state_machine_arn, "States.Permissions"
            )
            asked = int(state.get("MaxConcurrency") or MAP_CHILDREN)
            state = {**state, "MaxConcurrency": min(asked, MAP_CHILDREN)}
            if "ItemBatcher" not in state:
                return run(state, raw, effective, iterator, record, context)
            items = _items(state, effective, context)
            batcher = state["ItemBatcher"]
            shared = states._resolve_params_obj(batcher.get("BatchInput") or {}, effective, context)
            without = {
                key: value
                for key, value in state.items()
                if key not in ("ItemReader", "ItemSelector", "ItemBatcher", "Parameters")
            }
            batches = {"batches": _batches(items, batcher, shared)}
            return run({**without, "ItemsPath": "$.batches"}, raw, batches, iterator, record, context)

    states._run_distributed_map = run_map


def _with_result_writer() -> Callable[..., Any]:
    """Return MiniStack's Distributed Map, with the result of its ResultWriter."""
    run = states._run_distributed_map

    def run_map(  # noqa: PLR0917 (MiniStack's own signature)
        state: Json, raw: Any, effective: Any, iterator: Json, record: Json, context: Json
    ) -> Any:
        after = ("ResultSelector", "ResultPath", "OutputPath")
        plain = {key: value for key, value in state.items() if key not in after}
        results, following = run(plain, raw, effective, iterator, record, context)
        writer = states._resolve_params_obj(state.get("ResultWriter") or {}, effective, context)
        [map_run] = [
            one for one in states._map_runs.values() if one["executionArn"] == record["executionArn"]
        ][-1:]
        result = states._apply_result_selector(state, _map_result(writer, map_run, results))
        output = states._apply_result_path(state, raw, result)
        return states._apply_output_path(state, output, context), following

    return run_map


def _authorize_reader(execution: Execution, resource: str, parameters: Json) -> None:
    bucket = f"arn:aws:s3:::{parameters.get('Bucket')}"
    if resource.endswith("listObjectsV2"):
        require_permission(execution, "s3:ListBucket", bucket, "States.ItemReaderFailed")
    else:
        require_permission(
            execution, "s3:GetObject", f"{bucket}/{parameters.get('Key')}", "States.ItemReaderFailed"
        )


def _items(state: Json, effective: Any, context: Json) -> list[Any]:
    """Return the items of a Distributed Map, each as its ItemSelector makes it."""
    if state.get("ItemReader"):
        items = states._read_map_items(state["ItemReader"], effective, context)
    else:
        items = states._resolve_path_or_ctx(state.get("ItemsPath", "$"), effective, context)
    selector = state.get("ItemSelector") or state.get("Parameters")
    if not selector:
        return list(items)
    return [
        states._resolve_params_obj(
            selector, effective, {**context, "Map": {"Item": {"Index": index, "Value": item}}}
        )
        for index, item in enumerate(items)
    ]


def _batches(items: list[Any], batcher: Json, shared: Json) -> list[Json]:
    """Return the inputs of a Distributed Map's children: ``{"BatchInput": …, "Items": […]}``."""
    size = int(batcher.get("MaxItemsPerBatch", BATCH_ITEMS))
    limit = int(batcher.get("MaxInputBytesPerBatch", 256 * 1024))
    groups: list[list[Any]] = []
    used = limit + 1
    for item in items:
        length = len(json.dumps(item).encode())
        if not groups or len(groups[-1]) >= size or used + length > limit:
            groups.append([])
            used = 0
        groups[-1].append(item)
        used += length
    return [{**({"BatchInput": shared} if shared else {}), "Items": group} for group in groups]


def _map_result(writer: Json, map_run: Json, results: list[Any]) -> Any:
    """Return the result of a Distributed Map: its children's, or the place of the ResultWriter's files."""
    if not writer:
        check_payload(results, "The state 'Map' returned a result")
        return results
    execution = current_execution()
    bucket = writer["Parameters"]["Bucket"]
    folder = f"{writer['Parameters'].get('Prefix', '').strip('/')}/{map_run['mapRunArn'].rpartition(':')[2]}"
    for action in _RESULT_ACTIONS:
        require_permission(
            execution, action, f"arn:aws:s3:::{bucket}/{folder}/manifest.json", "States.ResultWriterFailed"
        )
    s3 = RoleClients(assume_role(execution.role_arn, execution.name)).s3
    succeeded = json.dumps(results).encode()
    key = f"{folder}/SUCCEEDED_0.json"
    s3.put_object(Bucket=bucket, Key=key, Body=succeeded)
    files = {"FAILED": [], "PENDING": [], "SUCCEEDED": [{"Key": key, "Size": len(succeeded)}]}
    manifest = {"DestinationBucket": bucket, "MapRunArn": map_run["mapRunArn"], "ResultFiles": files}
    s3.put_object(Bucket=bucket, Key=f"{folder}/manifest.json", Body=json.dumps(manifest).encode())
    return {
        "MapRunArn": map_run["mapRunArn"],
        "ResultWriterDetails": {"Bucket": bucket, "Key": f"{folder}/manifest.json"},
    }
