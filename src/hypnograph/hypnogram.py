"""Hypnogram and hypnodensity: arrays that carry their time grid, their stages and who scored them.

Both are frozen values: the arrays are read-only, methods return new values, `==` is a bool. Epoch i covers
``[i · epoch_s, (i + 1) · epoch_s)`` seconds after `start`. Unscored epochs keep their place.
"""

import html
import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.stages import AASM_5, Stage, StageScheme

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_EPOCH_S = 30.0
MAX_EPOCHS = 5_000_000
"""More than a night on a grid of 1/128 s, less than what fills the memory of a laptop."""


class Run(NamedTuple):
    """Consecutive epochs of one stage."""

    start_s: float
    duration_s: float
    stage: int


def _check_grid(epoch_s: float) -> None:
    if not (np.isfinite(epoch_s) and epoch_s > 0):
        raise HypnographError(f"epoch_s is {epoch_s}; an epoch must last more than 0 seconds")


def _local(start: datetime | None) -> datetime | None:
    # Clock times of the bedroom: a zone would only make two files incomparable.
    return None if start is None else start.replace(tzinfo=None)


def _shifted(start: datetime | None, shift_s: float) -> datetime | None:
    return None if start is None else start + timedelta(seconds=shift_s)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array = array.copy()
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False, repr=False)
class Hypnogram:
    """One stage for each epoch of a night.

    Parameters
    ----------
    stages : int array, shape (n_epochs,)
        Indices into `scheme.labels`; −1 is unscored.
    epoch_s
        Length of an epoch in seconds.
    start
        Local wall-clock time at which the first epoch begins (a time zone is dropped); None: when the recording begins.
    scheme
        The stages in use.
    scorer
        Who scored: a person's code or a model's name.
    lights_off_s, lights_on_s
        Seconds after `start`, where known.

    Raises
    ------
    HypnographError
        If a stage is outside the scheme.
    """

    stages: NDArray[np.int8]
    epoch_s: float = DEFAULT_EPOCH_S
    start: datetime | None = None
    scheme: StageScheme = AASM_5
    scorer: str = ""
    lights_off_s: float | None = None
    lights_on_s: float | None = None

    def __post_init__(self) -> None:
        _check_grid(self.epoch_s)
        given = np.asarray(self.stages)
        if given.ndim != 1:
            raise HypnographError(f"stages have shape {given.shape}; a hypnogram has one stage for each epoch")
        if given.size and given.dtype.kind not in "iu":
            raise HypnographError(f"stages are of type {given.dtype}; they must be integers")
        outside = given[(given < -1) | (given >= self.scheme.n_stages)] if given.size else given
        if outside.size:
            raise HypnographError(
                f"stage {outside[0]} is outside scheme {self.scheme.name}, which has −1 (unscored) to "
                f"{self.scheme.n_stages - 1} ({', '.join(self.scheme.labels)})"
            )
        object.__setattr__(self, "stages", _read_only(given.astype(np.int8)))
        object.__setattr__(self, "start", _local(self.start))

    @classmethod
    def from_names(cls, names: list[str] | tuple[str, ...], **fields: Any) -> Self:
        """Make a hypnogram from labels of its scheme ("W", "N1" …; "UNSCORED")."""
        scheme: StageScheme = fields.get("scheme", AASM_5)
        index = {label: i for i, label in enumerate(scheme.labels)} | {"UNSCORED": -1}
        unknown = [name for name in names if name not in index]
        if unknown:
            raise HypnographError(f"{unknown[0]!r} is not a stage of scheme {scheme.name}: {', '.join(index)}")
        return cls(np.array([index[name] for name in names], dtype=np.int8), **fields)

    def __len__(self) -> int:
        return len(self.stages)

    @property
    def n_epochs(self) -> int:
        return len(self.stages)

    @property
    def duration_s(self) -> float:
        return self.n_epochs * self.epoch_s

    @property
    def scored(self) -> NDArray[np.bool_]:
        """True where an epoch is scored, shape (n_epochs,)."""
        return self.stages >= 0

    @property
    def names(self) -> list[str]:
        """The label of each epoch."""
        return [self.scheme.label(int(stage)) for stage in self.stages]

    def _key(self) -> tuple[Any, ...]:
        lights = (self.lights_off_s, self.lights_on_s)
        return (self.stages.tobytes(), self.epoch_s, self.start, self.scheme, self.scorer, *lights)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hypnogram) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def merge(self, scheme: StageScheme) -> "Hypnogram":
        """Return this hypnogram in a coarser scheme, e.g. N1, N2, N3 as NREM."""
        # The last entry serves index −1: unscored stays unscored.
        table = np.append(self.scheme.mapping_to(scheme), np.int8(-1))
        return replace(self, stages=table[self.stages], scheme=scheme)

    def crop(self, first: int, past_last: int) -> "Hypnogram":
        """Return epochs `first` to `past_last` (exclusive), moving `start` and the lights along."""
        if not 0 <= first <= past_last <= self.n_epochs:
            raise HypnographError(f"crop({first}, {past_last}): the hypnogram has epochs 0 to {self.n_epochs}")
        shift = first * self.epoch_s
        return replace(self._from(shift), stages=self.stages[first:past_last])

    def _from(self, shift_s: float) -> "Hypnogram":
        """Return these stages with the start and the lights of a hypnogram that begins `shift_s` later."""
        return replace(
            self,
            start=_shifted(self.start, shift_s),
            lights_off_s=None if self.lights_off_s is None else self.lights_off_s - shift_s,
            lights_on_s=None if self.lights_on_s is None else self.lights_on_s - shift_s,
        )

    def upsample(self, factor: int) -> "Hypnogram":
        """Return the same stages on epochs that are `factor` times shorter."""
        if factor < 1:
            raise HypnographError(f"upsample({factor}): the factor must be 1 or more")
        return replace(self, stages=np.repeat(self.stages, factor), epoch_s=self.epoch_s / factor)

    def resample(self, epoch_s: float, *, offset_s: float = 0.0, n_epochs: int | None = None) -> "Hypnogram":
        """Return the hypnogram on another grid; each new epoch takes the stage that covers most of it.

        Of stages that cover the same share, the earlier wins. A new epoch of which more is unscored (or outside the
        hypnogram) than in any stage is UNSCORED.

        Parameters
        ----------
        epoch_s
            Length of the new epochs, seconds.
        offset_s
            Where the new grid begins, seconds after `start`; may be negative.
        n_epochs
            How many new epochs; None: all that begin before the hypnogram's end.
        """
        _check_grid(epoch_s)
        if n_epochs is None:
            n_epochs = max(0, math.ceil((self.duration_s - offset_s) / epoch_s - 1e-9))
        if n_epochs > MAX_EPOCHS:
            raise HypnographError(f"{n_epochs} epochs of {epoch_s} s are more than the limit of {MAX_EPOCHS}")
        begins = offset_s + epoch_s * np.arange(n_epochs)
        first = np.floor(begins / self.epoch_s + 1e-9).astype(int)
        n_steps = math.ceil(epoch_s / self.epoch_s - 1e-9) + 1
        cover = np.zeros((n_epochs, self.scheme.n_stages + 1))  # the last column, also index −1, is unscored
        queue = np.full_like(cover, n_steps)
        for step in range(n_steps):
            old = first + step
            overlap = np.minimum(begins + epoch_s, (old + 1) * self.epoch_s) - np.maximum(begins, old * self.epoch_s)
            inside = np.flatnonzero((old >= 0) & (old < self.n_epochs) & (overlap > 1e-9 * epoch_s))
            cells = (inside, self.stages[old[inside]])
            cover[cells] += overlap[inside]
            queue[cells] = np.minimum(queue[cells], step)
        cover[:, -1] = epoch_s - cover[:, :-1].sum(axis=1)
        queue[:, -1] = n_steps
        # Shares are compared to a millionth; what they leave equal, the place in the queue decides.
        best = (np.round(cover / epoch_s, 6) - 1e-7 * queue / n_steps).argmax(axis=1)
        stages = np.where(best == self.scheme.n_stages, Stage.UNSCORED, best)
        return replace(self._from(offset_s), stages=stages, epoch_s=epoch_s)

    def align(self, start: datetime | None, n_epochs: int, epoch_s: float | None = None) -> "Hypnogram":
        """Return the hypnogram on the grid of a recording that begins at `start`: cut, or filled with UNSCORED.

        Where either start is unknown, both are taken to begin together. Where the two do not overlap on their dates
        (files are anonymised by changing dates), only the clock times count, and of the days that are possible the one
        with the most overlap is taken.

        Parameters
        ----------
        start
            Wall-clock time of the recording's first sample.
        n_epochs
            Epochs of the recording.
        epoch_s
            Their length in seconds; None: as here.

        Raises
        ------
        AlignmentError
            If the scoring does not overlap the recording.
        """
        epoch_s = self.epoch_s if epoch_s is None else epoch_s
        offset_s = 0.0
        if self.start is not None and start is not None:
            by_date = (start.replace(tzinfo=None) - self.start).total_seconds()
            by_clock = by_date % 86400
            if self._overlap_s(by_date, n_epochs * epoch_s) > 0:
                offset_s = by_date
            else:
                days = (by_clock, by_clock - 86400)
                offset_s = max(days, key=lambda offset: self._overlap_s(offset, n_epochs * epoch_s))
        if n_epochs and self.n_epochs and self._overlap_s(offset_s, n_epochs * epoch_s) <= 0:
            raise AlignmentError(
                f"the scoring (from {self.start}, {self.duration_s / 3600:.2f} h) does not overlap the recording "
                f"(from {start}, {n_epochs * epoch_s / 3600:.2f} h); check the start times of both files"
            )
        aligned = self.resample(epoch_s, offset_s=offset_s, n_epochs=n_epochs)
        return replace(aligned, start=start if start is not None else self.start)

    def _overlap_s(self, offset_s: float, duration_s: float) -> float:
        return min(self.duration_s, offset_s + duration_s) - max(0.0, offset_s)

    def runs(self) -> list[Run]:
        """Return stretches of one stage in order of time; unscored stretches too, with stage −1."""
        if not self.n_epochs:
            return []
        bounds = np.flatnonzero(np.diff(self.stages)) + 1
        edges = np.concatenate([[0], bounds, [self.n_epochs]])
        return [
            Run(float(a * self.epoch_s), float((b - a) * self.epoch_s), int(self.stages[a])) for a, b in pairwise(edges)
        ]

    def counts(self) -> dict[str, int]:
        """Return how many epochs each stage has, in the scheme's order, ``UNSCORED`` last."""
        counts = {label: int((self.stages == i).sum()) for i, label in enumerate(self.scheme.labels)}
        return counts | {"UNSCORED": int((self.stages < 0).sum())}

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each epoch: onset_s, duration_s, stage, and clock time where the start is known."""
        import pandas as pd

        onset = np.arange(self.n_epochs) * self.epoch_s
        frame = pd.DataFrame({"onset_s": onset, "duration_s": self.epoch_s, "stage": self.names})
        frame.index.name = "epoch"
        if self.start is not None:
            frame.insert(0, "time", pd.Timestamp(self.start) + pd.to_timedelta(onset, unit="s"))
        return frame

    def draw(self, width: int = 72) -> str:
        """Return the hypnogram as lines of text for a terminal, `width` columns of equal duration."""
        return _draw(self, width)

    def __repr__(self) -> str:
        scored = ", ".join(f"{label} {n}" for label, n in self.counts().items() if n)
        by = f" by {self.scorer}" if self.scorer else ""
        return f"Hypnogram{by}: {self.n_epochs} epochs of {self.epoch_s:g} s ({scored or 'empty'})"

    def _repr_html_(self) -> str:
        return _svg(self) if self.n_epochs else html.escape(repr(self))

    def __str__(self) -> str:
        return f"{self!r}\n{self.draw()}" if self.n_epochs else repr(self)


@dataclass(frozen=True, eq=False, repr=False)
class Hypnodensity:
    """Probabilities of the stages for each epoch (Stephansen et al. 2018, doi 10.1038/s41467-018-07229-3).

    Parameters
    ----------
    probabilities : float array, shape (n_epochs, n_stages)
        Each row sums to 1, or is all NaN: an epoch of which nothing is known.
    epoch_s, start, scheme, scorer
        As in `Hypnogram`.

    Raises
    ------
    HypnographError
        If a row does not sum to 1 within 1e-3, or has a negative value (these may be logits).
    """

    probabilities: NDArray[np.float64]
    epoch_s: float = DEFAULT_EPOCH_S
    start: datetime | None = None
    scheme: StageScheme = AASM_5
    scorer: str = ""

    def __post_init__(self) -> None:
        _check_grid(self.epoch_s)
        given = np.asarray(self.probabilities, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != self.scheme.n_stages:
            raise HypnographError(
                f"probabilities have shape {given.shape}; "
                f"scheme {self.scheme.name} needs (n_epochs, {self.scheme.n_stages})"
            )
        unknown = np.isnan(given).all(axis=1)
        known = given[~unknown]
        if np.isnan(known).any() or (known < 0).any() or (np.abs(known.sum(axis=1) - 1) > 1e-3).any():
            raise HypnographError(
                "each row of a hypnodensity must be probabilities that sum to 1 (or all NaN where nothing is known); "
                "apply a softmax to logits first"
            )
        object.__setattr__(self, "probabilities", _read_only(given))
        object.__setattr__(self, "start", _local(self.start))

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def n_epochs(self) -> int:
        return len(self.probabilities)

    @property
    def known(self) -> NDArray[np.bool_]:
        """True where probabilities are known, shape (n_epochs,)."""
        return ~np.isnan(self.probabilities[:, 0])

    def _key(self) -> tuple[Any, ...]:
        return (self.probabilities.tobytes(), self.epoch_s, self.start, self.scheme, self.scorer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hypnodensity) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def argmax(self) -> Hypnogram:
        """Return the most probable stage of each epoch; UNSCORED where nothing is known."""
        filled = np.where(self.known[:, None], self.probabilities, 0.0)
        stages = np.where(self.known, filled.argmax(axis=1), -1).astype(np.int8)
        return Hypnogram(stages, epoch_s=self.epoch_s, start=self.start, scheme=self.scheme, scorer=self.scorer)

    def merge(self, scheme: StageScheme) -> "Hypnodensity":
        """Return the hypnodensity in a coarser scheme: probabilities of merged stages add up."""
        table = self.scheme.mapping_to(scheme)
        merged = np.zeros((self.n_epochs, scheme.n_stages))
        for old, new in enumerate(table):
            merged[:, new] += self.probabilities[:, old]
        return replace(self, probabilities=merged, scheme=scheme)

    def confidence(self) -> NDArray[np.float64]:
        """Return the largest probability of each epoch, shape (n_epochs,); NaN where nothing is known."""
        return np.asarray(self.probabilities.max(axis=1))

    def entropy(self) -> NDArray[np.float64]:
        """Return the entropy of each epoch in bits, shape (n_epochs,): 0 is certain, log2(n_stages) knows nothing.

        H = −Σ p log2 p (Shannon 1948, doi 10.1002/j.1538-7305.1948.tb01338.x); NaN where nothing is known.
        """
        p = self.probabilities
        return np.asarray(0.0 - (p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=1))

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each epoch: a column for each stage's probability, then stage, confidence and entropy."""
        frame = self.argmax().to_frame()
        for i, label in enumerate(self.scheme.labels):
            frame[f"p_{label}"] = self.probabilities[:, i]
        return frame.assign(confidence=self.confidence(), entropy_bits=self.entropy())

    def __repr__(self) -> str:
        by = f" by {self.scorer}" if self.scorer else ""
        return f"Hypnodensity{by}: {self.n_epochs} epochs of {self.epoch_s:g} s, stages {', '.join(self.scheme.labels)}"


def probabilities_of(hypnogram: Hypnogram) -> NDArray[np.float64]:
    """Return the hypnogram as certain probabilities, shape (n_epochs, n_stages); NaN rows where unscored."""
    certain = np.eye(hypnogram.scheme.n_stages)[hypnogram.stages]
    return np.where(hypnogram.scored[:, None], certain, np.nan)


def _rows(scheme: StageScheme) -> list[int]:
    # Wake on top, then REM, then ever deeper sleep: the field's order.
    return sorted(range(scheme.n_stages), key=lambda stage: (stage != 0, scheme.labels[stage] != "REM", stage))


def _draw(hypnogram: Hypnogram, width: int) -> str:
    scheme = hypnogram.scheme
    order = _rows(scheme)
    column_s = max(hypnogram.duration_s / width, hypnogram.epoch_s)
    columns = hypnogram.resample(column_s).stages
    margin = max(len(label) for label in scheme.labels)
    lines = [
        f"{scheme.label(stage):>{margin}} │" + "".join("█" if c == stage else " " for c in columns) for stage in order
    ]
    if (columns == Stage.UNSCORED).any():
        lines.append(f"{'?':>{margin}} │" + "".join("·" if c < 0 else " " for c in columns))
    return "\n".join([line.rstrip() for line in lines] + [_time_axis(hypnogram, len(columns), column_s, margin)])


def _time_axis(hypnogram: Hypnogram, n_columns: int, column_s: float, margin: int) -> str:
    ruler, labels = ["─"] * n_columns, [" "] * (n_columns + 5)
    step_s = 3600.0 if hypnogram.duration_s > 5400 else 600.0
    clock = hypnogram.start
    first_s = 0.0 if clock is None else (-(clock.minute * 60 + clock.second)) % step_s
    for tick_s in np.arange(first_s, hypnogram.duration_s, step_s):
        column = int(tick_s / column_s)
        time = timedelta(seconds=float(tick_s)) + (timedelta() if clock is None else clock - datetime.min)
        seconds = round(time.total_seconds()) % 86400 if clock else round(tick_s)
        text = f"{seconds // 3600}:{seconds % 3600 // 60:02d}"
        if column < n_columns and all(c == " " for c in labels[column : column + len(text)]):
            ruler[column] = "┬"
            labels[column : column + len(text)] = text
    return f"{'':>{margin}} └{''.join(ruler)}\n{'':>{margin}}  {''.join(labels)}".rstrip()


def _svg(hypnogram: Hypnogram) -> str:
    """Return the hypnogram as a figure for Jupyter: steps in the colour of the text, REM thick, unscored left out."""
    width, height, margin, row = 900, 150, 50, 24
    shown = hypnogram.resample(max(hypnogram.epoch_s, hypnogram.duration_s / 4000))
    order = _rows(hypnogram.scheme)
    scale = (width - margin) / shown.duration_s
    steps, rem, last = "", "", Stage.UNSCORED.value
    for run in shown.runs():
        if run.stage != Stage.UNSCORED:
            x, y = margin + run.start_s * scale, 12 + row * order.index(run.stage)
            past = x + run.duration_s * scale
            steps += f"{'M' if last == Stage.UNSCORED else 'L'}{x:.1f} {y}L{past:.1f} {y}"
            rem += f"M{x:.1f} {y}L{past:.1f} {y}" if hypnogram.scheme.labels[run.stage] == "REM" else ""
        last = run.stage
    texts = "".join(
        f'<text x="0" y="{16 + row * place}">{html.escape(hypnogram.scheme.labels[stage])}</text>'
        for place, stage in enumerate(order)
    )
    return (
        f"<figure><figcaption>{html.escape(repr(hypnogram))}</figcaption>"
        f'<svg viewBox="0 0 {width} {height}" width="100%" role="img" fill="currentColor" font-size="12">{texts}'
        f'<g fill="none" stroke="currentColor"><path d="{steps}"/><path d="{rem}" stroke-width="5"/></g></svg></figure>'
    )
