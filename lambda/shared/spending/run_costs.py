"""Estimate the most that the jobs of a run may cost, and reserve it before they begin."""

from typing import Any

from contracts import environment
from shared.spending import job_costs, ledger, meter
from shared.spending.spending_refused import PriceUnknown, SpendingRefused

Jobs = dict[str, Any]

_LEAST_MINUTES = 15.0
"""A shorter training improves a model too little to be worth its price."""
_ESTIMATE_FACTOR = 2.0
"""A training gets at least this many times its estimated time, because the estimate may be too low."""


def evaluation_usd(instance: str) -> float | None:
    """Return the most that an evaluation may cost; None if the price is not known."""
    minutes = _settings().longest_evaluation_minutes
    return job_costs.usd("processing", instance, 60 * minutes)


def require_budget_for_run(estimated_minutes: float = 0.0) -> None:
    """Check that the month's limit leaves enough money for a run, without reserving anything.

    Args:
        estimated_minutes: of its training; 0 if there is no estimate yet.

    Raises:
        SpendingRefused: with the least that the run needs, or with the instance whose price is not known.
    """
    settings = _settings()
    evaluation = settings.processing_instances[0]
    least = _require_prices(
        (
            "The training",
            "training_instance",
            settings.training_instance,
            _training_usd(_least_seconds(estimated_minutes)),
        ),
        ("The evaluation", _evaluation_setting(evaluation), evaluation, evaluation_usd(evaluation)),
        _endpoint_part(),
    )
    what = "A run (its training, its evaluation and the start of the model)"
    ledger.require_budget("training", least, settings.training_instance, what=what)


def require_budget_for_start() -> None:
    """Check that the month's limit leaves enough money to start the endpoint, without reserving anything.

    Raises:
        SpendingRefused: with what the start costs, or with the instance whose price is not known.
    """
    ledger.require_budget("endpoint", _require_prices(_endpoint_part()), _settings().hosting_instance)


_Part = tuple[str, str, str, float | None]
"""A part's name, the setting that chose its instance, the instance, and US dollars (None without a price)."""


def _endpoint_part() -> _Part:
    instance = _settings().hosting_instance
    return "The endpoint", "hosting_instance", instance, meter.start_usd(instance)


def _evaluation_setting(instance: str) -> str:
    """Return the name of the setting that chose the instance for evaluations."""
    settings = _settings()
    if instance == settings.training_instance:
        return "training_instance"
    return "hosting_instance" if instance == settings.hosting_instance else "hosting_fallback_instances"


def _require_prices(*parts: _Part) -> float:
    """Sum up the costs of parts of a run.

    Raises:
        PriceUnknown: there is a limit, and the price of a part is not known.
    """
    sum_ = 0.0
    for what, setting, instance, usd in parts:
        if usd is None and ledger.limit_usd() is not None:
            raise PriceUnknown(what, instance, setting)
        sum_ += usd or 0.0
    return sum_


def search_budget_usd(most_usd: float) -> float:
    """Return what a search may cost: the settings' maximum, or less if the month's limit leaves less."""
    left, settings = ledger.totals().left_usd, _settings()
    if left is None:
        return most_usd
    beside = evaluation_usd(settings.processing_instances[0]) or 0.0
    return max(0.0, min(most_usd, left - beside - (meter.start_usd(settings.hosting_instance) or 0.0)))


def reserve_run(jobs: Jobs, *, tune: bool, estimated_minutes: float) -> Jobs:
    """Reserve the most that the training or search and its evaluation may cost.

    Repeating the call changes nothing. If the month's limit leaves too little for the longest training that
    the settings allow, the training's time limit is shortened to what is affordable, provided that this is
    well above its estimate.

    Returns:
        The jobs, with the training's `stopping_condition`.

    Raises:
        SpendingRefused: nothing is reserved.
    """
    kind: ledger.Kind
    if tune:
        name, kind, most = jobs["tuning"]["job_name"], "search", _search_usd(jobs)
    else:
        jobs = _with_limit(jobs, _affordable_seconds(jobs, estimated_minutes))
        name, kind = jobs["training_job_name"], "training"
        most = _training_usd(jobs["stopping_condition"]["MaxRuntimeInSeconds"])
    ledger.reserve(kind, name, _settings().training_instance, most)
    try:
        reserve_evaluation(jobs)
    except SpendingRefused:
        ledger.release_reservation(kind, name)
        raise
    return jobs


def reserve_training(jobs: Jobs) -> None:
    """Reserve the most that another attempt at a training may cost, with the same time limit.

    Raises:
        SpendingRefused: nothing is reserved.
    """
    limit = jobs.get("stopping_condition") or _stopping_condition(_longest_seconds())
    most = _training_usd(limit["MaxRuntimeInSeconds"])
    ledger.reserve("training", jobs["training_job_name"], _settings().training_instance, most)


def reserve_evaluation(jobs: Jobs) -> None:
    """Reserve the most that an attempt at an evaluation may cost.

    Raises:
        SpendingRefused: nothing is reserved.
    """
    instance = jobs["processing_instance"]
    ledger.reserve("evaluation", jobs["processing_job_name"], instance, evaluation_usd(instance))


def _training_usd(seconds: float) -> float | None:
    settings = _settings()
    return job_costs.usd("training", settings.training_instance, seconds, settings.instance_count)


def _search_usd(jobs: Jobs) -> float | None:
    tuning = jobs["tuning"]
    trials = tuning["resource_limits"]["MaxNumberOfTrainingJobs"]
    seconds = tuning["stopping_condition"]["MaxRuntimeInSeconds"]
    return job_costs.usd("training", _settings().training_instance, trials * seconds)


def _least_seconds(estimated_minutes: float) -> float:
    return 60 * (max(_LEAST_MINUTES, _ESTIMATE_FACTOR * estimated_minutes) + _settings().grace_minutes)


def _affordable_seconds(jobs: Jobs, estimated_minutes: float) -> int:
    """Return the training's time limit: the settings' maximum, or what is affordable if that is enough."""
    settings = _settings()
    longest = _longest_seconds()
    held = ledger.open_reservation("training", jobs["training_job_name"])
    left, hour = ledger.totals().left_usd, _training_usd(3600)
    if held is not None:
        # A duplicate of an earlier call: the time limit follows from what that call reserved.
        return min(longest, round(held.reserved / 1e6 / hour * 3600)) if hour else longest
    if left is None or hour is None:
        return longest
    beside = (evaluation_usd(jobs["processing_instance"]) or 0) + (
        meter.start_usd(settings.hosting_instance) or 0
    )
    affordable = int((left - beside) / hour * 3600)
    if affordable >= longest:
        return longest
    return affordable if affordable >= min(longest, _least_seconds(estimated_minutes)) else longest


def _with_limit(jobs: Jobs, seconds: int) -> Jobs:
    limit = _stopping_condition(seconds)
    most = max(60, seconds - 60 * _settings().grace_minutes)
    given = jobs["hyperparameters"]
    shortened = given | {"max_seconds": f"{min(float(given['max_seconds']), most):g}"}
    return {**jobs, "stopping_condition": limit, "hyperparameters": shortened}


def _longest_seconds() -> int:
    settings = _settings()
    return 60 * (settings.max_training_minutes + settings.grace_minutes)


def _stopping_condition(seconds: int) -> dict[str, int]:
    settings = _settings()
    limit = {"MaxRuntimeInSeconds": seconds}
    if settings.spot:
        limit["MaxWaitTimeInSeconds"] = seconds + 3600 * settings.spot_wait_hours
    return limit


def _settings() -> environment.RunCosts:
    return environment.read(environment.RunCosts)
