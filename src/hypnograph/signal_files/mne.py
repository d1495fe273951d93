"""Everything else that MNE reads: BrainVision, FIF, EEGLAB, GDF, CNT …; and recordings from and to MNE's own objects.

MNE keeps signals in SI units, so a recording from here has volts ("V"), and brings all signals of a file to one rate.
"""

import warnings as python_warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.recording import Annotation, Recording, SampleReader, Signal

if TYPE_CHECKING:
    import mne

NAME = "MNE"
SUFFIXES = (".vhdr", ".ahdr", ".fif", ".fif.gz", ".set", ".gdf", ".cnt", ".nedf", ".lay", ".cdt", ".egi")

_FIFF_UNITS = {107: "V", 112: "T", 201: "T/m", 101: "Hz", 115: "C", 6: "S"}
# What MNE puts over stretches that were not recorded.
_GAP_TEXT = "BAD_ACQ_SKIP"
# The texts of EDF+ for AASM scoring; "1" to "4" would be R&K stages.
_EDF_STAGES = {"REM": "R", "UNSCORED": "?"}


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the name ends as that of a format which MNE reads; `.eeg` is BrainVision's or Nihon Kohden's."""
    return path.name.lower().endswith((*SUFFIXES, ".eeg"))


def read(path: Path) -> Recording:
    """Read the header; samples are read when they are asked for.

    Raises
    ------
    UnreadableFileError
        If MNE cannot read the file; with its reason.
    """
    import mne

    header = path.with_suffix(".vhdr") if _is_brainvision_data(path) else path
    with python_warnings.catch_warnings(record=True) as caught:
        python_warnings.simplefilter("always")
        try:
            raw = mne.io.read_raw(header, preload=False, verbose="ERROR")
        except Exception as error:  # each of MNE's readers fails in its own ways
            raise UnreadableFileError(f"{path.name}: MNE cannot read it: {_one_line(error)}") from error
    odd = tuple(dict.fromkeys(_one_line(warning.message) for warning in caught))
    return _recording(raw, f"MNE {type(raw).__name__.removeprefix('Raw') or 'FIF'}", path.name, odd)


def from_raw(raw: "mne.io.BaseRaw") -> Recording:
    """Return a recording of an `mne.io.Raw`, with its annotations and start; samples are read when asked for.

    Later changes of `raw` (filtering, cropping) show in the recording: give a copy where that is not wanted.
    """
    return _recording(raw, "mne.io.Raw", "the Raw object", ())


def to_annotations(hypnogram: Hypnogram) -> "mne.Annotations":
    """Return the hypnogram as `mne.Annotations`, one for each run of a stage: "Sleep stage W", "… N1", "… R", "… ?".

    Stages of a coarser scheme keep their label: "Sleep stage NREM". Onsets count from `hypnogram.start` where that is
    known, else from the start of the Raw that gets them.
    """
    import mne

    runs = hypnogram.runs()
    labels = [hypnogram.scheme.label(run.stage) for run in runs]
    return mne.Annotations(
        onset=[run.start_s for run in runs],
        duration=[run.duration_s for run in runs],
        description=[f"Sleep stage {_EDF_STAGES.get(label, label)}" for label in labels],
        orig_time=None if hypnogram.start is None else hypnogram.start.replace(tzinfo=UTC),
    )


def _is_brainvision_data(path: Path) -> bool:
    return path.suffix.lower() == ".eeg" and path.with_suffix(".vhdr").is_file()


def _one_line(error: Exception | str | Warning) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]


def _recording(raw: Any, source: str, name: str, odd: tuple[str, ...]) -> Recording:
    rate = float(raw.info["sfreq"])
    if not (0 < rate <= 1e6):
        raise UnreadableFileError(f"{name}: the sample rate is {rate} Hz; it must be above 0 and at most 1 MHz")
    annotations = _annotations(raw)
    gaps = tuple((a.onset_s, a.onset_s + a.duration_s) for a in annotations if a.text == _GAP_TEXT)
    signals = tuple(
        Signal(
            label=label,
            sample_rate=rate,
            unit=_FIFF_UNITS.get(int(raw.info["chs"][index]["unit"]), ""),
            n_samples=int(raw.n_times),
            read_samples=_sample_reader(raw, index, gaps, name),
        )
        for index, label in enumerate(raw.ch_names)
    )
    return Recording(
        signals=signals,
        duration_s=raw.n_times / rate,
        start=_start(raw),
        annotations=annotations,
        gaps=gaps,
        source=source,
        warnings=odd,
    )


def _start(raw: Any) -> datetime | None:
    measured = raw.info["meas_date"]
    # MNE calls the file's local time UTC.
    return None if measured is None else measured.replace(tzinfo=None) + timedelta(seconds=float(raw.first_time))


def _annotations(raw: Any) -> tuple[Annotation, ...]:
    found = raw.annotations
    return tuple(
        Annotation(float(onset) - float(raw.first_time), float(duration), str(text))
        for onset, duration, text in zip(found.onset, found.duration, found.description, strict=True)
    )


def _sample_reader(raw: Any, index: int, gaps: tuple[tuple[float, float], ...], name: str) -> SampleReader:
    rate = float(raw.info["sfreq"])

    def read_samples(first: int, past_last: int) -> NDArray[np.float32]:
        try:
            samples = raw.get_data(picks=[index], start=first, stop=past_last, verbose="ERROR")[0].astype(np.float32)
        except Exception as error:
            raise UnreadableFileError(f"{name}: samples {first} to {past_last}: {_one_line(error)}") from error
        for start_s, stop_s in gaps:
            samples[max(0, round(start_s * rate) - first) : max(0, round(stop_s * rate) - first)] = np.nan
        return np.asarray(samples, np.float32)

    return read_samples
