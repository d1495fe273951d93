"""LSTM cells over a night, and a finder of those that track wake, sleep onset, the time, or long runs of N3 and REM.

The cells are those of Supratak et al. (2017, DOI 10.1109/TNSRE.2017.2721116, figure 5): tanh of the cell state, from −1
(inactive) to 1 (active), while one state is carried through the whole night.

Slow cells beside slow stages agree by chance, and among a thousand cells some agree well. So each of the five measures
has a threshold that the best of all cells together passes by chance in one night of a hundred:

- For what depends on the stages, the stages are shifted against the cells, around the end of the night. Shifts of less
  than a twentieth of the night are left out.
- For the time of night, each cell is compared with random walks of its own steps, their signs flipped by chance: a walk
  drifts, too, and one night cannot tell a drift from a clock unless the clock is nearly monotone. Here cells and walks
  are means over ten minutes.

A network that never learned follows the amplitude of the signal, and so the stages, too. Where the cells of networks of
the same architecture with fresh weights are given, a cell must also come twice as close to a perfect one as the best of
theirs. LOG.md (cells) has the rates at which untrained networks pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hypnograph.hypnogram import Hypnogram
from hypnograph.network import Floats, TorchNetwork

if TYPE_CHECKING:
    import pandas as pd

CHANCE = 0.01
"""Of finding any cell at all by one measure where there is none: five of them make 5 %."""

LEAST_SHIFT = 0.05
"""Of the night; less is hardly a shift."""

N_WALKS = 400
BLOCK_S = 600.0
LEAST_CHANGE = 0.02
AROUND_ONSET_S = 150.0
LATE_IN_RUN_S = 300.0
"""A run has lasted when it is older than this; its first minute is what came before."""

AWAKE = ("W", "N1")
RUNS = ("N3", "deep", "REM")


@dataclass(frozen=True, eq=False)
class Cells:
    """LSTM cells over a night.

    Parameters
    ----------
    names : tuple of str
        Such as ``"forward 2/317"``: direction, layer, unit, the first is 1.
    activity : float32 array, shape (n_epochs, cell)
        tanh of the cell states, −1 to 1.
    """

    names: tuple[str, ...]
    activity: NDArray[np.float32]

    def of(self, name: str) -> NDArray[np.float32]:
        """Return the activity of one cell."""
        return self.activity[:, self.names.index(name)]


@dataclass(frozen=True, eq=False)
class Measure:
    """One way in which cells may track the night.

    Parameters
    ----------
    tracks
        What: ``"wake"``, ``"sleep onset"``, ``"time of night"``, ``"N3 runs"``, ``"REM runs"``.
    statistic
        The name of the number and what it means.
    values : float64 array, shape (cell,)
    neutral
        Its value for a cell that tracks nothing.
    threshold
        Distance from `neutral` that a cell must surpass.
    perfect
        The largest distance that there can be.
    """

    tracks: str
    statistic: str
    values: NDArray[np.float64]
    neutral: float
    threshold: float
    perfect: float

    @property
    def distance(self) -> NDArray[np.float64]:
        return np.abs(self.values - self.neutral)

    @property
    def strength(self) -> NDArray[np.float64]:
        """Distance from neutral in units of the threshold; above 1 the cell is found."""
        return self.distance / self.threshold if self.threshold > 0 else np.where(self.distance > 0, np.inf, 0.0)


# Cell states ---------------------------------------------------------------------------------------------------------


def cells_of(network: TorchNetwork, night: Floats) -> Cells | None:
    """Return the LSTM cells over a night that is passed as one, or None if the network has none.

    Parameters
    ----------
    network
        With a method ``cell_states``, or with a `torch.nn.LSTM` over epochs.
    night : float32 array, shape (n_epochs, channel, sample)
        Prepared as the network's input says.
    """
    x = torch.from_numpy(np.ascontiguousarray(night))[None].to(network.device)
    with torch.inference_mode():
        if hasattr(network.model, "cell_states"):
            states = network.model.cell_states(x)[0]  # type: ignore[operator]
        else:
            found = _inputs_of_lstm(network, x)
            if found is None:
                return None
            states = lstm_cells(*found)
        activity = torch.tanh(states).float()
    return Cells(tuple(_names(tuple(activity.shape[1:]))), activity.flatten(1).cpu().numpy())


def _names(shape: tuple[int, ...]) -> Iterator[str]:
    """Yield the names of cells (unit), (layer, unit) or (direction, layer, unit)."""
    for place in np.ndindex(*shape):
        numbers = "/".join(str(index + 1) for index in place[-2:])
        yield f"{('forward', 'backward')[place[0]]} {numbers}" if len(place) == 3 else f"cell {numbers}"


def _inputs_of_lstm(network: TorchNetwork, x: Tensor) -> tuple[nn.LSTM, Tensor] | None:
    """Return the LSTM that runs over epochs and what it is given, a window at a time."""
    n_epochs, context = x.shape[1], network.info.input.context or 40
    given: dict[nn.LSTM, list[Tensor]] = {}

    def look(module: nn.LSTM, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].shape[:2] == (1, n_here):
            given.setdefault(module, []).append(inputs[0])

    lstms = [module for module in network.model.modules() if isinstance(module, nn.LSTM) and module.batch_first]
    hooks = [module.register_forward_pre_hook(look) for module in lstms]
    try:
        for first in range(0, n_epochs, context):
            part = x[:, first : first + context]
            n_here = part.shape[1]
            network.model(part)
    finally:
        for hook in hooks:
            hook.remove()
    whole = ((lstm, torch.cat(parts, dim=1)) for lstm, parts in given.items())
    return next(((lstm, inputs) for lstm, inputs in whole if inputs.shape[1] == n_epochs), None)


def lstm_cells(lstm: nn.LSTM, inputs: Tensor) -> Tensor:
    """Return the cell states of torch's LSTM, which itself returns only the last ones.

    Parameters
    ----------
    lstm
        With ``batch_first``.
    inputs
        Shape (1, n_epochs, feature).

    Returns
    -------
    Tensor
        Shape (n_epochs, layer, unit), or (n_epochs, direction, layer, unit) if it runs in both.
    """
    x, layers = inputs[0], []
    for layer in range(lstm.num_layers):
        outputs, cells = zip(*(_direction(lstm, x, layer, back) for back in range(1 + lstm.bidirectional)), strict=True)
        x = torch.cat(outputs, dim=1)
        layers.append(torch.stack(cells, dim=1))
    states = torch.stack(layers, dim=2)
    return states if lstm.bidirectional else states[:, 0]


def _direction(lstm: nn.LSTM, x: Tensor, layer: int, back: int) -> tuple[Tensor, Tensor]:
    """Return outputs and cells (n_epochs, unit) of one layer in one direction."""
    suffix = f"l{layer}" + ("_reverse" if back else "")
    weights: Any = {name: getattr(lstm, f"{name}_{suffix}") for name in ("weight_ih", "weight_hh")}
    biases = [getattr(lstm, f"{name}_{suffix}") for name in ("bias_ih", "bias_hh")] if lstm.bias else []
    arriving = nn.functional.linear(x.flip(0) if back else x, weights["weight_ih"]) + sum(biases)
    output = cell = x.new_zeros(lstm.hidden_size)
    outputs, cells = [], []
    for row in arriving:
        take, keep, new, show = (row + weights["weight_hh"] @ output).chunk(4)
        cell = torch.sigmoid(keep) * cell + torch.sigmoid(take) * torch.tanh(new)
        output = torch.sigmoid(show) * torch.tanh(cell)
        outputs.append(output)
        cells.append(cell)
    both = torch.stack(outputs), torch.stack(cells)
    return (both[0].flip(0), both[1].flip(0)) if back else both


# The finder ----------------------------------------------------------------------------------------------------------


def find_cells(cells: Cells, stages: Hypnogram, *, fresh: Sequence[Cells] = ()) -> "pd.DataFrame":
    """Return which cells track wake, sleep onset, the time of night, or runs of N3 or REM.

    Parameters
    ----------
    cells
        Over the night.
    stages
        One for each epoch.
    fresh
        Cells of networks of the same architecture that never learned, over the same night.

    Returns
    -------
    pandas.DataFrame
        A row for each cell and measure, the strongest first: cell, tracks, statistic, value, neutral, threshold,
        strength (distance from neutral in thresholds) and found. A measure that the night does not allow (no REM, no
        sleep onset) is not there.
    """
    import pandas as pd

    found = []
    for measure in measures(cells, stages, fresh=fresh):
        columns = {name: getattr(measure, name) for name in ("tracks", "statistic", "neutral", "threshold", "strength")}
        found.append(pd.DataFrame({"cell": cells.names, "value": measure.values, **columns}))
    names = ["cell", "tracks", "statistic", "value", "neutral", "threshold", "strength"]
    table = pd.concat(found)[names] if found else pd.DataFrame(columns=names)
    table = table.sort_values("strength", ascending=False, kind="stable", ignore_index=True)
    return table.assign(found=table["strength"] > 1)


def measures(cells: Cells, stages: Hypnogram, *, fresh: Sequence[Cells] = ()) -> list[Measure]:
    """Return all measures that the night allows; see `find_cells`."""
    own = _measures(cells, stages)
    if not fresh:
        return own
    best = np.max([[m.distance.max() for m in _measures(other, stages)] for other in fresh], axis=0)
    return [replace(m, threshold=max(m.threshold, (m.perfect + b) / 2)) for m, b in zip(own, best, strict=True)]


def _measures(cells: Cells, stages: Hypnogram) -> list[Measure]:
    x = cells.activity.astype(np.float64)
    found = [_wake(x, stages), _onset(x, stages), _time(x, stages.epoch_s)]
    found += [_run(x, stages, label) for label in stages.scheme.labels if label in RUNS]
    return [measure for measure in found if measure is not None]


def _wake(x: NDArray[np.float64], stages: Hypnogram) -> Measure | None:
    awake = np.isin(stages.stages, [i for i, label in enumerate(stages.scheme.labels) if label in AWAKE])
    scored = stages.scored
    names = "/".join(label for label in stages.scheme.labels if label in AWAKE)
    if not awake.any() or not (scored & ~awake).any():
        return None
    statistic = f"area under the ROC curve, {names} against the rest"
    # Ranks make the difference of two means an area: AUC = 1/2 + (mean rank of one − mean rank of the other) / n.
    ranks = _ranks(x[scored])
    effect = _contrasts(ranks, _difference(awake[scored], ~awake[scored])) / len(ranks)
    return Measure("wake", statistic, 0.5 + effect[0], 0.5, _threshold(effect), perfect=0.5)


def _onset(x: NDArray[np.float64], stages: Hypnogram) -> Measure | None:
    """Jump from wake to sleep, where both last long enough to be seen."""
    n = round(AROUND_ONSET_S / stages.epoch_s)
    is_wake = stages.stages == stages.scheme.labels.index("W")
    asleep = stages.scored & ~is_wake
    onsets = [i for i in range(n, len(x) - n + 1) if is_wake[i - n : i].all() and asleep[i : i + n].all()]
    if not onsets:
        return None
    before, after = np.zeros(len(x), dtype=int), np.zeros(len(x), dtype=int)
    for onset in onsets:
        before[onset - n : onset] = 1
        after[onset : onset + n] = 1
    effect = _contrasts(x, _difference(after, before))
    statistic = f"jump of the mean at {len(onsets)} sleep onset{'s' if len(onsets) > 1 else ''}"
    return Measure("sleep onset", statistic, effect[0], 0.0, _threshold(effect), perfect=2.0)


def _run(x: NDArray[np.float64], stages: Hypnogram, label: str) -> Measure | None:
    """Rise while a run of one stage goes on, in runs that last."""
    late_from, early = round(LATE_IN_RUN_S / stages.epoch_s), max(1, round(60 / stages.epoch_s))
    place = place_in_run(stages, label)
    late = place >= late_from
    lasting = _runs_with(place, late)
    if not lasting.any():
        return None
    effect = _contrasts(x, _difference(late, lasting & (place < early)))
    statistic = f"rise of the mean, after {LATE_IN_RUN_S / 60:g} min of a run against its first minute"
    return Measure(f"{label} runs", statistic, effect[0], 0.0, _threshold(effect), perfect=2.0)


def _time(x: NDArray[np.float64], epoch_s: float) -> Measure | None:
    length = max(1, round(BLOCK_S / epoch_s))
    blocks = x[: len(x) // length * length].reshape(-1, length, x.shape[1]).mean(axis=1)
    if len(blocks) < 6:
        return None
    steps, random = np.diff(blocks, axis=0), np.random.default_rng(0)
    best = [
        # The same signs for all cells: cells that move together count as one.
        np.abs(_spearman(np.cumsum(steps * random.choice([-1.0, 1.0], size=(len(steps), 1)), axis=0))).max()
        for _ in range(N_WALKS)
    ]
    statistic = f"Spearman's ρ with time, means over {BLOCK_S / 60:g} min"
    return Measure(
        "time of night", statistic, _spearman(blocks), 0.0, float(np.quantile(best, 1 - CHANCE)), perfect=1.0
    )


def place_in_run(stages: Hypnogram, label: str) -> NDArray[np.int64]:
    """Return for each epoch how many epochs of its run came before it; −1 outside of runs of this stage."""
    stage = stages.scheme.labels.index(label)
    place = np.full(stages.n_epochs, -1)
    for i, value in enumerate(stages.stages):
        if value == stage:
            place[i] = place[i - 1] + 1 if i else 0
    return place


def mean_by_run_length(activity: NDArray[np.float32], stages: Hypnogram, label: str) -> NDArray[np.float64]:
    """Return the mean activity in the first, second, … epoch of the runs of a stage.

    Parameters
    ----------
    activity : float array, shape (n_epochs, cell)
        −1 to 1.
    stages
        One for each epoch.
    label
        The stage.

    Returns
    -------
    float64 array, shape (n_epochs of the longest run, cell)
    """
    place = place_in_run(stages, label)
    return np.array([activity[place == i].mean(axis=0) for i in range(place.max() + 1)], dtype=np.float64)


def _runs_with(place: NDArray[np.int64], wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the epochs of those runs that have a wanted epoch."""
    number = np.cumsum(place == 0) * (place >= 0)
    return np.asarray(np.isin(number, number[wanted]) & (number > 0))


def _difference(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Return the weights with which a sum over epochs is the mean over `one` minus the mean over `other`."""
    return np.asarray(one / one.sum() - other / other.sum())


def _contrasts(x: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted sum of each cell, the weights shifted by 0, 1, … epochs around the end of the night.

    Returns
    -------
    float64 array, shape (shift, cell)
    """
    # Correlation with every shift at once is a product of Fourier transforms.
    spectrum = np.fft.rfft(x - x.mean(axis=0), axis=0) * np.fft.rfft(weights).conj()[:, None]
    return np.fft.irfft(spectrum, len(x), axis=0)


def _threshold(effect: NDArray[np.float64]) -> float:
    """Return what the best cell reaches in all but `CHANCE` of the shifts."""
    least = max(1, round(LEAST_SHIFT * len(effect)))
    shifted = np.abs(effect[least : len(effect) - least + 1]).max(axis=1)
    return float(np.quantile(shifted, 1 - CHANCE)) if len(shifted) else float("inf")


def _ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    return np.asarray(rankdata(x, axis=0))


def _spearman(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank correlation of each column with its row number; 0 where it does not change.

    Values are rounded to `LEAST_CHANGE`: unrounded, a cell that creeps towards its limit would be a perfect clock all
    night, and fresh networks have such cells.
    """
    ranks = _ranks(np.round(x / LEAST_CHANGE))
    ranks -= ranks.mean(axis=0)
    time = np.arange(len(x)) - (len(x) - 1) / 2
    spread = np.sqrt(np.square(time).sum() * np.square(ranks).sum(axis=0))
    return np.asarray(time @ ranks / np.where(spread > 0, spread, 1.0))
