"""The service quotas that an app with these settings needs, by the names that AWS gives them.

They are used by `storyloom doctor` before a deployment, by the pipeline before it pays for a training, and in
`docs/settings.md`. A quota is identified by its name, because the codes of the quotas of instance types are
documented nowhere.
"""

from dataclasses import dataclass
from typing import Literal

from contracts.settings import Settings

ServiceCode = Literal["sagemaker", "lambda"]

LAMBDA_CONCURRENCY = "Concurrent executions"
"""Name of Lambda's quota; its code is L-B99A9384 everywhere."""


@dataclass(frozen=True)
class QuotaNeed:
    """One quota, and how much of it the app uses."""

    service: ServiceCode
    name: str
    """As Service Quotas names it, such as `ml.g6.xlarge for endpoint usage`."""
    minimum: int
    """Below this, `purpose` fails."""
    recommended: int
    """Below this, `purpose` works with the limitation that `if_less` describes."""
    purpose: str
    """What needs it, as the middle of a sentence: `training on spot`."""
    if_less: str = ""
    """What is different between `minimum` and `recommended`; empty if they are equal."""
    optional: bool = False
    """Whether the app works without it, because another instance of a list can be used."""
    stands_in_for: str = ""
    """Name of the quota that this one can stand in for: that of the first choice among instances."""


def needed(settings: Settings) -> list[QuotaNeed]:
    """List the quotas, in the order in which a run meets them."""
    training = "spot training job" if settings.spot else "training job"
    # A search trains twice at the same time, with one instance each.
    concurrent = max(settings.instance_count, 2 if settings.tune else 1)
    evaluation = [f"{instance} for processing job usage" for instance in settings.evaluation_instances]
    endpoint = f"{settings.hosting_instance} for endpoint usage"
    return [
        QuotaNeed(
            "lambda",
            LAMBDA_CONCURRENCY,
            minimum=10,
            recommended=100,
            purpose="the functions",
            if_less="stories are read by fewer functions at once, and a busy page may have to wait",
        ),
        QuotaNeed(
            "sagemaker",
            f"{settings.training_instance} for {training} usage",
            minimum=concurrent,
            recommended=concurrent,
            purpose="training on spot capacity" if settings.spot else "training",
        ),
        *(
            QuotaNeed(
                "sagemaker",
                name,
                minimum=1,
                recommended=1,
                purpose="the evaluation" if first else "the evaluation if the first choice cannot be had",
                optional=not first,
                stands_in_for="" if first else evaluation[0],
            )
            for name, first in ((name, name == evaluation[0]) for name in evaluation)
        ),
        QuotaNeed(
            "sagemaker",
            endpoint,
            minimum=1,
            recommended=2 * settings.hosting_max_instances,
            purpose="the endpoint",
            if_less="a new version cannot start beside the one that answers, so chat pauses for the change",
        ),
        *(
            QuotaNeed(
                "sagemaker",
                f"{instance} for endpoint usage",
                minimum=1,
                recommended=1,
                purpose="the endpoint if there is no capacity for the first choice",
                optional=True,
                stands_in_for=endpoint,
            )
            for instance in settings.fallbacks
        ),
        *(
            QuotaNeed(
                "sagemaker",
                f"{instance} for transform job usage",
                minimum=1,
                recommended=1,
                purpose="batches",
                optional=True,
            )
            for instance in settings.transform_instances[:1]
        ),
    ]
