"""How a stager errs: what it says where a person says otherwise; evidence from stages that come without probabilities.

A stager that sees context repeats its errors: what it says now depends on what it said before, even where the true
stage is known. So the table may be p(said now | true stage, said before). Without this a chain counts one error many
times, and takes it for the truth.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.stages import AASM_5, SCHEMES, StageScheme
from hypnograph.whole_file import check_output, whole_file

LEAN = 10.0
"""The table that knows what was said before leans on the one that does not, as much as so many epochs weigh."""
Stages = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class StagerErrors:
    """p(said now | true stage, said before).

    Parameters
    ----------
    table : float array, shape (n_stages, n_stages, n_stages)
        Axes: the true stage, what was said at the epoch before, what is said now. The last sums to 1.
    alone : float array, shape (n_stages, n_stages)
        The same without knowing what was said before: the confusion matrix, its rows made to sum to 1.
    scheme
        The stages.
    stager
        Whose errors these are, in words.

    Raises
    ------
    HypnographError
        If shapes do not fit the scheme, or a row is no distribution of numbers above 0.
    """

    table: NDArray[np.float64]
    alone: NDArray[np.float64]
    scheme: StageScheme = AASM_5
    stager: str = ""

    def __post_init__(self) -> None:
        n = self.scheme.n_stages
        for name, shape in {"table": (n, n, n), "alone": (n, n)}.items():
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != shape or not (array > 0).all() or np.abs(array.sum(axis=-1) - 1).max() > 1e-6:
                raise HypnographError(
                    f"{name} of a stager's errors has shape {array.shape}; needed are probabilities above 0 of shape "
                    f"{shape} whose rows sum to 1"
                )
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def evidence(self, said: Stages, *, context: bool = True) -> NDArray[np.float64]:
        """Return log p(what was said | true stage), shape (n_epochs, n_stages); zeros where nothing was said.

        Parameters
        ----------
        said : int array, shape (n_epochs,)
            Stages by the stager; −1 is unscored.
        context
            Whether what was said before counts.
        """
        said = np.asarray(said, dtype=np.intp)
        found = np.log(self.alone)[:, said].T
        if context:
            known = np.flatnonzero((said[1:] >= 0) & (said[:-1] >= 0)) + 1
            found[known] = np.log(self.table)[:, said[known - 1], said[known]].T
        found[said < 0] = 0.0
        return found

    def as_dict(self) -> dict[str, object]:
        """Return plain lists and texts, ready for JSON."""
        return {
            "scheme": self.scheme.name,
            "stager": self.stager,
            "alone": self.alone.tolist(),
            "table": self.table.tolist(),
        }

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a JSON file.

        Raises
        ------
        HypnographError
            If the file exists, unless `overwrite`.
        """
        check_output(path, overwrite=overwrite)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(self.as_dict()) + "\n", encoding="utf-8")


def load_stager_errors(path: str | Path) -> StagerErrors:
    """Read what `StagerErrors.save` wrote.

    Raises
    ------
    UnreadableFileError
        If the file holds something else.
    """
    try:
        return stager_errors_of(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, HypnographError) as error:
        raise UnreadableFileError(f"{path} does not hold the errors of a stager: {error!r}") from error


def stager_errors_of(values: dict[str, object]) -> StagerErrors:
    """Return the errors that `StagerErrors.as_dict` put into plain values."""
    scheme = SCHEMES[str(values["scheme"])]
    return StagerErrors(np.array(values["table"]), np.array(values["alone"]), scheme, str(values["stager"]))


def fit_stager_errors(
    references: Sequence[Stages], said: Sequence[Stages], scheme: StageScheme = AASM_5, *, stager: str = ""
) -> StagerErrors:
    """Count how a stager errs, on nights that a person scored; rare cells are smoothed.

    Parameters
    ----------
    references, said : int arrays, shape (n_epochs,)
        Of each night; −1 is unscored. Only training nights: errors that were counted on the nights to decode flatter.
    scheme
        The stages.
    stager
        Whose errors these are, in words.

    Raises
    ------
    HypnographError
        If two stagings of a night differ in length, or no epoch is scored by both.
    """
    n = scheme.n_stages
    confusion, counts = np.ones((n, n)), np.zeros((n, n, n))
    for reference, predicted in zip(references, said, strict=True):
        truth, now = np.asarray(reference, dtype=np.intp), np.asarray(predicted, dtype=np.intp)
        if truth.shape != now.shape:
            raise HypnographError(f"a night has {len(truth)} epochs in its reference, and {len(now)} were staged")
        both = (truth >= 0) & (now >= 0)
        np.add.at(confusion, (truth[both], now[both]), 1)
        known = np.flatnonzero(both[1:] & (now[:-1] >= 0)) + 1
        np.add.at(counts, (truth[known], now[known - 1], now[known]), 1)
    if confusion.sum() == n * n:
        raise HypnographError("no epoch is scored by both the person and the stager")
    alone = confusion / confusion.sum(axis=1, keepdims=True)
    table = (counts + LEAN * alone[:, None]) / (counts.sum(axis=-1, keepdims=True) + LEAN)
    return StagerErrors(table, alone, scheme, stager)
