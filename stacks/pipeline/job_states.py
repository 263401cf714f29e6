"""States that train and evaluate by SageMaker jobs, and try again: from `TrainOnce` to `NextAttempt`.

The jobs are written as SageMaker's own requests: the CDK's task for training has neither spot nor
checkpoints.
"""

from typing import Any

from aws_cdk import Aws

from contracts.environment import EVALUATION_ACCELERATOR
from contracts.resource_names import TAG
from contracts.settings import Settings
from stacks.grants.request_limits import WITHOUT_NETWORK, only_instances
from stacks.pipeline.states import CATCH, RUN, FunctionTasks, State, catch_first, choice, choice_of
from stories.dataset.training_plan import GRACE_MINUTES, LONGEST_EVALUATION_MINUTES, SPOT_WAIT_HOURS

_JOBS = "$.assembled.jobs"
_MINUTE = 60
_HOUR = 60 * _MINUTE
_EVALUATION_SECONDS = LONGEST_EVALUATION_MINUTES * _MINUTE

METRIC_DEFINITIONS = [
    {"Name": "train:loss", "Regex": "metric train_loss=([0-9.eE+-]+)"},
    {"Name": "validation:loss", "Regex": "metric validation_loss=([0-9.eE+-]+)"},
    *(
        {"Name": f"train:{name}", "Regex": f"metric {name}=([0-9.eE+-]+)"}
        for name in ("tokens_per_second", "learning_rate", "peak_fraction", "memory_gib", "cost_usd")
    ),
]

# What SageMaker returns while it is busy. A job that already exists has another error name, so a retry
# never starts a second one.
RETRY_BUSY = [
    {
        "ErrorEquals": ["SageMaker.AmazonSageMakerException", "SageMaker.ThrottlingException"],
        "IntervalSeconds": 5,
        # A missing permission has the same error name, and waiting does not help: half a minute in all.
        "MaxAttempts": 3,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    }
]


# Errors of a job that failed, and of SageMaker when it refuses one.
_JOB_FAILED = (
    "States.TaskFailed",
    "SageMaker.ResourceLimitExceededException",
    "SageMaker.AmazonSageMakerException",
)
_REPEATABLE = ("Train", "Evaluate")


def job_states(tasks: FunctionTasks, settings: Settings, role_arn: str, image: str) -> dict[str, State]:
    """Return the states from `TrainOnce` to `NextAttempt`.

    Args:
        tasks: the functions.
        settings: of the app.
        role_arn: role of the jobs.
        image: container of the jobs.
    """
    return {
        # Both values of the setting `tune` have the same states: Assemble decides whether the budget is
        # enough for a search.
        "TrainOnce": choice({"Variable": "$.assembled.tune", "BooleanEquals": False}, "Train", "Tune"),
        "Tune": {**tune_state(settings, role_arn, image), "Catch": CATCH, "Next": "ChooseBest"},
        "ChooseBest": tasks.call(
            "choose_best", {**RUN, "jobs.$": _JOBS, "tuned.$": "$.trained"}, _JOBS, "Evaluate"
        ),
        "Train": {
            **train_state(settings, role_arn, image),
            "Catch": catch_first(_JOB_FAILED, "TrainAgain"),
            "Next": "Evaluate",
        },
        "Evaluate": {
            **evaluate_state(settings, role_arn, image),
            "Catch": catch_first(_JOB_FAILED, "EvaluateAgain"),
            "Next": "Gate",
        },
        **{
            f"{step}Again": tasks.call(
                "next_attempt",
                {**RUN, "step": step, "jobs.$": _JOBS, "failure.$": "$.failure"},
                _JOBS,
                "BeforeNextAttempt",
            )
            for step in _REPEATABLE
        },
        "BeforeNextAttempt": {
            "Type": "Wait",
            "SecondsPath": f"{_JOBS}.wait_seconds",
            "Next": "NextAttempt",
        },
        "NextAttempt": choice_of(
            f"{_JOBS}.again", {step: step for step in _REPEATABLE}, default="RecordFailure"
        ),
    }


def train_state(settings: Settings, role_arn: str, image: str) -> State:
    """Return the state `Train`: `createTrainingJob.sync` with spot, checkpoints, a time limit and no network.

    It has only fields that Step Functions is known to accept (docs/decisions/0015). The image's own entry
    point runs the script that the hyperparameters name. The model is an archive that the evaluation unpacks.
    """
    request: dict[str, Any] = {
        "TrainingJobName.$": f"{_JOBS}.training_job_name",
        "RoleArn": role_arn,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "MetricDefinitions": METRIC_DEFINITIONS,
        },
        "HyperParameters.$": f"{_JOBS}.hyperparameters",
        "InputDataConfig.$": f"{_JOBS}.training_channels",
        "OutputDataConfig": {"S3OutputPath.$": f"{_JOBS}.training_output_uri"},
        "CheckpointConfig": {"S3Uri.$": f"{_JOBS}.checkpoint_uri"},
        "ResourceConfig": {
            "InstanceType": settings.training_instance,
            "InstanceCount": settings.instance_count,
            "VolumeSizeInGB": 100,
        },
        # The time that the settings allow, or less if the month's limit leaves less: `reserve` decides.
        "StoppingCondition.$": f"{_JOBS}.stopping_condition",
        "EnableManagedSpotTraining": settings.spot,
        "EnableNetworkIsolation": True,
        "Tags": _tags(settings),
    }
    if settings.instance_count > 1:
        # What the instances send one another is derived from the stories.
        request["EnableInterContainerTrafficEncryption"] = True
    return _job("createTrainingJob", request, longest_training_wait(settings) + _HOUR, "$.trained")


def tune_state(settings: Settings, role_arn: str, image: str) -> State:
    """Return the state `Tune`: `createHyperParameterTuningJob.sync`, whose trials are jobs like `Train`.

    They have no checkpoints, because all of them would share one folder, and a time limit of their own, which
    keeps the whole search within its budget.
    """
    train = train_state(settings, role_arn, image)["Parameters"]
    own = ("RoleArn", "AlgorithmSpecification", "OutputDataConfig", "EnableManagedSpotTraining")
    request = {
        "HyperParameterTuningJobName.$": f"{_JOBS}.tuning.job_name",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:loss"},
            "ResourceLimits.$": f"{_JOBS}.tuning.resource_limits",
            "ParameterRanges.$": f"{_JOBS}.tuning.parameter_ranges",
            "TrainingJobEarlyStoppingType": "Auto",
        },
        "TrainingJobDefinition": {
            **{name: train[name] for name in own},
            "StaticHyperParameters.$": f"{_JOBS}.tuning.static_hyperparameters",
            "StoppingCondition.$": f"{_JOBS}.tuning.stopping_condition",
            "InputDataConfig.$": f"{_JOBS}.training_channels",
            # One instance each, as the budget assumes.
            "ResourceConfig": {**train["ResourceConfig"], "InstanceCount": 1},
            "EnableNetworkIsolation": True,
        },
        "Tags": _tags(settings),
    }
    longest = longest_training_wait(settings) + _HOUR
    return _job("createHyperParameterTuningJob", request, longest, "$.trained")


def evaluate_state(settings: Settings, role_arn: str, image: str) -> State:
    """Return the state `Evaluate`: `createProcessingJob.sync` on the training image, with no network."""
    request = {
        "ProcessingJobName.$": f"{_JOBS}.processing_job_name",
        "RoleArn": role_arn,
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/evaluate_models.py"],
        },
        "ProcessingInputs.$": f"{_JOBS}.processing_inputs",
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "evaluation",
                    "S3Output": {
                        "S3Uri.$": f"{_JOBS}.evaluation_output_uri",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType.$": f"{_JOBS}.processing_instance",
                "InstanceCount": 1,
                "VolumeSizeInGB": 100,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": _EVALUATION_SECONDS},
        # It fails at once if it finds no GPU, as training does by its hyperparameter `accelerator`.
        "Environment": {EVALUATION_ACCELERATOR: "gpu"},
        "NetworkConfig": {"EnableNetworkIsolation": True},
        "Tags": _tags(settings),
    }
    return _job("createProcessingJob", request, _EVALUATION_SECONDS + _HOUR, "$.evaluated")


def job_limits(settings: Settings, kind: str) -> dict[str, Any]:
    """Return the IAM conditions on creating jobs of a kind: instances, longest time, no network.

    Args:
        settings: of the app.
        kind: Training, HyperParameterTuning or Processing.
    """
    evaluates = kind == "Processing"
    instances = settings.evaluation_instances if evaluates else [settings.training_instance]
    seconds = _EVALUATION_SECONDS if evaluates else training_seconds(settings)
    return {
        **only_instances(instances),
        **WITHOUT_NETWORK,
        "NumericLessThanEquals": {"sagemaker:MaxRuntimeInSeconds": str(seconds)},
    }


def training_seconds(settings: Settings) -> int:
    """Return `MaxRuntimeInSeconds` of the training job."""
    return (settings.max_training_minutes + GRACE_MINUTES) * _MINUTE


def longest_training_wait(settings: Settings) -> int:
    """Return the most seconds that a training job can take, with the wait for spot instances."""
    return training_seconds(settings) + (SPOT_WAIT_HOURS * _HOUR if settings.spot else 0)


def _job(operation: str, request: dict[str, Any], timeout_seconds: int, result_path: str) -> State:
    return {
        "Type": "Task",
        "Resource": f"arn:{Aws.PARTITION}:states:::sagemaker:{operation}.sync",
        "Parameters": request,
        "ResultPath": result_path,
        "TimeoutSeconds": timeout_seconds,
        "Retry": RETRY_BUSY,
    }


def _tags(settings: Settings) -> list[dict[str, str]]:
    return [{"Key": TAG, "Value": settings.name}]
