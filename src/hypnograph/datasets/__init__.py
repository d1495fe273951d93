"""Datasets of sleep research: the folder is the registry.

Each module of this folder is one dataset (or one family of datasets that share a layout) and has

- ``DATASETS``: its datasets by name, ``{"sleep-edf-sc": Dataset(...), …}``;
- ``scan(name, folder, **options)``: yields the nights and the problems of a folder, looking at names only, in sorted
  order; the options are keyword arguments of that function;
- optionally ``read_recording(night) -> Recording`` and ``read_scoring(night, scoring) -> Hypnogram``, where a file is
  not simply one that `hypnograph.signal_files` or `hypnograph.hypnogram_files` reads.

Recording and scoring belong together by what their names say (dataset, subject, night), never by their order. What
cannot be understood is a `Problem`, not an exception: a data folder shows all that is wrong with it at once.
"""

import inspect
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from hypnograph.channel_labels import ChannelKind
from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnogram, says_epoch_s
from hypnograph.recording import Recording
from hypnograph.remote_files import RemoteFolder
from hypnograph.signal_files import read_recording
from hypnograph.stages import Stage

CONSENSUS = "consensus"
"""The scorer of a scoring that was made of the others'."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What there is to know about a dataset.

    Parameters
    ----------
    title
        Its name in words.
    licence
        Of the data, or who grants access.
    source
        Address of its page.
    doi
        Of the publication to cite.
    layout
        How files lie in its folder, in one line, e.g. ``"SC4ssNEO-PSG.edf + SC4ssN??-Hypnogram.edf"``.
    epoch_s
        Length of its scored epochs; ``30.0``, or 20 in parts of MASS; None: any.
    labels
        Labels of the files whose meaning they do not say: ``{"EEG": "C4-M1", "EEG(sec)": "C3-M2"}``.
    derivations
        The derivations by channel kind that U-Sleep sampled, by their common names ("C4-M1"); where a kind is missing,
        all usable ones are taken.
    remote
        Where its files can be downloaded without an account; None: they cannot.
    elsewhere
        What belongs to it, is not there, and how to get it; in words.
    people
        The dataset whose subjects these are, where several have the same ones; empty: its own.
    """

    title: str
    licence: str
    source: str
    doi: str = ""
    layout: str = ""
    epoch_s: float | None = 30.0
    labels: Mapping[str, str] = field(default_factory=dict)
    derivations: Mapping[ChannelKind, tuple[str, ...]] = field(default_factory=dict)
    remote: RemoteFolder | None = None
    elsewhere: str = ""
    people: str = ""


class Scoring(NamedTuple):
    """A scoring of a night: who scored (a code, e.g. ``"1"``; empty where there is one only), and the file."""

    scorer: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Night:
    """One recording of one subject with its scorings; nothing is read before `recording` or `hypnogram` is called.

    Parameters
    ----------
    dataset
        A name of `datasets`.
    id
        Unique in the dataset, the same for recording and scoring; no patient's name.
    subject
        Unique in the dataset: splits are by it.
    psg
        The file of the recording.
    scorings
        Of this night; empty for a night without a scoring.
    family
        Subjects of one family are kept in one part of a split; empty: a family of its own.
    visit
        Which night of the subject, where the names say so.
    disorder
        Where the names say so, in the dataset's own word, e.g. ``"nfle"``; ``"healthy"`` for controls.
    stage_map
        What names of stages in the scorings mean, where the field does not know them.
    scoring_epoch_s
        Length of an epoch in scorings that do not say it; None: 30 s.
    """

    dataset: str
    id: str
    subject: str
    psg: Path
    scorings: tuple[Scoring, ...] = ()
    family: str = ""
    visit: str = ""
    disorder: str = ""
    stage_map: tuple[tuple[str, Stage], ...] = ()
    scoring_epoch_s: float | None = None

    @property
    def scorers(self) -> tuple[str, ...]:
        return tuple(scoring.scorer for scoring in self.scorings)

    @property
    def voters(self) -> tuple[str, ...]:
        """Those of `scorers` who count where all do: a consensus, which is made of the others, only if it is alone."""
        return tuple(scorer for scorer in self.scorers if scorer != CONSENSUS) or self.scorers

    @property
    def person(self) -> str:
        """``"dataset/subject"``: what splits are made of; one person is one, whatever dataset a night is taken from."""
        return f"{dataset(self.dataset).people or self.dataset}/{self.subject}"

    @property
    def kin(self) -> str:
        """The family of `person`, or the person alone."""
        return f"{dataset(self.dataset).people or self.dataset}/{self.family or self.subject}"

    def absolute(self) -> "Night":
        """Return the night with absolute paths: another process may work in another folder."""
        scorings = tuple(Scoring(scorer, path.absolute()) for scorer, path in self.scorings)
        return replace(self, psg=self.psg.absolute(), scorings=scorings)

    def recording(self) -> Recording:
        """Read the recording; labels that the dataset explains are replaced by what they mean.

        Raises
        ------
        HypnographError
            If the file cannot be read.
        """
        recording = cast(Recording, _reader(self, "read_recording", lambda night: read_recording(night.psg))(self))
        labels = dataset(self.dataset).labels
        known = {label.strip().lower(): meaning for label, meaning in labels.items()}
        signals = tuple(
            replace(signal, label=known.get(signal.label.strip().lower(), signal.label)) for signal in recording.signals
        )
        return replace(recording, signals=signals)

    def hypnogram(self, scorer: str | None = None, *, recording: Recording | None = None) -> Hypnogram:
        """Read one scoring.

        Parameters
        ----------
        scorer
            One of `scorers`; None: the first.
        recording
            The night's recording, where it is read already; its start places clock times without a date.

        Raises
        ------
        HypnographError
            If there is no such scoring, or the file cannot be read.
        """
        found = [s for s in self.scorings if scorer is None or s.scorer == scorer]
        if not found:
            raise HypnographError(
                f"night {self.id} has no scoring{f' by {scorer!r}' if scorer else ''}; "
                f"there are: {', '.join(self.scorers) or 'none'}"
            )

        def read(night: Night, scoring: Scoring) -> Hypnogram:
            start = (recording or night.recording()).start
            found = read_hypnogram(scoring.path, stage_map=dict(night.stage_map), recording_start=start)
            if night.scoring_epoch_s is None or says_epoch_s(scoring.path):
                return found
            return replace(found, epoch_s=night.scoring_epoch_s)

        return cast(Hypnogram, _reader(self, "read_scoring", read)(self, found[0]))


class Problem(NamedTuple):
    """Something in a data folder that cannot be used, and what to do about it."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class DatasetModule(Protocol):
    """What a module of this folder provides."""

    DATASETS: Mapping[str, Dataset]

    def scan(self, name: str, folder: Path, **options: Any) -> Iterator[Night | Problem]: ...


@cache
def _modules() -> dict[str, DatasetModule]:
    """Return the modules by the names of their datasets."""
    modules = [cast(DatasetModule, import_module(f"{__name__}.{m.name}")) for m in pkgutil.iter_modules(__path__)]
    return dict(sorted((name, module) for module in modules for name in module.DATASETS))


def datasets() -> dict[str, Dataset]:
    """Return what there is to know about the datasets, by name."""
    return {name: module.DATASETS[name] for name, module in _modules().items()}


def dataset(name: str) -> Dataset:
    """Return what there is to know about a dataset.

    Raises
    ------
    HypnographError
        If there is no such dataset; the message names those that exist.
    """
    return dataset_module(name).DATASETS[name]


def dataset_module(name: str) -> DatasetModule:
    """Return the module of a dataset; see `dataset`."""
    if name not in _modules():
        raise HypnographError(f"no dataset {name!r}. There are: {', '.join(_modules())}")
    return _modules()[name]


def scan_options(name: str) -> tuple[str, ...]:
    """Return the options of a dataset's own ``scan``."""
    parameters = inspect.signature(dataset_module(name).scan).parameters.values()
    return tuple(p.name for p in parameters if p.kind == p.KEYWORD_ONLY)


def scan_known(name: str, folder: str | Path, options: Mapping[str, Any]) -> "Iterator[Night | Problem]":
    """Scan with those of some options that the dataset takes; see `scan`."""
    known = scan_options(name)
    return scan(name, folder, **{option: value for option, value in options.items() if option in known})


def scan(name: str, folder: str | Path, **options: str | Sequence[str]) -> Iterator[Night | Problem]:
    """Yield the nights of a dataset's folder and what cannot be used, one by one; only names are looked at.

    Parameters
    ----------
    name
        Of the dataset.
    folder
        Where its files lie.
    options
        Of the dataset's own ``scan``, e.g. the patterns of ``"folder"``.

    Raises
    ------
    HypnographError
        If there is no such dataset, folder or option.
    """
    module, folder = dataset_module(name), Path(folder)
    if not folder.is_dir():
        raise HypnographError(f"{folder}: no such folder; {name} lies in one with {module.DATASETS[name].layout}")
    known = scan_options(name)
    if unknown := [option for option in options if option not in known]:
        raise HypnographError(f"dataset {name} has no option {unknown[0]!r}. There are: {', '.join(known) or 'none'}")
    for found in module.scan(name, folder, **options):
        yield found.absolute() if isinstance(found, Night) else found._replace(path=found.path.absolute())


def nights(name: str, folder: str | Path, **options: str | Sequence[str]) -> Iterator[Night]:
    """Yield the nights of a dataset's folder that are complete; `scan` gives the problems, too."""
    return (found for found in scan(name, folder, **options) if isinstance(found, Night))


def files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files with one of these endings (lower case) in a folder and all below it, sorted by name."""
    endings = tuple(suffixes)
    found = [Path(place, name) for place, _, names in _walk(folder) for name in names]
    return sorted(p for p in found if p.name.lower().endswith(endings) and not p.name.startswith(".") and p.is_file())


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Go through a folder and what is linked into it (U-Time's splits are links), each place once."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()  # a link to a folder above: it would never end
            continue
        seen.add(real)
        yield place, folders, names


def paired(
    name: str, psgs: Mapping[str, Path], scorings: Mapping[str, Path], *, psg: str, scoring: str
) -> Iterator[Night | Problem]:
    """Yield the nights of a dataset in which each subject has one, and what has no partner.

    Parameters
    ----------
    name
        Of the dataset.
    psgs, scorings
        By subject.
    psg, scoring
        What is missing where it is, in words.
    """
    for subject in sorted(psgs.keys() & scorings.keys()):
        one = Scoring("", scorings[subject])
        yield Night(dataset=name, id=subject, subject=subject, psg=psgs[subject], scorings=(one,))
    yield from unmatched(psgs, scorings, scoring)
    yield from unmatched(scorings, psgs, psg)


def unmatched(files: Mapping[str, Path], partners: Mapping[str, Any], what: str) -> Iterator[Problem]:
    """Yield a problem for each file whose key no partner has."""
    for key, path in files.items():
        if key not in partners:
            yield Problem(path, f"no {what} for {key}")


def _reader(night: Night, name: str, default: Callable[..., Any]) -> Callable[..., Any]:
    """Return a dataset's own function; one that its module imports under the same name is not meant."""
    module = dataset_module(night.dataset)
    own = getattr(module, name, None)
    return own if callable(own) and own.__module__ == getattr(module, "__name__", own.__module__) else default
