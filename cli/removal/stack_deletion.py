"""Deletes the app's stacks through CloudFormation, so that nothing has to be synthesized for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from cli.aws.target import AwsTarget
from cli.console import CommandError
from cli.removal import regional_buckets
from contracts.resource_names import AppNames

PrintStep = Callable[[str], None]
POLL_SECONDS = 1.0
_ATTEMPTS = 4
"""A failed deletion is retried, because its cause may pass, such as an endpoint that is being created."""
_CLEAN_UP = "Custom::MadeAtRunTime"


@dataclass
class StackDeletion:
    """Deletes the stacks one after the other, in the order of their dependencies."""

    target: AwsTarget
    names: AppNames
    progress: PrintStep
    deleted: list[str] = field(default_factory=list)

    def delete_all(self) -> None:
        """Delete all stacks except Storage, also those after one that cannot be deleted.

        Repeats while any is left, because a deployment in progress may have created the next one meanwhile.

        Raises:
            CommandError: CloudFormation could not delete a stack; the message has the reason.
        """
        failures: dict[str, CommandError] = {}
        while present := [
            name for name in self.names.stacks if name not in failures and self._describe(name)
        ]:
            for name in present:
                try:
                    self._require_no_dependents(name, failures)
                    self.delete(name)
                except CommandError as error:
                    failures[name] = error
        if failures:
            first = next(iter(failures.values()))
            raise CommandError(" ".join(error.message for error in failures.values()), first.cure)

    def delete(self, name: str) -> None:
        """Delete one stack and wait for it.

        Raises:
            CommandError: CloudFormation could not delete it; the message has the reason.
        """
        reasons: list[str] = []
        for attempt in range(1, _ATTEMPTS + 1):
            stack = self._when_idle(name)
            if stack is None:
                break
            again = f" (attempt {attempt} of {_ATTEMPTS})" if attempt > 1 else ""
            self.progress(f"{name}: deleting{again}")
            if stack["StackStatus"] != "DELETE_IN_PROGRESS":
                self.target.client("cloudformation").delete_stack(StackName=stack["StackId"])
            reasons = self._wait(name, stack["StackId"])
            if not reasons:
                break
            self.progress(f"{name}: not deleted yet. {reasons[0]}")
            self._empty_page_bucket(name, stack["StackId"])
        if reasons:
            raise CommandError(
                f"{name} could not be deleted. {' '.join(reasons)}",
                "Run the command again: it continues from here. The stack's events have the details: "
                f"aws cloudformation describe-stack-events --stack-name {name}",
            )
        self.deleted.append(name)

    def is_deployed(self, name: str) -> bool:
        """Tell whether the stack exists."""
        return self._describe(name) is not None

    def _require_no_dependents(self, name: str, failed: Collection[str]) -> None:
        """Refuse to delete a stack while another one still needs its functions."""
        needed_by = [other for other in failed if self._resources(other, _CLEAN_UP)]
        if needed_by and name == self.names.stacks[-1]:
            raise CommandError(f"{name} was not deleted: the clean-up of {', '.join(needed_by)} needs it.")

    def _empty_page_bucket(self, name: str, stack_id: str) -> None:
        """Empty the page's bucket if it blocks the deletion: a failed creation may have left files in it."""
        if name != self.names.chat_stack:
            return
        for resource in self._resources(stack_id, "AWS::S3::Bucket"):
            if resource["ResourceStatus"] == "DELETE_FAILED":
                bucket = resource["PhysicalResourceId"]
                self.progress(f"{name}: emptying {bucket}, which holds the page")
                regional_buckets.empty_bucket(self.target, bucket)

    def _resources(self, stack: str, type_: str) -> list[dict[str, Any]]:
        """List the resources of a type that a stack still has."""
        pages = self.target.client("cloudformation").get_paginator("list_stack_resources")
        return [
            resource
            for page in pages.paginate(StackName=stack)
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == type_ and resource["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def _when_idle(self, name: str) -> dict[str, Any] | None:
        """Wait until no other operation is in progress; return the stack, or None if it does not exist."""
        printed = False
        while stack := self._describe(name):
            status = stack["StackStatus"]
            if not status.endswith("_IN_PROGRESS") or status in ("DELETE_IN_PROGRESS", "REVIEW_IN_PROGRESS"):
                return stack
            if not printed:
                self.progress(f"{name}: waiting for the deployment in progress ({status})")
                printed = True
            time.sleep(POLL_SECONDS)
        return None

    def _wait(self, name: str, stack_id: str) -> list[str]:
        """Follow a deletion to its end; return the reasons if it failed."""
        seen: set[str] = set()
        while True:
            # By its id: a deleted stack can no longer be found by name.
            stack = self._describe(stack_id)
            self._print_events(name, stack_id, seen)
            if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
                return []
            if stack["StackStatus"] == "DELETE_FAILED":
                return self._failures(stack_id)
            time.sleep(POLL_SECONDS)

    def _print_events(self, name: str, stack_id: str, seen: set[str]) -> None:
        for event in reversed(self._events(stack_id)):
            if event["EventId"] in seen:
                continue
            seen.add(event["EventId"])
            if event["ResourceStatus"] == "DELETE_IN_PROGRESS" and event["ResourceType"] == _CLEAN_UP:
                self.progress(f"{name}: removing what was created at run time")
            elif event["ResourceStatus"] == "DELETE_COMPLETE":
                self.progress(f"{name}: {event['ResourceType']} {event['LogicalResourceId']} is deleted")

    def _failures(self, stack_id: str) -> list[str]:
        """Return the reasons why the newest deletion failed."""
        reasons: list[str] = []
        for event in self._events(stack_id):
            if event["ResourceType"] == "AWS::CloudFormation::Stack":
                if event["ResourceStatus"] == "DELETE_IN_PROGRESS":
                    break
                continue
            reason = event.get("ResourceStatusReason", "no reason was given")
            if event["ResourceStatus"] == "DELETE_FAILED" and not reason.startswith("Not attempted"):
                reasons.append(f"{event['LogicalResourceId']}: {reason.rstrip('.')}.")
        return list(reversed(reasons)) or ["CloudFormation gave no reason."]

    def _events(self, stack_id: str) -> list[dict[str, Any]]:
        """Return the newest events of a stack, newest first."""
        events: list[dict[str, Any]] = self.target.client("cloudformation").describe_stack_events(
            StackName=stack_id
        )["StackEvents"]
        return events

    def _describe(self, name: str) -> dict[str, Any] | None:
        try:
            (stack,) = self.target.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in error.response["Error"].get("Message", ""):
                return None
            raise
        found: dict[str, Any] = stack
        return found
