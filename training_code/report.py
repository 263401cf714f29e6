"""The evaluation as a page for the writer: one file, no script, nothing loaded from anywhere."""

from html import escape
from typing import Any

_STYLE = """
body { font: 17px/1.6 Georgia, serif; max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem;
  color: #22201c; background: #fdfbf6 }
h1 { font-size: 1.7rem; margin-bottom: .2rem }
h2 { font-size: 1.2rem; margin-top: 2.2rem }
.verdict { font-size: 1.15rem; border-left: .3rem solid #3c6e57; padding-left: .9rem }
.verdict.worse { border-color: #a4452c }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { text-align: left; padding: .35rem 1.2rem .35rem 0; border-bottom: 1px solid #ded7c6 }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.bar { background: #3c6e57; height: .7rem; border-radius: .2rem }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem }
.answer { background: #fff; border: 1px solid #ded7c6; border-radius: .4rem; padding: .7rem 1rem }
.answer h3 { margin: 0 0 .4rem; font: 600 .8rem/1.4 system-ui, sans-serif; color: #6b6353 }
.answer p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere }
.note { color: #6b6353; font-size: .9rem }
@media (prefers-color-scheme: dark) {
  body { color: #e9e3d5; background: #1d1b18 } .answer { background: #26231f; border-color: #454036 }
  th, td { border-color: #454036 } .note, .answer h3 { color: #a89f8c } }
"""

_NAMES = {"base": "Before (base model)", "live": "Answering now", "candidate": "New model"}


def to_html(evaluation: dict[str, Any]) -> str:
    """The page for an `evaluation.json` as `evaluate.py` makes it."""
    scores = [(key, evaluation[key]) for key in _NAMES if evaluation[key] is not None]
    samples = "".join(_sample(sample) for sample in evaluation["samples"])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>How the new model did</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>How the new model did</h1>
{_verdict(evaluation)}
<h2>How well each model foresees your writing</h2>
<p>Each model read {evaluation["test_stories"]} stories of yours that were kept out of its training, and at
every word had to foresee the next. <em>Perplexity</em> says between how many equally likely words it
wavered: lower
is closer to your voice.</p>
{_table(scores)}
<h2>Copied or its own?</h2>
<p>{_copying(evaluation["copy_rate"])}</p>
<h2>Side by side</h2>
<p class="note">The same requests, answered by each model. Answers are cut short here to save time.</p>
{samples}
</body>
</html>
"""


def _verdict(evaluation: dict[str, Any]) -> str:
    improvement = evaluation["improvement_percent"]
    if improvement > 0:
        words = f"It foresees your stories {improvement:.0f}% better than the model it started from."
    else:
        words = "It did not learn to foresee your stories better than the model it started from."
    live = evaluation["live"]
    if live is not None:
        better = evaluation["candidate"]["perplexity"] < live["perplexity"]
        words += f" It is {'better' if better else 'not better'} than the one that answers now."
    return f'<p class="verdict{"" if improvement > 0 else " worse"}">{words}</p>'


def _table(scores: list[tuple[str, dict[str, Any]]]) -> str:
    highest = max(score["perplexity"] for _, score in scores)
    rows = "".join(
        f"<tr><th scope='row'>{_NAMES[key]}</th><td class='number'>{score['perplexity']:.1f}</td>"
        f"<td><div class='bar' style='width:{12 * score['perplexity'] / highest:.2f}rem'></div></td></tr>"
        for key, score in scores
    )
    head = "<tr><th scope='col'>Model</th><th scope='col'>Perplexity</th><th scope='col'></th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _copying(rate: float) -> str:
    if rate == 0:
        return "In these samples the new model copied nothing word for word from your stories."
    share = f"{100 * rate:.1f}%"
    if rate < 0.1:
        return f"{share} of the new model's samples stand word for word in your stories: a phrase or two."
    return (
        f"{share} of the new model's samples stand word for word in your stories. That is a lot: "
        "it learnt them by heart. More stories, or fewer epochs, help."
    )


def _sample(sample: dict[str, Any]) -> str:
    answers = "".join(
        f"<div class='answer'><h3>{name}</h3><p>{escape(sample[key])}</p></div>"
        for key, name in _NAMES.items()
        if sample[key] is not None
    )
    return f"<h3>{escape(sample['prompt'])}</h3>\n<div class='answers'>{answers}</div>\n"
