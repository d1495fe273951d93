"""The figures of the HTML report: SVG that stretches to any width, with text beside it that does not.

All panels share one time axis. A panel is a narrow column of labels and a plot; the plot's SVG has one unit a column of
time and is stretched to the width (`preserveAspectRatio="none"`), while lines keep their width and letters their size.
"""

import base64
from html import escape

import numpy as np
from numpy.typing import NDArray

from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.multitaper import Spectrogram
from hypnograph.plot import Tick, stage_order, unscored_stretches
from hypnograph.report.png import encode_png

# A night in 30-s epochs has about a thousand columns; finer scorings are averaged to what a screen can show.
MAX_COLUMNS = 2400
# Anchors of the colour map, dark to light with evenly rising lightness (as matplotlib's inferno).
_ANCHORS = (
    (0, 0, 4), (33, 12, 74), (87, 16, 110), (138, 34, 106), (188, 55, 84), (228, 90, 49), (249, 142, 9),
    (249, 203, 53), (252, 255, 164),
)  # fmt: skip


def panel(caption: str, plot: str, *, height_px: int, scale: str = "", note: str = "", kind: str = "") -> str:
    """Return a figure: caption above, labels to the left, plot to the right; `note` explains the caption."""
    explained = f' <span class="note">{note}</span>' if note else ""
    return (
        f'<figure class="panel {kind}"><figcaption>{caption}{explained}</figcaption>'
        f'<div class="row"><div class="scale">{scale}</div>'
        f'<div class="plot" style="--height:{height_px}px">{plot}</div></div></figure>'
    )


def scale_label(text: str, top_percent: float) -> str:
    """Return a label of the vertical axis."""
    return f'<span style="top:{top_percent:.4g}%">{escape(text)}</span>'


def time_axis(ticks: list[Tick], duration_s: float, note: str = "") -> str:
    """Return the labels under a group of panels and a note; every other label is left out where the page is narrow."""
    marks = "".join(
        f'<span class="{"odd" if i % 2 else "even"}" style="left:{100 * tick.seconds / duration_s:.4g}%">'
        f"{tick.label}</span>"
        for i, tick in enumerate(ticks)
    )
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<div class="row axis"><div class="scale"></div><div><div class="ticks">{marks}</div>{below}</div></div>'


def svg(shapes: str, *, width: float, height: float, title: str, description: str) -> str:
    """Return a drawing that is stretched to its plot, with a title and a description for those who do not see it."""
    return (
        f'<svg role="img" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none"><title>{escape(title)}</title>'
        f"<desc>{escape(description)}</desc>{shapes}</svg>"
    )


def grid(ticks: list[Tick], seconds_per_unit: float, height: float) -> str:
    """Return the vertical lines at the ticks of the time axis."""
    lines = "".join(f"M{tick.seconds / seconds_per_unit:.6g} 0V{height:g}" for tick in ticks)
    return f'<path class="grid" d="{lines}"/>'


def hypnogram_shapes(hypnogram: Hypnogram, *, row: int) -> str:
    """Return the shapes of a hypnogram, one unit an epoch, `row` units a stage: joining lines, then bars."""
    scheme = hypnogram.scheme
    centre = {stage: rank * row + row / 2 for rank, stage in enumerate(stage_order(scheme))}
    bars: dict[int, list[str]] = {stage: [] for stage in centre}
    joins: list[str] = []
    previous = -1
    for run in hypnogram.runs():
        first, past_last = (
            round(run.start_s / hypnogram.epoch_s),
            round((run.start_s + run.duration_s) / hypnogram.epoch_s),
        )
        if run.stage >= 0:
            bars[run.stage].append(f"M{first} {centre[run.stage]:g}H{past_last}")
            if previous >= 0:
                joins.append(f"M{first} {centre[previous]:g}V{centre[run.stage]:g}")
        previous = run.stage
    return f'<path class="join" d="{"".join(joins)}"/>' + "".join(
        f'<path class="bar s{stage}{" rem" if scheme.labels[stage] == "REM" else ""}" d="{"".join(parts)}"/>'
        for stage, parts in bars.items()
        if parts
    )


def hatched(known: NDArray[np.bool_], title: str) -> str:
    """Return the hatching over stretches that are not known."""
    percent = 100 / max(len(known), 1)
    return "".join(
        f'<div class="hatch" title="{escape(title)}" '
        f'style="left:{a * percent:.6g}%;width:{(b - a) * percent:.6g}%"></div>'
        for a, b in unscored_stretches(known)
    )


def hypnodensity_shapes(hypnodensity: Hypnodensity) -> str:
    """Return stacked areas of height 100, wake on top, one unit a column (see `column_epochs`)."""
    probabilities = averaged(hypnodensity.probabilities)
    below = np.zeros(len(probabilities))
    areas = []
    for stage in reversed(stage_order(hypnodensity.scheme)):
        below = below + probabilities[:, stage]
        areas.append(f'<path class="area s{stage}" d="{area(below)}"/>')
    # Each area reaches to the bottom and hides behind those of deeper stages: no seams between them.
    return "".join(reversed(areas))


def area(share: NDArray[np.float64], height: int = 100) -> str:
    """Return the path of a stepped area over shares from 0 to 1, one unit wide each; NaN leaves a hole."""
    known = ~np.isnan(share)
    tops = np.where(known, np.round(height * (1 - np.nan_to_num(share))), 0).astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    parts = []
    for first, past_last in zip(edges[::2], edges[1::2], strict=True):
        changes = np.flatnonzero(np.diff(tops[first:past_last])) + first + 1
        begins = [first, *changes]
        ends = [*changes, past_last]
        steps = "".join(f"V{tops[begin]}H{end}" for begin, end in zip(begins, ends, strict=True))
        parts.append(f"M{first} {height}{steps}V{height}Z")
    return "".join(parts)


def column_epochs(n_epochs: int) -> int:
    """Return how many epochs a column of time stands for."""
    return max(1, -(-n_epochs // MAX_COLUMNS))


def averaged(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows for epochs, shape (n_epochs, …), as means over columns of time, NaN left out."""
    factor = column_epochs(len(values))
    if factor == 1:
        return values
    begins = np.arange(0, len(values), factor)
    counts = np.add.reduceat(~np.isnan(values), begins, axis=0, dtype=float)
    sums = np.add.reduceat(np.nan_to_num(values), begins, axis=0)
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))


def colour_map(n_colours: int = 255) -> NDArray[np.uint8]:
    """Return the colours of a spectrogram from low to high power, shape (n_colours, 3)."""
    anchors = np.array(_ANCHORS, dtype=float)
    at = np.linspace(0, len(anchors) - 1, n_colours)
    return (
        np.stack([np.interp(at, np.arange(len(anchors)), column) for column in anchors.T], axis=1)
        .round()
        .astype(np.uint8)
    )


def spectrogram_image(spectrogram: Spectrogram) -> str:
    """Return the spectrogram as a PNG in a data address; windows that are not known are transparent."""
    low, high = spectrogram.limits_db()
    palette = colour_map()
    transparent = len(palette)
    scaled = np.clip((spectrogram.power_db - low) / (high - low), 0, 1) * (len(palette) - 1)
    index = np.where(np.isfinite(scaled), np.round(np.nan_to_num(scaled)), transparent).astype(np.uint8)
    png = encode_png(np.flipud(index.T), np.vstack([palette, [[0, 0, 0]]]).astype(np.uint8), transparent=transparent)
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def colour_gradient() -> str:
    """Return the colour map as a CSS gradient."""
    return "linear-gradient(to right," + ",".join(f"rgb({r},{g},{b})" for r, g, b in _ANCHORS) + ")"
