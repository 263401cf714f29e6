"""Step Functions as on AWS: tasks need the permissions of the machine's role, and run SageMaker's jobs."""

from local.aws.step_functions import (
    distributed_map,
    executions,
    sagemaker_tasks,
    state_limits,
    task_permissions,
)

UNCAUGHT = frozenset({"States.Runtime", "States.DataLimitExceeded"})
"""Errors that end the execution in spite of its Retry and Catch, `States.ALL` included."""


def install() -> None:
    """Make MiniStack's state machines work under their roles, with SageMaker."""
    executions.before_tasks(task_permissions.authorize_task)
    executions.name_map_runs_and_tasks()
    executions.end_callbacks()
    distributed_map.run_as_on_aws()
    state_limits.enforce_limits()
    executions.keep_first_outcome()
    executions.time_out_machines()
    executions.never_catch(UNCAUGHT)
    executions.compare_timestamps_by_path()
    sagemaker_tasks.add_integrations()
