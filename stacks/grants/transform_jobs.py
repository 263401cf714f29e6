"""Grant functions what they need to create, list, describe and stop transform jobs."""

from dataclasses import dataclass

from aws_cdk import Duration

from contracts.environment import TransformInstances, TransformJobs
from contracts.settings import Settings
from stacks.functions.function import Function
from stacks.grants.request_limits import WITHOUT_NETWORK, only_instances
from stacks.permissions import allow, arn, grant_pass_role
from stories.dataset.training_plan import answer_tokens_per_second

LONGEST_PACKING = Duration.minutes(15)
"""As long as Lambda lets a function be: a model of 8 billion parameters is 16 GB to read and to write."""
_AT_ONCE = 16
"""How many prompts a job gives the model at the same time (`shared.batch_inference.transform_jobs`)."""
_NAMED = "jobs are named by their batch and models by their version, which are created at run time"


@dataclass(frozen=True)
class Transforms:
    """The transform jobs, which are created at run time and are in no stack."""

    settings: Settings
    image: str
    role_arn: str

    def grant_create(self, function: Function) -> None:
        """Grant a function permissions to create transform jobs and their models."""
        models = arn("sagemaker", f"model/{self.settings.names.batch_models}")
        allow(
            function.role,
            ["sagemaker:CreateModel"],
            [models],
            wildcard_because=_NAMED,
            conditions=WITHOUT_NETWORK,
        )
        if candidates := self.settings.transform_instances:  # empty if no instance can run transform jobs
            allow(
                function.role,
                ["sagemaker:CreateTransformJob"],
                [self._jobs],
                wildcard_because=_NAMED,
                conditions=only_instances(candidates),
            )
        # Both are created with the app's tag.
        allow(function.role, ["sagemaker:AddTags"], [models, self._jobs], wildcard_because=_NAMED)
        grant_pass_role(function.role, self.role_arn, "sagemaker.amazonaws.com")
        group = TransformJobs.from_settings(
            self.settings, hosting_image=self.image, transform_role_arn=self.role_arn
        )
        function.configure(group)

    def grant_stop(self, function: Function) -> None:
        """Grant a function permissions to describe and stop the app's transform jobs."""
        allow(
            function.role,
            ["sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob"],
            [self._jobs],
            wildcard_because=_NAMED,
        )

    def grant_list_jobs(self, function: Function) -> None:
        """Grant a function permissions to find jobs of the app that the table no longer has."""
        allow(
            function.role,
            ["sagemaker:ListTransformJobs"],
            ["*"],
            wildcard_because="SageMaker lists the jobs of an account or none; the list has names and times",
        )

    def configure_speeds(self, function: Function) -> None:
        """Configure on which instances jobs may run, and how fast each is expected to be."""
        size = self.settings.model.parameters_millions
        speeds = {
            name: answer_tokens_per_second(size, name, _AT_ONCE) for name in self.settings.transform_instances
        }
        function.configure(TransformInstances(transform_tokens_per_second=speeds))

    @property
    def _jobs(self) -> str:
        return arn("sagemaker", f"transform-job/{self.settings.names.transform_job('*')}")
