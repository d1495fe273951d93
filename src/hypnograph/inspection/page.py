"""An inspection as a folder: one self-contained HTML page, and its figures as files."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hypnograph.errors import HypnographError
from hypnograph.inspection import N_FRESH, FirstLayer, FrequencyResponse, Inspection, NightInspection, StageActivation
from hypnograph.inspection import figures as draw
from hypnograph.whole_file import check_output, whole_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FORMATS = {"png": "image/png", "svg": "image/svg+xml"}
PAGE = "index.html"
DPI = 110
NUMBER = ' class="number"'
CELLS_FOR_EACH = 5
"""Found cells of each measure that the page lists."""

BANDS_HZ = {
    "delta": (0, 4),
    "theta": (4, 8),
    "alpha": (8, 12),
    "sigma": (12, 16),
    "beta": (16, 30),
    "above 30 Hz": (30, np.inf),
}

STYLE = """
:root{--ink:#1c2126;--faint:#5b646e;--line:#d5dae0}
body{margin:0 auto;max-width:72rem;padding:1.5rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:#fff}
h1{margin:0;font-size:1.7rem}h2{margin:2.2rem 0 .4rem;padding-top:.6rem;border-top:1px solid var(--line)}
h2{font-size:1.25rem}
h3{margin:1.4rem 0 .2rem;font-size:1rem}p{margin:.3rem 0;max-width:52rem}.note{color:var(--faint);font-size:.9rem}
figure{margin:.8rem 0}figure img{max-width:100%;height:auto}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;margin:.6rem 0}
th,td{padding:.25rem .9rem .25rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
"""


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with the name of its file and what it says to those who do not see it."""

    name: str
    alt: str
    figure: "Figure"


def write_page(
    inspection: Inspection,
    folder: str | Path,
    *,
    recording_name: str = "",
    formats: Sequence[str] = ("png",),
    overwrite: bool = False,
) -> list[Path]:
    """Write what was seen of a network as a page and its figures.

    Parameters
    ----------
    inspection
        What `hypnograph.inspection.inspect` returned.
    folder
        Is made if need be.
    recording_name
        What to call the night on the page; nothing else of the recording's header is written.
    formats
        Of the figures: ``"png"``, ``"svg"``; the page holds SVG where it is among them.
    overwrite
        Replace files that exist.

    Returns
    -------
    list of Path
        The files, the page first; it is written last.

    Raises
    ------
    HypnographError
        If a format is unknown, or a file exists and `overwrite` is False.
    """
    folder, page = Path(folder), Path(folder) / PAGE
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise HypnographError(f"{''.join(unknown[:1])!r} is no format of figures; there are: {', '.join(FORMATS)}")
    check_output(page, overwrite=overwrite)
    parts: list[str] = []
    written = [page]
    for part in _parts(inspection, recording_name):
        if isinstance(part, str):
            parts.append(part)
            continue
        images = {name: _encoded(part.figure, name) for name in formats}
        for suffix, content in images.items():
            written.append(folder / f"{part.name}.{suffix}")
            check_output(written[-1], overwrite=overwrite)
            with whole_file(written[-1]) as partial:
                partial.write_bytes(content)
        shown = "svg" if "svg" in images else "png"
        data = base64.b64encode(images[shown]).decode()
        parts.append(f'<figure><img alt="{escape(part.alt)}" src="data:{FORMATS[shown]};base64,{data}"></figure>')
    with whole_file(page) as partial:
        partial.write_text(_html(inspection.info.title, "\n".join(parts)), encoding="utf-8")
    return written


def _encoded(figure: "Figure", suffix: str) -> bytes:
    """Return a figure as the bytes of a file; the same figure gives the same bytes."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "hypnograph", "svg.fonttype": "none"}):
        figure.savefig(stream, format=suffix, dpi=DPI, metadata={"Date": None} if suffix == "svg" else {})
    return stream.getvalue()


def _html(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}: what the network has learned</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


# What stands on the page ---------------------------------------------------------------------------------------------


def _parts(inspection: Inspection, recording_name: str) -> Iterator[str | Picture]:
    yield f"<h1>{escape(inspection.info.title)}: what the network has learned</h1>"
    yield _facts(inspection, recording_name)
    yield from _filters(inspection)
    if inspection.night is None:
        yield _section("Over a night", "No recording was given: stages, cells and attention need one.")
        return
    yield from _stages(inspection, inspection.night)
    yield from _cells(inspection.night)
    yield from _attention(inspection.night)


def _section(title: str, text: str) -> str:
    return f"<h2>{escape(title)}</h2><p>{escape(text)}</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; numbers stand to the right."""

    def cell(value: Any) -> str:
        text = str(value)
        return f"<td{NUMBER if text.lstrip('-').replace('.', '').isdigit() else ''}>{escape(text)}</td>"

    heading = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in rows)
    above = f"<thead><tr>{heading}</tr></thead>" if head else ""
    return f'<div class="scroll"><table>{above}<tbody>{body}</tbody></table></div>'


def _facts(inspection: Inspection, recording_name: str) -> str:
    info, night = inspection.info, inspection.night
    spec = info.input
    band = f", {spec.band_hz[0]:g} to {spec.band_hz[1]:g} Hz" if spec.band_hz else ""
    facts: dict[str, str] = {
        "Architecture": f"{info.architecture or 'none of ours'}, {inspection.n_parameters:,} parameters",
        "Input": f"{', '.join(spec.kinds)} at {spec.sample_rate:g} Hz{band}; scaling: {spec.scaling}",
        "Stages": f"{', '.join(info.scheme.labels)}, one each {info.resolution_s:g} s",
        "Training data": info.data or "not stated",
        "Notes": info.notes,
    }
    if night is not None:
        used = ", ".join(f"{d.kind} {d.name}" for d in night.derivations)
        counts = ", ".join(f"{label} {n}" for label, n in night.stages.counts().items() if n)
        facts["Night"] = f"{recording_name or 'not named'}: {night.stages.n_epochs} epochs, {used}"
        facts["Stages of the night"] = f"from {night.stages_from} ({counts})"
    return _table((), [(name, value) for name, value in facts.items() if value])


def bands_of_peaks(response: FrequencyResponse) -> str:
    """Return how many filters have their peak in each band of the EEG, in words."""
    peaks = response.peak_hz
    counts = {band: int(((peaks >= low) & (peaks < high)).sum()) for band, (low, high) in BANDS_HZ.items()}
    return ", ".join(f"{band} {n}" for band, n in counts.items() if n) or "none"


def preferences(activation: StageActivation) -> str:
    """Return how many filters prefer each stage, in words."""
    counts = {label: int((activation.preferred == stage).sum()) for stage, label in enumerate(activation.labels)}
    counts["none (silent)"] = int((activation.preferred < 0).sum())
    return ", ".join(f"{label} {n}" for label, n in counts.items() if n)


def _filters(inspection: Inspection) -> Iterator[str | Picture]:
    if not inspection.layers:
        yield _section("First layer", "No layer of this network sees the signal itself.")
        return
    yield _section(
        "First layer",
        "Each filter with its frequency response (down to 30 dB under its peak), from low to high peak frequency.",
    )
    for number, (layer, response) in enumerate(zip(inspection.layers, inspection.responses, strict=True), start=1):
        yield f"<h3>{escape(layer_title(layer))}</h3>"
        hidden = layer.n_filters - len(draw.shown_filters(response))
        left_out = f" {hidden} of the filters are left out, evenly over the peaks." if hidden else ""
        yield f'<p class="note">Peaks: {escape(bands_of_peaks(response))}.{left_out}</p>'
        channels = [kind.value for kind in inspection.info.input.kinds]
        yield Picture(f"filters-{number}", layer_title(layer), draw.draw_filters(layer, response, channels))


def layer_title(layer: FirstLayer) -> str:
    """Return what a layer is, in words."""
    if layer.kind == "filterbank":
        return f"{layer.name}: a learned filterbank of {layer.n_filters} filters over the spectrum"
    length = f"{layer.duration_s:.3g} s ({layer.weights.shape[-1]} taps, {layer.sample_rate:g} a second)"
    return f"{layer.name}: {layer.n_filters} filters of {length}"


def _stages(inspection: Inspection, night: NightInspection) -> Iterator[str | Picture]:
    if not night.activations:
        return
    yield _section(
        "Filters by stage",
        f"Mean activation of each filter in each stage, scaled from 0 to 1, sorted by the stage that it prefers. "
        f"Stages are from {night.stages_from}. On the right the filter's peak frequency.",
    )
    for number, (activation, response) in enumerate(zip(night.activations, inspection.responses, strict=True), start=1):
        after = f"after {activation.nonlinearity}" if activation.nonlinearity else "as it comes out"
        yield f"<h3>{escape(activation.layer)}, {after}</h3>"
        yield f'<p class="note">Filters that prefer a stage: {escape(preferences(activation))}.</p>'
        title = f"Activation by stage of {activation.layer}"
        yield Picture(f"stages-{number}", title, draw.draw_activation(activation, response))


def _cells(night: NightInspection) -> Iterator[str | Picture]:
    if night.cells is None or night.table is None:
        yield _section("Cells", "This network has no LSTM that runs over epochs.")
        return
    yield _section(
        "Cells",
        f"{len(night.cells.names)} LSTM cells over the whole night in one pass; +1 is active, −1 inactive. A cell is "
        "found where it passes what the best of all cells reaches by chance in one night of a hundred, and is at most "
        f"half as far from a perfect cell as the best of {N_FRESH} networks of this architecture that never learned.",
    )
    chosen = chosen_cells(night.table)
    if not chosen:
        yield '<p class="note">Nothing can be measured: no stage or change that cells may track is in this night.</p>'
        return
    yield _table(("tracks", "measure", "cells found", "strongest cell", "value", "needs"), summary_rows(night.table))
    listed = _listed(night.table)
    if listed:
        yield "<h3>Cells that were found</h3>"
        yield _table(("cell", "tracks", "value", "times the threshold"), listed)
    names, tracks = [name for name, _ in chosen], [what for _, what in chosen]
    yield Picture(
        "cells", "Time course of cells below the hypnogram", draw.draw_courses(night.cells, names, tracks, night.stages)
    )
    runs = [(name, what.partition(" ")[0]) for name, what in chosen if what.partition(" ")[2].startswith("runs")]
    if runs:
        yield Picture(
            "runs", "Mean activity of cells in runs of a stage", draw.draw_runs(night.cells, runs, night.stages)
        )
    order = f"Below, one cell a figure: epochs from left to right and top to bottom, {draw.EPOCHS_A_ROW} a row."
    yield f'<p class="note">{order}</p>'
    for number, (name, what) in enumerate(dict(chosen).items(), start=1):
        yield f"<h3>{escape(name)}: {escape(what)}</h3>"
        yield Picture(f"cell-{number}", f"{name} over the hypnogram", draw.draw_cell(night.cells, name, night.stages))


def summary_rows(table: "pd.DataFrame") -> list[tuple[str, str, int, str, str, str]]:
    """Return for each measure: tracks, statistic, cells found, the strongest cell, its value, what is needed."""
    rows = []
    for tracks, group in table.groupby("tracks", sort=False):
        best = group.to_dict("records")[0]
        low, high = best["neutral"] - best["threshold"], best["neutral"] + best["threshold"]
        needs = f"below {low:.3f} or above {high:.3f}"
        n_found = int(group["found"].sum())
        rows.append((str(tracks), best["statistic"], n_found, best["cell"], f"{best['value']:.3f}", needs))
    return rows


def _listed(table: "pd.DataFrame") -> list[tuple[str, str, str, str]]:
    best = table[table["found"]].groupby("tracks", sort=False).head(CELLS_FOR_EACH)
    return [(r["cell"], r["tracks"], f"{r['value']:.3f}", f"{r['strength']:.2f}") for r in best.to_dict("records")]


def chosen_cells(table: "pd.DataFrame") -> list[tuple[str, str]]:
    """Return (cell, what it tracks) of the cells that are drawn: the best found of each measure, else the strongest."""
    best = table.groupby("tracks", sort=False).head(1)
    found = [(str(row.cell), str(row.tracks)) for row in best[best["found"]].itertuples()]
    if found:
        return found
    return [(str(row.cell), f"{row.tracks}? below the threshold") for row in best.head(1).itertuples()]


def _attention(night: NightInspection) -> Iterator[str | Picture]:
    if not night.attention:
        yield _section("Attention", "This network has no attention that can be read.")
        return
    yield _section("Attention", f"Mean over heads and over the epochs of a stage. Stages are from {night.stages_from}.")
    for number, attention in enumerate(night.attention, start=1):
        yield f"<h3>{escape(attention.name)}, {attention.span}</h3>"
        yield Picture(f"attention-{number}", f"Attention of {attention.name}", draw.draw_attention(attention))
