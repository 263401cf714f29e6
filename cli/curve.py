"""The training and validation loss as a curve in the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotext
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_HEIGHT = 14
_NARROWEST = 40
_WIDEST = 100
_SERIES = (("train_loss", "stories it learns from"), ("validation_loss", "stories held back"))


@dataclass(frozen=True)
class LossCurve:
    """Both losses by step; nothing where there are fewer than two points or the terminal is too narrow."""

    metrics: Sequence[dict[str, Any]]
    """`{"step", "train_loss", "validation_loss"}`, as the API has them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as there is room."""
        series = [(label, self._points(name)) for name, label in _SERIES]
        drawn = [(label, points) for label, points in series if points]
        if options.max_width < _NARROWEST or max((len(points) for _, points in drawn), default=0) < 2:
            return
        unicode = not options.ascii_only
        plotext.clear_figure()
        plotext.theme("pro" if console.color_system else "clear")
        plotext.plot_size(min(_WIDEST, options.max_width), _HEIGHT)
        plotext.title("loss by step: lower is better")
        for label, points in drawn:
            plotext.plot(
                [step for step, _ in points],
                [loss for _, loss in points],
                label=label,
                marker="braille" if unicode else ("+" if label == _SERIES[0][1] else "o"),
            )
        steps = sorted({step for _, points in drawn for step, _ in points})
        ticks = sorted({steps[len(steps) * part // 4] for part in range(4)} | {steps[-1]})
        plotext.xticks(ticks, [str(step) for step in ticks])
        yield Text.from_ansi(plotext.build())

    def _points(self, name: str) -> list[tuple[int, float]]:
        return [(row["step"], row[name]) for row in self.metrics if row.get(name) is not None]
