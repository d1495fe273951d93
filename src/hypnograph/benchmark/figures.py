"""Pictures of a comparison: metrics with intervals, subjects one by one, confusion matrices side by side."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hypnograph.benchmark.paired_tests import METRICS, subject_means
from hypnograph.evaluation.agreement import METRIC_LABELS
from hypnograph.plot import plot_confusion, stage_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hypnograph.benchmark.comparison import Comparison

_INK: Final = "#1c2126"
_GREY: Final = "#8a929b"
_MOST_COLUMNS: Final = 4


def draw_metrics(comparison: "Comparison") -> "Figure":
    """Draw pooled metrics and the F1 of each stage: a dot and its 95 % interval for each stager."""
    labels = comparison.scheme.labels
    names = ["macro_f1", "cohen_kappa", "accuracy", *(f"f1_{label}" for label in labels)]
    titles = [*(METRIC_LABELS[name] for name in names[:3]), *(f"F1 of {label}" for label in labels)]
    colours = [_INK] * 3 + list(stage_colours(comparison.scheme))
    n_rows = math.ceil(len(names) / _MOST_COLUMNS)
    height = n_rows * (0.9 + 0.36 * len(comparison.stagers)) + 0.7
    figure = _figure(11.0, height, f"{comparison.title}\npooled, 95 % intervals over {comparison.n_subjects} subjects")
    axes = figure.subplots(n_rows, _MOST_COLUMNS, sharey=True, squeeze=False).ravel()
    for ax, name, title, colour in zip(axes, names, titles, colours, strict=False):
        _dots(ax, [one.evaluation.pooled_estimates[name] for one in comparison.stagers], colour)
        ax.set_title(title, fontsize=10)
    for ax in axes[::_MOST_COLUMNS]:
        ax.set_yticks(range(len(comparison.stagers)), [one.name for one in comparison.stagers])
        ax.set_ylim(len(comparison.stagers) - 0.5, -0.5)
    for ax in axes[len(names) :]:
        ax.set_visible(False)
    return figure


def _dots(ax: "Axes", estimates: Sequence[tuple[float, float, float]], colour: str) -> None:
    for row, (value, low, high) in enumerate(estimates):
        if not math.isnan(low):
            ax.plot([low, high], [row, row], color=colour, linewidth=1.6, solid_capstyle="round", zorder=2)
        ax.plot([value], [row], "o", color=colour, markersize=6, zorder=3)
    ax.grid(axis="x", color="#e4e7ea", linewidth=0.8, zorder=0)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=8)
    ax.locator_params(axis="x", nbins=5)
    ax.margins(x=0.12)
    ax.spines[["top", "right", "left"]].set_visible(False)


def draw_subjects(comparison: "Comparison") -> "Figure":
    """Draw each subject as a line from stager to stager; medians as bars."""
    names = [one.name for one in comparison.stagers]
    longest = max(len(name) for name in names)
    width = min(16.0, max(8.0, 2.4 + 2 * len(names) * (0.5 + 0.05 * longest)))
    # Long names of many stagers would run into each other.
    crowded = len(names) * longest > 9 * width / 2
    turned: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    title = f"{comparison.title}\neach line a subject (mean over its nights), each bar the median"
    figure = _figure(width, 4.6 + 0.05 * longest * crowded, title)
    for ax, metric in zip(figure.subplots(1, len(METRICS)), METRICS, strict=True):
        _lines(ax, [subject_means(one.evaluation, metric) for one in comparison.stagers])
        ax.set_xticks(range(len(names)), names, **turned)
        ax.set_xlim(-0.5, len(names) - 0.5)
        ax.set_ylabel(METRIC_LABELS[metric])
    return figure


def _lines(ax: "Axes", by_stager: Sequence[dict[str, float]]) -> None:
    from statistics import median

    subjects = sorted(set.union(*(set(values) for values in by_stager)))
    faint = max(0.15, min(0.7, 12 / max(1, len(subjects))))
    for subject in subjects:
        values = [values.get(subject, math.nan) for values in by_stager]
        ax.plot(values, "-o", color=_GREY, alpha=faint, linewidth=0.9, markersize=3.5, zorder=2)
    for place, of_it in enumerate(by_stager):
        if of_it:
            ax.hlines(median(of_it.values()), place - 0.22, place + 0.22, color="#c8402f", linewidth=2.6, zorder=3)
    ax.grid(axis="y", color="#e4e7ea", linewidth=0.8, zorder=0)
    ax.spines[["top", "right"]].set_visible(False)


def draw_confusions(comparison: "Comparison") -> "Figure":
    """Draw the pooled confusion matrix of each stager; rows are shares of a reference stage."""
    n = len(comparison.stagers)
    n_columns = min(n, 3)
    n_rows = math.ceil(n / n_columns)
    title = f"{comparison.title}\npooled; each row: what was said of a reference stage"
    figure = _figure(max(7.0, 4.0 * n_columns), 3.9 * n_rows + 0.7, title)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, one in zip(axes, comparison.stagers, strict=False):
        plot_confusion(one.evaluation.pooled.confusion, comparison.scheme.labels, ax)
        ax.set_title(one.name, fontsize=11)
    for ax in axes[n:]:
        ax.set_visible(False)
    return figure


def _figure(width: float, height: float, title: str) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    figure.suptitle(title, fontsize=11, color=_INK)
    return figure
