"""What a function needs to make, change, ask and delete the endpoint."""

import json
from dataclasses import dataclass

from stacks.functions import Function
from stacks.permissions import allow, arn, may_pass
from stacks.settings import Settings
from stories.estimate import INSTANCES, PRICE_DATE

VARIANT = "main"
"""Name of the endpoint's one production variant; its metrics carry it."""


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
        configs = arn("sagemaker", f"endpoint-config/{name}-*")
        named = "models and endpoint configurations are named by their version, which is made at run time"
        allow(function.role, ["sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"], [endpoint])
        allow(
            function.role,
            ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"],
            [endpoint, configs],
            wildcard_because=named,
        )
        allow(function.role, ["sagemaker:CreateEndpointConfig"], [configs], wildcard_because=named)
        allow(
            function.role,
            ["sagemaker:CreateModel"],
            [arn("sagemaker", f"model/{name}-*")],
            wildcard_because=named,
        )
        may_pass(function.role, self.role_arn, "sagemaker.amazonaws.com")
        self._describe_to(function)

    def asked_by(self, function: Function, *, streaming: bool = False) -> None:
        """Let a function ask the endpoint for answers."""
        actions = ["sagemaker:InvokeEndpoint"]
        if streaming:
            actions.append("sagemaker:InvokeEndpointWithResponseStream")
        allow(function.role, actions, [arn("sagemaker", f"endpoint/{self.settings.name}")])
        function.function.add_environment("STORYLOOM_ENDPOINT_NAME", self.settings.name)

    def priced_for(self, function: Function) -> None:
        """Tell a function what the endpoint's machines cost."""
        prices = {name: instance.usd_per_hour for name, instance in INSTANCES.items()}
        function.function.add_environment("STORYLOOM_HOSTING_PRICES", json.dumps(prices))
        function.function.add_environment("STORYLOOM_PRICE_DATE", PRICE_DATE)

    def _describe_to(self, function: Function) -> None:
        variables = {
            "STORYLOOM_HOSTING_IMAGE": self.image,
            "STORYLOOM_HOSTING_INSTANCE": self.settings.hosting_instance,
            "STORYLOOM_HOSTING_FALLBACK_INSTANCES": json.dumps(self.settings.fallbacks),
            "STORYLOOM_HOSTING_ROLE_ARN": self.role_arn,
            "STORYLOOM_ENDPOINT_NAME": self.settings.name,
            "STORYLOOM_INFERENCE_AMI": self.settings.inference_ami,
            "STORYLOOM_IDLE_MINUTES": f"{self.settings.idle_minutes:g}",
        }
        for name, value in variables.items():
            function.function.add_environment(name, value)
