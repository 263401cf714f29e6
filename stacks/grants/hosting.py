"""What a function needs to make, change, ask and delete the endpoint."""

import json
from dataclasses import dataclass

from aws_cdk import Aws

from contracts.settings import Settings
from stacks.functions.functions import Function
from stacks.grants.request_limits import WITHOUT_NETWORK, only_instances
from stacks.permissions import allow, arn, may_pass
from stacks.rollback_alarms import alarm_names, allow_describing_alarms

_AUTO_SCALING = "sagemaker.application-autoscaling.amazonaws.com"
_OF_SAGEMAKER = {
    "StringEquals": {
        "application-autoscaling:service-namespace": "sagemaker",
        "application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount",
    }
}


@dataclass(frozen=True)
class Hosting:
    """The endpoint, which is made at run time and is in no stack."""

    settings: Settings
    image: str
    role_arn: str

    def managed_by(self, function: Function) -> None:
        """Let a function make, change, watch and delete this endpoint and no other."""
        name = self.settings.name
        endpoint = arn("sagemaker", f"endpoint/{name}")
        configs = arn("sagemaker", f"endpoint-config/{name}-v*")
        named = "models and endpoint configurations are named by their version, which is made at run time"
        allow(function.role, ["sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"], [endpoint])
        allow(
            function.role,
            ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"],
            [endpoint, configs],
            wildcard_because=named,
        )
        machines = [self.settings.hosting_instance, *self.settings.fallbacks]
        allow(
            function.role,
            ["sagemaker:CreateEndpointConfig"],
            [configs],
            wildcard_because=named,
            conditions=only_instances(machines),
        )
        models = arn("sagemaker", f"model/{name}-v*")
        allow(
            function.role,
            ["sagemaker:CreateModel"],
            [models],
            wildcard_because=named,
            conditions=WITHOUT_NETWORK,
        )
        # Each of them is made with the app's tag.
        allow(function.role, ["sagemaker:AddTags"], [endpoint, configs, models], wildcard_because=named)
        may_pass(function.role, self.role_arn, "sagemaker.amazonaws.com")
        allow(
            function.role,
            ["cloudwatch:DescribeAlarmHistory"],
            [arn("cloudwatch", f"alarm:{alarm}") for alarm in alarm_names(self.settings)],
        )
        # SageMaker asks for it with the permissions of whoever has it watch an alarm.
        allow_describing_alarms(function.role)
        # Also where nothing is scaled now: it may have been before the settings changed.
        self._auto_scaling(function, "DeregisterScalableTarget")
        if self.settings.hosting_max_instances > 1:
            self._answer_auto_scaling(function)
        self._describe_to(function)

    def collected_by(self, function: Function) -> None:
        """Let a function look at the endpoint, and delete models and configurations that it does not use."""
        name = self.settings.name
        allow(function.role, ["sagemaker:DescribeEndpoint"], [arn("sagemaker", f"endpoint/{name}")])
        allow(
            function.role,
            ["sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel"],
            _named_by_version(name),
            wildcard_because="models and endpoint configurations are named by their version, "
            "which is made at run time",
        )
        allow(
            function.role,
            ["sagemaker:ListEndpointConfigs", "sagemaker:ListModels"],
            ["*"],
            wildcard_because="SageMaker lists the account's; the function goes by the names of this app",
        )
        self._describe_to(function)

    def removed_by(self, function: Function) -> None:
        """Let a function delete this endpoint with its scaling, its configurations and its models."""
        name = self.settings.name
        named = "models and endpoint configurations are named by their version, which is made at run time"
        allow(
            function.role,
            ["sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"],
            [arn("sagemaker", f"endpoint/{name}")],
        )
        allow(
            function.role,
            ["sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel"],
            _named_by_version(name),
            wildcard_because=named,
        )
        self._auto_scaling(function, "DeregisterScalableTarget")
        if self.settings.hosting_max_instances > 1:
            self._answer_auto_scaling(function)
        self._describe_to(function)

    def scaled_by(self, function: Function) -> None:
        """Let a function that manages the endpoint also have its number of machines follow the load."""
        # Without scaling it still lets go what scaling of before has started.
        endpoint = arn("sagemaker", f"endpoint/{self.settings.name}")
        allow(function.role, ["sagemaker:UpdateEndpointWeightsAndCapacities"], [endpoint])
        if self.settings.hosting_max_instances == 1:
            return
        self._auto_scaling(function, "RegisterScalableTarget", "PutScalingPolicy")
        allow(
            function.role,
            [f"application-autoscaling:Describe{kind}" for kind in ("ScalableTargets", "ScalingPolicies")],
            ["*"],
            wildcard_because="Application Auto Scaling lists targets and policies of a service, not by ARN",
        )
        allow(
            function.role,
            ["iam:CreateServiceLinkedRole"],
            [
                f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/aws-service-role/{_AUTO_SCALING}/"
                "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
            ],
            conditions={"StringEquals": {"iam:AWSServiceName": _AUTO_SCALING}},
        )

    def _auto_scaling(self, function: Function, *actions: str) -> None:
        allow(
            function.role,
            [f"application-autoscaling:{action}" for action in actions],
            [arn("application-autoscaling", "scalable-target/*")],
            wildcard_because="AWS numbers scalable targets; a condition limits them to SageMaker's instances",
            conditions=_OF_SAGEMAKER,
        )

    def _answer_auto_scaling(self, function: Function) -> None:
        """Allow what Application Auto Scaling asks with the caller's permissions before it does anything.

        https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_permission_validation.html
        """
        name = self.settings.name
        allow(
            function.role,
            ["sagemaker:DescribeEndpointConfig"],
            [arn("sagemaker", f"endpoint-config/{name}-v*")],
            wildcard_because="models and endpoint configurations are named by their version, "
            "which is made at run time",
        )
        allow(
            function.role,
            ["cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"],
            ["*"],
            wildcard_because="Application Auto Scaling asks without the name of an alarm; a condition limits "
            "this to what an AWS service asks on the function's behalf",
            conditions={"Bool": {"aws:ViaAWSService": "true"}},
        )

    def asked_by(self, function: Function, *, streaming: bool = False) -> None:
        """Let a function ask the endpoint for answers."""
        actions = ["sagemaker:InvokeEndpoint"]
        if streaming:
            actions.append("sagemaker:InvokeEndpointWithResponseStream")
        allow(function.role, actions, [arn("sagemaker", f"endpoint/{self.settings.name}")])
        function.function.add_environment("STORYLOOM_ENDPOINT_NAME", self.settings.name)
        function.function.add_environment("STORYLOOM_IDLE_MINUTES", f"{self.settings.idle_minutes:g}")

    def _describe_to(self, function: Function) -> None:
        variables = {
            "STORYLOOM_HOSTING_IMAGE": self.image,
            "STORYLOOM_HOSTING_INSTANCE": self.settings.hosting_instance,
            "STORYLOOM_HOSTING_FALLBACK_INSTANCES": json.dumps(self.settings.fallbacks),
            "STORYLOOM_HOSTING_ROLE_ARN": self.role_arn,
            "STORYLOOM_ENDPOINT_NAME": self.settings.name,
            "STORYLOOM_INFERENCE_AMI": self.settings.inference_ami,
            "STORYLOOM_IDLE_MINUTES": f"{self.settings.idle_minutes:g}",
            "STORYLOOM_HOSTING_MAX_INSTANCES": str(self.settings.hosting_max_instances),
            "STORYLOOM_ANSWERS_PER_INSTANCE": str(self.settings.answers_per_instance),
            "STORYLOOM_WATCH_MINUTES": f"{self.settings.watch_minutes:g}",
            "STORYLOOM_ROLLBACK_ALARMS": json.dumps(alarm_names(self.settings)),
        }
        for name, value in variables.items():
            function.function.add_environment(name, value)


def _named_by_version(name: str) -> list[str]:
    """ARNs of the endpoint configurations and models of all versions, those of transform jobs too."""
    kinds = (f"endpoint-config/{name}-v*", f"model/{name}-v*", f"model/{name}-batch-v*")
    return [arn("sagemaker", kind) for kind in kinds]
