"""What an evaluation job may have found."""

from typing import Any

SHA = "c" * 64


def evaluation(base: float, tuned: float, live: float | None = None, margin: float = 1.0) -> dict[str, Any]:
    """A candidate that writes well; its intervals reach `margin` percent to both sides."""
    return {
        "base": _score(base),
        "candidate": _score(tuned),
        "live": None if live is None else _score(live),
        "over_base": _comparison(tuned, base, margin),
        "over_live": None if live is None else _comparison(tuned, live, margin),
        "drawn": "story",
        "drawn_from": 12,
        "held_out_style": None,
        "samples": [],
        "adapter_sha256": SHA,
        "test_stories": 12,
    }


def _score(perplexity: float) -> dict[str, Any]:
    return {
        "perplexity": perplexity,
        "low": perplexity,
        "high": perplexity,
        "tokens": 7000,
        "ending_chance": 0.4,
        "writing": {
            "answers": 14,
            "words": 1000,
            "copied_share": 0.0,
            "longest_copy": 5,
            "extracted_share": 0.01,
            "longest_extract": 12,
            "finishing_asked": 4,
            "finishing_ended": 3,
            "repeated": 0.03,
            "distinct_1": 0.4,
            "distinct_2": 0.8,
            "distinct_3": 0.9,
            "style": None,
        },
    }


def _comparison(tuned: float, other: float, margin: float) -> dict[str, float]:
    improvement = 100 * (other - tuned) / other
    return {"improvement_percent": improvement, "low": improvement - margin, "high": improvement + margin}
