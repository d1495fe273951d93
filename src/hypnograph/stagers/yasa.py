"""The published YASA classifiers (Vallat and Walker 2021, doi 10.7554/eLife.70092), which ship in the yasa package.

Features are computed by `hypnograph.epoch_features`, trees are evaluated by `hypnograph.tree_ensemble`: nothing of the
yasa package is imported. Stages and probabilities equal those of ``yasa.SleepStaging`` on the same samples.

Differs from the yasa package:

- Epochs whose EEG is not usable (`hypnograph.signal_quality`: mostly missing, flat, clipped or extreme, or electrode
  off) are UNSCORED, and take no part in the smoothing over time and the scaling by the night's percentiles, so that
  they do not change their neighbours. Where only the EOG or EMG is not usable, that epoch is staged by the classifier
  without it.
- Missing samples are bridged by straight lines.
- A recording of less than 5 minutes is refused; the yasa package warns.
- Each channel is resampled from its own rate. MNE first brings all signals of an EDF file to the highest rate.

As there, an incomplete last epoch is left out.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.epoch_features import epoch_features, feature_names, night_feature_names, night_features
from hypnograph.errors import HypnographError, MissingChannelError, UnusableSignalError
from hypnograph.hypnogram import Hypnodensity
from hypnograph.montage import ChannelKind, Derivation, choose_derivations, read_derivation
from hypnograph.preprocess import InputSpec, Mapper, without_impossible
from hypnograph.recording import Recording
from hypnograph.signal_quality import signal_quality
from hypnograph.stagers import Ballot, StagerLike, Staging, Voter, hypnogram_of
from hypnograph.tree_ensemble import TreeEnsemble, load_tree_ensemble

NAME = "yasa"
DESCRIPTION = "the YASA classifiers on the best EEG, EOG and EMG derivation (Vallat and Walker 2021)"
INPUT = InputSpec(kinds=(ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG), sample_rate=100.0, band_hz=(0.4, 30.0))
MINIMUM_MINUTES = 5

# The classifiers were trained on C4-M1 or C3-M2. Behind, alpha and slow waves look different, and they err more: such a
# derivation has a smaller share in a vote (LOG.md, 2026-11-21). It says nothing about the signal's quality.
_POSTERIOR = re.compile(r"(?:O|P|T|I)\w*\d|(?:O|P|I)\w*z", re.IGNORECASE)
POSTERIOR_SHARE = 0.25

# The classifiers' classes N1, N2, N3, R, W in the order of Stage.
_TO_AASM = [4, 0, 1, 2, 3]
# Epochs whose features are computed at once.
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class _Channel:
    """One derivation, ready for the classifiers.

    features: (n_epochs, n_features), NaN rows where not `known`; weight: (n_epochs,), 0 to 1.
    """

    kind: ChannelKind
    features: NDArray[np.float32]
    known: NDArray[np.bool_]
    weight: NDArray[np.float64]
    warnings: tuple[str, ...]


class YasaStager:
    """Stage by the YASA classifiers.

    Parameters
    ----------
    eeg, eog, emg
        Derivations to use instead of those that are chosen, e.g. ``"C4-M1"``; ``"none"`` for no EOG or EMG.
    age
        Years; used together with `male`.
    male
        True or False; used together with `age`.
    threads
        How many threads work on a recording; None: one for each core, at most four.

    Raises
    ------
    HypnographError
        If the age is not between 0 and 120 years.
    """

    def __init__(
        self,
        *,
        eeg: str | Sequence[str] | None = None,
        eog: str | Sequence[str] | None = None,
        emg: str | Sequence[str] | None = None,
        age: float | None = None,
        male: bool | None = None,
        threads: int | None = None,
    ) -> None:
        if age is not None and not 0 < age < 120:
            raise HypnographError(f"age is {age}; it must be above 0 and below 120 years")
        self.overrides: dict[str, Any] = {"eeg": eeg, "eog": eog, "emg": emg}
        self.age, self.male = age, male
        self.threads = threads or min(4, _available_cores())

    @property
    def kinds(self) -> tuple[ChannelKind, ...]:
        return INPUT.kinds

    @property
    def required(self) -> tuple[ChannelKind, ...]:
        return (ChannelKind.EEG,)

    @property
    def _metadata(self) -> dict[str, float]:
        """Age in whole years and sex, as the classifiers take them; empty unless both are given."""
        return {} if self.age is None or self.male is None else {"age": int(self.age), "male": int(self.male)}

    def stage(self, recording: Recording) -> Staging:
        """Stage one recording by its best EEG, EOG and EMG derivation; see `StagerLike.stage`."""
        montage = choose_derivations(recording, **self.overrides).first
        ballot = self.vote(recording, [montage])
        hypnodensity = ballot.voters[0].hypnodensity
        if not hypnodensity.known.any():
            raise UnusableSignalError(
                f"{montage[0].name} has no usable signal in any of its {hypnodensity.n_epochs} epochs "
                f"({'; '.join(ballot.warnings)}); choose another derivation with --eeg (or eeg=…)"
            )
        return Staging(
            hypnogram=hypnogram_of(hypnodensity, recording),
            hypnodensity=hypnodensity,
            derivations=montage,
            stager=ballot.stager,
            weights_sha256=ballot.weights_sha256,
            warnings=recording.warnings + ballot.warnings,
            timings_s=ballot.timings_s,
        )

    def vote(self, recording: Recording, montages: Sequence[Sequence[Derivation]]) -> Ballot:
        """Stage the recording once for each montage; what derivations share is computed once.

        Parameters
        ----------
        recording
            At least 5 minutes.
        montages
            Each an EEG derivation, perhaps an EOG, perhaps an EMG derivation.

        Returns
        -------
        Ballot
            A voter for each montage, in the order given. Epochs in which its EEG holds nothing are NaN.

        Raises
        ------
        MissingChannelError
            If a montage has no EEG.
        UnusableSignalError
            If the recording is too short.
        """
        _check_duration(recording)
        timings: dict[str, float] = {}
        with ThreadPoolExecutor(self.threads) as pool:
            distinct = dict.fromkeys(derivation for montage in montages for derivation in montage)
            channels = {derivation: _channel(recording, derivation, pool.map, timings) for derivation in distinct}
        n_epochs = min(len(channel.known) for channel in channels.values())
        stager = f"yasa {_yasa_version()}"
        hashes: dict[str, None] = {}
        voters = []
        with _timed(timings, "classifier"):
            for montage in montages:
                inputs = [_cropped(channels[derivation], n_epochs) for derivation in montage]
                probabilities, weight = _classify(inputs, self._metadata, hashes)
                hypnodensity = Hypnodensity(probabilities, INPUT.epoch_s, start=recording.start, scorer=stager)
                name = " + ".join(derivation.name for derivation in montage)
                evidence = next(channel.weight for channel in inputs if channel.kind is ChannelKind.EEG)
                weight = weight * _share(montage)
                voters.append(Voter(name, tuple(montage), hypnodensity, weight, evidence))
        warnings = tuple(dict.fromkeys(w for channel in channels.values() for w in channel.warnings))
        return Ballot(tuple(voters), stager, ",".join(hashes), warnings + self._metadata_warning(), timings)

    def _metadata_warning(self) -> tuple[str, ...]:
        if (self.age is None) == (self.male is None):
            return ()
        return ("age and sex are used only together: the classifiers without them were used",)


def create(**options: Any) -> StagerLike:
    """Return a `YasaStager`; options are its arguments."""
    return YasaStager(**options)


def _share(montage: Sequence[Derivation]) -> float:
    """Return a montage's share by where its EEG electrode is."""
    eeg = next(derivation.name for derivation in montage if derivation.kind is ChannelKind.EEG)
    return POSTERIOR_SHARE if _POSTERIOR.match(eeg) else 1.0


# Channels ------------------------------------------------------------------------------------------------------------


def _check_duration(recording: Recording) -> None:
    if recording.duration_s < 60 * MINIMUM_MINUTES:
        raise UnusableSignalError(
            f"the recording lasts {recording.duration_s / 60:.1f} min; the classifiers need at least {MINIMUM_MINUTES} "
            "min, and were made for whole nights"
        )


def _channel(recording: Recording, derivation: Derivation, mapper: Any, timings: dict[str, float]) -> _Channel:
    with _timed(timings, "read"):
        derived = read_derivation(recording, derivation)
        amplitude_uv, rate = without_impossible(derived.amplitude_uv), derived.sample_rate
    with _timed(timings, "quality"):
        quality = signal_quality(
            amplitude_uv, rate, kind=derivation.kind, epoch_s=INPUT.epoch_s, physical_range_uv=derived.physical_range_uv
        )
    with _timed(timings, "resample"):
        epochs = INPUT.prepare(amplitude_uv, rate, mapper=mapper).astype(np.float64, copy=False)
    with _timed(timings, "features"):
        features, known = _features(epochs, derivation.kind, _on_grid(quality.usable, len(epochs)), mapper)
    weight = np.where(known, _on_grid(quality.weight, len(epochs)), 0.0)
    doubts = (*derived.warnings, *quality.warnings(derivation.name), *_left_out(derivation, known))
    return _Channel(derivation.kind, features, known, weight, doubts)


def _features(
    epochs: NDArray[np.float64], kind: ChannelKind, usable: NDArray[np.bool_], mapper: Mapper
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the night's features, and which epochs they are known of: the usable ones, unless flat once filtered."""
    features = np.empty((len(epochs), len(feature_names(kind))))

    def fill(block: slice) -> None:
        features[block] = epoch_features(epochs[block], INPUT.sample_rate, kind)

    blocks = [slice(first, first + _BLOCK) for first in range(0, len(epochs), _BLOCK)]
    for _ in mapper(fill, blocks):
        pass
    known = usable & np.isfinite(features).all(axis=1)
    # The classifiers were trained on single precision.
    return night_features(features, known).astype(np.float32), known


def _on_grid(values: NDArray[Any], n_epochs: int) -> NDArray[Any]:
    """Return the values cut to so many epochs; rounding of the sample rate may lack one at the end: it repeats."""
    return np.pad(values, (0, max(0, n_epochs - len(values))), mode="edge")[:n_epochs]


def _left_out(derivation: Derivation, known: NDArray[np.bool_]) -> tuple[str, ...]:
    n_unknown = int((~known).sum())
    if not n_unknown:
        return ()
    consequence = "not staged from it" if derivation.kind is ChannelKind.EEG else "staged without it"
    return (f"{derivation.name} is not usable in {n_unknown} of {len(known)} epochs; they are {consequence}",)


def _cropped(channel: _Channel, n_epochs: int) -> _Channel:
    return replace(
        channel,
        features=channel.features[:n_epochs],
        known=channel.known[:n_epochs],
        weight=channel.weight[:n_epochs],
    )


# Classifiers ---------------------------------------------------------------------------------------------------------


def _classify(
    inputs: Sequence[_Channel], metadata: Mapping[str, float], hashes: dict[str, None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return probabilities (n_epochs, 5), NaN where the EEG holds nothing, and weights (n_epochs,) of one montage.

    Each epoch is staged by the classifier of the channels that hold information in it; its weight is the product of
    theirs. Hashes of the classifiers used are added to `hashes`.
    """
    by_kind = {channel.kind: channel for channel in inputs}
    if ChannelKind.EEG not in by_kind:
        raise MissingChannelError(f"no EEG among {', '.join(by_kind) or 'no channels'}; the YASA classifiers need one")
    eeg = by_kind[ChannelKind.EEG]
    others = [by_kind[kind] for kind in INPUT.kinds[1:] if kind in by_kind]
    probabilities, weight = np.full((len(eeg.known), len(_TO_AASM)), np.nan), np.zeros(len(eeg.known))
    for present in product((True, False), repeat=len(others)):
        rows = eeg.known.copy()
        for channel, wanted in zip(others, present, strict=True):
            rows &= channel.known == wanted
        if rows.any():
            used = [eeg, *(channel for channel, wanted in zip(others, present, strict=True) if wanted)]
            ensemble, sha256 = _classifier(tuple(channel.kind for channel in used), bool(metadata))
            hashes[sha256] = None
            probabilities[rows] = ensemble.probabilities(_table(used, metadata, ensemble)[rows])[:, _TO_AASM]
            weight[rows] = np.prod([channel.weight[rows] for channel in used], axis=0)
    return probabilities, weight


def _table(used: Sequence[_Channel], metadata: Mapping[str, float], ensemble: TreeEnsemble) -> NDArray[np.float32]:
    """Return the classifier's columns, shape (n_epochs, n_features)."""
    n_epochs = len(used[0].known)
    time_s = np.arange(n_epochs) * INPUT.epoch_s
    columns = {"time_hour": time_s / 3600, "time_norm": time_s / max(time_s[-1], 1.0)}
    columns |= {name: np.full(n_epochs, value) for name, value in metadata.items()}
    for channel in used:
        columns |= dict(zip(night_feature_names(channel.kind), channel.features.T, strict=True))
    return np.stack([columns[name] for name in ensemble.feature_names], axis=1).astype(np.float32)


@cache
def _classifier(kinds: tuple[ChannelKind, ...], with_metadata: bool) -> tuple[TreeEnsemble, str]:
    """Return the newest published classifier for these channels, and its file's SHA-256."""
    parts = [kind.lower() for kind in kinds] + ["demo"] * with_metadata
    found = re.compile(rf"clf_{re.escape('+'.join(parts))}_lgb_([\d.]+)\.joblib")
    folder = _yasa_folder() / "classifiers"
    matches = [match for path in folder.iterdir() if (match := found.fullmatch(path.name))]
    if not matches:
        raise HypnographError(f"the yasa package in {folder.parent} has no classifier for {' + '.join(parts)}")
    newest = max(matches, key=lambda match: tuple(int(part) for part in match[1].split(".")))
    return load_tree_ensemble(folder / newest[0])


def _yasa_folder() -> Path:
    """Find the yasa package without importing it."""
    spec = find_spec("yasa")
    if spec is None or spec.origin is None:
        raise HypnographError("the yasa package, whose classifiers are needed, is not installed; run: pip install yasa")
    return Path(spec.origin).parent


@cache
def _yasa_version() -> str:
    from importlib.metadata import version

    return version("yasa")


def _available_cores() -> int:
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def _timed(timings: dict[str, float], phase: str) -> Iterator[None]:
    began = perf_counter()
    try:
        yield
    finally:
        timings[phase] = timings.get(phase, 0.0) + perf_counter() - began
