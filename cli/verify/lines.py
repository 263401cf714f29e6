"""The lines of `storyloom verify`, in the order in which they are proven, and how a proof is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from cli.errors import CommandError
from cli.verify import chat_lines, hosting_lines, pipeline_lines, site_lines
from cli.verify.outcome import LineResult, NotProvenError, Proof, Status
from cli.verify.world import World


@dataclass(frozen=True)
class Line:
    """One promise of the README that only a deployment can prove."""

    id: str
    title: str
    prove: Callable[[World], Proof]
    needs: tuple[str, ...] = ()
    """Lines without which this one cannot be tried."""
    needs_to_train: tuple[str, ...] = ()
    """Further ones, if a run of its own trains a version."""
    estimated_minutes: float = 0.0
    """How long it is expected to have an instance bill on AWS; 0 if it starts none."""
    on: str = "hosting"
    """Whether it is the `training` or the `hosting` instance that bills."""


LINES = (
    Line("deployment", "The stacks are deployed", site_lines.prove_deployment),
    Line("page", "The page comes through CloudFront", site_lines.prove_page, ("deployment",)),
    Line("sign_in", "A person signs in", site_lines.prove_sign_in, ("page",)),
    Line("upload", "The browser's form uploads a story", pipeline_lines.prove_upload, ("sign_in",)),
    Line("trigger", "New stories start a run", pipeline_lines.prove_trigger, ("upload",)),
    Line(
        "dataset",
        "The stories are read into a dataset",
        pipeline_lines.prove_dataset,
        ("sign_in",),
        needs_to_train=("trigger",),
    ),
    Line(
        "training",
        "A training job trains",
        pipeline_lines.prove_training,
        ("dataset",),
        estimated_minutes=7,
        on="training",
    ),
    Line("checkpoint", "It writes checkpoints", pipeline_lines.prove_checkpoint, ("training",)),
    Line(
        "evaluation",
        "The new model is evaluated",
        pipeline_lines.prove_evaluation,
        ("training",),
        estimated_minutes=7,
        on="training",
    ),
    Line("registration", "The version is registered", pipeline_lines.prove_registration, ("evaluation",)),
    Line(
        "endpoint",
        "The endpoint hosts it",
        hosting_lines.prove_endpoint,
        ("sign_in",),
        needs_to_train=("registration",),
        estimated_minutes=10,
    ),
    Line("stream", "An answer streams word by word", chat_lines.prove_stream, ("endpoint",)),
    Line("stop", "Stop ends an answer within 3 seconds", chat_lines.prove_stop, ("stream",)),
    Line(
        "one_piece",
        "An answer comes in one piece",
        chat_lines.prove_one_piece,
        ("stream",),
        estimated_minutes=1.5,
    ),
    Line("key", "A key works, and no longer when revoked", chat_lines.prove_key, ("stream",)),
    Line("alarm", "An alarm reaches the topic", hosting_lines.prove_alarm, ("deployment",)),
    Line("sleep", "The model sleeps, and nothing bills", hosting_lines.prove_sleep, ("endpoint",)),
    Line(
        "batch", "A batch of prompts is answered", chat_lines.prove_batch, ("stream",), estimated_minutes=12
    ),
    Line("wake", "A message wakes it", hosting_lines.prove_wake, ("sleep",), estimated_minutes=9),
)


def estimated_usd(line: Line, world: World) -> float | None:
    """Estimate what a line costs on AWS, at prices on demand; None if the price is not known."""
    if not line.estimated_minutes or (line.id in _TRAINING_LINES and not world.trains):
        return 0.0
    trains = line.id == "training"
    if trains and world.app.search_budget_usd:
        return world.app.search_budget_usd
    price = world.bill.price(
        world.app.training_instance if line.on == "training" else world.app.hosting_instance
    )
    count = world.app.instance_count if trains else 1
    return None if price is None else count * line.estimated_minutes / 60 * price


_TRAINING_LINES = {"training", "evaluation"}


def chosen(only: Iterable[str], skipped: Iterable[str]) -> tuple[Line, ...]:
    """Choose lines by their ids; those that a chosen line needs come with it.

    Raises:
        CommandError: there is no line of this name.
    """
    only, skipped = set(only), set(skipped)
    by_id = {line.id: line for line in LINES}
    for unknown in sorted((only | skipped) - by_id.keys()):
        raise CommandError(f"There is no line {unknown}.", f"The lines are {', '.join(by_id)}.")
    wanted = set(only or by_id)
    for line in reversed(LINES):
        if line.id in wanted:
            wanted |= {*line.needs, *line.needs_to_train}
    return tuple(line for line in LINES if line.id in wanted - skipped)


def prove_all(
    lines: Sequence[Line],
    world: World,
    *,
    limit_usd: float,
    begins: Callable[[Line], None] = lambda _: None,
    ends: Callable[[LineResult], None] = lambda _: None,
) -> list[LineResult]:
    """Prove the lines one after the other. A line that fails stops only those that need it.

    Args:
        lines: in the order of `LINES`.
        world: the deployment.
        limit_usd: a line that might take the whole above this amount is skipped; what runs is stopped at it.
        begins: called with each line before it is tried.
        ends: called with each result.
    """
    world.limit_usd = limit_usd
    results: list[LineResult] = []
    for line in lines:
        begins(line)
        started, before = time.monotonic(), world.bill.total_usd(at_once=True)
        attempt = _refused(line, world, results, before) or _tried(line, world)
        seconds, spent = time.monotonic() - started, world.bill.total_usd(at_once=True) - before
        results.append(
            LineResult(
                line.id,
                line.title,
                attempt.status,
                round(seconds, 1),
                round(spent, 4),
                attempt.detail,
                attempt.cure,
            )
        )
        ends(results[-1])
    return results


@dataclass(frozen=True)
class _Attempt:
    status: Status
    detail: str
    cure: str = ""


def _refused(line: Line, world: World, results: Sequence[LineResult], spent: float) -> _Attempt | None:
    """Say why a line cannot be tried; None if it can."""
    unproven = {result.id: result for result in results if result.status is not Status.PROVEN}
    needs = line.needs + (line.needs_to_train if world.trains else ())
    lacking = [need for need in needs if need in unproven]
    if lacking:
        title = unproven[lacking[0]].title
        return _Attempt(Status.SKIPPED, f"Not tried, because this is not proven: {title}.")
    if world.app.is_local:
        return None
    estimate = estimated_usd(line, world)
    if estimate is None:
        return _Attempt(
            Status.SKIPPED,
            "Not tried, because the price of its instance is not known, so that no limit could hold.",
            cure="Look the price up and give it: storyloom verify --usd-per-hour PRICE",
        )
    if estimate and spent + estimate > world.limit_usd:
        return _Attempt(
            Status.SKIPPED,
            f"Not tried: ${spent:.2f} are spent, and about ${estimate:.2f} more would pass the limit of "
            f"${world.limit_usd:.2f}.",
            cure=f"Raise it: storyloom verify --only {line.id} --limit-usd {spent + estimate + 0.5:.2f}",
        )
    return None


def _tried(line: Line, world: World) -> _Attempt:
    try:
        proof = line.prove(world)
        world.check_limit()
    except NotProvenError as error:
        return _Attempt(error.status, str(error), error.cure)
    except CommandError as error:
        return _Attempt(Status.FAILED, error.message, error.cure)
    except httpx.HTTPStatusError as error:
        seen = f"{error.request.method} {error.request.url.path} answered {error.response.status_code}."
        return _Attempt(Status.FAILED, seen)
    except httpx.HTTPError as error:
        return _Attempt(Status.FAILED, f"The app did not answer: {error!r}")
    except (ClientError, BotoCoreError) as error:
        return _Attempt(Status.FAILED, f"AWS refused: {error}")
    return _Attempt(Status.PROVEN, proof.detail)
