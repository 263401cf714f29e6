"""Assembles the content of `evaluation.json`, which `docs/contracts.md` describes.

`shared.runs.evaluation` reads it. A test compares the two, because neither package may import the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from storyloom_jobs.evaluation.bootstrap import (
    Interval,
    UnitLosses,
    improvement_interval,
    perplexity_interval,
)
from storyloom_jobs.evaluation.generation import GeneratedAnswer
from storyloom_jobs.evaluation.writing import (
    AuthorStyle,
    measure_copying,
    measure_repetition,
    truncate_to_equal_length,
)
from storyloom_jobs.loss import LossSum

SHOWN_SAMPLES = {"telling": 4, "finishing": 2, "opening": 2}
"""Answers of each kind that the page shows."""
SEED = 17


def assemble_result(
    losses: Mapping[str, LossSum],
    unit_losses: UnitLosses | None,
    answers: Mapping[str, Sequence[GeneratedAnswer]],
    training_texts: Sequence[str],
    held_out_texts: Sequence[str],
) -> dict[str, Any]:
    """Assemble the figures of each model and the differences between models.

    Args:
        losses: held-out losses of `base`, `candidate` and, if a version is live, `live`.
        unit_losses: losses to resample for the intervals; None if there is too little held-out text.
        answers: answers of each model, to the same prompts in the same order.
        training_texts: texts of the stories that the candidate was trained on.
        held_out_texts: texts of the held-out stories.
    """
    styles = _styles(answers, training_texts, held_out_texts)
    models = {
        name: {
            **_score(name, loss, unit_losses),
            "writing": {**_writing(answers[name], training_texts), "style": styles[name]},
        }
        for name, loss in losses.items()
    }
    return {
        "base": models["base"],
        "candidate": models["candidate"],
        "live": models.get("live"),
        "over_base": _comparison(losses, unit_losses, "base"),
        "over_live": _comparison(losses, unit_losses, "live") if "live" in losses else None,
        "drawn": unit_losses.unit if unit_losses else None,
        "drawn_from": len(unit_losses.num_tokens) if unit_losses else 0,
        "held_out_style": styles["held out"],
        "samples": _samples(answers),
    }


def _score(name: str, loss: LossSum, unit_losses: UnitLosses | None) -> dict[str, Any]:
    probability = loss.ending_probability
    return {
        "perplexity": round(loss.perplexity, 4),
        **_rounded(perplexity_interval(unit_losses, name, SEED) if unit_losses else None),
        "tokens": loss.num_tokens,
        "ending_chance": None if probability is None else float(f"{probability:.3g}"),
    }


def _comparison(losses: Mapping[str, LossSum], unit_losses: UnitLosses | None, over: str) -> dict[str, Any]:
    candidate, other = losses["candidate"].perplexity, losses[over].perplexity
    interval = improvement_interval(unit_losses, "candidate", over, SEED) if unit_losses else None
    return {"improvement_percent": round(100 * (other - candidate) / other, 2), **_rounded(interval)}


def _rounded(interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {"low": None, "high": None}
    return {"low": round(interval.low, 4), "high": round(interval.high, 4)}


def _writing(answers: Sequence[GeneratedAnswer], training_texts: Sequence[str]) -> dict[str, Any]:
    by_kind = {
        kind: [answer for answer in answers if answer.prompt.kind == kind]
        for kind in ("telling", "opening", "finishing")
    }
    free = _free(answers)
    copied = measure_copying(free, training_texts)
    extracted = measure_copying(_texts(by_kind["opening"]), training_texts)
    return {
        "answers": len(free),
        "words": sum(len(text.split()) for text in free),
        "copied_share": round(copied.share, 4),
        "longest_copy": copied.longest_run,
        "extracted_share": round(extracted.share, 4),
        "longest_extract": extracted.longest_run,
        "finishing_asked": len(by_kind["finishing"]),
        "finishing_ended": sum(answer.ended for answer in by_kind["finishing"]),
        **{name: round(value, 4) for name, value in asdict(measure_repetition(free)).items()},
    }


def _styles(
    answers: Mapping[str, Sequence[GeneratedAnswer]],
    training_texts: Sequence[str],
    held_out_texts: Sequence[str],
) -> dict[str, dict[str, float] | None]:
    """Measure the style of each model, and of the held-out stories at the same length."""
    author = AuthorStyle(training_texts)
    equal = truncate_to_equal_length(
        {**{name: _free(own) for name, own in answers.items()}, "held out": held_out_texts}
    )
    distances = {name: author.distance(texts) for name, texts in equal.items()}
    return {
        name: None if distance is None else {key: round(value, 4) for key, value in asdict(distance).items()}
        for name, distance in distances.items()
    }


def _free(answers: Sequence[GeneratedAnswer]) -> list[str]:
    """Select the sampled answers: with greedy decoding, as for openings, any model repeats itself."""
    return [answer.text for answer in answers if answer.prompt.kind != "opening"]


def _texts(answers: Sequence[GeneratedAnswer]) -> list[str]:
    return [answer.text for answer in answers]


def _samples(answers: Mapping[str, Sequence[GeneratedAnswer]]) -> list[dict[str, Any]]:
    samples = []
    left = dict(SHOWN_SAMPLES)
    for index, answer in enumerate(answers["candidate"]):
        prompt = answer.prompt
        if not left[prompt.kind]:
            continue
        left[prompt.kind] -= 1
        texts = {
            name: answers[name][index].text if name in answers else None
            for name in ("base", "candidate", "live")
        }
        samples.append(
            {"kind": prompt.kind, "prompt": prompt.user_message, "begun": prompt.answer_start, **texts}
        )
    return samples
