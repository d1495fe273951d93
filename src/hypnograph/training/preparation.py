"""From the nights of datasets to a store of prepared nights: chosen, resampled, scaled, aligned, written.

Each night is read, prepared and written by one process, which then forgets it, so memory does not grow with their
number. A night that cannot be prepared is reported and costs no other; a disk that cannot be written stops everything.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Night, dataset
from hypnograph.errors import HypnographError, UnusableSignalError, one_line
from hypnograph.hypnogram import Hypnogram
from hypnograph.montage import Derivation, DerivedSignal, read_derivation
from hypnograph.parallel import on_each
from hypnograph.preprocess import InputSpec, without_impossible
from hypnograph.recording import Recording
from hypnograph.stages import AASM_5
from hypnograph.training.cropping import Crop, crop_to_sleep
from hypnograph.training.derivation_choice import choose
from hypnograph.training.epoch_grid import EpochGrid, epoch_grid
from hypnograph.training.storage import Entry, SampleType, as_stored
from hypnograph.training.store import (
    CATALOGUE,
    Store,
    create_store,
    find_night,
    find_store,
    write_catalogue,
    write_night,
)

# Derivations of a night that are prepared at the same time.
_AT_ONCE = 2

# Endings of files that hold what another one heads: of WFDB, BrainVision and EEGLAB.
_PARTS = (".mat", ".dat", ".eeg", ".vmrk", ".fdt")

Signals = dict[tuple[ChannelKind, str], NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Choices:
    """What is taken of each night.

    Parameters
    ----------
    crop
        Wake around sleep that is kept; None: the whole recording.
    scorers
        Codes of those whose scorings are kept; ``"all"``: everyone's, see `Night.voters`.
    max_derivations
        At most so many of each kind, the best; None: all.
    derivations
        By kind, the names of those that are taken where a night has them; of other kinds, those of the dataset.
    centred
        Where the scored epochs are shorter than the network's, each has a window of the network around it; otherwise
        stages are brought to the network's epochs. See `epoch_grid`.
    overwrite
        Prepare again what is there.
    resume
        Skip nights that are there and were made from the same files in the same way.
    """

    crop: Crop | None = None
    scorers: Sequence[str] | Literal["all"] = "all"
    max_derivations: int | None = None
    derivations: Mapping[ChannelKind, Sequence[str]] = field(default_factory=dict)
    centred: bool = False
    overwrite: bool = False
    resume: bool = True

    def __post_init__(self) -> None:
        if self.max_derivations is not None and self.max_derivations < 1:
            raise HypnographError(f"max_derivations is {self.max_derivations}; a night needs at least 1 of each kind")


@dataclass(frozen=True)
class PreparedOutcome:
    """What became of one night.

    Parameters
    ----------
    key, person
        ``"dataset/id"`` and ``"dataset/subject"``.
    status
        ``"skipped"``: it was there already.
    message
        Why not, where it failed.
    entry
        The attributes of the night in the store; None where it failed.
    """

    key: str
    person: str
    status: Literal["prepared", "skipped", "failed"]
    message: str = ""
    entry: Entry | None = None


@dataclass(frozen=True)
class PreparationReport:
    """What became of all nights, and the store with what it has now."""

    store: Store
    outcomes: tuple[PreparedOutcome, ...]

    def count(self, status: str) -> int:
        """Return how many nights have this status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def failed(self) -> tuple[PreparedOutcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")


def prepare(
    nights: Iterable[Night],
    address: str | Path,
    spec: InputSpec,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    overwrite: bool = False,
    resume: bool = True,
    crop: Crop | None = None,
    scorers: Sequence[str] | Literal["all"] = "all",
    max_derivations: int | None = None,
    derivations: Mapping[ChannelKind, Sequence[str]] | None = None,
    centred: bool = False,
    dtype: SampleType | None = None,
    chunk_epochs: int | None = None,
    compress: bool | None = None,
    progress: Callable[[PreparedOutcome], None] | None = None,
) -> PreparationReport:
    """Prepare nights, of any datasets, into one store, which is made if it is not there.

    Parameters
    ----------
    nights
        Read one by one.
    address
        Of the store, see `create_store`.
    spec
        How the nights are prepared; all its channel kinds are required.
    jobs
        Processes on this computer; -1: one for each core.
    cluster
        Address of a Dask scheduler (extra ``cluster``); replaces `jobs`. Its workers must see the same files.
    overwrite, resume, crop, scorers, max_derivations, derivations, centred
        See `Choices`.
    dtype, chunk_epochs, compress
        See `Storage`; None: as the store has it, or its default.
    progress
        Called with each outcome as it is ready.

    Returns
    -------
    PreparationReport

    Raises
    ------
    HypnographError
        If the store is prepared otherwise, or a choice is impossible.
    OSError
        If the store cannot be written; what was prepared until then counts.
    """
    choices = Choices(crop, scorers, max_derivations, dict(derivations or {}), centred, overwrite, resume)
    existing = find_store(address)
    layout: dict[str, Any] = {} if existing is None else asdict(existing.storage)
    wanted = {"dtype": dtype, "chunk_epochs": chunk_epochs, "compress": compress}
    layout |= {name: value for name, value in wanted.items() if value is not None}
    store = create_store(address, spec, **{name: layout[name] for name in wanted if name in layout})
    if overwrite:
        # Its nights are about to change; until they have, they are looked for.
        store.storage.remove(CATALOGUE)
    outcomes: list[PreparedOutcome] = []
    try:
        with closing(_run(_unique(nights, outcomes), store, choices, jobs, cluster)) as running:
            for outcome in running:
                outcomes.append(outcome)
                if progress is not None:
                    progress(outcome)
    finally:
        # Also after an interruption: what is complete counts.
        store = write_catalogue(find_store(address) or store, (o.entry for o in outcomes if o.entry is not None))
    return PreparationReport(store, tuple(sorted(outcomes, key=lambda outcome: outcome.key)))


def _unique(nights: Iterable[Night], outcomes: list[PreparedOutcome]) -> Iterator[Night]:
    """Yield the nights, each once: two processes must not write to one place."""
    seen = set()
    for night in nights:
        key = f"{night.dataset}/{night.id}"
        if key in seen:
            problem = "there is another night of this name; only one is"
            outcomes.append(PreparedOutcome(key, night.person, "failed", problem))
        else:
            seen.add(key)
            yield night


def _run(
    nights: Iterable[Night], store: Store, choices: Choices, jobs: int, cluster: str | None
) -> Generator[PreparedOutcome]:
    # A worker needs the place and the kind of the store, not the nights that it has.
    empty = replace(store, nights=())
    yield from on_each(partial(prepare_night, store=empty, choices=choices), nights, jobs=jobs, cluster=cluster)


# One night ------------------------------------------------------------------------------------------------------------


def prepare_night(night: Night, store: Store, choices: Choices) -> PreparedOutcome:
    """Prepare one night into a store; what is wrong with its files becomes the outcome.

    Raises
    ------
    OSError
        If the store cannot be written.
    """
    key, person = f"{night.dataset}/{night.id}", night.person
    known = find_night(store, night.dataset, night.id)
    try:
        made_from = _fingerprint(night, choices)
        if known is not None and not choices.overwrite:
            if choices.resume and known["made_from"] == made_from:
                return PreparedOutcome(key, person, "skipped", entry=known)
            raise HypnographError(
                "it is in the store, from other files, or with other choices (crop, scorers …); --overwrite replaces it"
            )
        entry, signals, stages = _read(night, store, choices)
    except (HypnographError, OSError, MemoryError) as error:
        return PreparedOutcome(key, person, "failed", one_line(error))
    except Exception as error:  # a defect of ours must not cost the other nights
        return PreparedOutcome(key, person, "failed", f"unexpected {type(error).__name__}: {one_line(error)}")
    complete = write_night(store, entry | {"made_from": made_from}, signals, stages)
    return PreparedOutcome(key, person, "prepared", entry=complete)


def _fingerprint(night: Night, choices: Choices) -> str:
    """Return a hash of what the night is made from: its files by size and time of change, and the choices."""
    parts = (night.psg.with_suffix(ending) for ending in _PARTS)
    files = [night.psg, *filter(Path.exists, parts), *(scoring.path for scoring in night.scorings)]
    states = [(state.st_size, state.st_mtime_ns) for state in map(Path.stat, files)]
    read_as = (night.stage_map, night.scoring_epoch_s)
    identity = (night.subject, night.family, night.visit, night.disorder, night.scorers, read_as)
    taken = {name: value for name, value in asdict(choices).items() if name not in ("overwrite", "resume")}
    return hashlib.sha256(json.dumps([states, identity, taken]).encode()).hexdigest()


def _read(night: Night, store: Store, choices: Choices) -> tuple[Entry, Signals, NDArray[np.int8]]:
    spec = store.spec
    recording = night.recording()
    preferred = dataset(night.dataset).derivations
    chosen, doubts = choose(recording, spec.kinds, preferred, choices.max_derivations, named=choices.derivations)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        coming = pool.submit(_scored, night, recording, spec, choices)
        prepared, rates, warnings = _prepare_soon(pool, recording, chosen, coming, store)
        scorings, grid = coming.result()
        signals, kept = _moving(chosen, [epochs.result() for epochs in prepared])
    warnings += [f"{d.kind} {d.name} is flat and left out" for d in chosen if d not in kept]
    # Rounding of the sample rates may lack one epoch at the end of some.
    n_epochs = min(len(epochs) for epochs in signals.values())
    if n_epochs == 0:
        raise UnusableSignalError(f"the recording lasts {recording.duration_s:g} s, less than an epoch")
    hypnograms = [grid.place(scoring, recording.start, n_epochs) for scoring in scorings]
    if not any(hypnogram.scored.any() for hypnogram in hypnograms):
        raise HypnographError("no epoch of the recording is scored")
    warnings += _misfits(scorings, hypnograms, grid)
    first, past_last = _cropped(hypnograms, choices.crop, n_epochs)
    stages = np.stack([hypnogram.stages[first:past_last] for hypnogram in hypnograms])
    entry = _entry(night, recording, [hypnogram.scorer for hypnogram in hypnograms], grid.begins_s(first))
    entry |= {
        "epoch_s": grid.epoch_s,
        "derivations": [_described(*of_one) for of_one in zip(chosen, rates, strict=True) if of_one[0] in kept],
        "choices": _said(choices),
        "warnings": [*recording.warnings, *doubts, *warnings],
    }
    return entry, {key: epochs[first:past_last] for key, epochs in signals.items()}, stages


def _moving(
    chosen: Sequence[Derivation], prepared: Sequence[NDArray[np.floating[Any]] | None]
) -> tuple[Signals, list[Derivation]]:
    """Return the derivations that are not flat; each kind must have one."""
    kept = [derivation for derivation, epochs in zip(chosen, prepared, strict=True) if epochs is not None]
    for kind in dict.fromkeys(derivation.kind for derivation in chosen):
        if not any(derivation.kind == kind for derivation in kept):
            names = ", ".join(derivation.name for derivation in chosen if derivation.kind == kind)
            raise UnusableSignalError(f"all of its {kind} is flat ({names})")
    signals = {(d.kind, d.name): epochs for d, epochs in zip(chosen, prepared, strict=True) if epochs is not None}
    return signals, kept


def _misfits(scorings: Sequence[Hypnogram], aligned: Sequence[Hypnogram], grid: EpochGrid) -> Iterator[str]:
    """Yield what is odd about scorings beside their recording."""
    if lead_s := round(grid.first_s % grid.epoch_s, 3):
        yield f"epochs begin {lead_s:g} s into the recording, where those of the scoring do"
    for scoring, inside in zip(scorings, aligned, strict=True):
        by = f" by {scoring.scorer}" * (len(scorings) > 1)
        lost_s = scoring.scored.sum() * scoring.epoch_s - inside.scored.sum() * inside.epoch_s
        if lost_s > 2 * max(scoring.epoch_s, inside.epoch_s):
            yield f"{lost_s / 60:.1f} min of the scoring{by} lie outside the recording; do the two belong together?"


def _said(choices: Choices) -> Entry:
    """Return what was chosen, as JSON has it."""
    crop = choices.crop and {"minutes": choices.crop.minutes, "order": choices.crop.order}
    names = {str(kind): list(of_kind) for kind, of_kind in choices.derivations.items()}
    return {"crop": crop, "max_derivations": choices.max_derivations, "derivations": names, "centred": choices.centred}


def _prepare_soon(
    pool: ThreadPoolExecutor,
    recording: Recording,
    chosen: Sequence[Derivation],
    coming: Future[tuple[list[Hypnogram], EpochGrid]],
    store: Store,
) -> tuple[list[Future[NDArray[np.floating[Any]] | None]], list[float], list[str]]:
    """Read derivations; return their epochs to come, their sample rates, and what was odd.

    One is read while those before it are prepared, but few at once: each needs much memory.
    """
    prepared: list[Future[NDArray[np.floating[Any]] | None]] = []
    rates: list[float] = []
    warnings: list[str] = []
    for number, derivation in enumerate(chosen):
        if number >= _AT_ONCE:
            prepared[number - _AT_ONCE].result()
        derived = read_derivation(recording, derivation)
        rates.append(derived.sample_rate)
        warnings += derived.warnings
        _, grid = coming.result()
        prepared.append(pool.submit(_prepared, derived, grid, store.spec, store.storage.dtype))
    return prepared, rates, warnings


def _prepared(
    derived: DerivedSignal, grid: EpochGrid, spec: InputSpec, dtype: SampleType
) -> NDArray[np.floating[Any]] | None:
    """Return a derivation's epochs as they are stored; None if it is flat."""
    epochs = spec.prepare(
        without_impossible(derived.amplitude_uv),
        derived.sample_rate,
        lead_s=grid.window_begins_s,
        every_s=grid.epoch_s,
    )
    if epochs.size and epochs.min() == epochs.max():
        return None
    return as_stored(epochs, dtype)


def _scored(night: Night, recording: Recording, spec: InputSpec, choices: Choices) -> tuple[list[Hypnogram], EpochGrid]:
    scorings = _scorings(night, recording, choices.scorers)
    return scorings, epoch_grid(scorings, recording, spec.epoch_s, centred=choices.centred)


def _scorings(night: Night, recording: Recording, wanted: Sequence[str] | Literal["all"]) -> list[Hypnogram]:
    scorers = [*night.voters] if wanted == "all" else [scorer for scorer in night.scorers if scorer in wanted]
    if not scorers:
        whose = "a scoring" if wanted == "all" else f"a scoring by {', '.join(wanted)}"
        there = ", ".join(scorer or "one without a name" for scorer in night.scorers)
        raise HypnographError(f"the night has not {whose}; there are: {there or 'none'}")
    scorings = [replace(night.hypnogram(scorer, recording=recording), scorer=scorer) for scorer in scorers]
    for hypnogram in scorings:
        if hypnogram.scheme != AASM_5:
            raise HypnographError(f"the scoring is in {hypnogram.scheme.name}; the store takes the five AASM stages")
    return scorings


def _cropped(hypnograms: Sequence[Hypnogram], crop: Crop | None, n_epochs: int) -> tuple[int, int]:
    """Return what is kept: all that is near the sleep that any scorer saw."""
    if crop is None:
        return 0, n_epochs
    kept = [crop_to_sleep(h, crop.minutes, order=crop.order) for h in hypnograms if h.scored.any()]
    return min(first for first, _ in kept), max(past_last for _, past_last in kept)


def _entry(night: Night, recording: Recording, scorers: list[str], shift_s: float) -> Entry:
    start = None if recording.start is None else recording.start + timedelta(seconds=shift_s)
    return {
        "dataset": night.dataset,
        "id": night.id,
        "subject": night.subject,
        "people": dataset(night.dataset).people,
        "family": night.family,
        "visit": night.visit,
        "disorder": night.disorder,
        "licence": dataset(night.dataset).licence,
        "scorers": scorers,
        # The hour matters to sleep; a date could tell who it was.
        "begins_s": shift_s,
        "clock": None if start is None else start.time().isoformat(timespec="seconds"),
        "source": recording.source,
        "simulated": recording.is_simulated,
    }


def _described(derivation: Derivation, sample_rate: float) -> Entry:
    kind, name, reason = str(derivation.kind), derivation.name, derivation.reason
    return {"kind": kind, "name": name, "sample_rate": sample_rate, "reason": reason}
