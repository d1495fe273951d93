"""Many recordings: stage each, write what is asked for, and let no failure stop the others."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Literal

from hypnograph.errors import HypnographError, one_line
from hypnograph.parallel import on_each
from hypnograph.recording import Recording
from hypnograph.signal_files import read_recording, recording_suffixes
from hypnograph.stagers import DEFAULT_STAGER, Staging, create_stager, decoded

REPORT_FORMATS = ("html", "pdf")
UNDECODED = "undecoded"
"""Not a format: the csv of what the stager said before a decoder."""
UNCHANGED = "none"
"""The decoder that changes nothing."""


@dataclass(frozen=True)
class Job:
    """One recording to stage and what becomes of it.

    Parameters
    ----------
    recording
        Path of the PSG.
    outputs
        File to write for each format, e.g. ``{"csv": Path("out/night-hypnogram.csv")}``.
    """

    recording: Path
    outputs: Mapping[str, Path]


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    status: Literal["staged", "skipped", "failed"]
    message: str
    seconds: float = 0.0
    staging: Staging | None = None
    simulated: bool = False


@dataclass(frozen=True)
class Options:
    """How to stage: the stager's name, its options, a decoder by name or file, and what to do with files that exist."""

    stager: str = DEFAULT_STAGER
    stager_options: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    overwrite: bool = False
    decode: str = UNCHANGED


def find_recordings(paths: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Return (recording, its folder within the output folder) for files, and for all recordings in folders.

    In a folder, files of which no signal can be staged (scorings in EDF+, predictions in npz) are left out; a file that
    is named is always taken.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    HypnographError
        If a folder holds no recording; the message says which endings were looked for.
    """
    found: list[tuple[Path, Path]] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        found += [(path, Path())] if path.is_file() else _in_folder(path)
    return list(dict.fromkeys(found))


def _in_folder(folder: Path) -> list[tuple[Path, Path]]:
    candidates = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in recording_suffixes())
    # A WFDB header stands for its .dat, a BrainVision header for its .eeg.
    headed = {p.with_suffix("") for p in candidates if p.suffix.lower() in (".hea", ".vhdr")}
    taken = [p for p in candidates if p.suffix.lower() not in (".dat", ".eeg") or p.with_suffix("") not in headed]
    recordings = [(p, p.parent.relative_to(folder)) for p in taken if not _is_scoring(p)]
    if not recordings:
        raise HypnographError(
            f"{folder}: no recordings found; looked for files ending in {', '.join(recording_suffixes())}"
        )
    return recordings


def _is_scoring(path: Path) -> bool:
    """Tell whether a file is readable but holds no signals: an EDF+ file of annotations only."""
    try:
        return not read_recording(path).signals
    except (HypnographError, OSError):
        return False  # it is reported as a failed recording, not left out in silence


def plan(paths: Iterable[Path], out: Path, formats: Sequence[str]) -> list[Job]:
    """Return a job for each recording, no two of which write the same file."""
    recordings = find_recordings(paths)
    stems = [folder / recording.stem for recording, folder in recordings]
    jobs = []
    for (recording, folder), stem in zip(recordings, stems, strict=True):
        name = recording.name if stems.count(stem) > 1 else recording.stem
        jobs.append(Job(recording, {to: out / folder / _output_name(name, to) for to in formats}))
    targets = [target for job in jobs for target in job.outputs.values()]
    twice = {target for target in targets if targets.count(target) > 1}
    if twice:
        raise HypnographError(
            f"several recordings would be written to {sorted(twice)[0]}; stage their folders one by one"
        )
    return jobs


def _output_name(name: str, to: str) -> str:
    if to == UNDECODED:
        return f"{name}-{UNDECODED}.csv"
    return f"{name}-report.{to}" if to in REPORT_FORMATS else f"{name}-hypnogram.{to}"


def run(jobs: Sequence[Job], options: Options, *, n_jobs: int = 1, cluster: str | None = None) -> Iterator[Outcome]:
    """Stage the jobs, yielding each outcome as it is ready.

    Parameters
    ----------
    jobs
        What to stage, see `plan`.
    options
        How.
    n_jobs
        Processes on this computer.
    cluster
        Address of a Dask scheduler (extra ``cluster``); replaces `n_jobs`.
    """
    # One recording needs no process of its own.
    yield from on_each(partial(run_one, options=options), jobs, jobs=n_jobs if len(jobs) > 1 else 1, cluster=cluster)


def run_one(job: Job, options: Options) -> Outcome:
    """Stage one recording and write its files; every failure becomes an `Outcome`, so that the others go on."""
    began = perf_counter()
    existing = {to: path for to, path in job.outputs.items() if path.exists()}
    if existing and not (options.overwrite or options.resume):
        found = next(iter(existing.values()))
        return Outcome(job, "failed", f"{found} exists; --resume skips what is done, --overwrite replaces it")
    wanted = {to: path for to, path in job.outputs.items() if options.overwrite or to not in existing}
    if job.outputs and not wanted:
        return Outcome(job, "skipped", "all its files exist")
    try:
        recording = read_recording(job.recording)
        staging = create_stager(options.stager, **options.stager_options).stage(recording)
        if options.decode != UNCHANGED:
            staging = decoded(staging, options.decode)
        write_outputs(staging, recording, wanted, title=job.recording.stem)
    except (HypnographError, OSError, MemoryError) as error:
        return Outcome(job, "failed", one_line(error), perf_counter() - began)
    except Exception as error:  # a defect of ours must not cost the other nights
        return Outcome(job, "failed", f"unexpected {type(error).__name__}: {one_line(error)}", perf_counter() - began)
    return Outcome(job, "staged", "", perf_counter() - began, staging, recording.is_simulated)


def write_outputs(staging: Staging, recording: Recording, outputs: Mapping[str, Path], *, title: str) -> None:
    """Write the files of one night: all of them, or none if one cannot be written."""
    if not outputs:
        return
    folder = next(iter(outputs.values())).parent
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
        for to, path in outputs.items():
            _write(staging, recording, Path(partial) / path.name, to, title)
        for path in outputs.values():
            os.replace(Path(partial) / path.name, path)


def _write(staging: Staging, recording: Recording, path: Path, to: str, title: str) -> None:
    if to in REPORT_FORMATS:
        from hypnograph.report import write_report

        write_report(staging, path, title=title, recording=recording, simulated=recording.is_simulated)
    else:
        from hypnograph.hypnogram_files import write_hypnogram

        hypnogram, hypnodensity = staging.hypnogram, staging.hypnodensity
        if to == UNDECODED and staging.undecoded is not None:
            hypnogram, hypnodensity = staging.undecoded.argmax(), staging.undecoded
        write_hypnogram(hypnogram, path, hypnodensity=hypnodensity)
