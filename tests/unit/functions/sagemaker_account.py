"""A SageMaker account with things of two apps, for the clean-up: lists, stops and deletes by name."""

import re
from dataclasses import dataclass, field
from typing import Any

from tests.unit.functions.sagemaker_stand_in import RefusalError

Body = dict[str, Any]
_JOB = re.compile(r"(List|Stop|Delete|Describe)(HyperParameterTuning|Training|Processing|Transform)Jobs?")
_LISTS = {
    "ListEndpointConfigs": ("EndpointConfigs", "EndpointConfigName"),
    "ListModels": ("Models", "ModelName"),
}


@dataclass
class Account:
    """What the account has; names only."""

    endpoint: list[str] = field(default_factory=list)
    """The endpoint's status at each look; the last one stays. Empty: there is none."""
    configs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    packages: int = 0
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    """Name and status by kind, such as `Training`."""
    tags: dict[str, str] = field(default_factory=dict)
    """The app of a job, by its name."""
    denied: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    """What was changed, in its order."""

    def control(self, operation: str, body: Body) -> Body:
        if operation in self.denied:
            raise RefusalError(f"not authorized to perform: sagemaker:{operation}", "AccessDeniedException")
        if found := _JOB.fullmatch(operation):
            return self._job(found[1], found[2], body)
        if operation in _LISTS:
            key, member = _LISTS[operation]
            names = self.configs if member == "EndpointConfigName" else self.models
            return {key: [_entry(member, name) for name in names if body["NameContains"] in name]}
        answer: Body = getattr(self, f"_{operation}")(body)
        return answer

    def _job(self, verb: str, kind: str, body: Body) -> Body:
        jobs = self.jobs.setdefault(kind, {})
        member = f"{kind}JobName"
        if verb == "List":
            wanted = body.get("StatusEquals")
            entries = [
                {**_entry(member, name), f"{kind}JobStatus": status}
                for name, status in jobs.items()
                if body["NameContains"] in name and wanted in (None, status)
            ]
            # What is being stopped has stopped at the next look.
            jobs.update({name: "Stopped" for name, status in jobs.items() if status == "Stopping"})
            return {f"{kind}JobSummaries": entries}
        name = body[member]
        if verb == "Describe":
            return self._described(kind, name)
        self.done.append(f"{verb}{kind}Job {name}")
        if verb == "Stop":
            jobs[name] = "Stopping"
        elif jobs[name] in ("InProgress", "Stopping"):
            raise RefusalError(f"The job {name} is {jobs[name]}.", "ResourceInUse")
        else:
            del jobs[name]
        return {}

    def _described(self, kind: str, name: str) -> Body:
        """Describe a job that has had one ml.g6.xlarge for twenty minutes."""
        if name not in self.jobs[kind]:
            raise RefusalError("Requested resource not found.")
        machines = {"InstanceType": "ml.g6.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
        of_kind: dict[str, Body] = {
            "Training": {"ResourceConfig": machines, "BillableTimeInSeconds": 1200},
            "HyperParameterTuning": {
                "TrainingJobDefinition": {"ResourceConfig": machines},
                "HyperParameterTuningJobConfig": {"ResourceLimits": {"MaxNumberOfTrainingJobs": 6}},
            },
            "Processing": {"ProcessingResources": {"ClusterConfig": machines}},
            "Transform": {"TransformResources": machines},
        }
        return {
            **_entry(f"{kind}JobName", name),
            f"{kind}JobStatus": self.jobs[kind][name],
            f"{kind}StartTime": 1788000000.0,
            f"{kind}EndTime": 1788001200.0,
            **of_kind[kind],
        }

    def _ListTrainingJobsForHyperParameterTuningJob(self, body: Body) -> Body:  # noqa: N802
        search = body["HyperParameterTuningJobName"]
        trials = [name for name in self.jobs["Training"] if name.startswith(f"{search}-")]
        return {"TrainingJobSummaries": [_entry("TrainingJobName", name) for name in trials]}

    def _ListTags(self, body: Body) -> Body:  # noqa: N802
        app = self.tags.get(body["ResourceArn"].rpartition("/")[2])
        return {"Tags": [{"Key": "storyloom:app", "Value": app}] if app else []}

    def _DescribeEndpoint(self, body: Body) -> Body:  # noqa: N802
        if not self.endpoint:
            raise RefusalError(f'Could not find endpoint "arn:aws:sagemaker:::{body["EndpointName"]}".')
        status = self.endpoint.pop(0) if len(self.endpoint) > 1 else self.endpoint[0]
        if status == "Deleting":
            self.endpoint = []
        return {
            "EndpointName": body["EndpointName"],
            "EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/storyloom",
            "EndpointConfigName": "storyloom-v1-g6-xlarge-0f3c2a1b",
            "EndpointStatus": status,
            "CreationTime": 1788000000.0,
            "LastModifiedTime": 1788000000.0,
        }

    def _DeleteEndpoint(self, body: Body) -> Body:  # noqa: N802
        if not self.endpoint:
            raise RefusalError("Could not find endpoint.")
        if self.endpoint[0] in ("Creating", "Updating"):
            raise RefusalError('Cannot update in-progress endpoint "arn:aws:sagemaker:::it".')
        self.done.append("DeleteEndpoint")
        self.endpoint = ["Deleting"]
        return {}

    def _DeregisterScalableTarget(self, body: Body) -> Body:  # noqa: N802
        raise RefusalError("No scalable target found.", "ObjectNotFoundException")

    def _DeleteEndpointConfig(self, body: Body) -> Body:  # noqa: N802
        self.done.append(f"DeleteEndpointConfig {body['EndpointConfigName']}")
        self.configs.remove(body["EndpointConfigName"])
        return {}

    def _DeleteModel(self, body: Body) -> Body:  # noqa: N802
        self.done.append(f"DeleteModel {body['ModelName']}")
        self.models.remove(body["ModelName"])
        return {}

    def _ListModelPackages(self, body: Body) -> Body:  # noqa: N802
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:model-package/{body['ModelPackageGroupName']}"
        entries = [
            {
                "ModelPackageArn": f"{arn}/{number}",
                "ModelPackageStatus": "Completed",
                "CreationTime": 1788000000.0,
            }
            for number in range(1, self.packages + 1)
        ]
        return {"ModelPackageSummaryList": entries}

    def _DeleteModelPackage(self, body: Body) -> Body:  # noqa: N802
        self.done.append(f"DeleteModelPackage {body['ModelPackageName'].rpartition('/')[2]}")
        self.packages -= 1
        return {}


def _entry(member: str, name: str) -> Body:
    arn = member.removesuffix("Name") + "Arn"
    kind = "hyper-parameter-tuning-job" if "Tuning" in member else "training-job"
    return {
        member: name,
        arn: f"arn:aws:sagemaker:us-east-1:123456789012:{kind}/{name}",
        "CreationTime": 1788000000.0,
    }
