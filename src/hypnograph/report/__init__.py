"""One staged night as a report: HTML to look at, PDF to print, JSON for programs.

All three say the same, gathered once in `contents.Contents`; certainty is left out where it is not known, as in a
person's scoring. Nothing that identifies the sleeper is in a report: only the title that the caller gives.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hypnograph.errors import HypnographError
from hypnograph.evaluation.sleep_statistics import SleepStatistics
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.montage import ChannelKind, Derivation
from hypnograph.multitaper import Spectrogram, spectrogram
from hypnograph.recording import Recording
from hypnograph.report.contents import gather
from hypnograph.stagers import Staging
from hypnograph.whole_file import whole_file

SUFFIXES = (".html", ".pdf", ".json")


def write_report(
    staging: Staging,
    path: str | Path,
    *,
    title: str,
    recording: Recording | None = None,
    derivation: Derivation | None = None,
    statistics: SleepStatistics | None = None,
    simulated: bool = False,
) -> None:
    """Write a report in the format that the ending of `path` names.

    Parameters
    ----------
    staging
        The night. A person's scoring is a staging whose hypnodensity knows nothing.
    path
        Ends in ``.html``, ``.pdf`` or ``.json``.
    title
        What to call the night, e.g. the file's name without its ending; shown to the reader.
    recording
        For the spectrogram; None: no spectrogram.
    derivation
        Of what the spectrogram is; None: of the first EEG derivation of the staging.
    statistics
        None: computed from the hypnogram.
    simulated
        Nobody slept this night, and the report says so.

    Raises
    ------
    HypnographError
        If the ending is none of these.
    OSError
        If the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise HypnographError(f"{Path(path).name}: a report ends in {', '.join(SUFFIXES)}")
    if suffix == ".json":
        text = json.dumps(as_json(staging, title=title, statistics=statistics, simulated=simulated), ensure_ascii=False)
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
        return
    write = write_html if suffix == ".html" else write_pdf
    eeg = derivation or next((used for used in staging.derivations if used.kind == ChannelKind.EEG), None)
    image = None if recording is None or eeg is None else spectrogram_of(recording, eeg)
    write(staging, path, title=title, spectrogram=image, statistics=statistics, simulated=simulated)


def write_html(
    staging: Staging,
    path: str | Path,
    *,
    title: str,
    spectrogram: Spectrogram | None = None,
    statistics: SleepStatistics | None = None,
    simulated: bool = False,
) -> None:
    """Write one HTML file that needs nothing else: no network, no script, no font; see `write_report`."""
    from hypnograph.report.html import render

    contents = gather(staging, title=title, spectrogram=spectrogram, statistics=statistics, simulated=simulated)
    with whole_file(path) as partial:
        partial.write_text(render(contents), encoding="utf-8")


def write_pdf(
    staging: Staging,
    path: str | Path,
    *,
    title: str,
    spectrogram: Spectrogram | None = None,
    statistics: SleepStatistics | None = None,
    simulated: bool = False,
) -> None:
    """Write a PDF of A4 pages; the same night gives the same bytes; see `write_report`."""
    from hypnograph.report.pdf import draw

    contents = gather(staging, title=title, spectrogram=spectrogram, statistics=statistics, simulated=simulated)
    with whole_file(path) as partial:
        draw(contents, partial)


def as_json(
    staging: Staging, *, title: str, statistics: SleepStatistics | None = None, simulated: bool = False
) -> dict[str, Any]:
    """Return the report as values that JSON has: stages by name, probabilities to 4 decimals, None where unknown."""
    from hypnograph.report.values import as_values

    return as_values(gather(staging, title=title, statistics=statistics, simulated=simulated))


def staging_of(
    hypnogram: Hypnogram, hypnodensity: Hypnodensity | None = None, recording: Recording | None = None
) -> Staging:
    """Return a scoring that exists as a staging, so that it can be reported.

    Parameters
    ----------
    hypnogram
        By a person or an earlier staging; reported on its own grid.
    hypnodensity
        Its probabilities, where known.
    recording
        What was scored; gives the start where the scoring has none.

    Raises
    ------
    AlignmentError
        If the scoring does not overlap the recording.
    """
    if recording is not None:
        hypnogram.align(recording.start, int(np.ceil(recording.duration_s / hypnogram.epoch_s)))
        hypnogram = replace(hypnogram, start=hypnogram.start or recording.start)
    if hypnodensity is None or hypnodensity.n_epochs != hypnogram.n_epochs:
        unknown = np.full((hypnogram.n_epochs, hypnogram.scheme.n_stages), np.nan)
        hypnodensity = Hypnodensity(unknown, epoch_s=hypnogram.epoch_s, scheme=hypnogram.scheme)
    return Staging(
        hypnogram=hypnogram,
        hypnodensity=replace(hypnodensity, start=hypnogram.start),
        derivations=(),
        stager=hypnogram.scorer or hypnodensity.scorer,
    )


def spectrogram_of(recording: Recording, derivation: Derivation) -> Spectrogram | None:
    """Return the spectrogram of a derivation; None where it is shorter than an epoch or its sample rate is too low."""
    amplitude_uv, sample_rate = derivation.amplitude_uv(recording)
    max_hz = min(30.0, sample_rate / 2 - 1)
    if max_hz < 10 or len(amplitude_uv) < 30 * sample_rate:
        return None
    return spectrogram(amplitude_uv, sample_rate, max_hz=max_hz, start=recording.start, derivation=derivation.name)
