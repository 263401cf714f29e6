"""Tuning jobs: CreateHyperParameterTuningJob and its family. Each trial is a training job of its own.

Every strategy searches a Sobol sequence here, which covers the ranges evenly however many trials there are:
Bayesian search would learn nothing from the handful of trials that one machine can run.
"""

import logging
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from local.aws.errors import AwsError, in_use, invalid
from local.aws.sagemaker import job as jobs
from local.aws.sagemaker import simulated_clock, training_jobs
from local.aws.sagemaker.instance_holds import require_instances, training_instances
from local.aws.sagemaker.job import delete_ended, event_detail, shorten_reason
from local.aws.sagemaker.record_store import STORE, Record, name_of, public_members, sagemaker_arn
from local.aws.sagemaker.roles import require_trusted
from local.aws.sagemaker.tuning_search import TuningTrial, best_trial, points, should_stop_early
from local.aws.services.eventbridge import put_event

KIND = "hyper-parameter-tuning-job"
POLL_SECONDS = 0.3
PARALLEL = 2
"""Trials at once, at most: they share one machine."""

_WORKING: dict[str, "_Search"] = {}

logger = logging.getLogger("local_aws.sagemaker")


def create_tuning_job(request: Record) -> Record:
    """Answer CreateHyperParameterTuningJob."""
    _check(request)
    name = request["HyperParameterTuningJobName"]
    now = simulated_clock.current_time()
    record = {
        **{key: value for key, value in request.items() if key != "Tags"},
        "HyperParameterTuningJobArn": sagemaker_arn(KIND, name),
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
        **_counted([]),
    }
    if not STORE.add(KIND, name, record):
        raise in_use(
            f"A hyperparameter tuning job with the name {name} already exists ({sagemaker_arn(KIND, name)})"
        )
    STORE.tag(sagemaker_arn(KIND, name), request.get("Tags", []))
    search = _Search(name, request)
    _WORKING[name] = search
    threading.Thread(target=search.run, name=f"tuning-{name}", daemon=True).start()
    return {"HyperParameterTuningJobArn": sagemaker_arn(KIND, name)}


def describe_tuning_job(request: Record) -> Record:
    """Answer DescribeHyperParameterTuningJob."""
    return public_members(_get(request["HyperParameterTuningJobName"]))


def stop_tuning_job(request: Record) -> Record:
    """Answer StopHyperParameterTuningJob."""
    name = request["HyperParameterTuningJobName"]
    jobs.require_in_progress("hyperparameter tuning job", _get(name)["HyperParameterTuningJobStatus"])
    STORE.update(KIND, name, HyperParameterTuningJobStatus="Stopping")
    _WORKING[name].stopping.set()
    return {}


def delete_tuning_job(request: Record) -> Record:
    """Answer DeleteHyperParameterTuningJob: the search's entry goes, its trials stay."""
    name = request["HyperParameterTuningJobName"]
    return delete_ended(KIND, name, str(_get(name)["HyperParameterTuningJobStatus"]))


def summarize_tuning_job(record: Record) -> Record:
    """Return one entry of ListHyperParameterTuningJobs."""
    config = record["HyperParameterTuningJobConfig"]
    keys = (
        "HyperParameterTuningJobName HyperParameterTuningJobArn HyperParameterTuningJobStatus CreationTime "
        "HyperParameterTuningEndTime LastModifiedTime TrainingJobStatusCounters ObjectiveStatusCounters"
    )
    known = {key: record[key] for key in keys.split() if key in record}
    return {**known, "Strategy": config["Strategy"], "ResourceLimits": config["ResourceLimits"]}


def list_trials(request: Record) -> Record:
    """Answer ListTrainingJobsForHyperParameterTuningJob, the best first if sorted by objective."""
    record = _get(name_of(request["HyperParameterTuningJobName"]))
    trials = list(record.get("_trials", []))
    status = request.get("StatusEquals")
    trials = [trial for trial in trials if not status or trial["TrainingJobStatus"] == status]
    if request.get("SortBy") == "FinalObjectiveMetricValue":
        trials = [trial for trial in trials if "FinalHyperParameterTuningJobObjectiveMetric" in trial]
        trials.sort(key=lambda trial: float(trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]))
    if request.get("SortOrder") == "Descending":
        trials.reverse()
    start = int(request.get("NextToken", "0"))
    page = trials[start : start + request.get("MaxResults", 100)]
    more = {"NextToken": str(start + len(page))} if start + len(page) < len(trials) else {}
    return {"TrainingJobSummaries": page, **more}


def _get(name: str) -> Record:
    record = STORE.get(KIND, name)
    if record is None:
        raise AwsError("ResourceNotFound", f"Hyperparameter tuning job {name} could not be found.")
    return record


def _check(request: Record) -> None:
    """Refuse what SageMaker would refuse although its service model allows it."""
    config, definition = request["HyperParameterTuningJobConfig"], request.get("TrainingJobDefinition")
    if definition is None:
        raise invalid("On this machine a tuning job needs one TrainingJobDefinition.")
    if "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]:
        raise invalid("On this machine a tuning job needs ResourceLimits.MaxNumberOfTrainingJobs.")
    objective = config.get("HyperParameterTuningJobObjective")
    metrics = [one["Name"] for one in definition["AlgorithmSpecification"].get("MetricDefinitions", [])]
    if objective is None or objective["MetricName"] not in metrics:
        asked = None if objective is None else objective["MetricName"]
        raise invalid(f"The objective metric {asked} is none of the MetricDefinitions: {', '.join(metrics)}.")
    space = points(config.get("ParameterRanges", {}), seed=0)
    both = set(next(space)) & set(definition.get("StaticHyperParameters", {}))
    if both:
        raise invalid(f"Hyperparameters cannot be both static and tuned: {', '.join(sorted(both))}.")
    require_trusted(definition["RoleArn"])
    instance_type, usage, count = training_instances(definition)
    require_instances(instance_type, usage, count * config["ResourceLimits"]["MaxParallelTrainingJobs"])


@dataclass
class _Search:
    """One tuning job at work."""

    name: str
    request: Record
    stopping: threading.Event = field(default_factory=threading.Event)
    _trials: list[TuningTrial] = field(default_factory=list)

    def run(self) -> None:
        try:
            self._search()
            self._end(*self._outcome())
        # AWS documents no waiting for a quota, so no trial waits.
        except AwsError as refused:
            self._stop_all()
            self._end("Failed", shorten_reason(str(refused)))
        except Exception as error:  # else the API would show a job in progress for ever
            logger.exception("Tuning job %s", self.name)
            self._end("Failed", shorten_reason(f"InternalServerError: {error}"))
        finally:
            _WORKING.pop(self.name, None)

    def _search(self) -> None:
        config = self.request["HyperParameterTuningJobConfig"]
        limits = config["ResourceLimits"]
        deadline = simulated_clock.monotonic() + limits.get("MaxRuntimeInSeconds", float("inf"))
        space = points(config.get("ParameterRanges", {}), int(config.get("RandomSeed", 0)))
        while not self.stopping.is_set() and simulated_clock.monotonic() < deadline:
            going = [trial for trial in self._trials if trial.is_active]
            room = min(limits["MaxParallelTrainingJobs"], PARALLEL) - len(going)
            left = limits["MaxNumberOfTrainingJobs"] - len(self._trials)
            if not going and not left:
                return
            for _ in range(min(room, left)):
                self._trials.append(self._start(next(space)))
            self._update_trials()
            if config.get("TrainingJobEarlyStoppingType") == "Auto":
                self._stop_early()
            time.sleep(POLL_SECONDS)
        self._stop_all()

    def _start(self, chosen: dict[str, str]) -> TuningTrial:
        definition = self.request["TrainingJobDefinition"]
        name = f"{self.name}-{len(self._trials) + 1:03}-{secrets.token_hex(4)}"
        own = ("StaticHyperParameters", "HyperParameterRanges", "TuningObjective", "DefinitionName")
        training_jobs.create_training_job(
            {
                **{key: value for key, value in definition.items() if key not in own},
                "TrainingJobName": name,
                "Tags": STORE.tags(sagemaker_arn(KIND, self.name)),
                "HyperParameters": {
                    **definition.get("StaticHyperParameters", {}),
                    **chosen,
                    "_tuning_objective_metric": self._metric,
                },
            }
        )
        STORE.update("training-job", name, TuningJobArn=sagemaker_arn(KIND, self.name))
        return TuningTrial(name, chosen)

    @property
    def _metric(self) -> str:
        return str(
            self.request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
        )

    @property
    def _minimize(self) -> bool:
        config = self.request["HyperParameterTuningJobConfig"]
        return bool(config["HyperParameterTuningJobObjective"]["Type"] == "Minimize")

    def _update_trials(self) -> None:
        """Update the trials from their training jobs, and the tuning job's description from the trials."""
        for trial in self._trials:
            trial.update(STORE.get("training-job", trial.name) or {}, self._metric)
        summaries = [self._summary(trial) for trial in self._trials]
        best = best_trial([trial for trial in self._trials if trial.status == "Completed"], self._minimize)
        found = {} if best is None else {"BestTrainingJob": self._summary(best)}
        STORE.update(KIND, self.name, _trials=summaries, **_counted(self._trials), **found)

    def _summary(self, trial: TuningTrial) -> Record:
        record = STORE.get("training-job", trial.name) or {}
        keys = (
            "TrainingJobName TrainingJobArn CreationTime TrainingStartTime TrainingEndTime "
            "TrainingJobStatus FailureReason"
        )
        summary: dict[str, Any] = {key: record[key] for key in keys.split() if key in record}
        summary |= {"TunedHyperParameters": trial.chosen, "ObjectiveStatus": trial.objective_status}
        if trial.history:
            value = trial.history[-1]
            summary["FinalHyperParameterTuningJobObjectiveMetric"] = {
                "MetricName": self._metric,
                "Value": value,
            }
        return summary

    def _stop_early(self) -> None:
        ended = [trial.history for trial in self._trials if trial.status == "Completed"]
        for trial in self._trials:
            hopeless = should_stop_early(trial.history, ended, minimize=self._minimize)
            if hopeless and trial.status == "InProgress":
                self._stop(trial)

    def _stop_all(self) -> None:
        for trial in self._trials:
            if trial.status == "InProgress":
                self._stop(trial)
        while any(trial.is_active for trial in self._trials):
            time.sleep(POLL_SECONDS)
            self._update_trials()

    def _stop(self, trial: TuningTrial) -> None:
        try:
            training_jobs.stop_training_job({"TrainingJobName": trial.name})
        except AwsError:
            logger.info("%s ended before it could be stopped", trial.name)

    def _outcome(self) -> tuple[str, str | None]:
        if self.stopping.is_set():
            return "Stopped", None
        if not any(trial.status == "Completed" and trial.history for trial in self._trials):
            reasons = [
                str((STORE.get("training-job", trial.name) or {}).get("FailureReason", ""))
                for trial in self._trials
            ]
            why = next(filter(None, reversed(reasons)), "none reported its objective metric")
            return "Failed", shorten_reason(f"No training job succeeded: {why}")
        return "Completed", None

    def _end(self, status: str, reason: str | None) -> None:
        STORE.update(
            KIND,
            self.name,
            HyperParameterTuningJobStatus=status,
            FailureReason=reason,
            HyperParameterTuningEndTime=simulated_clock.current_time(),
        )
        record = STORE.get(KIND, self.name)
        if record is not None:
            put_event(
                "aws.sagemaker",
                "SageMaker HyperParameter Tuning Job State Change",
                event_detail(record),
                [record["HyperParameterTuningJobArn"]],
            )


def _counted(trials: list[TuningTrial]) -> Record:
    def count(*statuses: str) -> int:
        return sum(trial.status in statuses for trial in trials)

    objectives = [trial.objective_status for trial in trials]
    return {
        "TrainingJobStatusCounters": {
            "Completed": count("Completed"),
            "InProgress": count("InProgress", "Stopping"),
            "RetryableError": 0,
            "NonRetryableError": count("Failed"),
            "Stopped": count("Stopped"),
        },
        "ObjectiveStatusCounters": {
            status: objectives.count(status) for status in ("Succeeded", "Pending", "Failed")
        },
    }
