"""Decoding: what a night's epochs most likely are, given a stager's probabilities and how stages follow each other.

A decoder takes a hypnodensity and returns one on the same grid; epochs of which nothing is known stay unknown.

- `ChainDecoder`: exact inference on a trellis counted from hypnograms, forward-backward or best path; with stages
  alone as input, through the errors of the stager;
- `SmoothingDecoder`: a regression that learned how one stager errs (`decoder_fitting.fit_decoder`);
- `KeepingDecoder`: nothing changes;
- `BeamDecoder` with any model of the next stage, and `PublishedDecoder`, SleepGPT's rule, in files of their own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import DEFAULT_EPOCH_S, Hypnodensity, Hypnogram, probabilities_of
from hypnograph.sequences.smoothing import FLOOR, Regression, context_features, epoch_features
from hypnograph.sequences.stager_errors import StagerErrors, stager_errors_of
from hypnograph.sequences.trellis import Trellis, best_path, forward_backward
from hypnograph.stages import AASM_5, SCHEMES, StageScheme
from hypnograph.whole_file import check_output, whole_file

FORMAT = 1
FILE = "decoder.json"
NONE = "none"
WEIGHTS = Path(__file__).parent / "weights"

Floats = NDArray[np.float64]


class Decoder(Protocol):
    """What decodes a night."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def scheme(self) -> StageScheme:
        """The stages that it knows."""
        ...

    def probabilities(self, given: Floats) -> Floats:
        """Return decoded probabilities, shape (n_epochs, n_stages).

        Parameters
        ----------
        given : float array, shape (n_epochs, n_stages)
            The stager's; rows of NaN are unknown, and stay so. At least one row is known.
        """
        ...


def decode(staged: Hypnodensity | Hypnogram, decoder: Decoder) -> Hypnodensity:
    """Decode a night.

    Parameters
    ----------
    staged
        What a stager said, in epochs of 30 s. A hypnogram is taken for certain: for a decoder that was fitted on
        hypnograms.
    decoder
        How.

    Returns
    -------
    Hypnodensity
        On the same grid. Its scorer says who staged and what decoded.

    Raises
    ------
    HypnographError
        If the scheme or the length of the epochs is not the decoder's.
    """
    if isinstance(staged, Hypnogram):
        given = Hypnodensity(probabilities_of(staged), staged.epoch_s, staged.start, staged.scheme, staged.scorer)
        return decode(given, decoder)
    if staged.scheme != decoder.scheme:
        raise HypnographError(
            f"the staging has scheme {staged.scheme.name}; decoder {decoder.name} needs {decoder.scheme.name}"
        )
    if staged.epoch_s != DEFAULT_EPOCH_S:
        raise HypnographError(
            f"the epochs last {staged.epoch_s:g} s; decoders know how stages follow each other every "
            f"{DEFAULT_EPOCH_S:g} s. Stage at that resolution, or do not decode"
        )
    if isinstance(decoder, KeepingDecoder) or not staged.known.any():
        return staged
    scorer = f"{staged.scorer} + decoder {decoder.name}".removeprefix(" + ")
    return replace(staged, probabilities=decoder.probabilities(staged.probabilities), scorer=scorer)


@dataclass(frozen=True)
class KeepingDecoder:
    """Changes nothing: what `fit_decoder` returns where no decoder helps."""

    name: str = NONE
    scheme: StageScheme = AASM_5

    def probabilities(self, given: Floats) -> Floats:
        """Return what is given."""
        return given

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"kind": "keeping", "name": self.name, "scheme": self.scheme.name}


@dataclass(frozen=True, eq=False, kw_only=True)
class ChainDecoder:
    """Exact inference on a trellis.

    With weight, evidence weight and prior power 1 this is Bayes' rule for a stager whose epochs err independently. No
    stager does: smaller numbers are better.

    Parameters
    ----------
    trellis
        How stages follow each other.
    prior : float array, shape (n_stages,)
        How often the stager expects each stage.
    weight
        The trellis' probabilities are taken to this power; with 0, and a prior power of 0, nothing changes.
    evidence_weight
        So are the stager's: 1 / temperature.
    prior_power
        The stager's probabilities are divided by the prior to this power.
    path
        Weigh the best paths, not all (Viterbi).
    calibration
        Corrects the stager's probabilities first.
    errors
        Of a stager whose stages alone are used.
    errors_context
        Whether what the stager said before counts (`StagerErrors`).
    """

    trellis: Trellis
    prior: Floats
    weight: float = 1.0
    evidence_weight: float = 1.0
    prior_power: float = 1.0
    path: bool = False
    calibration: Regression | None = None
    errors: StagerErrors | None = None
    errors_context: bool = True
    name: str = "chain"
    scheme: StageScheme = AASM_5

    def __post_init__(self) -> None:
        prior = np.array(self.prior, dtype=np.float64)
        if prior.shape != (self.scheme.n_stages,) or not (prior > 0).all() or abs(prior.sum() - 1) > 1e-6:
            raise HypnographError(f"prior is {prior}; needed are {self.scheme.n_stages} shares above 0 that sum to 1")
        if self.trellis.n_stages != self.scheme.n_stages:
            raise HypnographError(
                f"the trellis has {self.trellis.n_stages} stages, scheme {self.scheme.name} {self.scheme.n_stages}"
            )
        prior.setflags(write=False)
        object.__setattr__(self, "prior", prior)

    def probabilities(self, given: Floats) -> Floats:
        """Return the stages' probabilities given the whole night; see `decode`."""
        known = ~np.isnan(given[:, 0])
        evidence = np.zeros_like(given)
        evidence[known] = self._evidence(given, known)[known]
        decoded = (best_path if self.path else forward_backward)(evidence, self.trellis, weight=self.weight)
        return np.where(known[:, None], decoded, np.nan)

    def _evidence(self, given: Floats, known: NDArray[np.bool_]) -> Floats:
        if self.errors is not None:
            said = np.where(known, np.where(known[:, None], given, 0.0).argmax(axis=1), -1)
            return self.evidence_weight * self.errors.evidence(said, context=self.errors_context)
        trusted = np.where(known[:, None], given, 1.0)
        if self.calibration is not None:
            trusted = self.calibration.probabilities(epoch_features(trusted))
        return self.evidence_weight * np.log(np.maximum(trusted, FLOOR)) - self.prior_power * np.log(self.prior)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        names = ("weight", "evidence_weight", "prior_power", "path", "errors_context", "name")
        return {
            "kind": "chain",
            "scheme": self.scheme.name,
            **{name: getattr(self, name) for name in names},
            "prior": self.prior.tolist(),
            "trellis": {name: getattr(self.trellis, name).tolist() for name in ("stages", "start", "moves")},
            "calibration": None if self.calibration is None else _plain(self.calibration),
            "errors": None if self.errors is None else self.errors.as_dict(),
        }


@dataclass(frozen=True, eq=False)
class SmoothingDecoder:
    """A regression over the epochs around, fitted to one stager; see `smoothing`.

    Epochs of which nothing is known count as the nearest known one.
    """

    regression: Regression
    name: str = "smoothing"
    scheme: StageScheme = AASM_5

    def probabilities(self, given: Floats) -> Floats:
        """Return what the stager's probabilities around each epoch mean; see `decode`."""
        known = ~np.isnan(given[:, 0])
        return np.where(known[:, None], self.regression.probabilities(context_features(without_gaps(given))), np.nan)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"kind": "smoothing", "name": self.name, "scheme": self.scheme.name, **_plain(self.regression)}


def without_gaps(given: Floats) -> Floats:
    """Return probabilities in which each unknown epoch is as the nearest known one, the earlier of two."""
    known = np.flatnonzero(~np.isnan(given[:, 0]))
    place = np.arange(len(given))
    after = np.minimum(np.searchsorted(known, place), len(known) - 1)
    before = np.maximum(after - 1, 0)
    earlier = np.abs(known[before] - place) <= np.abs(known[after] - place)
    return np.asarray(given[np.where(earlier, known[before], known[after])])


# Files ---------------------------------------------------------------------------------------------------------------

SavedDecoder = KeepingDecoder | ChainDecoder | SmoothingDecoder


def save_decoder(decoder: SavedDecoder, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a decoder as a JSON file.

    Raises
    ------
    HypnographError
        If the file exists, unless `overwrite`.
    """
    check_output(path, overwrite=overwrite)
    with whole_file(path) as temporary:
        text = json.dumps({"format": FORMAT, **_rounded(decoder.as_dict())})
        temporary.write_text(text + "\n", encoding="utf-8")


def shipped_decoders() -> tuple[str, ...]:
    """Return the names of the decoders that come with hypnograph."""
    return tuple(sorted(path.parent.name.removeprefix("decoder-") for path in WEIGHTS.glob(f"decoder-*/{FILE}")))


def load_decoder(source: str | Path) -> SavedDecoder:
    """Return a decoder by name, or from a file of `save_decoder` or a folder that holds ``decoder.json``.

    Raises
    ------
    HypnographError
        If there is neither a decoder of that name nor a file.
    UnreadableFileError
        If the file holds something else.
    """
    if source == NONE:
        return KeepingDecoder()
    path = WEIGHTS / f"decoder-{source}" / FILE if source in shipped_decoders() else Path(source)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        names = ", ".join((NONE, *shipped_decoders()))
        raise HypnographError(
            f"no decoder {str(source)!r}: there are {names}; or give a file of `hypnograph decode fit`"
        )
    try:
        return _decoder_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, HypnographError) as error:
        raise UnreadableFileError(f"{path} is no decoder: {error!r}") from error


def _decoder_of(values: Mapping[str, Any]) -> SavedDecoder:
    if values["format"] > FORMAT:
        raise HypnographError(f"it is of format {values['format']}; this hypnograph reads up to {FORMAT}")
    name, scheme = str(values["name"]), SCHEMES[values["scheme"]]
    if values["kind"] == "keeping":
        return KeepingDecoder(name, scheme)
    if values["kind"] == "smoothing":
        return SmoothingDecoder(_regression(values), name, scheme)
    if values["kind"] != "chain":
        raise HypnographError(f"its kind is {values['kind']!r}; known are keeping, smoothing and chain")
    numbers = {key: float(values[key]) for key in ("weight", "evidence_weight", "prior_power")}
    return ChainDecoder(
        trellis=Trellis(**{key: np.array(value) for key, value in values["trellis"].items()}),
        prior=np.array(values["prior"]),
        path=bool(values["path"]),
        calibration=None if values["calibration"] is None else _regression(values["calibration"]),
        errors=None if values["errors"] is None else stager_errors_of(values["errors"]),
        errors_context=bool(values["errors_context"]),
        name=name,
        scheme=scheme,
        **numbers,
    )


def _plain(regression: Regression) -> dict[str, Any]:
    return {"weights": regression.weights.tolist(), "bias": regression.bias.tolist()}


def _regression(values: Mapping[str, Any]) -> Regression:
    return Regression(np.array(values["weights"]), np.array(values["bias"]))


def _rounded(values: Any) -> Any:
    """Return plain values with eight significant digits: a decoder is small, and reads the same everywhere."""
    if isinstance(values, dict):
        return {key: _rounded(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return float(f"{values:.8g}") if isinstance(values, float) else values
