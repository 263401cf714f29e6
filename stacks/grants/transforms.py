"""What functions need to make transform jobs, to watch them and to end them."""

import json
from dataclasses import dataclass

from aws_cdk import Duration

from contracts.settings import Settings
from stacks.functions.functions import Function
from stacks.grants.request_limits import WITHOUT_NETWORK, only_instances
from stacks.permissions import allow, arn, may_pass
from stories.dataset.training_plan import answer_tokens_per_second

LONGEST_PACKING = Duration.minutes(15)
"""As long as Lambda lets a function be: a model of 8 billion parameters is 16 GB to read and to write."""
_AT_ONCE = 16
"""How many prompts a job gives the model at the same time (`shared.batch_inference.transform_jobs`)."""
_NAMED = "jobs are named by their batch and models by their version, which are made at run time"


@dataclass(frozen=True)
class Transforms:
    """The transform jobs, which are made at run time and are in no stack."""

    settings: Settings
    image: str
    role_arn: str

    def made_by(self, function: Function) -> None:
        """Let a function make transform jobs with their models."""
        models = arn("sagemaker", f"model/{self.settings.name}-batch-v*")
        allow(
            function.role,
            ["sagemaker:CreateModel"],
            [models],
            wildcard_because=_NAMED,
            conditions=WITHOUT_NETWORK,
        )
        if machines := self.settings.transform_instances:  # none, if no machine can have transform jobs
            allow(
                function.role,
                ["sagemaker:CreateTransformJob"],
                [self._jobs],
                wildcard_because=_NAMED,
                conditions=only_instances(machines),
            )
        # Both are made with the app's tag.
        allow(function.role, ["sagemaker:AddTags"], [models, self._jobs], wildcard_because=_NAMED)
        may_pass(function.role, self.role_arn, "sagemaker.amazonaws.com")
        for name, value in (
            ("STORYLOOM_HOSTING_IMAGE", self.image),
            ("STORYLOOM_TRANSFORM_ROLE_ARN", self.role_arn),
            ("STORYLOOM_TRANSFORM_AMI", self.settings.transform_ami),
        ):
            function.function.add_environment(name, value)

    def ended_by(self, function: Function) -> None:
        """Let a function look at transform jobs of ours, and stop them."""
        allow(
            function.role,
            ["sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob"],
            [self._jobs],
            wildcard_because=_NAMED,
        )

    def all_watched_by(self, function: Function) -> None:
        """Let a function find jobs of ours that the table has forgotten."""
        allow(
            function.role,
            ["sagemaker:ListTransformJobs"],
            ["*"],
            wildcard_because="SageMaker lists the jobs of an account or none; the list has names and times",
        )

    def described_to(self, function: Function) -> None:
        """Tell a function on which machines jobs may run, and how fast each is expected to be."""
        size = self.settings.model.parameters_millions
        speeds = {
            name: answer_tokens_per_second(size, name, _AT_ONCE) for name in self.settings.transform_instances
        }
        function.function.add_environment("STORYLOOM_TRANSFORM_TOKENS_PER_SECOND", json.dumps(speeds))

    @property
    def _jobs(self) -> str:
        return arn("sagemaker", f"transform-job/{self.settings.name}-batch-*")
