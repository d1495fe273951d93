"""The figures of an inspection with matplotlib: filters, heat map of stages, cells, time courses, attention."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hypnograph.hypnogram import Hypnogram
from hypnograph.inspection.attention import Attention
from hypnograph.inspection.cells import Cells, mean_by_run_length
from hypnograph.inspection.first_layers import FirstLayer, FrequencyResponse, StageActivation
from hypnograph.plot import UNSCORED_COLOUR, plot_hypnogram, stage_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EPOCHS_A_ROW = 34
"""Of a cell's figure, as in Supratak et al. (2017, DOI 10.1109/TNSRE.2017.2721116)."""

MOST_FILTERS = 128
COLUMNS = 4
MOST_FREQUENCIES = 256
FLOOR_DB = -30.0
"""The frequency response of a filter is drawn down to this, under its own peak."""

# Okabe and Ito's colours that stand out on white: one for each channel.
CHANNEL_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
INK, FAINT = "#1c2126", "#8a929b"


def _figure(width_in: float, height_in: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


# Filters -------------------------------------------------------------------------------------------------------------


def draw_filters(layer: FirstLayer, response: FrequencyResponse, channels: Sequence[str] = ()) -> "Figure":
    """Draw the kernels of a layer, each beside its frequency response, from low to high peak frequency.

    Parameters
    ----------
    layer, response
        What to draw; of more than `MOST_FILTERS` filters, so many are drawn, evenly chosen by their peak.
    channels
        Names of the channels, for the legend where there are several.
    """
    shown = shown_filters(response)
    n_columns = min(COLUMNS, len(shown))
    n_rows = -(-len(shown) // n_columns)
    has_kernels = layer.kind == "convolution" and layer.weights.shape[-1] > 1
    per_column = 2 if has_kernels else 1
    figure = _figure(2.9 * n_columns, 0.36 * n_rows + 1.1)
    axes = figure.subplots(1, per_column * n_columns, squeeze=False, width_ratios=[1.25, 1][:per_column] * n_columns)[0]
    for column in range(n_columns):
        filters = shown[column * n_rows : (column + 1) * n_rows]
        pair = axes[per_column * column : per_column * (column + 1)]
        if has_kernels:
            _draw_kernels(pair[0], layer, filters)
        _draw_responses(pair[-1], response, filters)
        names = [
            f"{f + 1}: {response.peak_hz[f]:.1f} Hz" if response.peak_hz[f] >= 0 else f"{f + 1}: 0" for f in filters
        ]
        pair[0].set_yticks(-np.arange(len(filters)), names)
        for ax in pair:
            ax.set_ylim(-n_rows + 0.4, 0.6)
            ax.tick_params(axis="y", length=0, labelsize=8, labelcolor=INK)
            ax.tick_params(axis="x", labelsize=8)
            ax.spines[["top", "left", "right"]].set_visible(False)
        for ax in pair[1:]:
            ax.set_yticks([])
    _channel_legend(figure, layer, channels)
    return figure


def shown_filters(response: FrequencyResponse) -> NDArray[np.int64]:
    """Return the filters that are drawn, by their peak; filters of zeros last."""
    order = np.argsort(response.peak_hz, kind="stable")
    if len(order) <= MOST_FILTERS:
        return order
    return np.asarray(order[np.linspace(0, len(order) - 1, MOST_FILTERS).round().astype(int)])


def _draw_kernels(ax: "Axes", layer: FirstLayer, filters: NDArray[np.int64]) -> None:
    time_s = np.arange(layer.weights.shape[-1]) / layer.sample_rate
    for row, kernels in enumerate(layer.weights[filters]):
        largest = np.abs(kernels).max() or 1.0
        ax.axhline(-row, color=UNSCORED_COLOUR, linewidth=0.5, zorder=1)
        for channel, kernel in enumerate(kernels):
            ax.plot(time_s, -row + 0.44 * kernel / largest, color=_channel_colour(channel), linewidth=0.9)
    ax.set_xlim(0, time_s[-1])
    ax.set_xlabel("time (s)", fontsize=8)


def _draw_responses(ax: "Axes", response: FrequencyResponse, filters: NDArray[np.int64]) -> None:
    step = -(-len(response.frequency_hz) // MOST_FREQUENCIES)
    frequency_hz = response.frequency_hz[::step]
    for row, gains in enumerate(response.gain_db[filters][..., ::step]):
        below_peak = gains - (gains.max() if np.isfinite(gains.max()) else 0.0)
        for channel, gain_db in enumerate(below_peak):
            height = 0.88 * np.clip(1 - gain_db / FLOOR_DB, 0, 1)
            if not height.any():
                continue
            colour = _channel_colour(channel)
            ax.fill_between(frequency_hz, -row - 0.44, -row - 0.44 + height, color=colour, alpha=0.35, linewidth=0)
            ax.plot(frequency_hz, -row - 0.44 + height, color=colour, linewidth=0.7)
    ax.set_xlim(0, response.frequency_hz[-1])
    ax.set_xlabel("frequency (Hz)", fontsize=8)


def _channel_colour(channel: int) -> str:
    return CHANNEL_COLOURS[channel % len(CHANNEL_COLOURS)]


def _channel_legend(figure: "Figure", layer: FirstLayer, channels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    if layer.weights.shape[1] < 2 or not channels:
        return
    lines = [Line2D([], [], color=_channel_colour(i), label=name) for i, name in enumerate(channels)]
    figure.legend(handles=lines, loc="outside upper left", ncols=len(lines), frameon=False, fontsize=9)


# Stages --------------------------------------------------------------------------------------------------------------


def draw_activation(activation: StageActivation, response: FrequencyResponse) -> "Figure":
    """Draw how active each filter is in each stage, sorted, with the filters' peak frequencies beside."""
    from matplotlib import colormaps

    n_filters = len(activation.order)
    figure = _figure(7.0, min(1.6 + 0.16 * n_filters, 12.0))
    ax, beside = figure.subplots(1, 2, width_ratios=[3, 1.2], sharey=True)
    colours = colormaps["viridis"].with_extremes(bad=UNSCORED_COLOUR)
    image = ax.imshow(
        np.ma.masked_invalid(activation.scaled[activation.order]),
        aspect="auto", cmap=colours, vmin=0, vmax=1, interpolation="nearest",
    )  # fmt: skip
    ax.set_xticks(
        range(len(activation.labels)),
        [f"{label}\n{n} epochs" for label, n in zip(activation.labels, activation.n_epochs, strict=True)],
    )
    step = max(1, round(n_filters / 40))
    ax.set_yticks(range(0, n_filters, step), [str(f + 1) for f in activation.order[::step]])
    ax.tick_params(length=0, labelsize=8)
    ax.set_ylabel("filter")
    preferred = activation.preferred[activation.order]
    for row in np.flatnonzero(np.diff(preferred)):
        for each in (ax, beside):
            each.axhline(row + 0.5, color="white" if each is ax else FAINT, linewidth=1.5 if each is ax else 0.6)
    beside.plot(response.peak_hz[activation.order], range(n_filters), "o", markersize=3.5, color=CHANNEL_COLOURS[0])
    beside.set_xlim(left=0)
    beside.set_xlabel("peak frequency (Hz)")
    beside.tick_params(axis="y", left=False)
    beside.spines[["top", "right"]].set_visible(False)
    figure.colorbar(image, ax=ax, location="top", shrink=0.6, label="mean activation, each filter from 0 to 1")
    return figure


# Cells ---------------------------------------------------------------------------------------------------------------


def draw_cell(cells: Cells, name: str, stages: Hypnogram) -> "Figure":
    """Draw one cell over the hypnogram: epochs left to right, top to bottom, blue where it is active, red where not."""
    from matplotlib.patches import Rectangle

    n_rows = -(-stages.n_epochs // EPOCHS_A_ROW)
    figure = _figure(11.0, 0.29 * n_rows + 0.9)
    ax = figure.subplots()
    grid = np.full(n_rows * EPOCHS_A_ROW, np.nan)
    grid[: stages.n_epochs] = cells.of(name)
    image = ax.imshow(
        grid.reshape(n_rows, EPOCHS_A_ROW), cmap="RdBu", vmin=-1, vmax=1, aspect="auto", interpolation="nearest"
    )
    for epoch, (stage, active) in enumerate(zip(stages.stages, grid, strict=False)):
        row, column = divmod(epoch, EPOCHS_A_ROW)
        ink = "white" if abs(active) > 0.6 else INK
        ax.text(column, row, _letter(stages.scheme.label(stage)), ha="center", va="center", fontsize=8, color=ink)
    ax.add_patch(Rectangle((-0.5, -0.5), EPOCHS_A_ROW, n_rows, fill=False, edgecolor=FAINT, linewidth=0.8))
    ax.set_yticks(range(n_rows), [str(row * EPOCHS_A_ROW + 1) for row in range(n_rows)])
    ax.set_ylabel("first epoch of the row")
    ax.set_xticks([])
    ax.tick_params(length=0, labelsize=8)
    ax.spines[:].set_visible(False)
    figure.colorbar(
        image, ax=ax, location="top", shrink=0.35, aspect=40, ticks=[-1, 0, 1], label="tanh of the cell state"
    )
    return figure


def _letter(label: str) -> str:
    """Return what stands for a stage in one letter: W, 1, 2, 3, R."""
    if label == "UNSCORED":
        return "·"
    return label[1] if label in ("N1", "N2", "N3") else label[0].upper()


def draw_courses(cells: Cells, names: Sequence[str], tracks: Sequence[str], stages: Hypnogram) -> "Figure":
    """Draw the time course of cells below the hypnogram.

    Parameters
    ----------
    cells
        Over the night.
    names, tracks
        The cells, and what each tracks.
    stages
        One for each epoch.
    """
    figure = _figure(11.0, 1.7 + 0.95 * len(names))
    axes = figure.subplots(1 + len(names), 1, sharex=True, height_ratios=[1.6] + [1.0] * len(names))
    plot_hypnogram(stages, axes[0])
    axes[0].set_xlabel("")
    time_h = (np.arange(stages.n_epochs) + 0.5) * stages.epoch_s / 3600
    for ax, name, what in zip(axes[1:], names, tracks, strict=True):
        ax.axhline(0, color=UNSCORED_COLOUR, linewidth=0.7)
        ax.plot(time_h, cells.of(name), color=CHANNEL_COLOURS[0], linewidth=0.9)
        ax.set_ylim(-1.05, 1.05)
        ax.set_yticks([-1, 0, 1])
        ax.set_title(f"{name} ({what})", loc="left", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("clock time" if stages.start is not None else "time since the start (h:mm)")
    return figure


def draw_runs(cells: Cells, chosen: Sequence[tuple[str, str]], stages: Hypnogram) -> "Figure":
    """Draw the mean activity of cells in the first, second, … epoch of the runs of a stage.

    Parameters
    ----------
    cells
        Over the night.
    chosen
        (cell, stage) of each panel.
    stages
        One for each epoch.
    """
    figure = _figure(max(4.0, 3.6 * len(chosen)), 2.6)
    colours = dict(zip(stages.scheme.labels, stage_colours(stages.scheme), strict=True))
    for ax, (name, label) in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        mean = mean_by_run_length(cells.of(name)[:, None], stages, label)[:, 0]
        time_min = (np.arange(len(mean)) + 0.5) * stages.epoch_s / 60
        ax.axhline(0, color=UNSCORED_COLOUR, linewidth=0.7)
        ax.plot(time_min, mean, "o-", color=colours[label], markersize=3, linewidth=1)
        ax.set_ylim(-1.05, 1.05)
        ax.set_xlabel(f"minutes into a run of {label}")
        ax.set_title(name, loc="left", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


# Attention -----------------------------------------------------------------------------------------------------------


def draw_attention(attention: Attention) -> "Figure":
    """Draw the mean attention of one layer: a map for each stage, or a row for each stage where there is one query."""
    if attention.weights.shape[1] == 1:
        return _draw_attention_rows(attention)
    n = len(attention.labels)
    figure = _figure(2.5 * n + 0.8, 3.0)
    axes = figure.subplots(1, n, sharey=True, squeeze=False)[0]
    largest = np.nanmax(attention.weights)
    for ax, label, weights in zip(axes, attention.labels, attention.weights, strict=True):
        image = ax.imshow(weights, cmap="viridis", vmin=0, vmax=largest, interpolation="nearest")
        ax.set_title(label if np.isfinite(weights).any() else f"{label}: none", fontsize=10)
        ax.set_xlabel("attended to")
        ax.tick_params(labelsize=8)
    axes[0].set_ylabel("by")
    figure.colorbar(image, ax=list(axes), shrink=0.7, label="weight")
    return figure


def _draw_attention_rows(attention: Attention) -> "Figure":
    figure = _figure(8.0, 2.6)
    ax = figure.subplots()
    rows = np.ma.masked_invalid(attention.weights[:, 0])
    n_keys = rows.shape[1]
    # Among epochs the epoch itself is in the middle; inside an epoch frames are counted from 1.
    first = -(n_keys // 2) if attention.span == "among epochs" else 1
    image = ax.imshow(
        rows, cmap="viridis", vmin=0, aspect="auto", interpolation="nearest",
        extent=(first - 0.5, first + n_keys - 0.5, len(rows) - 0.5, -0.5),
    )  # fmt: skip
    ax.set_yticks(range(len(rows)), attention.labels)
    ax.set_xlabel("epochs after this one" if attention.span == "among epochs" else "frame of the epoch")
    ax.tick_params(length=0)
    figure.colorbar(image, ax=ax, label="mean weight")
    return figure
