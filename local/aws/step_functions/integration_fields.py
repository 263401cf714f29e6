"""The fields that Step Functions' optimized SageMaker integrations are known to take.

Step Functions has its own copy of SageMaker's API for them and refuses a newer field, at run time only. AWS
publishes no list any more. Known are the parameters of the developer guide's last list (October 2021), what
the CDK's own task writes (`Environment`, `EnableNetworkIsolation`) and what public state machines run with
(managed spot training, its checkpoints, encrypted traffic between instances); within each of them, the
members that SageMaker's API had then. Everything else is refused, as AWS may do.
"""

from typing import Any

Json = dict[str, Any]
Fields = dict[str, "Fields"]
"""Names of members, each with the names of its own; a member without any may hold anything."""


def _any(names: str) -> Fields:
    return {name: {} for name in names.split()}


_TAGS = _any("Key Value")
_S3_SOURCE = _any("S3DataType S3Uri S3DataDistributionType AttributeNames")
_CHANNELS: Fields = {
    **_any("ChannelName ContentType CompressionType RecordWrapperType InputMode ShuffleConfig"),
    "DataSource": {"S3DataSource": _S3_SOURCE, "FileSystemDataSource": {}},
}
_ALGORITHM = _any("TrainingImage AlgorithmName TrainingInputMode MetricDefinitions")
_TRAINING: Fields = {
    **_any("RoleArn EnableNetworkIsolation EnableInterContainerTrafficEncryption EnableManagedSpotTraining"),
    "CheckpointConfig": _any("S3Uri LocalPath"),
    "InputDataConfig": _CHANNELS,
    "OutputDataConfig": _any("S3OutputPath KmsKeyId"),
    "ResourceConfig": _any("InstanceType InstanceCount VolumeSizeInGB VolumeKmsKeyId"),
    "StoppingCondition": _any("MaxRuntimeInSeconds MaxWaitTimeInSeconds"),
    "VpcConfig": _any("SecurityGroupIds Subnets"),
}
_TUNING: Fields = {
    **_any("Strategy ParameterRanges TrainingJobEarlyStoppingType TuningJobCompletionCriteria"),
    "HyperParameterTuningJobObjective": _any("Type MetricName"),
    "ResourceLimits": _any("MaxNumberOfTrainingJobs MaxParallelTrainingJobs"),
}
_S3_INPUT = _any("S3Uri LocalPath S3DataType S3InputMode S3DataDistributionType S3CompressionType")

KNOWN: dict[str, Fields] = {
    "createTrainingJob": {
        **_TRAINING,
        **_any("TrainingJobName HyperParameters Environment"),
        "AlgorithmSpecification": {**_ALGORITHM, "EnableSageMakerMetricsTimeSeries": {}},
        "Tags": _TAGS,
    },
    "createHyperParameterTuningJob": {
        **_any("HyperParameterTuningJobName WarmStartConfig"),
        "HyperParameterTuningJobConfig": _TUNING,
        "TrainingJobDefinition": {
            **_TRAINING,
            **_any("DefinitionName TuningObjective HyperParameterRanges StaticHyperParameters"),
            "AlgorithmSpecification": _ALGORITHM,
        },
        "Tags": _TAGS,
    },
    "createProcessingJob": {
        **_any("ProcessingJobName RoleArn Environment ExperimentConfig"),
        "AppSpecification": _any("ImageUri ContainerEntrypoint ContainerArguments"),
        "NetworkConfig": _any("EnableNetworkIsolation EnableInterContainerTrafficEncryption VpcConfig"),
        "ProcessingInputs": {**_any("InputName AppManaged DatasetDefinition"), "S3Input": _S3_INPUT},
        "ProcessingOutputConfig": {
            "KmsKeyId": {},
            "Outputs": {
                **_any("OutputName AppManaged FeatureStoreOutput"),
                "S3Output": _any("S3Uri LocalPath S3UploadMode"),
            },
        },
        "ProcessingResources": {
            "ClusterConfig": _any("InstanceType InstanceCount VolumeSizeInGB VolumeKmsKeyId")
        },
        "StoppingCondition": _any("MaxRuntimeInSeconds"),
        "Tags": _TAGS,
    },
}


def unsupported(action: str, parameters: Json) -> list[str]:
    """List the fields of a request that the integration is not known to take.

    Args:
        action: of the integration, such as `createTrainingJob`.
        parameters: of the task.
    """
    return _unknown(parameters, KNOWN[action])


def _unknown(value: Any, fields: Fields) -> list[str]:
    if not fields:
        return []
    if isinstance(value, list):
        return list(dict.fromkeys(name for one in value for name in _unknown(one, fields)))
    if not isinstance(value, dict):
        return []
    found = [name for name in value if name not in fields]
    for name in value.keys() & fields.keys():
        found += _unknown(value[name], fields[name])
    return found
