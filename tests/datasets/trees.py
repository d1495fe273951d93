"""Small folders in the layouts of public datasets: real files with few epochs at a low rate."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from hypnograph.datasets import Night, Problem, scan
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files.edf_annotations import write as write_annotations
from hypnograph.recording import Annotation, Recording, Signal
from hypnograph.signal_files.edf import write as write_edf

START = datetime(2020, 3, 1, 22, 0, 0)
STAGES = ("W", "N1", "N2", "N3", "REM", "UNSCORED")
"""Every stage once, no two alike: an exchanged or shifted scoring shows."""


def write_psg(
    path: Path,
    labels: Sequence[str],
    n_epochs: int = len(STAGES),
    *,
    sample_rate: float = 4.0,
    start: datetime | None = START,
    epoch_s: float = 30.0,
    annotations: Sequence[Annotation] = (),
) -> Path:
    """Write an EDF+ file whose signal i is i µV and one more with each epoch, folders included."""
    n_samples = round(n_epochs * epoch_s * sample_rate)
    epochs = np.arange(n_samples) // round(epoch_s * sample_rate)

    def signal(i: int, label: str) -> Signal:
        samples = (i + epochs).astype(np.float32)
        return Signal(label, sample_rate, "uV", n_samples, lambda first, past_last: samples[first:past_last])

    path.parent.mkdir(parents=True, exist_ok=True)
    signals = tuple(signal(i, label) for i, label in enumerate(labels))
    write_edf(Recording(signals, n_epochs * epoch_s, start=start, annotations=tuple(annotations)), path)
    return path


def write_scoring(
    path: Path, stages: Sequence[str] = STAGES, *, start: datetime | None = START, epoch_s: float = 30.0
) -> Path:
    """Write an EDF+ file of nothing but stages, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_annotations(path, Hypnogram.from_names(list(stages), start=start, epoch_s=epoch_s), None)
    return path


def write_codes(path: Path, codes: Sequence[int]) -> Path:
    """Write a text with one integer a line, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{code}\n" for code in codes))
    return path


def scanned(name: str, folder: Path, **options: str | Sequence[str]) -> tuple[list[Night], dict[str, str]]:
    """Return the nights of a folder, and what is wrong with which file (path relative to the folder)."""
    found = list(scan(name, folder, **options))
    problems = {p.path.relative_to(folder).as_posix(): p.what for p in found if isinstance(p, Problem)}
    return [night for night in found if isinstance(night, Night)], problems
