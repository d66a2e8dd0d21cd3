"""Plots for the report, as inline SVG; names of channels and assets are drawn as they are, not as markup."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from monitor.calibration import p_values
from monitor.modelfile import Calibration

BLUE, GREY, RED = "#2563eb", "#9aa5b1", "#b42318"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tocsin",  # the same report twice is the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#616e7c",
    "xtick.color": "#616e7c",
    "ytick.color": "#616e7c",
    "legend.frameon": False,
}
WIDTH = 9.5  # inches


def loss_curve(curve: Sequence[tuple[float, float]]) -> str:
    """Training and validation loss of each epoch; the best is marked."""
    train, validation = np.array(curve).T
    epochs = np.arange(1, len(curve) + 1)
    best = int(validation.argmin())
    with context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(epochs, train, color=GREY, label="training")
        axes.plot(epochs, validation, color=BLUE, label="validation, later in time")
        axes.plot(epochs[best], validation[best], "o", color=BLUE, label="kept")
        axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
        axes.legend()
        return _svg(figure)


def score_distribution(scores: NDArray[np.float64], calibration: Calibration, at: Mapping[float, float]) -> str:
    """Histogram of scores (B,), and their survival function beside the calibrated one; limits by budget."""
    highest = max(scores.max(), *at.values()) * 1.05
    grid = np.linspace(scores.min(), highest, 400)
    ordered = np.sort(scores)
    with context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.hist(scores, bins=60, color=BLUE)
        left.set(xlabel="score", ylabel="windows")
        survival = 1.0 - np.arange(len(ordered)) / len(ordered)
        right.plot(ordered, survival, ".", color=GREY, markersize=4, label="counted")
        right.plot(grid, p_values(calibration, grid.astype(np.float32)), color=BLUE, label="calibrated")
        right.set(xlabel="score", ylabel="p-value", yscale="log")
        right.legend(loc="upper right")
        for axes in (left, right):
            axes.set_xlim(min(scores.min(), 0), highest)
            _draw_limits(axes.axvline, at)
        for budget, score in at.items():
            left.annotate(
                f"{budget:g} a day", (score, 1), xycoords=("data", "axes fraction"), color=RED, rotation=90,
                ha="right", va="top", fontsize=8,
            )  # fmt: skip
        return _svg(figure)


def scores_over_time(
    series: Sequence[tuple[str, NDArray[np.int64], NDArray[np.float64]]], at: Mapping[float, float]
) -> str:
    """Held-out scores of each asset (name, window ends, scores) in time, under the limits."""
    with context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.2), layout="constrained")
        axes = figure.subplots()
        for asset, ends, scores in series[:8]:  # more lines than eight cannot be told apart
            line = axes.plot(ends.astype("datetime64[ns]"), scores, linewidth=0.8)[0]
            line.set_label("_" if len(series) == 1 else f" {asset}")
        _draw_limits(axes.axhline, at)
        axes.set(ylabel="score", ylim=(0, None))
        if len(series) > 1:
            for text in axes.legend(loc="upper left").get_texts():
                text.set_parse_math(False)
        return _svg(figure)


def reconstruction(names: Sequence[str], seen: NDArray[np.float32], expected: NDArray[np.float32]) -> str:
    """One small plot for each channel: seen (W, C) and expected (W, C)."""
    with context(STYLE | {"font.size": 8}):
        columns = min(len(names), 3)
        rows = -(-len(names) // columns)
        figure = Figure(figsize=(WIDTH, 1.5 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for channel, name in enumerate(names):
            axes = grid[channel]
            axes.plot(seen[:, channel], color=BLUE, linewidth=1.2)
            axes.plot(expected[:, channel], color=RED, linewidth=1.0, linestyle="--")
            axes.set_title(name, fontsize=8, loc="left", color="#1f2933", parse_math=False)
            axes.ticklabel_format(useOffset=False, axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in grid[len(names) :]:
            axes.set_visible(False)
        return _svg(figure)


def _draw_limits(line: Any, at: Mapping[float, float]) -> None:
    """A thin red line at each limit."""
    for score in at.values():
        line(score, color=RED, linewidth=0.8, linestyle=":")


def _svg(figure: Figure) -> str:
    """The figure as an `<svg>` element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
