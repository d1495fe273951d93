"""A screen for sleep disorders: a hypnogram in, a probability and its reasons out. Never a diagnosis.

A screen is a logistic regression on the features of `disorder_features`, one for each question ("has any of these
disorders", "has RBD"), each against the healthy of the same data. It is small on purpose: a weight and a mean for each
feature can be read, and each probability is a sum of reasons that have words and units. Computing it needs numpy alone;
`training.disorder_fitting` fits it.

A probability is worth as much as the people that the screen was fitted on. They count half healthy and half ill,
whatever their numbers were; `prevalence` says what share is expected among those screened. No screen comes with this
package: one fitted on CAP calls two thirds to nine tenths of the healthy of other laboratories ill (LOG.md).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnogram
from hypnograph.model_info import CARD, FORMAT, INFO, WEIGHTS
from hypnograph.sequences.disorder_features import feature_values, features_of
from hypnograph.whole_file import whole_file

ARCHITECTURE = "disorder-screen"
NOT_A_DIAGNOSIS = "This is not a diagnosis. It compares one hypnogram with those of a few people, for research."
EVEN = 0.5
FAR = 4.0
"""A feature so many standard deviations from the mean of the people fitted on is named in a warning."""
N_REASONS = 5

_ARRAYS = ("mean", "deviation", "coefficients", "intercepts")
_WORDS = ("name", "data", "licence", "source")


class Reason(NamedTuple):
    """What one feature did to a probability."""

    feature: str
    words: str
    unit: str
    value: float
    usual: float
    """Mean of the people that the screen was fitted on."""
    log_odds: float
    """What it adds to the log odds; above 0 towards the disorder."""

    def __str__(self) -> str:
        """Return it as a line for a reader."""
        side = "towards" if self.log_odds > 0 else "against"
        value = "none in this night" if math.isnan(self.value) else f"{self.value:.1f} {self.unit}"
        return f"{self.words}: {value} (usual {self.usual:.1f}), {side} it {abs(self.log_odds):.2f}"


class Finding(NamedTuple):
    """The answer to one question."""

    question: str
    probability: float
    reasons: tuple[Reason, ...]
    """All of them, the strongest first."""


@dataclass(frozen=True, kw_only=True)
class Screening:
    """What a screen says of one night.

    Parameters
    ----------
    screen
        Its name.
    prevalence
        The share of people with the disorder that the probabilities assume.
    findings
        One for each question.
    warnings
        What a reader must know before believing any of it.
    """

    screen: str
    prevalence: float
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; None where a night does not define a feature."""
        return {
            "notice": NOT_A_DIAGNOSIS,
            "screen": self.screen,
            "prevalence": self.prevalence,
            "findings": [
                {
                    "question": finding.question,
                    "probability": finding.probability,
                    "reasons": [
                        reason._asdict() | {"value": None if math.isnan(reason.value) else reason.value}
                        for reason in finding.reasons
                    ],
                }
                for finding in self.findings
            ],
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        """Return it for a reader, the strongest reasons of each question only."""
        lines = [NOT_A_DIAGNOSIS, f"Screen: {self.screen}. Assumed share with the disorder: {self.prevalence:.0%}"]
        for finding in self.findings:
            lines.append(f"{finding.question}: probability {finding.probability:.2f}")
            lines += [f"  {reason}" for reason in finding.reasons[:N_REASONS]]
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


@dataclass(frozen=True, eq=False, kw_only=True)
class DisorderScreen:
    """A logistic regression for each question, with all that a reader needs to judge it.

    Parameters
    ----------
    questions
        What is asked, e.g. ``"any disorder"``, ``"rbd"``.
    sets
        The feature sets that it reads.
    margin_min
        Minutes around the sleep period that it reads.
    mean, deviation : float array, shape (n_features,)
        Of the people that it was fitted on; a feature that a night does not define counts as the mean.
    coefficients : float array, shape (n_questions, n_features)
        Log odds for each standard deviation.
    intercepts : float array, shape (n_questions,)
        Log odds of a night that is the mean in all, where half of the people have the disorder.
    people
        How many people there were of each diagnosis.
    tested
        For each question the numbers of its cross-validation, by name; empty if there was none.
    name, data, licence, source
        In words, for the card.

    Raises
    ------
    HypnographError
        If the shapes do not fit together, or a number is not finite.
    """

    questions: tuple[str, ...]
    sets: tuple[str, ...]
    margin_min: float
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    people: Mapping[str, int]
    tested: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    name: str = ""
    data: str = ""
    licence: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        n_questions, n_features = len(self.questions), len(features_of(self.sets))
        shapes = ((n_features,), (n_features,), (n_questions, n_features), (n_questions,))
        for name, shape in zip(_ARRAYS, shapes, strict=True):
            object.__setattr__(self, name, _checked(getattr(self, name), shape, name))
        if (self.deviation <= 0).any():
            raise HypnographError("a standard deviation is 0 or less; give 1 for a feature that does not vary")
        object.__setattr__(self, "people", MappingProxyType(dict(self.people)))
        object.__setattr__(self, "tested", MappingProxyType({k: dict(v) for k, v in self.tested.items()}))

    def screen(self, hypnogram: Hypnogram, *, prevalence: float = EVEN) -> Screening:
        """Return the probability of each disorder, with its reasons.

        Parameters
        ----------
        hypnogram
            Of the five AASM stages, with at least an hour of sleep.
        prevalence
            The share of people with the disorder among those who are screened, between 0 and 1.

        Raises
        ------
        HypnographError
            If the hypnogram cannot be screened, or the prevalence is no share.
        """
        if not 0 < prevalence < 1:
            raise HypnographError(f"the prevalence is {prevalence:g}; give a share between 0 and 1, such as 0.1")
        values = feature_values(hypnogram, self.sets, margin_min=self.margin_min)
        z = np.nan_to_num((values - self.mean) / self.deviation, nan=0.0)
        prior = math.log(prevalence / (1 - prevalence))
        return Screening(
            screen=self.name or "unnamed",
            prevalence=prevalence,
            findings=tuple(self._finding(i, values, z, prior) for i in range(len(self.questions))),
            warnings=tuple(self._warnings(values, z)),
        )

    def _finding(self, question: int, values: NDArray[np.float64], z: NDArray[np.float64], prior: float) -> Finding:
        parts = self.coefficients[question] * z
        log_odds = float(self.intercepts[question] + parts.sum() + prior)
        numbers = zip(features_of(self.sets), values, self.mean, parts, strict=True)
        reasons = [Reason(f.name, f.words, f.unit, float(v), float(m), float(p)) for f, v, m, p in numbers]
        reasons.sort(key=lambda reason: -abs(reason.log_odds))
        return Finding(self.questions[question], (1 + math.tanh(log_odds / 2)) / 2, tuple(reasons))

    def _warnings(self, values: NDArray[np.float64], z: NDArray[np.float64]) -> list[str]:
        far = [
            f"{feature.words} is {value:.1f} {feature.unit}, far from all that the screen was fitted on"
            for feature, value, distance in zip(features_of(self.sets), values, z, strict=True)
            if abs(distance) > FAR
        ]
        return [f"the screen was fitted on {sum(self.people.values())} people: {_counts(self.people)}", *far]

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors``, ``model.json`` and ``README.md``, the model card.

        Raises
        ------
        HypnographError
            If the folder holds one of these files: they are never overwritten.
        """
        from safetensors.numpy import save_file

        folder = Path(folder)
        for name in (WEIGHTS, INFO, CARD):
            if (folder / name).exists():
                raise HypnographError(f"{folder / name} exists and is not overwritten; choose another folder")
        with whole_file(folder / INFO) as path:
            path.write_text(json.dumps(self._info(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        with whole_file(folder / CARD) as path:
            path.write_text(_card(self), encoding="utf-8")
        with whole_file(folder / WEIGHTS) as path:
            save_file({name: getattr(self, name) for name in _ARRAYS}, path)
        return folder

    def _info(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "architecture": ARCHITECTURE,
            "version": version("hypnograph"),
            "notice": NOT_A_DIAGNOSIS,
            "questions": list(self.questions),
            "sets": list(self.sets),
            "features": [feature.name for feature in features_of(self.sets)],
            "margin_min": self.margin_min,
            "people": dict(self.people),
            "tested": {question: dict(numbers) for question, numbers in self.tested.items()},
            **{name: getattr(self, name) for name in _WORDS},
        }


def load_disorder_screen(folder: str | Path) -> DisorderScreen:
    """Read a screen that `DisorderScreen.save` wrote.

    Raises
    ------
    UnreadableFileError
        If there is none, it is damaged, of a newer format, or its features are not those of this hypnograph.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    try:
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
        if info["architecture"] != ARCHITECTURE or info["format"] > FORMAT:
            raise HypnographError(
                f"it is {info['architecture']!r} of format {info['format']}; needed is {ARCHITECTURE!r} of format "
                f"up to {FORMAT}"
            )
        if info["features"] != [feature.name for feature in features_of(info["sets"])]:
            raise HypnographError("its features are not those of this hypnograph; fit it anew")
        fields: dict[str, Any] = {name: info[name] for name in ("margin_min", "people", "tested", *_WORDS)}
        fields |= {name: tuple(info[name]) for name in ("questions", "sets")}
        return DisorderScreen(**fields | load_file(folder / WEIGHTS))
    except HypnographError as error:
        raise UnreadableFileError(f"{folder}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise UnreadableFileError(f"{folder} is no screen for disorders: {error!r}") from error


def _checked(given: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    array = np.array(given, dtype=np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise HypnographError(f"{name} has shape {array.shape}; needed are {shape} finite numbers")
    array.setflags(write=False)
    return array


def _counts(people: Mapping[str, int]) -> str:
    return ", ".join(f"{diagnosis} {n}" for diagnosis, n in people.items())


def _card(screen: DisorderScreen) -> str:
    facts = {
        "Questions": ", ".join(screen.questions),
        "Reads": f"{', '.join(screen.sets)}: {len(screen.mean)} features of the sleep period",
        "Fitted on": f"{screen.data or 'not stated'}; people: {_counts(screen.people)}",
        "Probabilities": "as if half of the people had the disorder",
        "Licence of the weights": screen.licence or "not stated",
        "Source": screen.source or "not stated",
        "Written by": f"hypnograph {version('hypnograph')}",
    }
    rows = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    text = f"# {screen.name or 'Screen for sleep disorders'}\n\n**{NOT_A_DIAGNOSIS}**\n\n| | |\n|---|---|\n{rows}"
    return text + (_tested_table(screen.tested) if screen.tested else "\nIt was not cross-validated.\n")


def _number(value: float) -> str:
    """Write a count whole, a share with two places."""
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _tested_table(tested: Mapping[str, Mapping[str, float]]) -> str:
    columns = list(dict.fromkeys(name for numbers in tested.values() for name in numbers))
    rows = [
        [question, *(_number(numbers[name]) if name in numbers else "" for name in columns)]
        for question, numbers in tested.items()
    ]
    lines = [["", *columns], ["---"] * (len(columns) + 1), *rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"\nCross-validated by person, on the data that it was fitted on:\n\n{table}"
