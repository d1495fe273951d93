"""All that is wrong with a data folder, at once: names, recordings, scorings, and whether they fit each other."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Night, Problem, dataset, scan
from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.montage import Montage, choose_derivations, read_derivation
from hypnograph.parallel import on_each
from hypnograph.recording import Recording, Signal
from hypnograph.stages import AASM_5, Stage

_FINGERPRINT_S = 300.0
"""Of a recording's middle: no two nights have the same five minutes."""
_LAST_S = 30.0

T = TypeVar("T")


class NightFacts(NamedTuple):
    """What was found in one night.

    Hours of recording, epochs of each stage in its first readable scoring (empty: there is none), a digest of samples
    (empty: they tell nothing), what is wrong, what is odd but usable, and the integer that is REM in each scoring.
    """

    hours: float
    stages: Mapping[str, int]
    digest: str
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    rem_codes: tuple[tuple[Path, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What a data folder holds and what is wrong with it.

    Parameters
    ----------
    dataset, folder
        What was looked for, and where.
    quick
        Whether only names were looked at; then there are neither hours nor stages.
    n_nights, n_subjects, n_scorings
        Nights that are complete by their names, whose they are, and their scorings.
    hours
        Of recording, over all nights that can be read.
    stages
        Epochs of each stage and ``"UNSCORED"``, over the first readable scoring of each night.
    n_nights_without
        For each stage, the nights whose scoring can be read and does not have it.
    problems
        What cannot be used as it is: of names first, then in the order of the nights.
    notes
        What is odd but usable.
    """

    dataset: str
    folder: Path
    quick: bool
    n_nights: int
    n_subjects: int
    n_scorings: int
    hours: float = 0.0
    stages: Mapping[str, int] = field(default_factory=dict)
    n_nights_without: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as JSON has them."""
        texts = {"folder": str(self.folder), "stages": dict(self.stages)}
        lists = {name: [{"path": str(p.path), "what": p.what} for p in getattr(self, name)] for name in _LISTS}
        return vars(self) | texts | {"n_nights_without": dict(self.n_nights_without)} | lists


_LISTS = ("problems", "notes")


def check_data(
    name: str,
    folder: str | Path,
    *,
    kinds: Sequence[ChannelKind] = (ChannelKind.EEG,),
    derivations: Mapping[ChannelKind, Sequence[str]] | None = None,
    quick: bool = False,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options: str | Sequence[str],
) -> DataCheck:
    """Check the folder of a dataset: every night is opened, and no problem hides another.

    Parameters
    ----------
    name
        Of the dataset.
    folder
        Where its files lie; nothing is changed.
    kinds
        What each recording must have.
    derivations
        By kind, names of which each recording must have one; None: any.
    quick
        Look at names only.
    jobs
        Processes.
    progress
        Is told how many nights are done, of how many.
    options
        Of the dataset's own ``scan``.

    Raises
    ------
    HypnographError
        If there is no such dataset, folder or option. What is wrong with the data is in the result.
    """
    folder = Path(folder)
    found = list(scan(name, folder, **options))
    nights = [night for night in found if isinstance(night, Night)]
    problems = [problem for problem in found if isinstance(problem, Problem)]
    if not found:
        problems.append(Problem(folder, f"no file of {name}, which has {dataset(name).layout}"))
    facts: list[NightFacts] = []
    many = jobs if len(nights) > 1 else 1  # one night needs no process of its own
    named = dict(derivations or {})
    checked = on_each(
        partial(check_night, kinds=kinds, derivations=named), () if quick else nights, jobs=many, in_order=True
    )
    for each in checked:
        facts.append(each)
        if progress is not None:
            progress(len(facts), len(nights))
    problems += [problem for each in facts for problem in each.problems]
    scored = [each.stages for each in facts if each.stages]
    return DataCheck(
        dataset=name,
        folder=folder,
        quick=quick,
        n_nights=len(nights),
        n_subjects=len({night.subject for night in nights}),
        n_scorings=sum(len(night.scorings) for night in nights),
        hours=sum(each.hours for each in facts),
        stages=_total(scored),
        n_nights_without={stage: sum(not stages.get(stage) for stages in scored) for stage in AASM_5.labels},
        problems=(*problems, *_copies(nights, facts), *_never_scored(folder, scored), *_mixed_codes(facts)),
        notes=tuple(note for each in facts for note in each.notes),
    )


# One night -----------------------------------------------------------------------------------------------------------


def check_night(
    night: Night,
    kinds: Sequence[ChannelKind] = (ChannelKind.EEG,),
    derivations: Mapping[ChannelKind, Sequence[str]] | None = None,
) -> NightFacts:
    """Open the recording and all scorings of a night and see whether they can be used together.

    Parameters
    ----------
    night
        As `hypnograph.datasets.scan` gives it.
    kinds, derivations
        What its recording must have; see `check_data`.
    """
    recording, problems = _tried(night.psg, night.recording)
    digest, notes = "", [Problem(night.psg, warning) for warning in (recording.warnings if recording else ())]
    if recording is not None:
        digest, more, doubts = _check_recording(night.psg, recording, kinds, derivations or {})
        problems, notes = problems + more, notes + doubts
    # Without a recording, a scoring's clock times have no day; what it says can be looked at all the same.
    beside = recording or Recording((), 0.0)
    stages: Mapping[str, int] = {}
    codes: list[tuple[Path, int]] = []
    for scorer, path in night.scorings:
        hypnogram, more = _tried(path, partial(night.hypnogram, scorer, recording=beside))
        problems += more
        if hypnogram is not None:
            if recording is not None:
                stages = stages or hypnogram.counts()
                what = _scoring_problems(hypnogram, recording, dataset(night.dataset).epoch_s)
                problems += [Problem(path, each) for each in what]
            codes += [(path, code) for code in _rem_code(night, scorer, hypnogram, beside)]
    return NightFacts(beside.duration_s / 3600, stages, digest, tuple(problems), tuple(notes), tuple(codes))


def _rem_code(night: Night, scorer: str, hypnogram: Hypnogram, recording: Recording) -> Iterator[int]:
    """Yield the integer that is REM in a scoring of one's own, 4 or 5, where it has integers."""
    if dataset(night.dataset).epoch_s is not None:
        return  # a public dataset's code is known
    for code, instead in ((4, Stage.N3), (5, Stage.UNSCORED)):
        otherwise = replace(night, stage_map=(*night.stage_map, (str(code), instead)))
        other, _ = _tried(night.psg, partial(otherwise.hypnogram, scorer, recording=recording))
        if other is not None and not np.array_equal(other.stages, hypnogram.stages):
            yield code


def _tried(path: Path, read: Callable[[], T]) -> tuple[T | None, list[Problem]]:
    """Return what `read` returns, or why it cannot."""
    try:
        return read(), []
    except HypnographError as error:
        return None, [Problem(path, " ".join(str(error).split()).removeprefix(f"{path.name}: "))]
    except OSError as error:
        return None, [Problem(path, error.strerror or type(error).__name__)]
    except Exception as error:  # a defect of ours must not hide the other nights
        # Its text is not shown: it could quote a patient's field.
        return None, [Problem(path, f"unexpected {type(error).__name__}; please report it as a defect of hypnograph")]


def _chosen(
    psg: Path, recording: Recording, kind: ChannelKind, names: Sequence[str]
) -> tuple[Montage | None, list[Problem]]:
    """Return the derivations of a kind: of the first name that the recording has, where names are given."""
    montage, problems = None, list[Problem]()
    for name in names or (None,):
        wish: dict[str, Any] = {kind.lower(): name}
        montage, problems = _tried(psg, partial(choose_derivations, recording, kinds=[kind], required=[kind], **wish))
        if montage is not None:
            break
    return montage, problems


def _check_recording(
    psg: Path, recording: Recording, kinds: Sequence[ChannelKind], derivations: Mapping[ChannelKind, Sequence[str]]
) -> tuple[str, list[Problem], list[Problem]]:
    """Return (digest of samples, problems, notes): has it the channels, can they be read, and do they move?"""
    digest, problems, notes = "", list[Problem](), list[Problem]()
    for kind in kinds:
        montage, more = _chosen(psg, recording, kind, derivations.get(kind, ()))
        problems += more
        if montage is None:
            continue
        derivation = montage.of(kind)[0]
        found, more = _tried(psg, partial(_digest, recording.signal(derivation.signal)))
        digest, problems = digest or found or "", problems + more
        derived, _ = _tried(psg, partial(read_derivation, recording, derivation)) if not more else (None, [])
        if derived is not None:
            notes += [Problem(psg, warning) for warning in derived.warnings]
            if np.nanmin(derived.amplitude_uv) == np.nanmax(derived.amplitude_uv):
                problems.append(Problem(psg, f"{kind} {derivation.name} is flat from its beginning to its end"))
    return digest, problems, notes


def _digest(signal: Signal) -> str:
    """Read the last epoch and five minutes in the middle; return what tells these from other nights' (empty: flat)."""
    signal.samples(signal.duration_s - _LAST_S)
    middle_s = signal.duration_s / 2
    samples = signal.samples(middle_s - _FINGERPRINT_S / 2, middle_s + _FINGERPRINT_S / 2)
    if np.unique(samples).size < 2:
        return ""
    return hashlib.sha256(samples.tobytes() + f"{signal.n_samples} {signal.sample_rate}".encode()).hexdigest()


def _scoring_problems(hypnogram: Hypnogram, recording: Recording, epoch_s: float | None) -> Iterator[str]:
    """Yield what is wrong with a scoring that can be read, by itself and with its recording."""
    n_scored = int(hypnogram.scored.sum())
    if not n_scored:
        yield f"none of its {hypnogram.n_epochs} epochs is scored"
        return
    if epoch_s is not None and not math.isclose(hypnogram.epoch_s, epoch_s):
        yield f"its epochs have {hypnogram.epoch_s:g} s, those of the dataset {epoch_s:g} s"
    stages = [stage for stage, n in hypnogram.counts().items() if n and stage != "UNSCORED"]
    if len(stages) == 1:
        yield f"all its {n_scored} scored epochs are {stages[0]}"
    try:
        n_epochs = max(1, math.ceil(recording.duration_s / hypnogram.epoch_s))
        n_inside = int(hypnogram.align(recording.start, n_epochs).scored.sum())
    except HypnographError as error:
        yield str(error)
        return
    if n_scored - n_inside > 1:  # one may be lost where the two do not begin on one grid
        yield (
            f"{n_scored - n_inside} of its {n_scored} scored epochs lie outside the recording, which has "
            f"{recording.duration_s / 3600:.2f} h; check that the two belong together"
        )


# All nights ----------------------------------------------------------------------------------------------------------


def _total(scored: Sequence[Mapping[str, int]]) -> dict[str, int]:
    totals = Counter[str]()
    for stages in scored:
        totals.update(stages)
    return dict(totals)


def _copies(nights: Sequence[Night], facts: Sequence[NightFacts]) -> Iterator[Problem]:
    """Yield a problem for each night whose samples are those of an earlier one."""
    first: dict[str, Night] = {}
    for night, each in zip(nights, facts, strict=False):  # no facts: names only
        if each.digest and (earlier := first.setdefault(each.digest, night)) is not night:
            yield Problem(night.psg, f"the same samples as night {earlier.id} ({earlier.psg.name})")


def _never_scored(folder: Path, scored: Sequence[Mapping[str, int]]) -> Iterator[Problem]:
    if not scored:
        return
    missing = [stage for stage in AASM_5.labels if not any(stages.get(stage) for stages in scored)]
    if missing:
        yield Problem(folder, f"no night has {' or '.join(missing)}; check how its scorings name the stages")


def _mixed_codes(facts: Sequence[NightFacts]) -> Iterator[Problem]:
    """Yield a problem for each scoring in which 4 is REM, where others of the folder have 5 for it."""
    codes = [entry for each in facts for entry in each.rem_codes]
    if {code for _, code in codes} == {4, 5}:
        for path, code in codes:
            if code == 4:
                what = "its 4s are read as REM, but other scorings here have 5 for REM; if all mean the same, say"
                yield Problem(path, f"{what} --stage-map 4=N3 --stage-map 5=REM")
