"""The report as one HTML file that needs nothing else, not even a script."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

import numpy as np

from hypnograph.plot import stage_colours, stage_order
from hypnograph.report import figures, panels
from hypnograph.report.contents import Contents, cycle_rows, plural, stage_rows, statistics_rows, stretch_rows, tiles
from hypnograph.review import DEFAULT_THRESHOLD
from hypnograph.stages import StageScheme

# Of longer nights in finer epochs the pointer reads the stage alone.
_MAX_EPOCHS_WITH_PROBABILITIES = 6000


class Markup(str):
    """A text that is HTML already; all other texts are escaped where they are put in."""


def render(contents: Contents) -> str:
    """Return the page."""
    sections = (
        _header(contents), _warnings(contents), _summary(contents), _night(contents), _unsure(contents),
        _statistics(contents), _voters(contents), _derivations(contents), _provenance(contents),
    )  # fmt: skip
    return Template(_packaged("page.html")).substitute(
        title=escape(contents.title),
        colours=_colours(contents.staging.hypnogram.scheme),
        style=_packaged("report.css"),
        body="\n".join(section for section in sections if section),
        epochs=_for_script(contents),
        script=_packaged("report.js"),
    )


def _packaged(name: str) -> str:
    return (files("hypnograph.report") / name).read_text(encoding="utf-8")


def _colours(scheme: StageScheme) -> str:
    """Return the stages' colours as CSS variables and the classes that use them."""

    def variables(*, dark: bool) -> str:
        return "".join(f"--s{stage}:{colour};" for stage, colour in enumerate(stage_colours(scheme, dark=dark)))

    uses = ((".bar", "stroke"), (".area", "fill"), (".key", "background"))
    classes = "\n".join(
        f"{shape}.s{stage}{{{of}:var(--s{stage})}}" for stage in range(scheme.n_stages) for shape, of in uses
    )
    dark = f"@media screen and (prefers-color-scheme: dark){{:root{{{variables(dark=True)}}}}}"
    return f":root{{{variables(dark=False)}}}\n{dark}\n{classes}"


def _for_script(contents: Contents) -> str:
    """Return what the pointer reads, as JSON that cannot end its script element."""
    hypnogram, hypnodensity = contents.staging.hypnogram, contents.staging.hypnodensity
    begin = hypnogram.start
    few = hypnogram.n_epochs <= _MAX_EPOCHS_WITH_PROBABILITIES
    hundredths = np.round(100 * np.nan_to_num(hypnodensity.probabilities)).astype(int)
    values = {
        "labels": hypnogram.scheme.labels,
        "epoch_s": hypnogram.epoch_s,
        "begin_s": None if begin is None else begin.hour * 3600 + begin.minute * 60 + begin.second,
        "stages": hypnogram.stages.tolist(),
        "percent": hundredths.ravel().tolist() if contents.certainty_is_known and few else None,
    }
    return json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")


def _text(value: object) -> str:
    return value if isinstance(value, Markup) else escape(str(value))


def _table(head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str = "", kind: str = "") -> str:
    """Return a table whose first column is its row header; cells that are not `Markup` are escaped."""
    heading = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in head)
    body = "".join(_row(row) for row in rows)
    above = f"<caption>{_text(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table class="{kind}">{above}'
        f"<thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[object]) -> str:
    first, *others = (_text(cell) for cell in cells)
    return f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in others) + "</tr>"


def _section(name: str, title: str, body: str) -> str:
    heading = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">{heading}\n{body}\n</section>'


def _header(contents: Contents) -> str:
    by = "automatic" if contents.certainty_is_known else "by"
    simulated = f'<p class="simulated">{contents.SIMULATED}</p>' if contents.simulated else ""
    return (
        f"<header><h1>{escape(contents.title)}</h1><p>{escape(contents.when)}</p>"
        f'<p class="{by}">{escape(contents.scored_by)}</p>{simulated}</header>'
    )


def _warnings(contents: Contents) -> str:
    if not contents.staging.warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in contents.staging.warnings)
    return _section("warnings", "Warnings", f"<ul>{items}</ul>")


def _summary(contents: Contents) -> str:
    shown = "".join(
        f"<div><dt>{escape(name)} <small>{escape(short)}</small></dt><dd>{escape(value)}</dd></div>"
        for short, name, value in tiles(contents.statistics)
    )
    basis = f'<p class="note">Statistics of: {escape(contents.statistics.basis)}.</p>'
    return _section("summary", "Summary", f'<dl class="tiles">{shown}</dl>{_stage_bar(contents)}{basis}')


def _stage_bar(contents: Contents) -> str:
    """Return the share of each stage in the scored time as one bar, and a key that is the legend of all figures."""
    s = contents.statistics
    order = stage_order(s.scheme)
    total = sum(s.minutes.values())
    labels = s.scheme.labels
    parts = "".join(
        f'<i class="key s{i}" style="width:{100 * s.minutes[labels[i]] / total:.4g}%"></i>' for i in order if total
    )
    shares = {label: (amount, share) for label, amount, share in stage_rows(s)}
    key = "".join(
        f'<li><i class="key s{i}"></i><b>{escape(labels[i])}</b> {shares[labels[i]][0]}'
        + (f' <span class="note">{shares[labels[i]][1]} of TST</span>' if shares[labels[i]][1] else "")
        + "</li>"
        for i in order
    )
    return f'<div class="bar-of-stages" aria-hidden="true">{parts}</div><ul class="legend">{key}</ul>'


def _night(contents: Contents) -> str:
    hypnogram = contents.staging.hypnogram
    if not hypnogram.n_epochs:
        return _section("night", "The night", "<p>There are no epochs.</p>")
    drawn = [panels.hypnogram_panel(contents)]
    if contents.certainty_is_known:
        drawn += [panels.hypnodensity_panel(contents), panels.confidence_panel(contents)]
    drawn.append(panels.spectrogram_panel(contents))
    note = "" if hypnogram.start else "Time since the start, h:mm"
    axis = figures.time_axis(contents.ticks, hypnogram.duration_s, note)
    return _section("night", "The night", f'<div class="timed">{"".join(drawn)}{axis}</div>')


def _unsure(contents: Contents) -> str:
    if not contents.certainty_is_known:
        return ""
    title = "Unsure stretches worth a look"
    if not contents.stretches:
        return _section("unsure", title, f"<p>No epoch has a confidence below {DEFAULT_THRESHOLD:g}.</p>")
    head = ["No.", "Time", "Epochs", "Length", "Predicted", "Second choice", "Lowest confidence"]
    head += ["Voters against"] if contents.against is not None else []
    rows = []
    for number, (stretch, cells) in enumerate(zip(contents.stretches, stretch_rows(contents), strict=True), start=1):
        kind = "worst" if stretch.first_epoch in contents.worst else "mark"
        link = Markup(f'<a id="unsure-{number}" class="{kind}" href="#mark-{number}">{number}</a>')
        rows.append((link, *cells))
    worst = plural(len(contents.worst), "stretch", "stretches")
    note = (
        "The first epoch is number 1. Percentages are mean probabilities over the stretch. Filled numbers: the "
        f"{worst} with the most doubt, the sum of 1 − confidence."
    )
    body = f'<p>{escape(contents.rule)}</p>{_table(head, rows, kind="stretches")}<p class="note">{note}</p>'
    return _section("unsure", title, body)


def _statistics(contents: Contents) -> str:
    s = contents.statistics
    measures = [
        (Markup(f"{escape(name)} <small>{escape(short)}</small>"), value) for short, name, value in statistics_rows(s)
    ]
    numbers = _table(["Measure", "Value"], measures, caption="Sleep and wake", kind="numbers")
    stages = _table(["Stage", "Duration", "of TST"], stage_rows(s), caption="Stages", kind="numbers")
    head = ["Cycle", "Begins", "Duration", "NREM", "REM"]
    cycles = _table(head, cycle_rows(contents), caption="NREM–REM cycles", kind="numbers") if s.cycles else ""
    body = f'<div class="columns"><div>{numbers}</div><div>{stages}{cycles}{_transitions(contents)}</div></div>'
    return _section("statistics", "Sleep statistics", body)


def _transitions(contents: Contents) -> str:
    s = contents.statistics
    shares = s.transition_probabilities()
    rows = []
    for label, counts, row in zip(s.scheme.labels, s.transitions, shares, strict=True):
        cells = [
            Markup(f'<span class="share" style="--share:{share:.3f}">{100 * share:.0f} % <small>{count}</small></span>')
            if np.isfinite(share)
            else "–"
            for count, share in zip(counts, row, strict=True)
        ]
        rows.append([label, *cells])
    caption = "Transitions: the stage of an epoch (row) and of the next (column)"
    return _table(["from \\ to", *s.scheme.labels], rows, caption=caption, kind="transitions")


def _voters(contents: Contents) -> str:
    staging = contents.staging
    if contents.against is None or not staging.hypnogram.n_epochs:
        return ""
    drawn = panels.against_panel(contents) + "".join(panels.voter_panel(contents, voter) for voter in staging.voters)
    axis = figures.time_axis(contents.ticks, staging.hypnogram.duration_s)
    text = (
        f"{plural(len(staging.voters), 'voter', 'voters')}, each with its own derivations. The grey line under each is "
        "its weight, lowered where its signals are poor and for derivations that the stager knows less well."
    )
    body = f'<p>{text}</p><div class="timed">{drawn}{axis}</div>'
    return _section("voters", "Voters and where they disagree", body)


def _derivations(contents: Contents) -> str:
    if not contents.staging.derivations:
        return ""
    table = _table(["Derivation", "Kind", "Signals in the file", "Why"], contents.derivation_rows, kind="derivations")
    return _section("derivations", "Derivations, and why these", table)


def _provenance(contents: Contents) -> str:
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in contents.versions.items()
    )
    return _section("provenance", "How this was made", f'<dl class="provenance">{rows}</dl>')
