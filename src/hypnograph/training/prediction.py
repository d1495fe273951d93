"""What a network says of prepared nights: all its channel combinations, which vote, at any resolution.

It is the way of staging (`hypnograph.network.night_logits`), on signals that are prepared already; validation during a
training goes this way, too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice, product

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnodensity
from hypnograph.montage import ChannelKind
from hypnograph.network import Network, night_logits
from hypnograph.preprocess import InputSpec
from hypnograph.training.augmentation import Augmentation, augment
from hypnograph.training.epoch_grid import check_windows
from hypnograph.training.prepared_night import PreparedNight
from hypnograph.windows import log_softmax

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Prediction:
    """A staged night.

    Parameters
    ----------
    night
        Which.
    hypnodensity
        Of the vote: the mean probabilities of all combinations.
    members
        Of each combination, by its name ("C4-M1 + E1-M2").
    """

    night: PreparedNight
    hypnodensity: Hypnodensity
    members: dict[str, Hypnodensity]


def combinations(night: PreparedNight, kinds: Sequence[ChannelKind], most: int | None = None) -> list[tuple[str, ...]]:
    """Return the combinations of a night's derivations, one of each kind; the best ones first.

    Raises
    ------
    HypnographError
        If the night has no derivation of a kind, or none is asked for.
    """
    if most is not None and most < 1:
        raise HypnographError(f"{most} channel combinations; give 1 or more")
    if missing := [kind for kind in kinds if not night.derivations.get(kind)]:
        raise HypnographError(f"{night.key} has no {missing[0]}, which the network takes")
    return list(islice(product(*(night.derivations[kind] for kind in kinds)), most))


def night_signals(night: PreparedNight, kinds: Sequence[ChannelKind], names: Sequence[str]) -> Floats:
    """Return the signals of a whole night, float32 (n_epochs, channel, sample)."""
    parts = [night.read(kind, name) for kind, name in zip(kinds, names, strict=True)]
    return np.stack(parts, axis=1)


def check_spec(network: Network, prepared_for: InputSpec) -> None:
    """Refuse nights that were prepared for another input; the context is the network's own affair.

    Raises
    ------
    HypnographError
        If they were; the message names what differs.
    """
    wanted, given = asdict(network.info.input), asdict(prepared_for)
    different = [
        f"{key}: the network takes {wanted[key]}, the store has {given[key]}"
        for key in wanted
        if key not in ("context", "kinds") and wanted[key] != given[key]
    ]
    if missing := [kind for kind in network.info.input.kinds if kind not in prepared_for.kinds]:
        different.append(f"the network takes {', '.join(missing)}, which the store has not")
    if different:
        raise HypnographError(
            f"these nights were prepared for another network: {'; '.join(different)}. "
            "Prepare them into another store: hypnograph prepare STORE … --recipe RECIPE, or --like CHECKPOINT"
        )


def predict_night(
    network: Network,
    night: PreparedNight,
    *,
    most: int | None = None,
    augmentations: Sequence[Augmentation] = (),
    n_augmented: int = 0,
    context: int | None = None,
    seed: int = 0,
) -> Prediction:
    """Stage a prepared night by all its channel combinations, which vote with equal weights.

    Parameters
    ----------
    network
        What stages.
    night
        Prepared as the network wants it.
    most
        Combinations at most; None: all.
    augmentations, n_augmented
        Beside the night as it is, each combination is staged so many times with its signals augmented (test-time
        augmentation); all count alike.
    context
        Epochs that are augmented together, as many as in a window of the training; None: the whole night.
    seed
        Of the augmentations.

    Raises
    ------
    HypnographError
        If the night lacks a channel kind, or its windows overlap and the network cannot have that.
    """
    if night.overlaps:
        check_windows(network.info.architecture)
    kinds, members = network.info.input.kinds, {}
    for index, names in enumerate(combinations(night, kinds, most)):
        signals = night_signals(night, kinds, names)
        passes = [np.exp(log_softmax(night_logits(network, signals)))]
        for copy in range(n_augmented):
            rng = np.random.default_rng((seed, index, copy))
            changed = _augmented(signals, augmentations, context or len(signals), rng)
            passes.append(np.exp(log_softmax(night_logits(network, changed))))
        members[" + ".join(names)] = _hypnodensity(network, night, np.mean(passes, axis=0))
    vote = np.mean([member.probabilities for member in members.values()], axis=0)
    return Prediction(night, _hypnodensity(network, night, vote), members)


def _augmented(
    signals: Floats, augmentations: Sequence[Augmentation], context: int, rng: np.random.Generator
) -> Floats:
    changed = signals.copy()
    for first in range(0, len(changed), context):
        changed[first : first + context] = augment(changed[first : first + context], augmentations, rng)
    return changed


def _hypnodensity(network: Network, night: PreparedNight, probabilities: NDArray[np.float64]) -> Hypnodensity:
    info = network.info
    if night.overlaps and info.sub_epochs > 1:
        raise HypnographError(
            f"{night.key} has a window of {night.spec.epoch_s:g} s around each epoch of {night.epoch_s:g} s; it is "
            "staged by epochs only, without --resolution"
        )
    return Hypnodensity(
        probabilities.reshape(night.n_epochs * info.sub_epochs, -1),
        night.epoch_s if night.overlaps else info.resolution_s,
        scheme=info.scheme,
        scorer=info.title,
    )
