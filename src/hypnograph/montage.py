"""Which signals of a recording a model gets, and why."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hypnograph.channel_labels import ChannelKind, ParsedLabel, channel_kind, is_opposite, parse_label, plain
from hypnograph.errors import MissingChannelError, UnusableSignalError
from hypnograph.recording import Recording, Signal, microvolts_per_unit

__all__ = [
    "MINIMUM_SAMPLE_RATE", "ChannelKind", "ChannelRow", "Derivation", "DerivedSignal", "Montage", "candidates",
    "channel_kind", "choose_derivations", "describe_channels", "read_derivation", "typical_spread",
]  # fmt: skip

MINIMUM_SAMPLE_RATE = {ChannelKind.EEG: 60.0, ChannelKind.EOG: 40.0, ChannelKind.EMG: 50.0, ChannelKind.ECG: 60.0}
"""Hz. EEG needs its spindles and beta; SHHS has its EOG at 50 Hz; an EMG at 1 Hz (Sleep-EDF SC) is an envelope."""

Choice = str | Sequence[str] | None


@dataclass(frozen=True)
class Derivation:
    """One derivation: a signal, perhaps minus another, e.g. C4−M1 for the EEG input of a model.

    Parameters
    ----------
    kind
        What it measures.
    name
        In the field's words: ``"C4-M1"``.
    signal, reference
        Labels as in the file; `reference` None where the signal is taken as it is.
    reason
        Why this one, in words for the user.
    """

    kind: ChannelKind
    name: str
    signal: str
    reference: str | None
    reason: str

    def amplitude_uv(self, recording: Recording) -> tuple[NDArray[np.float32], float]:
        """Read the derivation: (samples in µV, NaN in gaps; sample rate in Hz). See `read_derivation`."""
        derived = read_derivation(recording, self)
        return derived.amplitude_uv, derived.sample_rate


@dataclass(frozen=True)
class Montage:
    """The derivations of a recording that a model may use, best first, and what was left out.

    Parameters
    ----------
    eeg, eog, emg, ecg
        Usable derivations of each kind, best first; the ECG only where it was asked for.
    excluded
        (label, reason) of signals of these kinds that are not used.
    """

    eeg: tuple[Derivation, ...] = ()
    eog: tuple[Derivation, ...] = ()
    emg: tuple[Derivation, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    ecg: tuple[Derivation, ...] = ()

    @property
    def derivations(self) -> tuple[Derivation, ...]:
        return self.eeg + self.eog + self.emg + self.ecg

    @property
    def first(self) -> tuple[Derivation, ...]:
        """The best derivation of each kind that there is: EEG, EOG, EMG, ECG."""
        return self.eeg[:1] + self.eog[:1] + self.emg[:1] + self.ecg[:1]

    def of(self, kind: ChannelKind) -> tuple[Derivation, ...]:
        """Return the derivations of one kind, best first."""
        return tuple(derivation for derivation in self.derivations if derivation.kind == kind)


@dataclass(frozen=True, eq=False)
class DerivedSignal:
    """The samples of a derivation.

    Parameters
    ----------
    amplitude_uv : float32 array, shape (n_samples,)
        µV, NaN in gaps; read-only.
    sample_rate
        Hz.
    warnings
        Doubts about the unit, in words for the user.
    physical_range_uv
        The smallest and largest value that the file can hold, where known; None for a difference of two signals.
    """

    amplitude_uv: NDArray[np.float32]
    sample_rate: float
    warnings: tuple[str, ...] = ()
    physical_range_uv: tuple[float, float] | None = None


@dataclass(frozen=True)
class ChannelRow:
    """One line of ``hypnograph channels``: a signal, what it is taken for, how it is used and why."""

    label: str
    sample_rate: float
    unit: str
    kind: ChannelKind
    use: str
    reason: str


@dataclass(frozen=True)
class _Channel:
    """A signal, what its label says, and why it cannot be used ('' where it can)."""

    signal: Signal
    parsed: ParsedLabel
    problem: str = ""


_GRID = re.compile(r"(?:eeg )?([a-i])(\d{1,3})")


def _channels(recording: Recording) -> list[_Channel]:
    """Parse all labels, with what only the whole recording can tell: repeated labels and numbered grids."""
    counts = Counter(recording.labels)
    matches = [_GRID.fullmatch(plain(label)) for label in recording.labels]
    # BioSemi's A1 to H32 and EGI's E1 to E256 are places on a cap: their C3 is not the C3 of the 10-20 system.
    beyond = [m for m in matches if m and (m[1] in "bdgh" or (m[1] in "ae" and int(m[2]) > 2))]
    channels = []
    for signal, match in zip(recording.signals, matches, strict=True):
        if match and len(beyond) >= 8:
            problem = "one of a numbered grid of electrodes; the file does not tell where on the head it is"
            channels.append(_Channel(signal, ParsedLabel(ChannelKind.OTHER), problem))
        else:
            parsed = parse_label(signal.label, signal.unit)
            channels.append(_Channel(signal, parsed, _problem(signal, parsed, counts[signal.label])))
    return channels


def _problem(signal: Signal, parsed: ParsedLabel, n_of_this_label: int) -> str:
    limit = MINIMUM_SAMPLE_RATE.get(parsed.kind, 0.0)
    if n_of_this_label > 1:
        return f"{n_of_this_label} signals have this label; rename them in the file to use one"
    if parsed.site == "limb":
        return "not the chin, whose tone tells REM sleep from wakefulness"
    if signal.sample_rate < limit:
        return f"{signal.sample_rate:g} Hz is too slow: {parsed.kind} is used from {limit:g} Hz"
    return ""


def _same_grid(one: Signal, other: Signal) -> bool:
    return one.sample_rate == other.sample_rate and one.n_samples == other.n_samples


def _derive(channel: _Channel, mastoids: dict[str, _Channel]) -> Derivation:
    """Return an EEG or EOG signal as it is, or minus a mastoid that was recorded against the same electrode."""
    parsed, signal = channel.parsed, channel.signal
    name = parsed.name or signal.label.strip()
    if parsed.electrode is None:
        return Derivation(parsed.kind, name, signal.label, None, "as it is; the label names no electrode")
    if not parsed.unreferenced:
        return Derivation(parsed.kind, name, signal.label, None, "as it is; the file has it referenced")
    note = ""
    # The opposite mastoid first; of the midline's two, M2.
    for mastoid in sorted(("M2", "M1"), key=lambda m: not is_opposite(parsed.electrode or "", m)):
        other = mastoids.get(mastoid)
        if other is None or other.parsed.reference != parsed.reference:
            continue
        if not _same_grid(signal, other.signal):
            note = f" ({other.signal.label} has {other.signal.sample_rate:g} Hz, not {signal.sample_rate:g})"
            continue
        reason = f"{signal.label} minus {other.signal.label}, {_side_in_words(parsed.electrode, mastoid)}{note}"
        return Derivation(parsed.kind, f"{parsed.electrode}-{mastoid}", signal.label, other.signal.label, reason)
    what = "referenced to an unnamed electrode" if parsed.reference else "unreferenced"
    return Derivation(parsed.kind, name, signal.label, None, f"as it is; {what} in the file, no mastoid to use{note}")


def _side_in_words(electrode: str, mastoid: str) -> str:
    if not electrode[-1].isdigit():
        return "either mastoid serves the midline"
    return "the opposite mastoid" if is_opposite(electrode, mastoid) else "the mastoid of its side, the only one there"


# YASA's classifiers were trained on a central derivation, with the left eye and the chin (doi 10.7554/eLife.70092).
_SITES = {
    ChannelKind.EEG: {"C4": 0.0, "C3": 0.1, "F4": 2, "F3": 2.1, "O2": 4, "O1": 4.1, "Cz": 4.2, "Fpz": 4.3, "Fz": 4.4},
    ChannelKind.EOG: {"E1": 0.0, "E2": 1.0},
    ChannelKind.EMG: {},
    ChannelKind.ECG: {},
}


def _rank(parsed: ParsedLabel, derivation: Derivation) -> float:
    """Return a number that is lower for a better EEG or EOG derivation."""
    if parsed.electrode is None:
        # Vertical and infraorbital EOG, headbands: other than what the models were trained on.
        last = re.search(r"\bhb|\bv|[vi]eog", plain(derivation.signal))
        # Of SHHS's EEG (C4-A1) and EEG(sec) (C3-A2) the plain one comes first.
        return 8.0 if last else 7.0 + 0.1 * (plain(derivation.signal) != "eeg")
    site = _SITES[parsed.kind].get(parsed.electrode, 6.0)
    _, _, reference = derivation.name.partition("-")
    if reference in ("M1", "M2"):
        return site + (0.0 if is_opposite(parsed.electrode, reference) else 0.5)
    return site + {"M1M2": 0.5, "": 1.0}.get(reference, 3.0)


def _muscles(channels: list[_Channel], electrodes_are_bare: bool) -> Iterator[tuple[float, Derivation]]:
    """Yield (rank, derivation) of chin EMG.

    Two chin electrodes make a bipolar derivation; EMG1 and EMG2 only where the file's other electrodes are bare too:
    elsewhere each is taken for a derivation of its own.
    """
    site_rank = {"chin": 0.0, "": 2.0}
    paired: set[str] = set()
    for site in ("chin", "") if electrodes_are_bare else ("chin",):
        bare = [c for c in channels if c.parsed.site == site and c.parsed.electrode and c.parsed.unreferenced]
        for one, other in combinations(bare, 2):
            if one.parsed.reference == other.parsed.reference and _same_grid(one.signal, other.signal):
                labels = one.signal.label, other.signal.label
                paired.update(labels)
                reason = f"{labels[0]} minus {labels[1]}: two {site or 'EMG'} electrodes make one derivation"
                yield site_rank[site], Derivation(ChannelKind.EMG, "-".join(labels), *labels, reason)
    for channel in channels:
        parsed, label = channel.parsed, channel.signal.label
        if label not in paired:
            reason = "chin EMG" if parsed.site == "chin" else "taken for the chin EMG, as no other muscle is named"
            rank = site_rank.get(parsed.site, 4.0) + (0.5 if parsed.electrode else 0.0)
            yield rank, Derivation(ChannelKind.EMG, label.strip(), label, None, f"as it is; {reason}")


def _survey(channels: list[_Channel], kind: ChannelKind) -> tuple[tuple[Derivation, ...], tuple[tuple[str, str], ...]]:
    """Return the usable derivations of a kind, best first, and (label, reason) of the signals left out."""
    usable = [c for c in channels if not c.problem]
    mastoids: dict[str, _Channel] = {}
    for channel in usable:
        if channel.parsed.kind == ChannelKind.MASTOID and channel.parsed.unreferenced and channel.parsed.electrode:
            mastoids.setdefault(channel.parsed.electrode, channel)
    wanted = [c for c in usable if c.parsed.kind == kind]
    if kind == ChannelKind.EMG:
        ranked = list(_muscles(wanted, electrodes_are_bare=bool(mastoids)))
    else:
        ranked = [(_rank(c.parsed, derivation), derivation) for c in wanted for derivation in [_derive(c, mastoids)]]
    # What the file has already comes before the same derivation made from two signals.
    ranked.sort(key=lambda pair: (pair[0], pair[1].reference is not None))
    best: dict[str, Derivation] = {}
    excluded = [(c.signal.label, c.problem) for c in channels if c.problem and c.parsed.kind == kind]
    for _, derivation in ranked:
        first = best.setdefault(derivation.name, derivation)
        if first is not derivation:
            excluded.append((derivation.signal, f"{derivation.name} is there already, from {first.signal}"))
    return tuple(best.values()), tuple(excluded)


def candidates(recording: Recording, kind: ChannelKind) -> tuple[Derivation, ...]:
    """Return all usable derivations of a kind (EEG, EOG or EMG), best first.

    A referenced signal is taken as it is. An unreferenced EEG or EOG electrode gets the opposite mastoid where the file
    has it (odd numbers M2, even numbers M1, midline either), else the other one, else it is taken as it is. Chin
    electrodes are paired. Nothing is referenced twice, and nothing appears twice.
    """
    return _survey(_channels(recording), kind)[0]


def choose_derivations(
    recording: Recording,
    *,
    eeg: Choice = None,
    eog: Choice = None,
    emg: Choice = None,
    ecg: Choice = None,
    kinds: Sequence[ChannelKind] = (ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG),
    required: Sequence[ChannelKind] = (ChannelKind.EEG,),
) -> Montage:
    """Choose the derivations for staging.

    Parameters
    ----------
    recording
        Only its labels, units, rates and lengths are looked at.
    eeg, eog, emg, ecg
        None: all usable ones, best first. A text or several: a label of the file, an electrode or derivation by its
        common name ("C4-M1" finds "EEG C4-A1"), or one label minus another ("C4-M1" of "C4" and "M1"). "none": no
        signal of this kind.
    kinds
        The kinds to look for.
    required
        Those of them without which there is nothing to stage.

    Raises
    ------
    MissingChannelError
        If a required kind or a named signal is not there; the message names those present.
    UnusableSignalError
        If a named signal is sampled too slowly, or the two of a pair at different rates.
    """
    channels = _channels(recording)
    wishes_of = {ChannelKind.EEG: eeg, ChannelKind.EOG: eog, ChannelKind.EMG: emg, ChannelKind.ECG: ecg}
    chosen: dict[ChannelKind, tuple[Derivation, ...]] = dict.fromkeys(wishes_of, ())
    excluded: tuple[tuple[str, str], ...] = ()
    for kind in kinds:
        choice = wishes_of[kind]
        wishes = [choice] if isinstance(choice, str) else list(choice or ())
        if not wishes:
            derivations, left_out = _survey(channels, kind)
            excluded += left_out
        elif any(wish.strip().lower() == "none" for wish in wishes):
            derivations = ()
        else:
            derivations = tuple(dict.fromkeys(_wished(recording, kind, wish) for wish in wishes))
        chosen[kind] = derivations
        # A person who says --eeg none has said so.
        if kind in required and not derivations and not wishes:
            raise MissingChannelError(_none_of(kind, channels))
    return Montage(
        chosen[ChannelKind.EEG], chosen[ChannelKind.EOG], chosen[ChannelKind.EMG], excluded, chosen[ChannelKind.ECG]
    )


def _none_of(kind: ChannelKind, channels: list[_Channel]) -> str:
    refused = [f"{c.signal.label}: {c.problem}" for c in channels if c.problem and c.parsed.kind == kind]
    if not refused:  # of a grid of 128 electrodes one stands for all
        grid = (c for c in channels if c.problem and c.parsed.kind == ChannelKind.OTHER)
        refused = [f"{c.signal.label}: {c.problem}" for c in grid][:1]
    if not channels:
        return "the recording has no signals: it holds annotations only"
    because = f" ({_shortened(refused, '; ')})" if refused else ""
    present = _shortened([c.signal.label for c in channels])
    return (
        f"no {kind} that can be staged{because}. The recording has: {present}. "
        f"If one of them is an {kind}, name it with --{kind.lower()} LABEL (in Python {kind.lower()}=…)"
    )


def _shortened(names: Sequence[str], separator: str = ", ", limit: int = 40) -> str:
    shown = separator.join(names[:limit])
    return f"{shown} … and {len(names) - limit} more" if len(names) > limit else shown


def _wished(recording: Recording, kind: ChannelKind, wish: str) -> Derivation:
    """Return the derivation that a user names."""
    option = f"--{kind.lower()} {wish}"
    label = _find(recording, wish)
    if label is not None:
        _check_rate(recording.signal(label), kind, option)
        parsed = parse_label(label)
        name = parsed.name if parsed.name and kind == parsed.kind != ChannelKind.EMG else label.strip()
        return Derivation(kind, name, label, None, f"chosen with {option}")
    for cut in re.finditer(r"[-:−–/]", wish):
        one, other = _find(recording, wish[: cut.start()]), _find(recording, wish[cut.end() :])
        if one is not None and other is not None:
            _check_rate(recording.signal(one), kind, option)
            _check_grids(recording.signal(one), recording.signal(other), option)
            return Derivation(kind, wish.strip(), one, other, f"chosen with {option}: {one} minus {other}")
    close = difflib.get_close_matches(wish, recording.labels, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise MissingChannelError(
        f"{option}: no such signal, nor two signals to subtract. {hint}"
        f"The recording has: {_shortened(recording.labels) or 'no signals'}"
    )


def _check_rate(signal: Signal, kind: ChannelKind, option: str) -> None:
    limit = MINIMUM_SAMPLE_RATE[kind]
    if signal.sample_rate < limit:
        raise UnusableSignalError(
            f"{option}: {signal.label} has {signal.sample_rate:g} Hz; {kind} is used from {limit:g} Hz"
        )


def _check_grids(signal: Signal, reference: Signal, what: str) -> None:
    if not _same_grid(signal, reference):
        sizes = " and ".join(
            f"{s.label} has {s.n_samples} samples at {s.sample_rate:g} Hz" for s in (signal, reference)
        )
        raise UnusableSignalError(f"{what}: {sizes}; only signals of one rate and length can be subtracted")


def _find(recording: Recording, wish: str) -> str | None:
    """Return the label that a user means: the label itself, else the electrode or derivation by its common name."""
    wish = wish.strip()
    if wish.lower() in (label.strip().lower() for label in recording.labels):
        return recording.signal(wish).label  # raises where several have it
    wanted = parse_label(wish)
    if wanted.electrode is None or wanted.kind == ChannelKind.EMG:
        return None
    for channel in _channels(recording):
        found = channel.parsed
        if (found.kind, found.name) == (wanted.kind, wanted.name) and not channel.problem:
            return channel.signal.label
    return None


def describe_channels(recording: Recording, montage: Montage | None = None) -> tuple[ChannelRow, ...]:
    """Return for each signal of the file what it is taken for, how it is used and why.

    Parameters
    ----------
    recording
        Only its labels, units, rates and lengths are looked at.
    montage
        From `choose_derivations`; None: what would be chosen without a user's wishes.
    """
    channels = _channels(recording)
    if montage is None:
        eeg, eog, emg = (_survey(channels, kind) for kind in (ChannelKind.EEG, ChannelKind.EOG, ChannelKind.EMG))
        montage = Montage(eeg[0], eog[0], emg[0], eeg[1] + eog[1] + emg[1])
    return tuple(_describe(channel, montage) for channel in channels)


def _describe(channel: _Channel, montage: Montage) -> ChannelRow:
    signal, kind = channel.signal, channel.parsed.kind
    unique = not channel.problem.endswith("to use one")
    used = [d for d in montage.derivations if d.signal == signal.label] if unique else []
    reference = [d.name for d in montage.derivations if d.reference == signal.label] if unique else []
    use = [d.name if d.kind == kind else f"{d.kind} {d.name}" for d in used] + [
        f"reference of {name}" for name in reference
    ]
    reason = "; ".join(d.reason for d in used)
    if not use:
        default = "not asked for" if kind in MINIMUM_SAMPLE_RATE else ""
        reason = dict(montage.excluded).get(signal.label, "") or channel.problem or default
    return ChannelRow(signal.label, signal.sample_rate, signal.unit, kind, ", ".join(use), reason)


def read_derivation(recording: Recording, derivation: Derivation) -> DerivedSignal:
    """Read a derivation in µV.

    A signal without a voltage unit is taken in the one of nV, µV, mV, V that makes its spread plausible, with a
    warning. A unit in the file is believed; an implausible EEG is only warned of.

    Raises
    ------
    MissingChannelError
        If the recording lacks a signal of the derivation.
    UnusableSignalError
        If signal and reference differ in rate or length.
    """
    signal = recording.signal(derivation.signal)
    amplitude, factor, warnings = _in_microvolts(signal)
    rails = signal.physical_range and (signal.physical_range[0] * factor, signal.physical_range[1] * factor)
    if derivation.reference is not None:
        other = recording.signal(derivation.reference)
        _check_grids(signal, other, derivation.name)
        subtracted, _, more = _in_microvolts(other)
        amplitude, rails, warnings = amplitude - subtracted, None, warnings + more
    if derivation.kind == ChannelKind.EEG:
        warnings += _implausible(derivation.name, typical_spread(amplitude, signal.sample_rate))
    amplitude = amplitude.view()
    amplitude.flags.writeable = False
    return DerivedSignal(amplitude, signal.sample_rate, warnings, rails)


def _in_microvolts(signal: Signal) -> tuple[NDArray[np.float32], float, tuple[str, ...]]:
    """Return (samples in µV, µV per unit of the file, warnings)."""
    samples = signal.samples()
    warnings: tuple[str, ...] = ()
    factor = microvolts_per_unit(signal.unit)
    if factor is None:
        factor, warnings = _guessed_factor(signal, typical_spread(samples, signal.sample_rate))
    return (samples if factor == 1 else samples * np.float32(factor)), factor, warnings


def _guessed_factor(signal: Signal, spread: float) -> tuple[float, tuple[str, ...]]:
    # Powers of 1,000 cut all spreads into ranges without gaps; a scalp gives 0.5 to 500 µV.
    thousands = int(np.clip(np.ceil(np.log(0.5 / spread) / np.log(1000)), -1, 2)) if spread > 0 else 0
    unit = {-1: "nV", 0: "µV", 1: "mV", 2: "V"}[thousands]
    in_file = f"has the unit {signal.unit!r}, which is no voltage" if signal.unit.strip() else "has no unit in the file"
    why = f"as its inter-quartile range of {spread:.3g} fits" if spread > 0 else "as nothing tells otherwise"
    return 1000.0**thousands, (f"{signal.label} {in_file}; taken as {unit}, {why}",)


def typical_spread(amplitude: NDArray[np.float32], sample_rate: float, *, epoch_s: float = 30.0) -> float:
    """Return the median over epochs of the inter-quartile range within an epoch, in the unit of the signal.

    Epochs that hold gaps or do not move at all are left out: drift, gaps and flat stretches do not change it. About 60
    epochs, spread over the night, are looked at. 0 where no epoch is left.
    """
    length = max(1, min(round(sample_rate * epoch_s), amplitude.size))
    starts = np.arange(0, amplitude.size - length + 1, length)
    starts = starts[:: max(1, starts.size // 60)]
    if not starts.size:
        return 0.0
    epochs = np.stack([amplitude[start : start + length] for start in starts])
    low, high = np.percentile(epochs[np.isfinite(epochs).all(axis=1)], [25, 75], axis=1)
    spreads = (high - low)[high > low]
    return float(np.median(spreads)) if spreads.size else 0.0


def _implausible(name: str, spread_uv: float) -> tuple[str, ...]:
    if spread_uv == 0 or 1 <= spread_uv <= 500:
        return ()
    guess = "mV or V labelled as µV" if spread_uv < 1 else "µV labelled as mV or V"
    return (
        f"{name} has an inter-quartile range of {spread_uv:.3g} µV, an EEG 5 to 60 µV: probably {guess}. "
        "Correct the unit in the file, or do not trust the stages",
    )
