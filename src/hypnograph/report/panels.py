"""The panels of the HTML report: what is drawn above and below one time axis."""

from html import escape

import numpy as np

from hypnograph.hypnogram import Hypnogram
from hypnograph.plot import stage_order
from hypnograph.report import figures
from hypnograph.report.contents import Contents, percent
from hypnograph.review import DEFAULT_THRESHOLD, UnsureStretch
from hypnograph.stagers import Voter

_ROW_PX = 30
_VOTER_ROW_PX = 8
_NOT_SCORED = "not scored"
# Numbers closer than this would overlap on a sheet of A4, percent of the width.
_ROOM_FOR_A_NUMBER = 2.4


def hypnogram_panel(contents: Contents) -> str:
    """Return the hypnogram, with the unsure stretches behind it and lights off and on."""
    hypnogram = contents.staging.hypnogram
    order = stage_order(hypnogram.scheme)
    height = _ROW_PX * len(order)
    counts = ", ".join(f"{label} {n}" for label, n in hypnogram.counts().items() if n)
    drawing = figures.svg(
        figures.grid(contents.ticks, hypnogram.epoch_s, height) + figures.hypnogram_shapes(hypnogram, row=_ROW_PX),
        width=hypnogram.n_epochs,
        height=height,
        title="Hypnogram",
        description=f"Epochs of each stage: {counts}.",
    )
    bands = "".join(f'<div class="unsure" style="{_position(contents, one)}"></div>' for one in contents.stretches)
    scale = "".join(
        figures.scale_label(hypnogram.scheme.labels[stage], 100 * (rank + 0.5) / len(order))
        for rank, stage in enumerate(order)
    )
    return figures.panel(
        "Hypnogram",
        bands + figures.hatched(hypnogram.scored, _NOT_SCORED) + drawing + _lights(hypnogram),
        height_px=height,
        scale=scale,
        note="" if hypnogram.scored.all() else "hatched: not scored",
    )


def _lights(hypnogram: Hypnogram) -> str:
    return "".join(
        f'<div class="lights {"late" if at_s > hypnogram.duration_s / 2 else "early"}" '
        f'style="left:{100 * at_s / hypnogram.duration_s:.4g}%"><span>{name}</span></div>'
        for name, at_s in (("lights off", hypnogram.lights_off_s), ("lights on", hypnogram.lights_on_s))
        if at_s is not None and 0 <= at_s <= hypnogram.duration_s
    )


def hypnodensity_panel(contents: Contents) -> str:
    """Return the probabilities of all stages, stacked."""
    hypnodensity = contents.staging.hypnodensity
    epochs = figures.column_epochs(hypnodensity.n_epochs)
    drawing = figures.svg(
        figures.hypnodensity_shapes(hypnodensity) + figures.grid(contents.ticks, epochs * hypnodensity.epoch_s, 100),
        width=hypnodensity.n_epochs / epochs,
        height=100,
        title="Hypnodensity",
        description="The probability of each stage in each epoch, stacked, wake on top.",
    )
    return figures.panel(
        "Hypnodensity",
        figures.hatched(hypnodensity.known, _NOT_SCORED) + drawing,
        height_px=96,
        scale="".join(figures.scale_label(f"{share} %", 100 - share) for share in (100, 50, 0)),
        note="probability of each stage, in the colours above",
    )


def confidence_panel(contents: Contents) -> str:
    """Return the confidence, its low parts in another colour, below the numbers of the unsure stretches."""
    hypnodensity = contents.staging.hypnodensity
    epochs = figures.column_epochs(hypnodensity.n_epochs)
    confidence = figures.averaged(hypnodensity.confidence())
    width = hypnodensity.n_epochs / epochs
    line = 100 * (1 - DEFAULT_THRESHOLD)
    low = np.where(confidence < DEFAULT_THRESHOLD, confidence, np.nan)
    mean = np.nanmean(hypnodensity.confidence())
    drawing = figures.svg(
        f'<path class="confidence" d="{figures.area(confidence)}"/><path class="low" d="{figures.area(low)}"/>'
        + figures.grid(contents.ticks, epochs * hypnodensity.epoch_s, 100)
        + f'<path class="threshold" d="M0 {line:g}H{width:g}"/>',
        width=width,
        height=100,
        title="Confidence",
        description=f"The largest probability of each epoch; the mean is {mean:.2f}.",
    )
    rail = f'<div class="rail">{_marks(contents)}</div>' if contents.stretches else ""
    return figures.panel(
        "Confidence",
        rail + figures.hatched(hypnodensity.known, _NOT_SCORED) + drawing,
        height_px=60,
        scale="".join(figures.scale_label(f"{at:g}", 100 * (1 - at)) for at in (1, DEFAULT_THRESHOLD, 0)),
        note=f"the largest probability; mean {mean:.2f}" + ("; numbers: stretches to look at" if rail else ""),
        kind="with-rail" if rail else "",
    )


def _position(contents: Contents, stretch: UnsureStretch) -> str:
    whole_s = contents.staging.hypnogram.duration_s
    return f"left:{100 * stretch.start_s / whole_s:.5g}%;width:{100 * stretch.duration_s / whole_s:.5g}%"


def _marks(contents: Contents) -> str:
    """Return a mark above each unsure stretch that leads to its row; a number where there is room, the worst first."""
    whole_s = contents.staging.hypnogram.duration_s
    numbered: list[float] = []
    marks: dict[int, str] = {}
    for number, stretch in sorted(enumerate(contents.stretches, start=1), key=lambda pair: -pair[1].doubt):
        middle = 100 * (stretch.start_s + stretch.duration_s / 2) / whole_s
        room = all(abs(middle - other) > _ROOM_FOR_A_NUMBER for other in numbered)
        if room:
            numbered.append(middle)
        kind = "worst" if stretch.first_epoch in contents.worst else "mark"
        marks[number] = (
            f'<a id="mark-{number}" class="{kind}" href="#unsure-{number}" style="left:{middle:.5g}%" '
            f'aria-label="stretch {number}">{number if room else "·"}</a>'
        )
    return "".join(marks[number] for number in sorted(marks))


def spectrogram_panel(contents: Contents) -> str:
    """Return the spectrogram; empty without one."""
    hypnogram, spectrogram = contents.staging.hypnogram, contents.spectrogram
    if spectrogram is None or not len(spectrogram.power_db):
        return ""
    left = 100 * contents.spectrogram_offset_s / hypnogram.duration_s
    width = 100 * spectrogram.duration_s / hypnogram.duration_s
    image = (
        f'<div class="image" style="left:{left:.6g}%;width:{width:.6g}%">'
        + figures.hatched(np.asarray(np.isfinite(spectrogram.power_db).any(axis=1)), "not recorded")
        + f'<img alt="Multitaper spectrogram of {escape(spectrogram.derivation)}" '
        f'src="{figures.spectrogram_image(spectrogram)}"></div>'
    )
    lines = (
        f'<svg viewBox="0 0 {hypnogram.n_epochs} 100" preserveAspectRatio="none" aria-hidden="true">'
        f"{figures.grid(contents.ticks, hypnogram.epoch_s, 100)}</svg>"
    )
    bottom, top = (float(limit) for limit in spectrogram.frequency_hz[[0, -1]])
    low, high = (f"{limit:.0f}".replace("-", "−") for limit in spectrogram.limits_db())
    gradient = f'<i style="background:{figures.colour_gradient()}"></i>'
    bar = f'<span class="colour-bar">{low} {gradient} {high} dB (µV²/Hz)</span>'
    what = f"{escape(spectrogram.derivation)}, multitaper"
    return figures.panel(
        "Spectrogram",
        image + lines,
        height_px=150,
        scale="".join(
            figures.scale_label(f"{hz} Hz", 100 * (top - hz) / (top - bottom)) for hz in range(10, int(top) + 1, 10)
        ),
        note=f"{what}, windows of {spectrogram.window_s:g} s, {spectrogram.bandwidth_hz:g} Hz wide {bar}",
        kind="spectrogram",
    )


def against_panel(contents: Contents) -> str:
    """Return the share of the voters' weight that is for another stage than the result."""
    share = contents.against
    if share is None:
        return ""
    hypnogram = contents.staging.hypnogram
    epochs = figures.column_epochs(hypnogram.n_epochs)
    voted = share[np.isfinite(share)]
    mean = f"mean {100 * voted.mean():.0f} %" if voted.size else "nobody voted"
    drawing = figures.svg(
        f'<path class="against" d="{figures.area(figures.averaged(share))}"/>'
        + figures.grid(contents.ticks, epochs * hypnogram.epoch_s, 100),
        width=hypnogram.n_epochs / epochs,
        height=100,
        title="Votes against the result",
        description=mean,
    )
    return figures.panel(
        "Votes against the result",
        figures.hatched(hypnogram.scored, _NOT_SCORED) + drawing,
        height_px=44,
        scale=figures.scale_label("100 %", 0) + figures.scale_label("0 %", 100),
        note=f"share of the voters’ weight; {mean}",
    )


def voter_panel(contents: Contents, voter: Voter) -> str:
    """Return a voter's hypnogram, small, and its weight."""
    hypnogram, result = voter.hypnodensity.argmax(), contents.staging.hypnogram
    both = hypnogram.scored & result.scored
    agreed = 100 * float(np.mean(hypnogram.stages[both] == result.stages[both])) if both.any() else np.nan
    order = stage_order(hypnogram.scheme)
    height = _VOTER_ROW_PX * len(order)
    epochs = figures.column_epochs(hypnogram.n_epochs)
    weight = np.where(voter.hypnodensity.known, np.clip(voter.weight, 0, 1), 0.0)
    note = f"agrees with the result in {percent(agreed)} of epochs; mean weight {weight.mean():.2f}"
    drawing = figures.svg(
        figures.grid(contents.ticks, hypnogram.epoch_s, height)
        + figures.hypnogram_shapes(hypnogram, row=_VOTER_ROW_PX),
        width=hypnogram.n_epochs,
        height=height,
        title=f"Hypnogram of {voter.name}",
        description=note,
    )
    strip = (
        f'<svg class="weight" viewBox="0 0 {hypnogram.n_epochs / epochs:g} 100" preserveAspectRatio="none" '
        f'aria-hidden="true"><path d="{figures.area(figures.averaged(weight))}"/></svg>'
    )
    ends = ((order[0], 50 / len(order)), (order[-1], 100 - 50 / len(order)))
    return figures.panel(
        escape(voter.name),
        figures.hatched(hypnogram.scored, _NOT_SCORED) + drawing + strip,
        height_px=height,
        scale="".join(figures.scale_label(hypnogram.scheme.labels[stage], at) for stage, at in ends),
        note=note,
        kind="voter",
    )
