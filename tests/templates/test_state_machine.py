"""The pipeline: every state can be reached, every failure is caught, every job has its limits."""

from typing import Any

import pytest

from contracts.settings import Settings
from local.aws.errors import AwsError
from local.aws.sagemaker.training_request import DEBUGGER
from local.aws.service_models import validate
from local.aws.step_functions.integration_fields import unsupported
from shared.recovery import failures
from stacks.pipeline.job_states import train_state
from tests.templates.conftest import Synthesized, definition, flat

States = dict[str, Any]
_RUN = "20261122-031640-ce3f"
_JOBS = {
    "$.assembled.jobs.training_job_name": f"storyloom-train-{_RUN}",
    "$.assembled.jobs.hyperparameters": {"epochs": "3"},
    "$.assembled.jobs.stopping_condition": {
        "MaxRuntimeInSeconds": 270 * 60,
        "MaxWaitTimeInSeconds": 270 * 60 + 8 * 3600,
    },
    "$.assembled.jobs.training_channels": [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://a/b/"}},
        }
    ],
    "$.assembled.jobs.tuning.job_name": f"storyloom-{_RUN}",
    "$.assembled.jobs.tuning.resource_limits": {
        "MaxNumberOfTrainingJobs": 6,
        "MaxParallelTrainingJobs": 2,
    },
    "$.assembled.jobs.tuning.stopping_condition": {
        "MaxRuntimeInSeconds": 3600,
        "MaxWaitTimeInSeconds": 7200,
    },
    "$.assembled.jobs.tuning.parameter_ranges": {
        "CategoricalParameterRanges": [{"Name": "lora_rank", "Values": ["8", "16"]}]
    },
    "$.assembled.jobs.tuning.static_hyperparameters": {"sagemaker_program": "train.py"},
    "$.assembled.jobs.training_output_uri": "s3://a/runs/x/training/",
    "$.assembled.jobs.checkpoint_uri": "s3://a/runs/x/checkpoints/",
    "$.assembled.jobs.processing_job_name": f"storyloom-evaluate-{_RUN}",
    "$.assembled.jobs.processing_instance": "ml.g6.xlarge",
    "$.assembled.jobs.processing_inputs": [
        {
            "InputName": "code",
            "S3Input": {
                "S3Uri": "s3://a/b/",
                "S3DataType": "S3Prefix",
                "LocalPath": "/opt/ml/processing/input/code",
            },
        }
    ],
    "$.assembled.jobs.evaluation_output_uri": "s3://a/runs/x/evaluation/",
}


def _next(state: dict[str, Any]) -> set[str]:
    after = {state.get("Next"), state.get("Default")}
    after |= {choice["Next"] for choice in state.get("Choices", [])}
    after |= {catch["Next"] for catch in state.get("Catch", [])}
    return after - {None}  # type: ignore[return-value]


def test_every_state_is_reached_and_leads_somewhere(synthesized: Synthesized) -> None:
    machine = definition(synthesized)
    reached, waiting = set(), {machine["StartAt"]}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= _next(machine["States"][name]) - reached
    assert reached == set(machine["States"])
    for name, state in machine["States"].items():
        assert _next(state) or state.get("End") or state["Type"] == "Fail", name


def test_the_ten_steps_are_in_order(states: States) -> None:
    steps = ["Begin", "Read", "Assemble", "StageBaseModel", "Train", "Evaluate", "Gate", "Register", "Deploy"]
    assert [name for name in states if name in steps] == steps
    path, name = [], "Begin"
    while name != "Announce":
        path.append(name)
        state = states[name]
        # The happy way: what a choice is there for.
        name = state["Choices"][0]["Next"] if state["Type"] == "Choice" else state["Next"]
    assert [name for name in path if name in steps] == steps


@pytest.mark.parametrize("kind", ["Task", "Map"])
def test_every_task_has_a_catch_into_the_one_failure_path(states: States, kind: str) -> None:
    tasks = {name: state for name, state in states.items() if state["Type"] == kind}
    assert tasks
    for name, state in tasks.items():
        *polite, catch = state["Catch"]
        after = {"AwaitApproval": ["NoAnswer"], "Train": ["TrainAgain"], "Evaluate": ["EvaluateAgain"]}
        assert [one["Next"] for one in polite] == after.get(name, [])
        assert catch["ErrorEquals"] == ["States.ALL"], name
        if name == "RecordFailure":
            assert catch["Next"] == "Failed", "recording failed: end with the error that came first"
            assert catch["ResultPath"] is None
        elif name == "CollectGarbage":
            assert catch["Next"] == "Succeeded", "the version answers whatever is left lying about"
        else:
            assert (catch["Next"], catch["ResultPath"]) == ("RecordFailure", "$.failure"), name


def test_every_task_has_a_time_limit_and_retries_only_what_can_be_retried(states: States) -> None:
    reading = states["Read"]["ItemProcessor"]["States"]
    alone = reading["ReadEachAlone"]["ItemProcessor"]["States"]
    every = {**states, **reading, **alone}
    tasks = {name: state for name, state in every.items() if state["Type"] == "Task"}
    assert len(tasks) == 25
    for name, state in tasks.items():
        longest = 7 if name == "AwaitApproval" else 6
        assert 0 < state["TimeoutSeconds"] <= longest * 24 * 3600, name
        errors = [error for retry in state["Retry"] for error in retry["ErrorEquals"]]
        assert errors, name
        assert "States.ALL" not in errors, "a failure of our own code fails again"
        ran = [
            retry for retry in state["Retry"] if "Lambda.TooManyRequestsException" not in retry["ErrorEquals"]
        ]
        assert all(retry["MaxAttempts"] <= 6 for retry in ran), name


def test_a_function_is_stopped_before_its_state(synthesized: Synthesized, states: States) -> None:
    seconds = {
        f"<{name}.Arn>": function["Properties"]["Timeout"]
        for name, function in synthesized.resources("AWS::Lambda::Function")
    }
    tasks = {name: state for name, state in states.items() if state.get("Resource") in seconds}
    assert len(tasks) == 17
    for name, state in tasks.items():
        assert seconds[state["Resource"]] < state["TimeoutSeconds"], name


def test_the_training_job_is_a_request_that_sagemaker_takes(states: States) -> None:
    request = _filled(states["Train"]["Parameters"])
    _validate("CreateTrainingJob", request)
    assert request["EnableNetworkIsolation"] is True
    assert request["EnableManagedSpotTraining"] is True
    assert states["Train"]["Parameters"]["StoppingCondition.$"] == "$.assembled.jobs.stopping_condition"
    assert request["CheckpointConfig"]["S3Uri"]
    assert request["ResourceConfig"]["InstanceType"] == "ml.g6.xlarge"
    assert "Environment" not in request
    named = {metric["Name"] for metric in request["AlgorithmSpecification"]["MetricDefinitions"]}
    assert {"train:loss", "validation:loss", "train:tokens_per_second", "train:cost_usd"} <= named


@pytest.mark.aws_fact
@pytest.mark.parametrize("name", ["Train", "Tune", "Evaluate"])
def test_a_job_has_only_fields_that_step_functions_is_known_to_take(states: States, name: str) -> None:
    action = states[name]["Resource"].rpartition(":")[2].removesuffix(".sync")
    assert unsupported(action, _filled(states[name]["Parameters"])) == []


@pytest.mark.aws_fact
def test_sagemaker_ends_a_job_before_its_state_times_out(synthesized: Synthesized, states: States) -> None:
    known = _reserve_variables(synthesized)
    minutes = int(known["STORYLOOM_MAX_TRAINING_MINUTES"]) + int(known["STORYLOOM_GRACE_MINUTES"])
    training = 60 * minutes + 3600 * int(known["STORYLOOM_SPOT_WAIT_HOURS"])
    evaluation = states["Evaluate"]["Parameters"]["StoppingCondition"]["MaxRuntimeInSeconds"]
    for name, longest in (("Train", training), ("Tune", training), ("Evaluate", evaluation)):
        assert states[name]["TimeoutSeconds"] >= longest + 3600, "a timeout would leave the job running"


@pytest.mark.aws_fact
def test_no_job_uses_the_debugger(states: States) -> None:
    requests = [states["Train"]["Parameters"], states["Tune"]["Parameters"]["TrainingJobDefinition"]]
    for request in requests:
        assert not request.keys() & set(DEBUGGER)


def test_instances_that_train_together_encrypt_their_traffic(states: States) -> None:
    train = train_state(Settings(instance_count=2), "arn:aws:iam::123456789012:role/training", "image")
    request = _filled(train["Parameters"])
    _validate("CreateTrainingJob", request)
    assert request["ResourceConfig"]["InstanceCount"] == 2
    assert request["EnableInterContainerTrafficEncryption"] is True
    assert states["Train"]["Parameters"]["ResourceConfig"]["InstanceCount"] == 1


def test_the_search_is_a_request_that_sagemaker_takes(states: States) -> None:
    request = _filled(states["Tune"]["Parameters"])
    _validate("CreateHyperParameterTuningJob", request)
    assert request["HyperParameterTuningJobConfig"]["TrainingJobEarlyStoppingType"] == "Auto"
    metrics = request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    objective = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    assert objective["MetricName"] in {metric["Name"] for metric in metrics}
    assert request["TrainingJobDefinition"]["EnableNetworkIsolation"] is True
    assert len(request["HyperParameterTuningJobName"]) <= 32
    assert states["TrainOnce"]["Choices"][0] == {
        "Variable": "$.assembled.tune",
        "BooleanEquals": False,
        "Next": "Train",
    }
    assert states["TrainOnce"]["Default"] == "Tune"
    assert (states["Tune"]["Next"], states["ChooseBest"]["Next"]) == ("ChooseBest", "Evaluate")
    assert states["ChooseBest"]["ResultPath"] == "$.assembled.jobs"


def test_the_evaluation_job_is_a_request_that_sagemaker_takes(states: States) -> None:
    request = _filled(states["Evaluate"]["Parameters"])
    _validate("CreateProcessingJob", request)
    assert request["NetworkConfig"] == {"EnableNetworkIsolation": True}
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] < states["Evaluate"]["TimeoutSeconds"]
    training = states["Train"]["Parameters"]["AlgorithmSpecification"]["TrainingImage"]
    assert request["AppSpecification"]["ImageUri"] == training


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("state", "operation", "wrong", "words"),
    [
        ("Train", "CreateTrainingJob", {"SpotTraining": True}, "SpotTraining"),
        (
            "Train",
            "CreateTrainingJob",
            {"ResourceConfig": {"InstanceType": "ml.g99.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 9}},
            "Value 'ml.g99.xlarge' at 'resourceConfig.instanceType' .*enum value set",
        ),
        (
            "Evaluate",
            "CreateProcessingJob",
            {
                "ProcessingResources": {
                    "ClusterConfig": {
                        "InstanceType": "ml.p5.48xlarge",
                        "InstanceCount": 1,
                        "VolumeSizeInGB": 9,
                    }
                }
            },
            "Value 'ml.p5.48xlarge' at 'processingResources.clusterConfig.instanceType' .*enum value set",
        ),
    ],
    ids=["a field", "an instance that nothing has", "an instance that processing lacks"],
)
def test_the_validator_would_find_a_wrong_request(
    states: States, state: str, operation: str, wrong: dict[str, Any], words: str
) -> None:
    """boto3 would send each of these; SageMaker refuses them."""
    request = _filled(states[state]["Parameters"]) | wrong
    with pytest.raises(AssertionError, match=words):
        _validate(operation, request)


def test_without_spot_nothing_waits_for_it(other: Synthesized) -> None:
    states = definition(other)["States"]
    request = _filled(states["Train"]["Parameters"])
    _validate("CreateTrainingJob", request)
    assert request["EnableManagedSpotTraining"] is False
    known = _reserve_variables(other)
    assert (known["STORYLOOM_SPOT"], known["STORYLOOM_MAX_TRAINING_MINUTES"]) == ("false", "3")


def test_reading_is_a_distributed_map_over_the_manifest(states: States) -> None:
    read = states["Read"]
    assert read["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert read["ItemReader"]["ReaderConfig"] == {"InputType": "JSONL"}
    assert read["ItemReader"]["Parameters"]["Key.$"] == "$.begun.batches.key"
    assert read["ItemSelector"] == {"run_id.$": "$.run_id", "files.$": "$$.Map.Item.Value.files"}
    assert read["ResultPath"] is None, "ten million results would not fit into the state"
    writer = read["ResultWriter"]["Parameters"]
    assert writer["Prefix.$"] == "States.Format('runs/{}/read-results', $.run_id)"
    assert writer["Bucket.$"] == "$.begun.batches.bucket", "all results together would end the execution"


def test_a_failed_run_is_entered_at_the_state_that_failed(states: States) -> None:
    assert states["Entry"]["Choices"][0]["Next"] == "Resume"
    assert (states["Resume"]["Next"], states["Resume"]["ResultPath"]) == ("ResumeAt", None)
    entered = [choice["Next"] for choice in states["ResumeAt"]["Choices"]] + [states["ResumeAt"]["Default"]]
    assert set(entered) == set(failures.RESUMABLE_STATES)


def test_the_next_attempt_follows_its_decision(states: States) -> None:
    for step in ("Train", "Evaluate"):
        again = states[f"{step}Again"]
        assert again["Parameters"]["step"] == step
        assert (again["ResultPath"], again["Next"]) == ("$.assembled.jobs", "BeforeNextAttempt")
    after = {choice["StringEquals"]: choice["Next"] for choice in states["NextAttempt"]["Choices"]}
    assert after == {"Train": "Train", "Evaluate": "Evaluate"}
    assert states["NextAttempt"]["Default"] == "RecordFailure"


def test_an_existing_version_is_deployed_like_a_new_one(synthesized: Synthesized, states: States) -> None:
    entry = states[definition(synthesized)["StartAt"]]
    assert entry["Choices"][1] == {"Variable": "$.version", "IsPresent": True, "Next": "Activate"}
    assert entry["Default"] == "Begin"
    assert (states["Activate"]["Next"], states["Activate"]["ResultPath"]) == ("IsPreloaded", "$.registered")
    loaded = {"Variable": "$.registered.preloaded", "BooleanEquals": True, "Next": "Succeeded"}
    assert (states["IsPreloaded"]["Choices"], states["IsPreloaded"]["Default"]) == ([loaded], "Deploy")
    assert states["Deploy"]["Parameters"]["version.$"] == "$.registered.version"
    assert states["Register"]["ResultPath"] == "$.registered"


def test_only_what_is_approved_is_deployed(states: States) -> None:
    worth = states["WorthDeploying"]
    after = {choice["StringEquals"]: choice["Next"] for choice in worth["Choices"]}
    assert after == {"approved": "Deploy", "pending": "PendingApproval"}
    assert worth["Default"] == "NotBetter"
    assert states["PendingApproval"]["Parameters"]["outcome"] == "pending_approval"


def test_a_review_in_the_registry_invokes_the_function(synthesized: Synthesized) -> None:
    (rule,) = [
        rule["Properties"]
        for rule in synthesized.pipeline.find_resources("AWS::Events::Rule").values()
        if rule["Properties"].get("EventPattern", {}).get("source") == ["aws.sagemaker"]
    ]
    assert rule["EventPattern"]["detail"] == {
        "ModelPackageGroupName": ["storyloom"],
        "ModelApprovalStatus": ["Approved", "Rejected"],
    }
    assert flat(rule["Targets"][0]["Arn"]).startswith("<OnVersionReviewed")


def test_the_run_asks_before_any_money_is_spent_if_the_setting_is_on(states: States) -> None:
    ask = states["TrainAtOnce"]
    assert states["EnoughText"]["Choices"][0]["Next"] == "Preflight"
    assert states["QuotasSuffice"]["Choices"][0]["Next"] == "TrainAtOnce"
    assert ask["Choices"] == [
        {"Variable": "$.assembled.ask_before_training", "BooleanEquals": False, "Next": "StageBaseModel"}
    ]
    assert ask["Default"] == "AwaitApproval"
    wait = states["AwaitApproval"]
    assert wait["Resource"].endswith(":states:::lambda:invoke.waitForTaskToken")
    assert wait["Parameters"]["Payload"]["task_token.$"] == "$$.Task.Token"
    answers = {choice["StringEquals"]: choice["Next"] for choice in states["Approved"]["Choices"]}
    assert answers == {"approved": "StageBaseModel", "declined": "Declined"}
    assert states["Approved"]["Default"] == "Superseded"
    for name in ("Declined", "Superseded", "NoAnswer"):
        assert states[name]["Next"] == "Announce"
        assert "nothing was spent on a GPU" in states[name]["Parameters"]["message"]


def test_a_run_approved_at_the_last_moment_has_time_to_train(
    synthesized: Synthesized, states: States
) -> None:
    whole = definition(synthesized)["TimeoutSeconds"]
    assert whole > states["AwaitApproval"]["TimeoutSeconds"] + states["Train"]["TimeoutSeconds"]
    assert states["AwaitApproval"]["TimeoutSeconds"] == 7 * 24 * 3600
    assert "within 7 days" in states["NoAnswer"]["Parameters"]["message"]
    assert states["AwaitApproval"]["Parameters"]["Payload"]["days"] == 7


def test_assemble_knows_the_setting(synthesized: Synthesized, other: Synthesized) -> None:
    told = [
        function["Properties"]["Environment"]["Variables"]["STORYLOOM_ASK_BEFORE_TRAINING"]
        for app in (synthesized, other)
        for name, function in app.resources("AWS::Lambda::Function")
        if name.startswith("Assemble")
    ]
    assert told == ["false", "true"]


def test_messages_find_the_page(synthesized: Synthesized) -> None:
    (parameter,) = synthesized.chat.find_resources("AWS::SSM::Parameter").values()
    assert flat(parameter["Properties"]["Value"]).startswith("https://")
    (ask,) = [
        function["Properties"]["Environment"]["Variables"]
        for name, function in synthesized.resources("AWS::Lambda::Function")
        if name.startswith("AskApproval")
    ]
    assert ask["STORYLOOM_PAGE_URL_PARAMETER"] == parameter["Properties"]["Name"] == "/storyloom/page-url"


def test_the_machine_is_traced_and_logs_no_words_of_a_story(synthesized: Synthesized) -> None:
    (machine,) = synthesized.pipeline.find_resources("AWS::StepFunctions::StateMachine").values()
    logging = machine["Properties"]["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", False)
    assert machine["Properties"]["TracingConfiguration"] == {"Enabled": True}
    (log,) = [
        group
        for name, group in synthesized.pipeline.find_resources("AWS::Logs::LogGroup").items()
        if name.startswith("PipelineLog")
    ]
    assert log["Properties"]["LogGroupName"].startswith("/aws/vendedlogs/states/")


def test_stories_set_the_schedule_and_interrupted_runs_are_recorded(synthesized: Synthesized) -> None:
    rules = {
        rule["Properties"]["EventPattern"]["detail-type"][0]: rule["Properties"]
        for rule in synthesized.pipeline.find_resources("AWS::Events::Rule").values()
        if "EventPattern" in rule["Properties"]
    }
    story = rules["Object Created"]
    assert flat(story["EventPattern"]["detail"]["bucket"]["name"][0]) == "<StoriesBucketName>"
    assert flat(story["Targets"][0]["Arn"]).startswith("<DebounceUploads")
    cut_off = rules["Step Functions Execution Status Change"]
    assert cut_off["EventPattern"]["detail"]["status"] == ["ABORTED", "FAILED", "TIMED_OUT"]
    assert flat(cut_off["Targets"][0]["Arn"]).startswith("<RecordFailure")


def test_a_run_is_reserved_in_the_last_state_before_a_machine_is_paid_for(states: States) -> None:
    assert states["Staged"]["Choices"][0]["Next"] == "Reserve"
    assert states["Reserve"]["Next"] == "Reserved"
    assert (states["Reserved"]["Choices"][0]["Next"], states["Reserved"]["Default"]) == (
        "TrainOnce",
        "NoMoney",
    )
    before = {name for name, state in states.items() if "TrainOnce" in str(state)}
    assert before == {"Reserved"}, "no way around it"


def _reserve_variables(app: Synthesized) -> dict[str, Any]:
    """What the function that decides how long a training may take knows."""
    (variables,) = [
        function["Properties"]["Environment"]["Variables"]
        for name, function in app.resources("AWS::Lambda::Function")
        if name.startswith("ReserveFunction")
    ]
    return dict(variables)


def _filled(value: Any) -> Any:
    """Put in what run and stack put in: `"Field.$": path` becomes the value at that path, a role its ARN."""
    if isinstance(value, list):
        return [_filled(part) for part in value]
    if isinstance(value, str) and value.endswith(".Arn>"):
        return "arn:aws:iam::123456789012:role/made-by-the-stack"
    if not isinstance(value, dict):
        return value
    return {
        name.removesuffix(".$"): _JOBS[part] if name.endswith(".$") else _filled(part)
        for name, part in value.items()
    }


def _validate(operation: str, request: dict[str, Any]) -> None:
    """With the enumerations, patterns and lengths that SageMaker checks and boto3 does not."""
    try:
        validate(operation, request)
    except AwsError as error:
        raise AssertionError(error.message) from error
