"""Runs in progress and the timers that start further ones."""

from botocore.exceptions import ClientError

from clean_up.remaining import Remaining, is_missing
from contracts import environment
from shared.aws import clients

_CAUSE = "The deployment is being deleted."


def delete_timers() -> list[Remaining]:
    """Delete the one-time schedules that would start a run."""
    schedule = environment.read(environment.Schedule)
    client = clients.scheduler()
    for name in (schedule.schedule_name, schedule.deploy_schedule_name):
        try:
            client.delete_schedule(Name=name, GroupName=schedule.schedule_group)
        except client.exceptions.ResourceNotFoundException:
            continue
    return []


def stop_runs() -> list[Remaining]:
    """Stop the runs in progress; returns those that have not ended yet.

    Step Functions stops the job that a run waits for, and the children of its Distributed Map.
    """
    machine = environment.read(environment.StateMachine).state_machine_arn
    client = clients.stepfunctions()
    try:
        pages = client.get_paginator("list_executions").paginate(
            stateMachineArn=machine, statusFilter="RUNNING"
        )
        running = [execution for page in pages for execution in page["executions"]]
    except ClientError as error:
        if is_missing(error):
            return []
        raise
    for execution in running:
        client.stop_execution(executionArn=execution["executionArn"], cause=_CAUSE)
    return [Remaining(f"run {execution['name']}", "it is being stopped") for execution in running]
