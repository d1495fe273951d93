"""Pictures of a night with matplotlib: each function draws on the axes that it is given.

Time runs in hours from the start of what is drawn; where the start is known the ticks are clock times. Stages keep one
colour everywhere, here and in the report: wake amber, REM vermilion, NREM ever darker blue. They stay apart for people
with any of the three colour-vision deficiencies (a test simulates them after Machado et al. 2009, doi
10.1109/TVCG.2009.113).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.multitaper import Spectrogram
from hypnograph.stages import StageScheme
from hypnograph.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from hypnograph.evaluation.calibration import Reliability

_LIGHT = {"W": "#e0a02f", "N1": "#8dbfe0", "N2": "#3f82bd", "N3": "#1b3e70", "REM": "#c8402f"}
_DARK = {"W": "#e8b650", "N1": "#b5d8ef", "N2": "#6ba6d9", "N3": "#3a69b0", "REM": "#e2604c"}
# What merged stages are called, and the AASM stage whose colour they take.
_MERGED = {"light": "N2", "deep": "N3", "NREM": "N2", "sleep": "N2"}
_OTHER = ("#5a9e7c", "#8c6bb1", "#7f7f7f")
UNSCORED_COLOUR = "#b8bec5"

_TICK_STEPS_S = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def stage_colours(scheme: StageScheme, *, dark: bool = False) -> tuple[str, ...]:
    """Return the colour of each stage of a scheme, as ``#rrggbb``; `dark`: for a dark background."""
    palette = _DARK if dark else _LIGHT
    return tuple(
        palette.get(_MERGED.get(label, label), _OTHER[i % len(_OTHER)]) for i, label in enumerate(scheme.labels)
    )


def stage_order(scheme: StageScheme) -> list[int]:
    """Return the stages from the top of a hypnogram to its bottom: wake, REM, then ever deeper sleep."""
    return sorted(range(scheme.n_stages), key=lambda stage: (stage != 0, scheme.labels[stage] != "REM", stage))


class Tick(NamedTuple):
    """A mark on the time axis: seconds after the start, and what stands there."""

    seconds: float
    label: str


def time_ticks(duration_s: float, start: datetime | None, *, at_most: int = 12) -> list[Tick]:
    """Return marks at round clock times, or at round times since the start where it is not known."""
    step_s = next((step for step in _TICK_STEPS_S if duration_s / step <= at_most), _TICK_STEPS_S[-1])
    since_midnight_s = (
        0.0 if start is None else start.hour * 3600 + start.minute * 60 + start.second + start.microsecond / 1e6
    )
    first_s = -since_midnight_s % step_s
    return [Tick(float(at), clock(float(at), start)[:-3]) for at in np.arange(first_s, duration_s + 1e-6, step_s)]


def clock(seconds: float, start: datetime | None) -> str:
    """Return the wall-clock time at `seconds` after `start` as ``hh:mm:ss``; the time since then where it is None."""
    if start is None:
        whole = round(seconds)
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    return (start + timedelta(seconds=seconds)).strftime("%H:%M:%S")


def unscored_stretches(known: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, past last) epoch of each stretch that is not known."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], known, [True]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def plot_hypnogram(hypnogram: Hypnogram, ax: "Axes", *, offset_h: float = 0.0) -> None:
    """Draw a hypnogram: stages as coloured bars, REM thicker, changes as thin lines, unscored stretches hatched.

    Parameters
    ----------
    hypnogram
        In any scheme, on any grid.
    ax
        Where.
    offset_h
        Hours by which the hypnogram begins after the axes' zero; ticks stay clock times.
    """
    order = stage_order(hypnogram.scheme)
    height = {stage: -row for row, stage in enumerate(order)}
    colours = stage_colours(hypnogram.scheme)
    runs = [run for run in hypnogram.runs() if run.stage >= 0]
    x, y = _step_line(hypnogram, height)
    ax.plot(x + offset_h, y, color="#8a929b", linewidth=0.6, zorder=2)
    for stage in order:
        begins = [run.start_s / 3600 + offset_h for run in runs if run.stage == stage]
        ends = [(run.start_s + run.duration_s) / 3600 + offset_h for run in runs if run.stage == stage]
        width = 4.5 if hypnogram.scheme.labels[stage] == "REM" else 2.8
        ax.hlines([height[stage]] * len(begins), begins, ends, color=colours[stage], linewidth=width, zorder=3)
    _hatch(ax, hypnogram.scored, hypnogram.epoch_s, offset_h)
    ax.set_ylim(-len(order) + 0.4, 0.6)
    ax.set_yticks([height[stage] for stage in order], [hypnogram.scheme.labels[stage] for stage in order])
    _time_axis(ax, hypnogram.duration_s, hypnogram.start, offset_h)


def _step_line(hypnogram: Hypnogram, height: dict[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the line that joins all runs, broken (NaN) where unscored."""
    x: list[float] = []
    y: list[float] = []
    for run in hypnogram.runs():
        x += [run.start_s / 3600, (run.start_s + run.duration_s) / 3600]
        y += [height.get(run.stage, np.nan)] * 2
    return np.array(x), np.array(y)


def plot_hypnodensity(hypnodensity: Hypnodensity, ax: "Axes", *, offset_h: float = 0.0) -> None:
    """Draw the probabilities of all stages as stacked areas, wake on top; unknown stretches hatched."""
    colours = stage_colours(hypnodensity.scheme)
    edges = np.arange(hypnodensity.n_epochs + 1) * hypnodensity.epoch_s / 3600 + offset_h
    below = np.zeros(hypnodensity.n_epochs)
    for stage in reversed(stage_order(hypnodensity.scheme)):
        above = below + hypnodensity.probabilities[:, stage]
        ax.stairs(above, edges, baseline=below, fill=True, color=colours[stage], linewidth=0, rasterized=True)
        below = above
    _hatch(ax, hypnodensity.known, hypnodensity.epoch_s, offset_h)
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 0.5, 1])
    ax.set_ylabel("probability")
    _time_axis(ax, hypnodensity.n_epochs * hypnodensity.epoch_s, hypnodensity.start, offset_h)


def plot_spectrogram(
    spectrogram: Spectrogram,
    ax: "Axes",
    *,
    limits_db: tuple[float, float] | None = None,
    colour_map: str = "inferno",
    offset_h: float = 0.0,
) -> "AxesImage":
    """Draw a spectrogram; returns the image, for a colour bar.

    Parameters
    ----------
    spectrogram
        What.
    ax
        Where.
    limits_db
        Ends of the colour scale in dB (µV²/Hz); None: the 2nd and 98th percentile.
    colour_map
        Name of a matplotlib colour map.
    offset_h
        As in `plot_hypnogram`.
    """
    low, high = limits_db or spectrogram.limits_db()
    step_hz = float(np.diff(spectrogram.frequency_hz[:2])[0]) if len(spectrogram.frequency_hz) > 1 else 1.0
    bottom, top = spectrogram.frequency_hz[0] - step_hz / 2, spectrogram.frequency_hz[-1] + step_hz / 2
    image = ax.imshow(
        spectrogram.power_db.T,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        cmap=colour_map,
        vmin=low,
        vmax=high,
        extent=(offset_h, offset_h + spectrogram.duration_s / 3600, bottom, top),
    )
    _hatch(ax, np.asarray(np.isfinite(spectrogram.power_db).any(axis=1)), spectrogram.window_s, offset_h)
    ax.set_ylabel("frequency (Hz)")
    _time_axis(ax, spectrogram.duration_s, spectrogram.start, offset_h)
    return image


def plot_confusion(counts: NDArray[np.integer], labels: Sequence[str], ax: "Axes") -> None:
    """Draw a confusion matrix: share of each reference stage in blue, counts beneath.

    Parameters
    ----------
    counts : int array, shape (n_stages, n_stages)
        Rows are the reference, columns the predicted stages.
    labels
        Of the stages.
    ax
        Where.

    Raises
    ------
    HypnographError
        If the counts are not square, or the labels do not fit.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(labels), len(labels)):
        raise HypnographError(
            f"counts have shape {counts.shape}; {len(labels)} labels need {(len(labels), len(labels))}"
        )
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        text = f"{100 * share[row, column]:.0f} %\n{counts[row, column]:,}" if totals[row, 0] else "–"
        ink = "white" if share[row, column] > 0.55 else "#1c2126"
        ax.text(column, row, text, ha="center", va="center", fontsize=9, color=ink)
    ax.set_xticks(range(len(labels)), labels)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_xlabel("predicted")
    ax.set_ylabel("reference")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


PICTURES = (".png", ".svg", ".pdf")
"""How the names of pictures end that `save_picture` writes."""


def save_picture(figure: "Figure", path: Path, *, dpi: int = 150) -> None:
    """Write a picture (png, svg, pdf), whole or not at all; without a date: the same content is the same file."""
    from matplotlib import rc_context

    dated = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "hypnograph"}), whole_file(path) as partial:
        figure.savefig(partial, dpi=dpi, metadata=dated[path.suffix.lower()])


def plot_night(
    scorings: Sequence[tuple[str, Hypnogram]],
    *,
    hypnodensity: Hypnodensity | None = None,
    spectrogram: Spectrogram | None = None,
    width_in: float = 11.0,
) -> "Figure":
    """Draw scorings of one night above each other, with a hypnodensity and a spectrogram, on one time axis.

    Parameters
    ----------
    scorings
        (name, hypnogram) of each; where all starts are known they are placed by them, else they begin together.
    hypnodensity, spectrogram
        Drawn beneath, if given.
    width_in
        Inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    HypnographError
        If there is nothing to draw.
    """
    from matplotlib.figure import Figure

    if not scorings:
        raise HypnographError("there is no scoring to draw")
    grids = [hypnogram for _, hypnogram in scorings]
    starts = [grid.start for grid in (*grids, hypnodensity, spectrogram) if grid is not None]
    known = [start for start in starts if start is not None]
    origin = min(known) if len(known) == len(starts) else None

    def offset_h(start: datetime | None) -> float:
        return (start - origin).total_seconds() / 3600 if start is not None and origin is not None else 0.0

    heights = [1.5] * len(scorings) + [1.1] * (hypnodensity is not None) + [1.5] * (spectrogram is not None)
    figure = Figure(figsize=(width_in, sum(heights) + 0.35 * len(heights) + 0.5), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for ax, (name, hypnogram) in zip(axes, scorings, strict=False):
        plot_hypnogram(hypnogram, ax, offset_h=offset_h(hypnogram.start))
        ax.set_title(name, loc="left", fontsize=10)
    if hypnodensity is not None:
        plot_hypnodensity(hypnodensity, axes[len(scorings)], offset_h=offset_h(hypnodensity.start))
    if spectrogram is not None:
        image = plot_spectrogram(spectrogram, axes[-1], offset_h=offset_h(spectrogram.start))
        axes[-1].set_title(spectrogram.derivation, loc="left", fontsize=10)
        # Beside the axes, not out of their width: all panels keep one time axis.
        figure.colorbar(image, cax=axes[-1].inset_axes((1.01, 0, 0.012, 1)), label="dB (µV²/Hz)")
    last_h = max(offset_h(h.start) + h.duration_s / 3600 for h in grids)
    first_h = min(offset_h(h.start) for h in grids)
    axes[-1].set_xlim(first_h, max(last_h, first_h + 1e-6))
    ticks = time_ticks(3600 * last_h, origin)
    axes[-1].set_xticks([tick.seconds / 3600 for tick in ticks], [tick.label for tick in ticks])
    for ax in axes[:-1]:
        ax.set_xlabel("")
    return figure


def _hatch(ax: "Axes", known: NDArray[np.bool_], epoch_s: float, offset_h: float) -> None:
    for first, past_last in unscored_stretches(known):
        ax.axvspan(
            first * epoch_s / 3600 + offset_h, past_last * epoch_s / 3600 + offset_h,
            facecolor="none", edgecolor=UNSCORED_COLOUR, hatch="////", linewidth=0, zorder=1,
        )  # fmt: skip


def _time_axis(ax: "Axes", duration_s: float, start: datetime | None, offset_h: float) -> None:
    ticks = time_ticks(duration_s, start)
    ax.set_xlim(offset_h, offset_h + max(duration_s, 1e-6) / 3600)
    ax.set_xticks([tick.seconds / 3600 + offset_h for tick in ticks], [tick.label for tick in ticks])
    ax.set_xlabel("time since the start (h:mm)" if start is None else "clock time")
    ax.spines[["top", "right"]].set_visible(False)


def plot_disagreement(scorings: Sequence[tuple[str, Hypnogram]], consensus: Hypnogram, ax: "Axes") -> None:
    """Draw a strip for each scorer, coloured where it differs from the consensus, in the stage that it has there.

    Parameters
    ----------
    scorings
        (name, hypnogram) of each, on the grid of the consensus.
    consensus
        With what they are compared; an epoch that either side left unscored stays grey.
    ax
        Where.

    Raises
    ------
    HypnographError
        If there is no scoring, or one has another length or scheme.
    """
    if not scorings:
        raise HypnographError("there is no scoring to draw")
    for name, hypnogram in scorings:
        if (hypnogram.n_epochs, hypnogram.scheme) != (consensus.n_epochs, consensus.scheme):
            raise HypnographError(f"{name} ({hypnogram!r}) is not on the grid of the consensus ({consensus!r})")
    palette = np.array([*(_rgb(c) for c in stage_colours(consensus.scheme)), _rgb("#ffffff"), _rgb("#e4e7ea")])
    agreed, unscored = consensus.scheme.n_stages, consensus.scheme.n_stages + 1
    stages = np.stack([hypnogram.stages for _, hypnogram in scorings]).astype(np.intp)
    shown = np.where(stages == consensus.stages, agreed, stages)
    shown = np.where((stages < 0) | ~consensus.scored, unscored, shown)
    hours = consensus.duration_s / 3600
    extent = (0, hours, len(scorings) - 0.5, -0.5)
    ax.imshow(palette[shown], aspect="auto", interpolation="nearest", extent=extent)
    ax.set_yticks(range(len(scorings)), [name for name, _ in scorings])
    for edge in range(1, len(scorings)):
        ax.axhline(edge - 0.5, color="#c8cdd3", linewidth=0.6)
    _time_axis(ax, consensus.duration_s, consensus.start, 0.0)
    ax.tick_params(axis="y", length=0)


def _rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def plot_scorers(
    scorings: Sequence[tuple[str, Hypnogram]],
    consensus: Hypnogram,
    votes: Hypnodensity,
    *,
    width_in: float = 11.0,
) -> "Figure":
    """Draw a consensus, beneath it where each scorer differs from it, and the votes as a hypnodensity.

    Parameters
    ----------
    scorings
        (name, hypnogram) of each, on the grid of the consensus.
    consensus, votes
        Of the scorers.
    width_in
        Inches.

    Raises
    ------
    HypnographError
        As `plot_disagreement`.
    """
    from matplotlib.figure import Figure

    heights = [1.5, 0.3 + 0.2 * len(scorings), 1.1]
    figure = Figure(figsize=(width_in, sum(heights) + 1.6), layout="constrained")
    top, strips, bottom = figure.subplots(3, 1, sharex=True, height_ratios=heights)
    plot_hypnogram(consensus, top)
    top.set_title(consensus.scorer or "consensus", loc="left", fontsize=10)
    plot_disagreement(scorings, consensus, strips)
    strips.set_title("where each differs, and what it has there", loc="left", fontsize=10)
    plot_hypnodensity(votes, bottom)
    bottom.set_ylabel("")
    bottom.set_title("share of the scorers", loc="left", fontsize=10)
    for ax in (top, strips):
        ax.set_xlabel("")
    return figure


def plot_kappa_matrix(names: Sequence[str], values: NDArray[np.floating], ax: "Axes", *, n_people: int = 0) -> None:
    """Draw the kappa of each pair of scorers as a heat map with its numbers.

    Parameters
    ----------
    names
        Of the scorers.
    values : float array, shape (n_scorers, n_scorers)
        Symmetric; NaN is left empty.
    ax
        Where.
    n_people
        Draw a line after so many; 0: none.

    Raises
    ------
    HypnographError
        If the values do not fit the names.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(names), len(names)):
        raise HypnographError(f"values have shape {values.shape}; {len(names)} names need {(len(names), len(names))}")
    # A scorer's agreement with itself says nothing: its cell stays empty.
    shown = np.where(np.eye(len(names), dtype=bool), np.nan, values)
    ax.imshow(shown, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*shown.shape):
        if not np.isnan(shown[row, column]):
            ink = "white" if shown[row, column] > 0.55 else "#1c2126"
            ax.text(column, row, f"{shown[row, column]:.2f}", ha="center", va="center", fontsize=9, color=ink)
    if 0 < n_people < len(names):
        ax.axhline(n_people - 0.5, color="#1c2126", linewidth=1.0)
        ax.axvline(n_people - 0.5, color="#1c2126", linewidth=1.0)
    ax.set_xticks(range(len(names)), list(names), rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), list(names))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def plot_reliability(
    curves: Sequence[tuple[str, "Reliability"]], ax: "Axes", *, colours: Sequence[str] | None = None
) -> None:
    """Draw how often what was said with some probability came true; on the diagonal, as often as said.

    Parameters
    ----------
    curves
        (name, curve) of each. The area of a point is its share of the epochs; bins of fewer than 10 epochs say nothing
        and are left out.
    ax
        Where.
    colours
        One for each curve; None: two that stay apart, then those of matplotlib.

    Raises
    ------
    HypnographError
        If the colours are not as many as the curves.
    """
    colours = colours or ("#8a929b", "#1b3e70", *(f"C{i}" for i in range(len(curves))))[: len(curves)]
    if len(colours) != len(curves):
        raise HypnographError(f"{len(colours)} colours for {len(curves)} curves; give one for each")
    ax.plot([0, 1], [0, 1], color=UNSCORED_COLOUR, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for (name, curve), colour in zip(curves, colours, strict=True):
        shown = curve.n_epochs >= 10
        said, came_true = curve.probability[shown], curve.frequency[shown]
        area = 8 + 300 * curve.n_epochs[shown] / curve.n_epochs.sum()
        ax.plot(said, came_true, color=colour, linewidth=1.6, zorder=2, label=name)
        ax.scatter(said, came_true, s=area, color=colour, alpha=0.75, linewidths=0, zorder=3, clip_on=False)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="probability said", ylabel="share that came true")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9, loc="upper left")
