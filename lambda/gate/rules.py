"""The rules for deploying a new model; each yields a reason in words if the model breaks it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from contracts.environment import GateRules
from shared.runs.evaluation import Comparison, EvaluationResult

LONGEST_COPY_WORDS = 60
"""A copied sequence of this length is too long, however small its share of the whole text."""


@dataclass(frozen=True)
class Decision:
    """Whether to deploy, with the reason in words."""

    deploy: bool
    words: str


def decide(evaluation: EvaluationResult, rules: GateRules) -> Decision:
    """Apply every rule; the decision names all reasons against the model."""
    if not math.isfinite(evaluation.candidate.perplexity):
        return Decision(
            False, "The training diverged: the new model's perplexity is not a number. It is not deployed."
        )
    reasons = [
        *_not_better_than_base(evaluation, rules),
        *_worse_than_live(evaluation),
        *_copies(evaluation, rules),
        *_does_not_stop(evaluation, rules),
        *_repeats_itself(evaluation, rules),
    ]
    if not reasons:
        return Decision(True, f"The new model is better: {_figures(evaluation)}.")
    return Decision(False, f"The new model {'; and it '.join(reasons)}. It is kept but not deployed.")


def _figures(evaluation: EvaluationResult) -> str:
    tuned, base = evaluation.candidate.perplexity, evaluation.base.perplexity
    better = evaluation.over_base
    words = f"perplexity {tuned:.1f} on stories it has not seen, the base model {base:.1f}: "
    words += f"{better.improvement_percent:.1f}% lower{_between(better)}"
    if evaluation.live is not None:
        words += f"; the live one {evaluation.live.perplexity:.1f}"
    return words


def _between(comparison: Comparison) -> str:
    if comparison.low is None or comparison.high is None:
        return ""
    return f" (95% interval: {comparison.low:.1f}% to {comparison.high:.1f}%)"


def _not_better_than_base(evaluation: EvaluationResult, rules: GateRules) -> Iterator[str]:
    better = evaluation.over_base
    if better.improvement_percent < rules.minimum_improvement_percent:
        yield (
            f"is not sufficiently better than the base model ({_figures(evaluation)}, "
            f"{rules.minimum_improvement_percent:g}% is required)"
        )
    elif better.low is None:
        yield (
            f"was tested on too few held-out stories to tell whether it is better "
            f"({evaluation.test_stories}, {_figures(evaluation)}): add more stories"
        )
    elif better.low <= 0:
        yield f"may be better than the base model by chance only ({_figures(evaluation)}): add more stories"


def _worse_than_live(evaluation: EvaluationResult) -> Iterator[str]:
    over = evaluation.over_live
    if over is None or evaluation.live is None:
        return
    if (over.high if over.high is not None else over.improvement_percent) < 0:
        tuned, live = evaluation.candidate.perplexity, evaluation.live.perplexity
        yield (
            f"is worse than the one that is live (perplexity {tuned:.1f}, the live one {live:.1f}: "
            f"{-over.improvement_percent:.1f}% higher)"
        )


def _copies(evaluation: EvaluationResult, rules: GateRules) -> Iterator[str]:
    """Compare with the base model, which may know a famous text itself."""
    own, base = evaluation.candidate.writing, evaluation.base.writing
    most = rules.maximum_copy_percent / 100
    cure = "train for fewer epochs, or add more and different stories"
    if own.copied_share > max(most, base.copied_share):
        yield (
            f"copies: {own.copied_share:.0%} of what it writes is copied word for word from your stories, "
            f"up to {own.longest_copy} words in a row ({rules.maximum_copy_percent:g}% is allowed): {cure}"
        )
    elif own.longest_copy > max(LONGEST_COPY_WORDS, base.longest_copy):
        yield f"copies: it wrote {own.longest_copy} words in a row that are in your stories: {cure}"
    if own.extracted_share > max(most, base.extracted_share):
        yield (
            f"has memorised your stories: given the first words of one, {own.extracted_share:.0%} of its "
            f"continuation is the story itself ({rules.maximum_copy_percent:g}% is allowed): {cure}"
        )


def _does_not_stop(evaluation: EvaluationResult, rules: GateRules) -> Iterator[str]:
    """Check whether the model never ends a story: no answer ended, and its probability of ending is low."""
    own = evaluation.candidate
    if own.ending_chance is None or own.writing.finishing_ended:
        return
    if own.ending_chance < rules.minimum_ending_percent / 100:
        yield (
            "does not stop: where your stories end, it gives ending a probability of "
            f"{100 * own.ending_chance:.2g}% ({rules.minimum_ending_percent:g}% is required), and it ended "
            f"none of the {own.writing.finishing_asked} endings that it was asked to write"
        )


def _repeats_itself(evaluation: EvaluationResult, rules: GateRules) -> Iterator[str]:
    own, base = evaluation.candidate.writing, evaluation.base.writing
    if own.repeated > rules.maximum_repetition_percent / 100:
        yield (
            f"repeats itself: {own.repeated:.0%} of what it writes repeats what it has just written "
            f"({rules.maximum_repetition_percent:g}% is allowed, the base model {base.repeated:.0%})"
        )
