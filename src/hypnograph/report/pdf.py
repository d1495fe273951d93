"""The report as a PDF of A4 pages, drawn with matplotlib."""

import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.multitaper import Spectrogram
from hypnograph.plot import plot_hypnodensity, plot_hypnogram, plot_spectrogram, stage_colours, stage_order
from hypnograph.report.contents import Contents, cycle_rows, stage_rows, statistics_rows, stretch_rows, tiles
from hypnograph.review import DEFAULT_THRESHOLD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_A4_IN = (8.27, 11.69)
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.09, 0.95, 0.955, 0.05
_GUTTER = 0.05
_INK, _MUTED, _NEUTRAL, _DOUBT = "#1c2126", "#5b646e", "#8796a5", "#b4560f"
_LINE_IN = 0.156
_VOTERS_ON_A_PAGE = 12
_WARNINGS_ON_FIRST_PAGE = 8
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.edgecolor": "#9aa4ae",
    "axes.linewidth": 0.6,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "axes.labelcolor": _MUTED,
    "hatch.linewidth": 0.5,
    # Letters stay letters: the text can be searched and copied.
    "pdf.fonttype": 42,
    # A '$' in a label is a dollar, not mathematics.
    "text.parse_math": False,
}

# A heading, a note, where the columns begin (shares of the width), and rows; the first of several columns is a head.
_Table = tuple[str, str, Sequence[float], list[Sequence[str]]]


def draw(contents: Contents, path: Path) -> None:
    """Write the PDF to `path`."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_pdf import PdfPages

    # No date and no user: the same night gives the same bytes, and nothing says who printed it.
    metadata = {"Title": contents.title, "Creator": "hypnograph", "Producer": "hypnograph", "CreationDate": None}
    with rc_context(_STYLE), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; that is no reason to fail or to disturb.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figures = [_night_page(contents), *_text_pages(contents), *_voter_pages(contents)]
        with PdfPages(path, metadata=metadata) as pages:
            for number, figure in enumerate(figures, start=1):
                _footer(figure, contents, f"{number} / {len(figures)}")
                pages.savefig(figure)


class _Page:
    """A page that is filled from the top: a cursor, lines of text, and axes that share their left and right ends."""

    def __init__(self) -> None:
        from matplotlib.figure import Figure

        self.figure: Figure = Figure(figsize=_A4_IN)
        self.y = _TOP

    @property
    def room(self) -> int:
        """How many lines of text still fit."""
        return int((self.y - _BOTTOM) * _A4_IN[1] / _LINE_IN)

    def down(self, lines: float = 1.0) -> None:
        self.y -= lines * _LINE_IN / _A4_IN[1]

    def put(self, x: float, text: str, *, size: float = 8.0, colour: str = _INK, bold: bool = False) -> None:
        weight = "bold" if bold else "normal"
        self.figure.text(x, self.y, text, fontsize=size, color=colour, fontweight=weight)

    def line(self, text: str, *, size: float = 8.0, colour: str = _INK, bold: bool = False) -> None:
        self.down(size / 8)
        self.put(_LEFT, text, size=size, colour=colour, bold=bold)

    def row(self, cells: Sequence[str], columns: Sequence[float], *, colour: str = _INK) -> None:
        """Write cells at columns given as shares of the text's width."""
        self.down()
        for cell, share in zip(cells, columns, strict=True):
            self.put(_across(share), cell, size=7.5, colour=colour)

    def axes(self, title: str, height_in: float) -> "Axes":
        """Return axes with a title below the cursor, and move the cursor below them."""
        self.down(1.85)
        self.put(_LEFT + _GUTTER, title, size=7.5, bold=True)
        self.down(0.35)
        height = height_in / _A4_IN[1]
        self.y -= height
        return self.figure.add_axes((_LEFT + _GUTTER, self.y, _RIGHT - _LEFT - _GUTTER, height))


def _across(share: float) -> float:
    return _LEFT + share * (_RIGHT - _LEFT)


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _footer(figure: "Figure", contents: Contents, page: str) -> None:
    simulated = " · simulated" if contents.simulated else ""
    text = f"{_shorten(contents.title, 60)}{simulated} · hypnograph {contents.versions['hypnograph']}"
    figure.text(_LEFT, 0.025, text, color=_MUTED, fontsize=7)
    figure.text(_RIGHT, 0.025, page, color=_MUTED, fontsize=7, ha="right")


def _night_page(contents: Contents) -> "Figure":
    page = _Page()
    for line in textwrap.wrap(contents.title, 52)[:3]:
        page.line(line, size=15, bold=True)
    page.line(contents.when, colour=_MUTED)
    for line in textwrap.wrap(contents.scored_by, 110):
        page.line(line, colour=_DOUBT if contents.certainty_is_known else _INK, bold=True)
    if contents.simulated:
        page.line(contents.SIMULATED, colour=_MUTED)
    _first_warnings(page, contents)
    _summary(page, contents)
    _panels(page, contents)
    return page.figure


def _warning_lines(contents: Contents) -> list[str]:
    return [
        line
        for warning in contents.staging.warnings
        for line in textwrap.wrap(warning, 118, initial_indent="• ", subsequent_indent="   ")
    ]


def _first_warnings(page: _Page, contents: Contents) -> None:
    lines = _warning_lines(contents)
    if not lines:
        return
    page.down(0.4)
    page.line("Warnings", bold=True)
    for line in lines[:_WARNINGS_ON_FIRST_PAGE]:
        page.line(line)
    if len(lines) > _WARNINGS_ON_FIRST_PAGE:
        page.line("… all warnings stand further down", colour=_MUTED)


def _summary(page: _Page, contents: Contents) -> None:
    s = contents.statistics
    first = tiles(s)
    page.down(2.4)
    for i, (_, _, value) in enumerate(first):
        page.put(_across(i / len(first)), value, size=14)
    page.down(1.1)
    for i, (_, name, _) in enumerate(first):
        page.put(_across(i / len(first)), name, size=7, colour=_MUTED)
    page.down(1.8)
    colours, rows, order = stage_colours(s.scheme), stage_rows(s), stage_order(s.scheme)
    for i, stage in enumerate(order):
        page.put(_across(i / len(order)), "■", size=9, colour=colours[stage])
        page.put(_across(i / len(order)) + 0.018, f"{rows[stage][0]}  {rows[stage][1]}")
    page.down(0.9)
    for i, stage in enumerate(order):
        share = rows[stage][2]
        page.put(_across(i / len(order)) + 0.018, share and f"{share} of TST", size=7, colour=_MUTED)


def _panels(page: _Page, contents: Contents) -> None:
    staging, spectrogram = contents.staging, contents.spectrogram
    if not staging.hypnogram.n_epochs:
        page.line("There are no epochs.")
        return
    axes = [page.axes("Hypnogram", 1.5)]
    plot_hypnogram(staging.hypnogram, axes[0])
    _lights(contents, axes[0])
    if contents.certainty_is_known:
        axes.append(page.axes("Hypnodensity", 1.0))
        plot_hypnodensity(staging.hypnodensity, axes[-1])
        axes[-1].set_ylabel("")
        axes.append(page.axes("Confidence, the largest probability", 0.6))
        _confidence(contents, axes[-1])
    if spectrogram is not None and len(spectrogram.power_db):
        axes.append(page.axes(f"Spectrogram of {spectrogram.derivation}, multitaper", 1.6))
        _spectrogram(contents, spectrogram, axes[-1])
    _share_time_axis(axes, contents)


def _lights(contents: Contents, ax: "Axes") -> None:
    hypnogram = contents.staging.hypnogram
    for name, at_s in (("lights off", hypnogram.lights_off_s), ("lights on", hypnogram.lights_on_s)):
        if at_s is not None and 0 <= at_s <= hypnogram.duration_s:
            side = "left" if at_s < hypnogram.duration_s / 2 else "right"
            ax.axvline(at_s / 3600, color=_MUTED, linewidth=0.6, linestyle="--")
            ax.text(at_s / 3600, ax.get_ylim()[0], f" {name} ", fontsize=6.5, color=_MUTED, ha=side, va="bottom")


def _edges_h(contents: Contents) -> NDArray[np.floating]:
    hypnogram = contents.staging.hypnogram
    return np.arange(hypnogram.n_epochs + 1) * (hypnogram.epoch_s / 3600)


def _confidence(contents: Contents, ax: "Axes") -> None:
    confidence = contents.staging.hypnodensity.confidence()
    low = np.where(confidence < DEFAULT_THRESHOLD, confidence, np.nan)
    for values, colour in ((confidence, _NEUTRAL), (low, _DOUBT)):
        ax.stairs(values, _edges_h(contents), fill=True, color=colour, linewidth=0, rasterized=True)
    ax.axhline(DEFAULT_THRESHOLD, color=_INK, linewidth=0.5, linestyle="--")
    ax.set_ylim(0, 1)
    ax.set_yticks([0, DEFAULT_THRESHOLD, 1])
    ax.spines[["top", "right"]].set_visible(False)


def _spectrogram(contents: Contents, spectrogram: Spectrogram, ax: "Axes") -> None:
    image = plot_spectrogram(spectrogram, ax, offset_h=contents.spectrogram_offset_s / 3600)
    ax.set_ylabel("Hz")
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((0.7, 1.05, 0.16, 0.07)), orientation="horizontal")
    bar.set_ticks([])
    low, high = spectrogram.limits_db()
    for x, side, text in ((0.695, "right", f"{low:.0f}"), (0.865, "left", f"{high:.0f} dB (µV²/Hz)")):
        ax.text(x, 1.085, text, transform=ax.transAxes, ha=side, va="center", fontsize=6.5, color=_MUTED)


def _share_time_axis(axes: Sequence["Axes"], contents: Contents) -> None:
    for ax in axes:
        ax.set_xlim(0, contents.staging.hypnogram.duration_s / 3600)
        ax.set_xticks([tick.seconds / 3600 for tick in contents.ticks], [])
        ax.set_xlabel("")
        ax.tick_params(labelsize=7, length=2)
        for tick in contents.ticks:
            ax.axvline(tick.seconds / 3600, color="#00000018", linewidth=0.5, zorder=0)
    axes[-1].set_xticklabels([tick.label for tick in contents.ticks])
    if contents.start is None:
        axes[-1].set_xlabel("time since the start (h:mm)", fontsize=7)


def _text_pages(contents: Contents) -> list["Figure"]:
    pages = [_Page()]
    _statistics_columns(pages[0], contents)
    for table in (_stretches(contents), _derivations(contents), _all_warnings(contents), _provenance(contents)):
        _write_table(pages, table)
    return [page.figure for page in pages]


def _write_table(pages: list[_Page], table: _Table) -> None:
    """Write a table on the last page, and on new ones where it does not fit."""
    title, note, columns, rows = table
    if rows and pages[-1].room < min(len(rows) + 4, 14):
        pages.append(_Page())
    for i, cells in enumerate(rows):
        if i == 0:
            _heading(pages[-1], title, note)
        elif pages[-1].room < 2:
            pages.append(_Page())
            _heading(pages[-1], f"{title} (continued)", "")
        pages[-1].row(cells, columns, colour=_MUTED if i == 0 and len(columns) > 2 else _INK)


def _heading(page: _Page, title: str, note: str) -> None:
    page.down(1.0)
    page.line(title, size=10, bold=True)
    for line in textwrap.wrap(note, 125):
        page.line(line, size=7.5, colour=_MUTED)
    page.down(0.3)


def _statistics_columns(page: _Page, contents: Contents) -> None:
    """Write single numbers to the left; stages, cycles and transitions to the right."""
    s = contents.statistics
    _heading(page, "Sleep statistics", f"Of: {s.basis}.")
    top = page.y
    for short, name, value in statistics_rows(s):
        page.row((name, short, value), (0, 0.31, 0.39))
    lowest = page.y
    page.y = top
    x = 0.52
    for label, amount, share in stage_rows(s):
        page.row((label, amount, share and f"{share} of TST"), (x, x + 0.12, x + 0.26))
    page.down(0.6)
    if s.cycles:
        at = tuple(x + offset for offset in (0, 0.09, 0.18, 0.28, 0.38))
        page.row(("Cycle", "begins", "duration", "NREM", "REM"), at, colour=_MUTED)
        for cycle in cycle_rows(contents):
            page.row(cycle, at)
        page.down(0.6)
    columns = tuple(x + 0.081 * i for i in range(s.scheme.n_stages + 1))
    page.row(("from \\ to", *s.scheme.labels), columns, colour=_MUTED)
    for label, counts, shares in zip(s.scheme.labels, s.transitions, s.transition_probabilities(), strict=True):
        pairs = zip(counts, shares, strict=True)
        cells = [f"{100 * share:.0f} % {count}" if np.isfinite(share) else "–" for count, share in pairs]
        page.row((label, *cells), columns)
    page.y = min(page.y, lowest)


def _stretches(contents: Contents) -> _Table:
    head = ("No.", "time", "epochs", "length", "predicted", "second choice", "lowest conf.", "voters against")
    columns = (0, 0.06, 0.17, 0.29, 0.41, 0.55, 0.71, 0.86)
    n_columns = len(head) - (contents.against is None)
    rows: list[Sequence[str]] = [head[:n_columns]] if contents.stretches else []
    for number, (stretch, cells) in enumerate(zip(contents.stretches, stretch_rows(contents), strict=True), start=1):
        rows.append((f"{number} !" if stretch.first_epoch in contents.worst else f"{number}", *cells))
    note = f"{contents.rule} !: the most doubt. The first epoch is number 1."
    return "Unsure stretches worth a look", note, columns[:n_columns], rows


def _derivations(contents: Contents) -> _Table:
    rows: list[Sequence[str]] = []
    for derivation, kind, signals, why in contents.derivation_rows:
        reason, *more = textwrap.wrap(why, 68) or [""]
        rows.append((_shorten(derivation, 18), kind, _shorten(signals, 32), reason))
        rows += [("", "", "", line) for line in more]
    head = [("Derivation", "kind", "signals", "why")] if rows else []
    return "Derivations, and why these", "", (0, 0.16, 0.23, 0.5), [*head, *rows]


def _all_warnings(contents: Contents) -> _Table:
    """Return all warnings where the first page has no room for them."""
    lines: list[Sequence[str]] = [(line,) for line in _warning_lines(contents)]
    return "Warnings", "", (0,), lines if len(lines) > _WARNINGS_ON_FIRST_PAGE else []


def _provenance(contents: Contents) -> _Table:
    rows: list[Sequence[str]] = []
    for name, value in contents.versions.items():
        first, *more = textwrap.wrap(value, 95) or [""]
        rows += [(name, first), *(("", line) for line in more)]
    return "How this was made", "", (0, 0.2), rows


def _voter_pages(contents: Contents) -> list["Figure"]:
    voters, against = contents.staging.voters, contents.against
    if against is None or not contents.staging.hypnogram.n_epochs:
        return []
    pages = []
    for begin in range(0, len(voters), _VOTERS_ON_A_PAGE):
        page = _Page()
        note = "Share of the voters’ weight against the result, then each voter’s hypnogram."
        _heading(page, "Voters and where they disagree", note)
        axes = [page.axes("Votes against the result", 0.45)]
        axes[0].stairs(against, _edges_h(contents), fill=True, color=_DOUBT, linewidth=0, rasterized=True)
        axes[0].set_ylim(0, 1)
        axes[0].set_yticks([0, 1], ["0 %", "100 %"])
        axes[0].spines[["top", "right"]].set_visible(False)
        for voter in voters[begin : begin + _VOTERS_ON_A_PAGE]:
            axes.append(page.axes(f"{_shorten(voter.name, 90)}, mean weight {float(np.mean(voter.weight)):.2f}", 0.36))
            plot_hypnogram(voter.hypnodensity.argmax(), axes[-1])
            axes[-1].set_yticks([])
        _share_time_axis(axes, contents)
        pages.append(page.figure)
    return pages
