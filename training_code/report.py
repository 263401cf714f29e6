"""The evaluation as a page for the writer: one file, no script, nothing loaded from anywhere."""

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from training_code.plots import Mark, intervals, legend, scale

NAMES = {"base": "Base model", "live": "Answering now", "candidate": "New model"}
_MUCH_COPIED = 0.1
_KINDS = {
    "telling": "Asked",
    "finishing": "Given nearly all of a story it has not seen, to be ended",
    "opening": "Given the first words of a story it learnt from",
}
_STYLES = (
    (
        "function_words",
        "Small words",
        "How often it says and, but, so, the: nobody chooses these on purpose.",
    ),
    ("sentence_lengths", "Sentences", "How long its sentences are, the short ones and the long."),
    ("letters", "Letters", "Which letters follow each other: names, endings, dialect, punctuation."),
)


def to_html(evaluation: dict[str, Any]) -> str:
    """The page for an `evaluation.json` as `evaluate.py` makes it."""
    sections = "".join(
        section(evaluation) for section in (_verdict, _foreseeing, _style, _copying, _variety, _samples)
    )
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>How the new model did</title>
<style>
{css}</style>
</head>
<body>
<main>
{sections}</main>
<footer><p class="note">Evaluation of adapter <code>{escape(evaluation["adapter_sha256"][:16])}</code>, \
{evaluation["candidate"]["tokens"]:,} tokens of {evaluation["test_stories"]} stories scored; intervals are \
95% of {"paired " if evaluation["drawn"] else ""}bootstrap draws.</p></footer>
</body>
</html>
"""


def _present(evaluation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((key, evaluation[key]) for key in NAMES if evaluation[key] is not None)


def _verdict(evaluation: dict[str, Any]) -> str:
    over = evaluation["over_base"]
    improvement, certain = over["improvement_percent"], over["low"] is not None and over["low"] > 0
    if improvement <= 0:
        headline, style = "It did not learn to foresee your stories better", "worse"
    elif certain:
        headline, style = f"It foresees your stories {improvement:.0f}% better", "better"
    else:
        headline, style = "It may be better, but that may be chance", "unsure"
    writing, chance = evaluation["candidate"]["writing"], evaluation["candidate"]["ending_chance"]
    tiles = [
        ("lower perplexity than the base model", f"{improvement:.1f}%"),
        ("of its own writing copied from you", f"{100 * writing['copied_share']:.0f}%"),
        ("of its writing said twice", f"{100 * writing['repeated']:.0f}%"),
        (
            "stories ended, of those it was to end",
            f"{writing['finishing_ended']} of {writing['finishing_asked']}",
        ),
    ]
    if not writing["finishing_asked"] and chance is None:
        tiles.pop()
    drawn = "".join(f"<div><dt>{words}</dt><dd>{figure}</dd></div>" for words, figure in tiles)
    return f"""<section class="verdict {style}">
<p class="eyebrow">How the new model did</p>
<h1>{headline}</h1>
<p class="lede">{_certainty(evaluation)}</p>
<dl class="tiles">{drawn}</dl>
</section>
"""


def _certainty(evaluation: dict[str, Any]) -> str:
    over = evaluation["over_base"]
    if over["low"] is None:
        return (
            f"There are too few held-out stories ({evaluation['test_stories']}) to tell how much of this is "
            "chance. More stories help."
        )
    words = (
        f"Had other {'stories' if evaluation['drawn'] == 'story' else 'passages'} of yours been kept for the "
        f"test, its perplexity would have been {over['low']:.1f}% to {over['high']:.1f}% lower than the base "
        "model's, 19 times out of 20."
    )
    live = evaluation["over_live"]
    if live is None:
        return words
    if live["low"] is not None and live["low"] > 0:
        return words + " It is better than the model that answers now."
    if live["high"] is not None and live["high"] < 0:
        return words + " It is worse than the model that answers now."
    return words + " Whether it is better than the model that answers now cannot be told apart from chance."


def _foreseeing(evaluation: dict[str, Any]) -> str:
    marks = [
        Mark(key, NAMES[key], score["perplexity"], score["low"], score["high"], f"{score['perplexity']:.1f}")
        for key, score in _present(evaluation)
    ]
    differences = [
        Mark(
            other,
            f"than {words}",
            over["improvement_percent"],
            over["low"],
            over["high"],
            f"{over['improvement_percent']:.1f}%",
        )
        for other, words in (("base", "the base model"), ("live", "the one answering now"))
        if (over := evaluation[f"over_{other}"]) is not None
    ]
    return f"""<section>
<h2>How well each model foresees your writing</h2>
<p>Each model read {evaluation["test_stories"]} stories of yours that were kept out of its
training, and at every word had to foresee the next. <em>Perplexity</em> says between how many equally likely
words it wavered: lower is closer to your voice.</p>
<figure>{intervals(marks, "Perplexity of each model")}
<figcaption>Perplexity. The pale bar: where it would lie with other stories of yours.</figcaption></figure>
<h3>How much lower the new model's is</h3>
<figure>{intervals(differences, "Improvement in percent", zero="no difference")}
<figcaption>In percent, on the same stories for both. Right of the dashed line the new model is better;
a bar that crosses it may be chance.</figcaption></figure>
</section>
"""


def _style(evaluation: dict[str, Any]) -> str:
    styles = {key: score["writing"]["style"] for key, score in _present(evaluation)}
    own = evaluation["held_out_style"]
    if any(style is None for style in styles.values()):
        return ""
    rows = ""
    for key, name, words in _STYLES:
        marks = [Mark(model, NAMES[model], style[key]) for model, style in styles.items()]
        if own is not None:
            marks.insert(0, Mark("author", "You, in another story", own[key]))
        closer = styles["candidate"][key] < styles["base"][key]
        rows += (
            f"<span>{name}</span>{scale(marks, f'Distance from your writing, {name.lower()}')}"
            f'<span class="figure">{"nearer" if closer else "not nearer"}</span>'
            f'<span class="note">{words}</span>'
        )
    entries = [("author", "you, in a story it has not seen"), *((key, NAMES[key]) for key in styles)]
    return f"""<section>
<h2>Nearer to your way of writing?</h2>
<p>How far each model's answers are from your stories, whatever they tell. Left is nearer. Nobody is at
zero: your own green dot shows how far one of your stories is from the others.</p>
{legend(entries)}
<div class="plot">{rows}</div>
<p class="note">From the {evaluation["candidate"]["writing"]["words"]:,} words that the new model wrote here:
small differences mean nothing.</p>
</section>
"""


def _copying(evaluation: dict[str, Any]) -> str:
    writing = evaluation["candidate"]["writing"]
    worst = max(writing["copied_share"], writing["extracted_share"])
    if worst == 0:
        words = "The new model copied no twelve words in a row from your stories."
    elif worst < _MUCH_COPIED:
        words = "Here and there the new model says twelve words or more as they stand in your stories."
    else:
        words = (
            "The new model learnt pieces of your stories by heart. "
            "More and different stories, or fewer epochs, help."
        )
    return f"""<section>
<h2>Copied or its own?</h2>
<p>{words}</p>
{
        _table(
            evaluation,
            (
                ("Asked to tell: copied runs of twelve words", _percent("copied_share")),
                ("the longest run, in words", _longest("longest_copy")),
                ("Given a story's first words: copied runs", _percent("extracted_share")),
                ("the longest run, in words", _longest("longest_extract")),
            ),
        )
    }
<p class="note">The base model has not seen your stories; what it has, everybody says, or your stories
are known.</p>
</section>
"""


def _variety(evaluation: dict[str, Any]) -> str:
    return f"""<section>
<h2>Does it vary, and does it end?</h2>
<p>A model that has learnt too long or too fast says the same again, or never comes to an end.</p>
{
        _table(
            evaluation,
            (
                ("Runs of four words said twice in an answer", _percent("repeated")),
                ("Different words among all words", _percent("distinct_1")),
                ("Different pairs of words", _percent("distinct_2")),
                ("Different triples of words", _percent("distinct_3")),
                ("Stories ended, of those it was to end", _ended),
                ("Chance it gives to ending where a story ends", _ending_chance),
            ),
        )
    }
</section>
"""


_Cell = Callable[[dict[str, Any]], str]


def _table(evaluation: dict[str, Any], rows: tuple[tuple[str, _Cell], ...]) -> str:
    models = list(_present(evaluation))
    head = "".join(f"<th scope='col'>{NAMES[key]}</th>" for key, _ in models)
    body = "".join(
        f"<tr><th scope='row'>{label}</th>{''.join(f'<td>{cell(score)}</td>' for _, score in models)}</tr>"
        for label, cell in rows
    )
    return (
        "<div class='scroll' tabindex='0' role='region' aria-label='Figures of each model'>"
        f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _percent(key: str) -> _Cell:
    return lambda score: f"{100 * score['writing'][key]:.1f}%"


def _longest(key: str) -> _Cell:
    return lambda score: str(score["writing"][key] or "under 4")


def _ended(score: dict[str, Any]) -> str:
    return f"{score['writing']['finishing_ended']} of {score['writing']['finishing_asked']}"


def _ending_chance(score: dict[str, Any]) -> str:
    return "unknown" if score["ending_chance"] is None else f"{100 * score['ending_chance']:.2g}%"


def _samples(evaluation: dict[str, Any]) -> str:
    samples = "".join(_sample(sample) for sample in evaluation["samples"])
    return f"""<section>
<h2>Side by side</h2>
<p class="note">The same requests, answered by each model. Answers are cut short here to save time.</p>
{samples}</section>
"""


def _sample(sample: dict[str, Any]) -> str:
    answers = "".join(
        f"<div class='answer'><h4>{name}</h4><p>{escape(sample[key])}</p></div>"
        for key, name in NAMES.items()
        if sample[key] is not None
    )
    asked = f"<p class='asked'>{escape(sample['prompt'])}</p>" if sample["prompt"] else ""
    begun = f"<p class='asked'>“{escape(sample['begun'])} …</p>" if sample["begun"] else ""
    head = f"<h3>{_KINDS[sample['kind']]}</h3>{asked}{begun}"
    return f"<article>{head}<div class='answers'>{answers}</div></article>\n"
