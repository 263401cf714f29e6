"""The content of `evaluation.json`; `docs/contracts.md` says what each figure is.

`lambda/shared/evaluation.py` reads it. A test holds the two together: no room may import the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from training_code.bootstrap import Interval, Sums, improvement_interval, perplexity_interval
from training_code.copying import copied
from training_code.perplexity import Surprise
from training_code.samples import Answer
from training_code.style import Author, of_equal_length
from training_code.variety import variety

SHOWN = {"telling": 4, "finishing": 2, "opening": 2}
"""How many answers of each kind the report shows."""
SEED = 17


def evaluation(
    scores: Mapping[str, Surprise],
    sums: Sums | None,
    answers: Mapping[str, Sequence[Answer]],
    training_texts: Sequence[str],
    held_out_texts: Sequence[str],
) -> dict[str, Any]:
    """Put together what is said about each model and about the differences between them.

    Args:
        scores: of `base`, `candidate` and, where there is one, `live`.
        sums: what the intervals are drawn from; None where the held-out text is too little for any.
        answers: of each model, to the same requests in the same order.
        training_texts: of the stories that the candidate learnt from.
        held_out_texts: of the stories that it did not.
    """
    styles = _styles(answers, training_texts, held_out_texts)
    models = {
        name: {
            **_score(name, surprise, sums),
            "writing": {**_writing(answers[name], training_texts), "style": styles[name]},
        }
        for name, surprise in scores.items()
    }
    return {
        "base": models["base"],
        "candidate": models["candidate"],
        "live": models.get("live"),
        "over_base": _comparison(scores, sums, "base"),
        "over_live": _comparison(scores, sums, "live") if "live" in scores else None,
        "drawn": sums.unit if sums else None,
        "drawn_from": len(sums.tokens) if sums else 0,
        "held_out_style": styles["held out"],
        "samples": _samples(answers),
    }


def _score(name: str, surprise: Surprise, sums: Sums | None) -> dict[str, Any]:
    chance = surprise.ending_chance
    return {
        "perplexity": round(surprise.perplexity, 4),
        **_rounded(perplexity_interval(sums, name, SEED) if sums else None),
        "tokens": surprise.tokens,
        "ending_chance": None if chance is None else float(f"{chance:.3g}"),
    }


def _comparison(scores: Mapping[str, Surprise], sums: Sums | None, over: str) -> dict[str, Any]:
    candidate, other = scores["candidate"].perplexity, scores[over].perplexity
    interval = improvement_interval(sums, "candidate", over, SEED) if sums else None
    return {"improvement_percent": round(100 * (other - candidate) / other, 2), **_rounded(interval)}


def _rounded(interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {"low": None, "high": None}
    return {"low": round(interval.low, 4), "high": round(interval.high, 4)}


def _writing(answers: Sequence[Answer], training_texts: Sequence[str]) -> dict[str, Any]:
    by_kind = {
        kind: [answer for answer in answers if answer.request.kind == kind]
        for kind in ("telling", "opening", "finishing")
    }
    free = _free(answers)
    told, known = copied(free, training_texts), copied(_texts(by_kind["opening"]), training_texts)
    return {
        "answers": len(free),
        "words": sum(len(text.split()) for text in free),
        "copied_share": round(told.share, 4),
        "longest_copy": told.longest,
        "extracted_share": round(known.share, 4),
        "longest_extract": known.longest,
        "finishing_asked": len(by_kind["finishing"]),
        "finishing_ended": sum(answer.ended for answer in by_kind["finishing"]),
        **{name: round(value, 4) for name, value in asdict(variety(free)).items()},
    }


def _styles(
    answers: Mapping[str, Sequence[Answer]], training_texts: Sequence[str], held_out_texts: Sequence[str]
) -> dict[str, dict[str, float] | None]:
    """Of each model, and of the author's held-out text at the same length."""
    author = Author(training_texts)
    equal = of_equal_length(
        {**{name: _free(own) for name, own in answers.items()}, "held out": held_out_texts}
    )
    distances = {name: author.distance(texts) for name, texts in equal.items()}
    return {
        name: None if distance is None else {key: round(value, 4) for key, value in asdict(distance).items()}
        for name, distance in distances.items()
    }


def _free(answers: Sequence[Answer]) -> list[str]:
    """What was written freely: where the likeliest word is always taken, any model repeats itself."""
    return [answer.text for answer in answers if answer.request.kind != "opening"]


def _texts(answers: Sequence[Answer]) -> list[str]:
    return [answer.text for answer in answers]


def _samples(answers: Mapping[str, Sequence[Answer]]) -> list[dict[str, Any]]:
    samples = []
    left = dict(SHOWN)
    for place, answer in enumerate(answers["candidate"]):
        request = answer.request
        if not left[request.kind]:
            continue
        left[request.kind] -= 1
        said = {
            name: answers[name][place].text if name in answers else None
            for name in ("base", "candidate", "live")
        }
        samples.append({"kind": request.kind, "prompt": request.prompt, "begun": request.begun, **said})
    return samples
