"""The lines of `storyloom verify` in their order, and how each is proven."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from cli.console import CommandError
from cli.verify import chat_lines, hosting_lines, pipeline_lines, site_lines
from cli.verify.outcome import LineResult, LineStatus, NotProvenError, Proof
from cli.verify.verification import Verification


@dataclass(frozen=True)
class ProofLine:
    """One promise of the README that only a deployment can prove."""

    id: str
    title: str
    prove: Callable[[Verification], Proof]
    needs: tuple[str, ...] = ()
    """Lines that have to be proven before this one."""
    needs_to_train: tuple[str, ...] = ()
    """Further ones, if the verification trains a version itself."""
    estimated_minutes: float = 0.0
    """How long an instance is expected to bill on AWS; 0 if the line starts none."""
    on: str = "hosting"
    """Which instance bills: `training` or `hosting`."""


LINES = (
    ProofLine("deployment", "The stacks are deployed", site_lines.prove_deployment),
    ProofLine("page", "The page comes through CloudFront", site_lines.prove_page, ("deployment",)),
    ProofLine("sign_in", "A person signs in", site_lines.prove_sign_in, ("page",)),
    ProofLine("upload", "The browser's form uploads a story", pipeline_lines.prove_upload, ("sign_in",)),
    ProofLine("trigger", "New stories start a run", pipeline_lines.prove_trigger, ("upload",)),
    ProofLine(
        "dataset",
        "The stories are read into a dataset",
        pipeline_lines.prove_dataset,
        ("sign_in",),
        needs_to_train=("trigger",),
    ),
    ProofLine(
        "training",
        "A training job trains",
        pipeline_lines.prove_training,
        ("dataset",),
        estimated_minutes=7,
        on="training",
    ),
    ProofLine("checkpoint", "It writes checkpoints", pipeline_lines.prove_checkpoint, ("training",)),
    ProofLine(
        "evaluation",
        "The new model is evaluated",
        pipeline_lines.prove_evaluation,
        ("training",),
        estimated_minutes=7,
        on="training",
    ),
    ProofLine(
        "registration", "The version is registered", pipeline_lines.prove_registration, ("evaluation",)
    ),
    ProofLine(
        "endpoint",
        "The endpoint hosts it",
        hosting_lines.prove_endpoint,
        ("sign_in",),
        needs_to_train=("registration",),
        estimated_minutes=10,
    ),
    ProofLine("stream", "An answer streams word by word", chat_lines.prove_stream, ("endpoint",)),
    ProofLine("stop", "Stop ends an answer within 3 seconds", chat_lines.prove_stop, ("stream",)),
    ProofLine(
        "one_piece",
        "An answer comes in one piece",
        chat_lines.prove_one_piece,
        ("stream",),
        estimated_minutes=1.5,
    ),
    ProofLine("key", "A key works, and no longer when revoked", chat_lines.prove_key, ("stream",)),
    ProofLine("alarm", "An alarm reaches the topic", hosting_lines.prove_alarm, ("deployment",)),
    ProofLine("sleep", "The model sleeps, and nothing bills", hosting_lines.prove_sleep, ("endpoint",)),
    ProofLine(
        "batch", "A batch of prompts is answered", chat_lines.prove_batch, ("stream",), estimated_minutes=12
    ),
    ProofLine("wake", "A message wakes it", hosting_lines.prove_wake, ("sleep",), estimated_minutes=9),
)


def estimated_usd(line: ProofLine, verification: Verification) -> float | None:
    """Estimate what a line costs on AWS, at prices on demand; None if the price is not known."""
    if not line.estimated_minutes or (line.id in _TRAINING_LINES and not verification.trains):
        return 0.0
    trains = line.id == "training"
    if trains and verification.app.search_budget_usd:
        return verification.app.search_budget_usd
    price = verification.bill.price(
        verification.app.training_instance if line.on == "training" else verification.app.hosting_instance
    )
    count = verification.app.instance_count if trains else 1
    return None if price is None else count * line.estimated_minutes / 60 * price


_TRAINING_LINES = {"training", "evaluation"}


def chosen(only: Iterable[str], skipped: Iterable[str]) -> tuple[ProofLine, ...]:
    """Choose lines by their ids, with those that they depend on.

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
    lines: Sequence[ProofLine],
    verification: Verification,
    *,
    limit_usd: float,
    on_start: Callable[[ProofLine], None] = lambda _: None,
    on_result: Callable[[LineResult], None] = lambda _: None,
) -> list[LineResult]:
    """Prove the lines one after the other; a line that fails skips only those that depend on it.

    Args:
        lines: in the order of `LINES`.
        verification: the deployment.
        limit_usd: a line that could exceed this amount is skipped; what is running at the limit is stopped.
        on_start: called with each line before it is tried.
        on_result: called with each result.
    """
    verification.limit_usd = limit_usd
    results: list[LineResult] = []
    for line in lines:
        on_start(line)
        started, before = time.monotonic(), verification.bill.total_usd(at_once=True)
        attempt = _reason_to_skip(line, verification, results, before) or _try(line, verification)
        seconds, spent = time.monotonic() - started, verification.bill.total_usd(at_once=True) - before
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
        on_result(results[-1])
    return results


@dataclass(frozen=True)
class _Attempt:
    status: LineStatus
    detail: str
    cure: str = ""


def _reason_to_skip(
    line: ProofLine, verification: Verification, results: Sequence[LineResult], spent: float
) -> _Attempt | None:
    """Return the reason why a line has to be skipped; None if it can be tried."""
    unproven = {result.id: result for result in results if result.status is not LineStatus.PROVEN}
    needs = line.needs + (line.needs_to_train if verification.trains else ())
    lacking = [need for need in needs if need in unproven]
    if lacking:
        title = unproven[lacking[0]].title
        return _Attempt(LineStatus.SKIPPED, f"Skipped, because this is not proven: {title}.")
    if verification.app.is_local:
        return None
    estimate = estimated_usd(line, verification)
    if estimate is None:
        return _Attempt(
            LineStatus.SKIPPED,
            "Skipped, because the price of its instance is unknown, so that no limit could be kept.",
            cure="Look up the price and give it: storyloom verify --usd-per-hour PRICE",
        )
    if estimate and spent + estimate > verification.limit_usd:
        return _Attempt(
            LineStatus.SKIPPED,
            f"Skipped: ${spent:.2f} are spent, and about ${estimate:.2f} more would exceed the limit of "
            f"${verification.limit_usd:.2f}.",
            cure=f"Raise it: storyloom verify --only {line.id} --limit-usd {spent + estimate + 0.5:.2f}",
        )
    return None


def _try(line: ProofLine, verification: Verification) -> _Attempt:
    try:
        proof = line.prove(verification)
        verification.check_limit()
    except NotProvenError as error:
        return _Attempt(error.status, str(error), error.cure)
    except CommandError as error:
        return _Attempt(LineStatus.FAILED, error.message, error.cure)
    except httpx.HTTPStatusError as error:
        seen = f"{error.request.method} {error.request.url.path} answered {error.response.status_code}."
        return _Attempt(LineStatus.FAILED, seen)
    except httpx.HTTPError as error:
        return _Attempt(LineStatus.FAILED, f"The app cannot be reached: {error!r}")
    except (ClientError, BotoCoreError) as error:
        return _Attempt(LineStatus.FAILED, f"AWS refused: {error}")
    return _Attempt(LineStatus.PROVEN, proof.detail)
