"""Delete an overdue endpoint without a Lambda function, so that exhausted concurrency cannot prevent it.

Usually the endpoint manager deletes the endpoint in time. But it is a function, and all functions of an
account share its concurrency (docs/decisions/0023). So the table also has a deadline for the endpoint,
which each use extends. After the deadline Step Functions, which calls DynamoDB and SageMaker directly,
deletes the endpoint.
"""

import json
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from contracts import table_keys
from contracts.settings import Settings
from stacks.permissions import acknowledge, allow, arn, service_principal
from stacks.references import Storage

GUARD_EVERY = Duration.minutes(10)
_NOT_LOGGED = (
    "it has four states and no input; CloudTrail records what it deletes, and a log of a check every ten "
    "minutes would have nothing else"
)


class EndpointGuard(Construct):
    """A scheduled state machine that deletes an overdue endpoint."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings, storage: Storage) -> None:
        """Create the state machine, its role and its schedule."""
        super().__init__(scope, id_)
        role = iam.Role(
            self,
            "Role",
            assumed_by=service_principal("states.amazonaws.com"),
        )
        allow(
            role,
            ["dynamodb:GetItem"],
            [storage.table_arn],
            conditions={
                "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [table_keys.HOSTING]},
                "Null": {"dynamodb:LeadingKeys": "false"},
            },
        )
        allow(role, ["sagemaker:DeleteEndpoint"], [arn("sagemaker", f"endpoint/{settings.name}")])
        states = definition(settings.name, storage.table)
        machine = sfn.StateMachine(
            self,
            "StateMachine",
            # Express costs a fraction of a cent a month for this; Standard would cost about half a dollar.
            state_machine_type=sfn.StateMachineType.EXPRESS,
            definition_body=sfn.DefinitionBody.from_string(json.dumps(states)),
            role=role,
            timeout=Duration.minutes(2),
        )
        for rule in ("AwsSolutions-SF1", "AwsSolutions-SF2"):
            acknowledge(machine, rule, _NOT_LOGGED)
        starts = iam.Role(self, "Events", assumed_by=service_principal("events.amazonaws.com"))
        self.rule = events.Rule(
            self,
            "Tick",
            description="Storyloom: deletes an overdue endpoint",
            schedule=events.Schedule.rate(GUARD_EVERY),
            targets=[targets.SfnStateMachine(machine, role=starts)],
        )


def definition(endpoint_name: str, table: str) -> dict[str, Any]:
    """Return the state machine's definition: read the deadline, and delete the endpoint if it has passed."""
    partition, sort_key = table_keys.HOSTING_STATE
    sleep_by = "$.Item.sleep_by.S"
    return {
        "Comment": "Deletes the endpoint if it is overdue",
        "StartAt": "ReadDeadline",
        "States": {
            "ReadDeadline": {
                "Type": "Task",
                "Resource": "arn:aws:states:::dynamodb:getItem",
                "Parameters": {
                    "TableName": table,
                    "Key": {"pk": {"S": partition}, "sk": {"S": sort_key}},
                    "ConsistentRead": True,
                },
                "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "MaxAttempts": 3}],
                "Next": "Overdue",
            },
            "Overdue": {
                "Type": "Choice",
                "Choices": [
                    {
                        "And": [
                            {"Variable": sleep_by, "IsPresent": True},
                            {"Variable": sleep_by, "TimestampLessThanPath": "$$.State.EnteredTime"},
                        ],
                        "Next": "DeleteEndpoint",
                    }
                ],
                "Default": "Done",
            },
            "DeleteEndpoint": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sagemaker:deleteEndpoint",
                "Parameters": {"EndpointName": endpoint_name},
                "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "MaxAttempts": 2}],
                # The endpoint no longer exists, or is being updated; then the next execution tries again.
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Done"}],
                "Next": "Done",
            },
            "Done": {"Type": "Succeed"},
        },
    }
