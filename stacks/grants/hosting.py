"""Grant functions what they need to create, update, invoke and delete the endpoint."""

from dataclasses import dataclass

from aws_cdk import Aws

from contracts.environment import EndpointName, Hosting, IdleTime
from contracts.settings import Settings
from stacks.functions.function import Function
from stacks.grants.request_limits import WITHOUT_NETWORK, only_instances
from stacks.permissions import allow, arn, grant_pass_role
from stacks.rollback_alarms import allow_describing_alarms

_AUTO_SCALING = "sagemaker.application-autoscaling.amazonaws.com"
_OF_SAGEMAKER = {
    "StringEquals": {
        "application-autoscaling:service-namespace": "sagemaker",
        "application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount",
    }
}


@dataclass(frozen=True)
class HostedEndpoint:
    """The endpoint, which is created at run time and is in no stack."""

    settings: Settings
    image: str
    role_arn: str

    def grant_manage(self, function: Function) -> None:
        """Grant a function permissions to create, update, describe and delete this endpoint and no other."""
        names = self.settings.names
        endpoint = arn("sagemaker", f"endpoint/{names.name}")
        configs = arn("sagemaker", f"endpoint-config/{names.endpoint_configs}")
        named = "models and endpoint configurations are named by their version, which is created at run time"
        allow(function.role, ["sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"], [endpoint])
        allow(
            function.role,
            ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"],
            [endpoint, configs],
            wildcard_because=named,
        )
        candidates = [self.settings.hosting_instance, *self.settings.fallbacks]
        allow(
            function.role,
            ["sagemaker:CreateEndpointConfig"],
            [configs],
            wildcard_because=named,
            conditions=only_instances(candidates),
        )
        models = arn("sagemaker", f"model/{names.endpoint_configs}")
        allow(
            function.role,
            ["sagemaker:CreateModel"],
            [models],
            wildcard_because=named,
            conditions=WITHOUT_NETWORK,
        )
        # Each of them is created with the app's tag.
        allow(function.role, ["sagemaker:AddTags"], [endpoint, configs, models], wildcard_because=named)
        grant_pass_role(function.role, self.role_arn, "sagemaker.amazonaws.com")
        allow(
            function.role,
            ["cloudwatch:DescribeAlarmHistory"],
            [arn("cloudwatch", f"alarm:{alarm}") for alarm in names.rollback_alarms],
        )
        # SageMaker describes the alarms with the permissions of the caller that names them.
        allow_describing_alarms(function.role)
        # Even if nothing is scaled now: it may have been before the settings changed.
        self._grant_auto_scaling(function, "DeregisterScalableTarget")
        if self.settings.hosting_max_instances > 1:
            self._grant_scaling_requirements(function)
        self._configure(function)

    def grant_delete_unused(self, function: Function) -> None:
        """Grant a function permissions to delete models and configurations that the endpoint does not use."""
        name = self.settings.name
        allow(function.role, ["sagemaker:DescribeEndpoint"], [arn("sagemaker", f"endpoint/{name}")])
        allow(
            function.role,
            ["sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel"],
            self._named_by_version,
            wildcard_because="models and endpoint configurations are named by their version, "
            "which is created at run time",
        )
        allow(
            function.role,
            ["sagemaker:ListEndpointConfigs", "sagemaker:ListModels"],
            ["*"],
            wildcard_because="SageMaker lists the account's; the function goes by the names of this app",
        )
        self._configure(function)

    def grant_delete(self, function: Function) -> None:
        """Grant a function permissions to delete the endpoint with scaling, configurations and models."""
        name = self.settings.name
        named = "models and endpoint configurations are named by their version, which is created at run time"
        allow(
            function.role,
            ["sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"],
            [arn("sagemaker", f"endpoint/{name}")],
        )
        allow(
            function.role,
            ["sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel"],
            self._named_by_version,
            wildcard_because=named,
        )
        self._grant_auto_scaling(function, "DeregisterScalableTarget")
        if self.settings.hosting_max_instances > 1:
            self._grant_scaling_requirements(function)
        self._configure(function)

    def grant_scale(self, function: Function) -> None:
        """Grant a function that manages the endpoint permissions to have its instances follow the load."""
        # Without scaling it still removes instances that an earlier scaling has added.
        endpoint = arn("sagemaker", f"endpoint/{self.settings.name}")
        allow(function.role, ["sagemaker:UpdateEndpointWeightsAndCapacities"], [endpoint])
        if self.settings.hosting_max_instances == 1:
            return
        self._grant_auto_scaling(function, "RegisterScalableTarget", "PutScalingPolicy")
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

    def _grant_auto_scaling(self, function: Function, *actions: str) -> None:
        allow(
            function.role,
            [f"application-autoscaling:{action}" for action in actions],
            [arn("application-autoscaling", "scalable-target/*")],
            wildcard_because="AWS numbers scalable targets; a condition limits them to SageMaker's instances",
            conditions=_OF_SAGEMAKER,
        )

    def _grant_scaling_requirements(self, function: Function) -> None:
        """Allow what Application Auto Scaling requests with the caller's permissions before it does anything.

        https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_permission_validation.html
        """
        allow(
            function.role,
            ["sagemaker:DescribeEndpointConfig"],
            [arn("sagemaker", f"endpoint-config/{self.settings.names.endpoint_configs}")],
            wildcard_because="models and endpoint configurations are named by their version, "
            "which is created at run time",
        )
        allow(
            function.role,
            ["cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"],
            ["*"],
            wildcard_because="Application Auto Scaling asks without the name of an alarm; a condition limits "
            "this to what an AWS service asks on the function's behalf",
            conditions={"Bool": {"aws:ViaAWSService": "true"}},
        )

    def grant_invoke(self, function: Function, *, streaming: bool = False) -> None:
        """Grant a function permissions to invoke the endpoint."""
        actions = ["sagemaker:InvokeEndpoint"]
        if streaming:
            actions.append("sagemaker:InvokeEndpointWithResponseStream")
        allow(function.role, actions, [arn("sagemaker", f"endpoint/{self.settings.name}")])
        function.configure(
            IdleTime.from_settings(self.settings), EndpointName(endpoint_name=self.settings.name)
        )

    def _configure(self, function: Function) -> None:
        group = Hosting.from_settings(
            self.settings,
            hosting_fallback_instances=self.settings.fallbacks,
            hosting_image=self.image,
            hosting_role_arn=self.role_arn,
            endpoint_name=self.settings.name,
            rollback_alarms=self.settings.names.rollback_alarms,
        )
        function.configure(group)

    @property
    def _named_by_version(self) -> list[str]:
        """ARNs of the endpoint configurations and models of all versions, those of transform jobs too."""
        names = self.settings.names
        kinds = (
            f"endpoint-config/{names.endpoint_configs}",
            f"model/{names.endpoint_configs}",
            f"model/{names.batch_models}",
        )
        return [arn("sagemaker", kind) for kind in kinds]
