"""How plausible a scoring is: its surprise, its place among other nights, and the stretches that deserve a second look.

Surprise is −log p(stage | stages before), in nats. It is one-sided: each true change of stage is a surprise, too. To
tell a slip of the scorer from a change, a stretch is looked at from both sides: how much more likely would the night
be, over this stretch and the epochs after it, had the stretch been another stage? With the whole night behind it this
is the log odds of the two scorings. A high gain means "unusual", not "wrong": who sleeps unusually is scored unusually.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.sequences.next_stage import NextStageModel, filled
from hypnograph.whole_file import whole_file

REFERENCE = "plausibility.json"
"""The file of a model's folder with the surprise of nights that others are compared with."""
HORIZON = 10
"""So many epochs after a change are looked at."""
LONGEST_STRETCH = 10
"""A longer stretch of one stage is not doubted as a whole."""
DEFAULT_GAIN = 2.0


class Plausibility(NamedTuple):
    """How plausible a night is as a whole.

    Parameters
    ----------
    nats
        Mean surprise of an epoch.
    perplexity
        exp(nats): between so many equally likely stages the model is undecided, on average.
    n_epochs
        That have a surprise: scored ones that come after others.
    percentile
        Percent of the reference nights that are less plausible; NaN without reference.
    """

    nats: float
    perplexity: float
    n_epochs: int
    percentile: float


class Edit(NamedTuple):
    """Epochs `first` to `past_last` (exclusive) become `stage`."""

    first: int
    past_last: int
    stage: int


class ImprobableStretch(NamedTuple):
    """A stretch that the model would have expected otherwise.

    Parameters
    ----------
    first_epoch, n_epochs
        Where; epochs count from 0.
    start_s, duration_s
        The same in seconds.
    scored, expected
        Labels: what it is, and with what the night would be most plausible.
    gain
        By so many nats: e^gain are the odds of `expected` against `scored`.
    surprise
        The largest one-sided surprise of its epochs, nats.
    """

    first_epoch: int
    n_epochs: int
    start_s: float
    duration_s: float
    scored: str
    expected: str
    gain: float
    surprise: float


def surprise(model: NextStageModel, stages: ArrayLike) -> NDArray[np.float64]:
    """Return −log p of each epoch's stage given those before it.

    A model that predicts two epochs ahead judges each epoch by what came until two epochs before it.

    Parameters
    ----------
    model
        Any.
    stages : int array, shape (n_epochs,)
        Of one night; −1 is unscored.

    Returns
    -------
    float64 array, shape (n_epochs,)
        Nats; NaN where an epoch is unscored or too early to be predicted.
    """
    came: NDArray[Any] = np.asarray(stages)
    predicted = model.log_probabilities(came)
    nats = np.full(len(came), np.nan)
    known = np.flatnonzero(came[model.targets_ahead :] >= 0)
    nats[known + model.targets_ahead] = -predicted[known, came[known + model.targets_ahead]]
    return nats


def night_plausibility(model: NextStageModel, stages: ArrayLike, *, reference: ArrayLike = ()) -> Plausibility:
    """Return how plausible a night is, and how many of the reference nights are less so.

    Parameters
    ----------
    model
        Any.
    stages : int array, shape (n_epochs,)
        Of one night; −1 is unscored.
    reference : float array, shape (n_nights,)
        Mean surprise of other nights under the same model: `reference_surprise` or `load_reference`.

    Raises
    ------
    HypnographError
        If no epoch of the night can be predicted.
    """
    nats = surprise(model, stages)
    n_epochs = int((~np.isnan(nats)).sum())
    if not n_epochs:
        raise HypnographError("the night has no scored epoch after another: there is nothing to be surprised at")
    mean = float(np.nanmean(nats))
    others = np.asarray(reference, dtype=np.float64)
    # Half of those that are equal count, so that the middle night of the reference has 50.
    percentile = 100 * float(((others > mean) + 0.5 * (others == mean)).mean()) if others.size else np.nan
    return Plausibility(mean, float(np.exp(mean)), n_epochs, percentile)


def reference_surprise(model: NextStageModel, nights: Iterable[ArrayLike]) -> NDArray[np.float64]:
    """Return the mean surprise of each night that has one, in rising order."""
    means = [np.nanmean(nats) for night in nights if (~np.isnan(nats := surprise(model, night))).any()]
    return np.sort(np.array(means, dtype=np.float64))


def save_reference(folder: str | Path, nats: NDArray[np.float64], of: str) -> Path:
    """Write the percentiles of `reference_surprise` beside a model's weights; `of` says of which nights they are."""
    path = Path(folder) / REFERENCE
    quantiles = np.percentile(nats, np.arange(101)).round(5).tolist()
    with whole_file(path) as temporary:
        content = {"of": of, "nights": len(nats), "nats_percentiles": quantiles}
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load_reference(folder: str | Path) -> tuple[NDArray[np.float64], str]:
    """Return the percentiles that `save_reference` wrote, and of which nights; nothing where there is no such file.

    Raises
    ------
    UnreadableFileError
        If the file is damaged.
    """
    path = Path(folder) / REFERENCE
    if not path.is_file():
        return np.empty(0), ""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return np.array(content["nats_percentiles"], dtype=np.float64), f"{content['of']} ({content['nights']} nights)"
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableFileError(f"{path} holds no percentiles of surprise: {error!r}") from error


def gains(
    model: NextStageModel, stages: ArrayLike, edits: Sequence[Edit], *, horizon: int = HORIZON
) -> NDArray[np.float64]:
    """Return how much more likely the night would be with each edit alone.

    Parameters
    ----------
    model
        Of the next epoch.
    stages : int array, shape (n_epochs,)
        Of one night; −1 is unscored. Unscored epochs stay so.
    edits
        In any order.
    horizon
        So many epochs after an edit are looked at.

    Returns
    -------
    float64 array, shape (len(edits),)
        log p(edited) − log p(as it is), nats, from the edit's first epoch to `horizon` epochs after its last.

    Raises
    ------
    HypnographError
        If the model predicts anything but the next epoch, or an edit is not within the night.
    """
    if model.targets_ahead != 1:
        raise HypnographError(
            f"{model.name or 'this model'} predicts the stage {model.targets_ahead} epochs ahead; a stretch is judged "
            "from both sides by a model of the next epoch"
        )
    night: NDArray[Any] = np.asarray(stages)
    filled(night, model.scheme)  # refuses what is no night
    for edit in edits:
        if not (0 <= edit.first < edit.past_last <= len(night) and 0 <= edit.stage < model.scheme.n_stages):
            raise HypnographError(f"{edit} is not within a night of {len(night)} epochs and its scheme")
    return _read_side_by_side(model, night.astype(np.intp), edits, horizon)


def _read_side_by_side(
    model: NextStageModel, night: NDArray[np.intp], edits: Sequence[Edit], horizon: int
) -> NDArray[np.float64]:
    """Read the night as it is, and beside it each edit as long as it can matter."""
    table = np.array([*edits], dtype=np.intp).reshape(-1, 3)
    begins, ends, replaced_by = table.T
    opens: dict[int, list[int]] = {}
    for number, begin in enumerate(begins.tolist()):
        opens.setdefault(begin, []).append(number)
    gain = np.zeros(len(edits))
    reader = model.reader(1)
    running = np.empty(0, dtype=np.intp)  # the edits that are read now, beside the night itself, which is lane 0
    predicted = np.zeros((1, model.scheme.n_stages))  # nothing is said about the first epoch
    for t, stage in enumerate(night):
        kept = np.flatnonzero(ends[running] + horizon > t)
        new = np.array(opens.get(t, []), dtype=np.intp)
        if len(new) or len(kept) < len(running):
            lanes = np.concatenate([[0], kept + 1, np.zeros(len(new), dtype=np.intp)])
            running = np.concatenate([running[kept], new])
            reader.select(lanes)
            predicted = predicted[lanes]
        read = np.where(t < ends[running], replaced_by[running], stage) if stage >= 0 else np.full(len(running), stage)
        if stage >= 0 and len(running):
            gain[running] += predicted[np.arange(1, len(running) + 1), read] - predicted[0, stage]
        predicted = reader.read(np.concatenate([[stage], read]).astype(np.intp))
    return gain


def two_sided(model: NextStageModel, stages: ArrayLike, *, horizon: int = HORIZON) -> NDArray[np.float64]:
    """Return log p(stage | the stages before and after) of each epoch.

    Parameters
    ----------
    model
        Of the next epoch.
    stages : int array, shape (n_epochs,)
        Of one night; −1 is unscored.
    horizon
        So many epochs after an epoch are looked at.

    Returns
    -------
    float64 array, shape (n_epochs, n_stages)
        NaN where an epoch is unscored.

    Raises
    ------
    HypnographError
        If the model predicts anything but the next epoch.
    """
    night: NDArray[Any] = np.asarray(stages)
    scored = np.flatnonzero(night >= 0)
    n_stages = model.scheme.n_stages
    edits = [Edit(int(t), int(t) + 1, stage) for t in scored for stage in range(n_stages)]
    score = gains(model, night, edits, horizon=horizon).reshape(-1, n_stages)
    result = np.full((len(night), n_stages), np.nan)
    result[scored] = score - np.logaddexp.reduce(score, axis=1, keepdims=True)
    return result


def improbable_stretches(
    model: NextStageModel,
    hypnogram: Hypnogram,
    *,
    least_gain: float = DEFAULT_GAIN,
    horizon: int = HORIZON,
    limit: int | None = 20,
) -> list[ImprobableStretch]:
    """Return the stretches with which a night would be more plausible otherwise, in order of time.

    Each bout of up to `LONGEST_STRETCH` epochs is tried as each other stage. Of bouts that touch, the one with the
    larger gain is named: what the night gains by changing the other is mostly the same.

    Parameters
    ----------
    model
        Of the next epoch.
    hypnogram
        The night, in the model's scheme.
    least_gain
        Nats that the night has to gain at least: 2 are odds of 7 to 1.
    horizon
        So many epochs after a stretch are looked at.
    limit
        Keep those with the largest gain; None: all.

    Raises
    ------
    HypnographError
        If the model predicts anything but the next epoch, or the night is of another scheme.
    """
    if hypnogram.scheme != model.scheme:
        raise HypnographError(f"the night is in scheme {hypnogram.scheme.name}, the model in {model.scheme.name}")
    edits = bout_edits(hypnogram.stages, model.scheme.n_stages)
    gain = gains(model, hypnogram.stages, edits, horizon=horizon)
    nats = surprise(model, hypnogram.stages)
    taken = np.zeros(hypnogram.n_epochs + 2, dtype=bool)  # epoch t is place t + 1
    found = []
    for i in np.argsort(-gain, kind="stable"):
        first, past_last, _ = edits[i]
        if gain[i] >= least_gain and not taken[first : past_last + 2].any():
            taken[first + 1 : past_last + 1] = True
            found.append(_describe(hypnogram, edits[i], float(gain[i]), nats))
    return sorted(found[:limit])


def bout_edits(stages: ArrayLike, n_stages: int, *, longest: int = LONGEST_STRETCH) -> list[Edit]:
    """Return each bout of up to `longest` epochs as each other stage."""
    night: NDArray[Any] = np.asarray(stages)
    borders = [0, *(np.flatnonzero(np.diff(night)) + 1).tolist(), len(night)]
    return [
        Edit(first, past_last, stage)
        for first, past_last in pairwise(borders)
        if night[first] >= 0 and past_last - first <= longest
        for stage in range(n_stages)
        if stage != night[first]
    ]


def _describe(hypnogram: Hypnogram, edit: Edit, gain: float, nats: NDArray[np.float64]) -> ImprobableStretch:
    n_epochs = edit.past_last - edit.first
    here = nats[edit.first : edit.past_last]
    return ImprobableStretch(
        first_epoch=edit.first,
        n_epochs=n_epochs,
        start_s=edit.first * hypnogram.epoch_s,
        duration_s=n_epochs * hypnogram.epoch_s,
        scored=hypnogram.scheme.label(int(hypnogram.stages[edit.first])),
        expected=hypnogram.scheme.label(edit.stage),
        gain=gain,
        surprise=float(np.nanmax(here)) if (~np.isnan(here)).any() else np.nan,
    )
