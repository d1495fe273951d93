"""Let every usable derivation vote.

Each combination of an EEG, an EOG and an EMG derivation is staged by the same member stager. Their probabilities are
averaged, each epoch of each voter weighted by the quality of the signals that it saw (and, by the member stager, by how
well it knows such derivations). The result does not depend on the
order of the derivations: voters are sorted by name before anything is added up.

Where even the best voter's EEG is poor, probabilities shrink towards "any stage": with q the largest `evidence` of the
epoch, p becomes q·p + (1 − q)/n_stages. The stage stays, the confidence drops. Where no voter has information the
epoch is UNSCORED.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, UnusableSignalError
from hypnograph.hypnogram import Hypnodensity
from hypnograph.montage import ChannelKind, Derivation, Montage, choose_derivations
from hypnograph.recording import Recording
from hypnograph.stagers import StagerLike, Staging, Voter, VotingStager, create_stager, hypnogram_of

NAME = "ensemble"
DESCRIPTION = "soft vote over all derivations, weighted by signal quality: of the YASA classifiers, or of a network"

# More voters cost time and change little: six EEG × two EOG × one EMG is the full clinical montage.
MAX_VOTERS = 12


class EnsembleStager:
    """Soft vote over derivations.

    Parameters
    ----------
    member
        Stages each montage.
    eeg, eog, emg, ecg
        Derivations to use instead of all that are found; ``"none"`` for none.
    max_voters
        The best-ranked combinations up to this number take part.
    """

    def __init__(
        self,
        *,
        member: VotingStager,
        eeg: str | Sequence[str] | None = None,
        eog: str | Sequence[str] | None = None,
        emg: str | Sequence[str] | None = None,
        ecg: str | Sequence[str] | None = None,
        max_voters: int = MAX_VOTERS,
    ) -> None:
        if max_voters < 1:
            raise HypnographError(f"max_voters is {max_voters}; at least one must vote")
        self.member = member
        self.overrides = {"eeg": eeg, "eog": eog, "emg": emg, "ecg": ecg}
        self.max_voters = max_voters

    def stage(self, recording: Recording) -> Staging:
        """Stage one recording by all its derivations; see `StagerLike.stage`."""
        began = perf_counter()
        kinds = self.member.kinds
        montage = choose_derivations(recording, **self.overrides, kinds=kinds, required=self.member.required)
        combinations = _combinations(montage, kinds, self.max_voters)
        chosen_s = perf_counter() - began
        ballot = self.member.vote(recording, combinations)
        voters = tuple(sorted(ballot.voters, key=lambda voter: voter.name))
        scorer = ballot.stager if len(voters) == 1 else f"{NAME} of {len(voters)} × {ballot.stager}"
        hypnodensity = replace(combine(voters), scorer=scorer)
        if not hypnodensity.known.any():
            names = ", ".join(voter.name for voter in voters)
            raise UnusableSignalError(
                f"no epoch of any derivation ({names}) holds a usable signal: {_first(ballot.warnings)}"
            )
        used = tuple(dict.fromkeys(derivation for combination in combinations for derivation in combination))
        return Staging(
            hypnogram=hypnogram_of(hypnodensity, recording),
            hypnodensity=hypnodensity,
            derivations=used,
            stager=scorer,
            weights_sha256=ballot.weights_sha256,
            warnings=(
                *recording.warnings,
                *_left_out(montage, kinds, len(combinations)),
                *ballot.warnings,
                *_unscored(hypnodensity),
            ),
            timings_s={"montage": chosen_s, **ballot.timings_s},
            voters=voters,
        )


def _first(warnings: Sequence[str]) -> str:
    return warnings[0] if warnings else "the signals are empty"


def _combinations(
    montage: Montage, kinds: Sequence[ChannelKind], max_voters: int | None = None
) -> list[tuple[Derivation, ...]]:
    """Return one derivation of each kind, the best ranked first, where an absent kind is left out."""
    ranked = product(*(list(enumerate(montage.of(kind))) for kind in kinds if montage.of(kind)))
    # A network may take two EEG: they are not the same one.
    distinct = [combination for combination in ranked if len({d for _, d in combination}) == len(combination)]
    by_rank = sorted(distinct, key=lambda combination: sum(rank for rank, _ in combination))
    return [tuple(derivation for _, derivation in combination) for combination in by_rank[:max_voters]]


def _left_out(montage: Montage, kinds: Sequence[ChannelKind], used: int) -> tuple[str, ...]:
    possible = len(_combinations(montage, kinds))
    if possible == used:
        return ()
    return (f"{possible} combinations of derivations are possible; the {used} best ranked vote",)


def _unscored(hypnodensity: Hypnodensity) -> tuple[str, ...]:
    n_unknown = int((~hypnodensity.known).sum())
    if not n_unknown:
        return ()
    return (f"{n_unknown} of {len(hypnodensity)} epochs are UNSCORED: no EEG derivation is usable in them",)


def combine(voters: Sequence[Voter]) -> Hypnodensity:
    """Return the weighted mean of the voters' probabilities (see the module's text).

    Parameters
    ----------
    voters
        At least one, all on the same grid; summed in the order given.

    Returns
    -------
    Hypnodensity
        NaN rows where no voter has a weight above 0.
    """
    if not voters:
        raise UnusableSignalError("no derivation could be staged")
    weights = np.stack([np.where(voter.hypnodensity.known, voter.weight, 0.0) for voter in voters])
    total = weights.sum(axis=0)
    votes = np.stack([np.nan_to_num(voter.hypnodensity.probabilities) for voter in voters])
    with np.errstate(invalid="ignore"):
        mean = (weights[:, :, None] * votes).sum(axis=0) / total[:, None]
    evidence = np.max(
        [np.where(weight > 0, v.evidence, 0.0) for v, weight in zip(voters, weights, strict=True)], axis=0
    )
    shrunk = evidence[:, None] * mean + (1 - evidence[:, None]) / mean.shape[1]
    first = voters[0].hypnodensity
    return replace(first, probabilities=shrunk)


def disagreement(voters: Sequence[Voter], hypnodensity: Hypnodensity) -> NDArray[np.float64]:
    """Return for each epoch the share of the voters' weight that is for another stage than the result.

    Returns
    -------
    NDArray[np.float64], shape (n_epochs,)
        0: all agree; NaN where nobody votes.
    """
    weights = np.stack([np.where(voter.hypnodensity.known, voter.weight, 0.0) for voter in voters])
    result = hypnodensity.argmax().stages
    against = np.stack([voter.hypnodensity.argmax().stages != result for voter in voters])
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights * against).sum(axis=0) / np.where(total > 0, total, np.nan))


def create(*, member: str | VotingStager = "yasa", max_voters: int = MAX_VOTERS, **options: Any) -> StagerLike:
    """Return the ensemble of a member stager; derivations are the ensemble's, other options go to the member."""
    own = {name: options.pop(name, None) for name in ("eeg", "eog", "emg", "ecg")}
    voter: Any = create_stager(member, **options) if isinstance(member, str) else member
    return EnsembleStager(member=voter, max_voters=max_voters, **own)
