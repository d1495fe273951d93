"""Fits screens for sleep disorders: who has what, and a logistic regression for each question about them."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, one_line
from hypnograph.hypnogram import Hypnogram
from hypnograph.sequences.disorder_features import feature_values, features_of
from hypnograph.sequences.disorders import DisorderScreen

ANY = "any disorder"
LEAST_PEOPLE = 8
"""With fewer people of a group nothing is fitted: the result would be about those few."""
PENALTY = 10.0
"""Of the squared weights. It was set once, before any result was seen, and not tuned."""
DEFAULT_SETS = ("statistics", "transitions")

Values = NDArray[np.float64]


class Person(NamedTuple):
    """One night of one person, and what that person was found to have."""

    subject: str
    diagnosis: str
    hypnogram: Hypnogram


class Question(NamedTuple):
    """Who has a disorder, and the healthy that they are compared with."""

    name: str
    people: tuple[Person, ...]
    ill: NDArray[np.bool_]


def read_people(table: str | Path) -> list[Person]:
    """Read a CSV with the columns ``file`` and ``diagnosis``, and ``subject`` where somebody has several nights.

    Files are hypnograms of any format that can be read, their paths from the folder of the table.

    Raises
    ------
    HypnographError
        If a column is missing, a hypnogram cannot be read, or a subject has two diagnoses.
    """
    from hypnograph.hypnogram_files import read_hypnogram

    table = Path(table)
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    people = []
    for line, row in enumerate(rows, start=2):
        name, diagnosis = (row.get("file") or "").strip(), (row.get("diagnosis") or "").strip()
        if not name or not diagnosis:
            raise HypnographError(
                f"{table.name}, line {line}: file is {name!r} and diagnosis {diagnosis!r}; each line needs both"
            )
        try:
            hypnogram = read_hypnogram(table.parent / name)
        except HypnographError as error:
            raise HypnographError(f"{table.name}, line {line}: {one_line(error)}") from error
        people.append(Person((row.get("subject") or "").strip() or name, diagnosis, hypnogram))
    if not people:
        raise HypnographError(
            f"{table} has no line; it needs the columns file and diagnosis, and a line for each night"
        )
    diagnosis_by_subject(people)
    return people


def diagnosis_by_subject(people: Sequence[Person]) -> dict[str, str]:
    """Return what each subject has.

    Raises
    ------
    HypnographError
        If a subject has two diagnoses.
    """
    found: dict[str, str] = {}
    for person in people:
        if found.setdefault(person.subject, person.diagnosis) != person.diagnosis:
            raise HypnographError(
                f"subject {person.subject!r} has the diagnoses {found[person.subject]!r} and {person.diagnosis!r}; "
                "give one"
            )
    return found


def questions(people: Sequence[Person], healthy: str) -> tuple[dict[str, Question], dict[str, int]]:
    """Return what can be asked, by name: any disorder, then each against the healthy; and the groups that are too few.

    Raises
    ------
    HypnographError
        If there are fewer than 8 healthy people, or fewer than 8 others.
    """
    counts = Counter(diagnosis_by_subject(people).values())
    n_healthy = counts.pop(healthy, 0)
    if min(n_healthy, counts.total()) < LEAST_PEOPLE:
        raise HypnographError(
            f"{n_healthy} people are {healthy!r} and {counts.total()} are not ({', '.join(counts) or 'nobody'}); "
            f"needed are {LEAST_PEOPLE} of each"
        )
    wanted = {ANY: set(counts)} | {name: {name} for name, n in counts.most_common() if n >= LEAST_PEOPLE}
    return (
        {name: _question(name, people, diagnoses, healthy) for name, diagnoses in wanted.items()},
        {name: n for name, n in counts.most_common() if n < LEAST_PEOPLE},
    )


def _question(name: str, people: Sequence[Person], diagnoses: set[str], healthy: str) -> Question:
    asked = tuple(person for person in people if person.diagnosis in diagnoses | {healthy})
    return Question(name, asked, np.array([person.diagnosis != healthy for person in asked]))


# Logistic regression -------------------------------------------------------------------------------------------------


class Logistic(NamedTuple):
    """Weights on standardised features, and how to standardise them."""

    mean: Values
    deviation: Values
    weights: Values
    intercept: float

    def log_odds(self, x: Values) -> Values:
        """Return the log odds of nights, shape (n_nights,); a feature that is NaN counts as the mean."""
        return np.nan_to_num((x - self.mean) / self.deviation) @ self.weights + self.intercept


def standards(x: Values) -> tuple[Values, Values]:
    """Return the mean and the deviation of features where they are defined; 0 and 1 where they never are."""
    known = ~np.isnan(x)
    n = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, x, 0).sum(axis=0) / n
    deviation = np.sqrt((np.where(known, x - mean, 0) ** 2).sum(axis=0) / n)
    return mean, np.where(deviation > 0, deviation, 1.0)


def fit_logistic(x: Values, ill: NDArray[np.bool_], *, penalty: float = PENALTY) -> Logistic:
    """Fit log odds as a weighted sum of standardised features; both answers weigh the same, whatever their numbers.

    Parameters
    ----------
    x : float array, shape (n_nights, n_features)
        NaN where a night does not define a feature.
    ill : bool array, shape (n_nights,)
        Both answers must occur.
    penalty
        Half of it times the squared weights is added to the weighted log loss; the intercept has none.
    """
    from scipy.optimize import minimize

    mean, deviation = standards(x)
    z = np.column_stack([np.nan_to_num((x - mean) / deviation), np.ones(len(x))])
    share = len(ill) / (2 * np.where(ill, ill.sum(), (~ill).sum()))
    side = np.where(ill, 1.0, -1.0)
    penalties = np.append(np.full(x.shape[1], penalty), 0.0)

    def loss(w: Values) -> tuple[float, Values]:
        margin = side * (z @ w)
        slope = -share * side / (1 + np.exp(np.minimum(margin, 500)))
        return float(share @ np.logaddexp(0, -margin) + penalties @ w**2 / 2), z.T @ slope + penalties * w

    found = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-6})
    return Logistic(mean, deviation, found.x[:-1], float(found.x[-1]))


def fit_screen(
    people: Sequence[Person],
    *,
    healthy: str,
    sets: Sequence[str] = DEFAULT_SETS,
    margin_min: float = 0.0,
    penalty: float = PENALTY,
    tested: Mapping[str, Mapping[str, float]] | None = None,
    **words: str,
) -> DisorderScreen:
    """Fit a screen on all people: any disorder, and each disorder of which there are enough people.

    Parameters
    ----------
    people
        A night each.
    healthy
        The diagnosis of those who have none.
    sets, margin_min
        What it reads of a night: `disorder_features`.
    penalty
        As in `fit_logistic`.
    tested
        Numbers of a cross-validation by question, for the card.
    words
        ``name``, ``data``, ``licence``, ``source`` of the screen.

    Raises
    ------
    HypnographError
        If there are too few people, or a night cannot be screened.
    """
    asked, _ = questions(people, healthy)
    x = np.stack([feature_values(person.hypnogram, sets, margin_min=margin_min) for person in people])
    mean, deviation = standards(x)
    coefficients, intercepts = [], []
    for question in asked.values():
        chosen = np.array([person.diagnosis in {p.diagnosis for p in question.people} for person in people])
        fitted = fit_logistic(x[chosen], question.ill, penalty=penalty)
        # One scale for all questions: that of all people.
        weights = fitted.weights / fitted.deviation
        coefficients.append(weights * deviation)
        intercepts.append(fitted.intercept + float(weights @ (mean - fitted.mean)))
    return DisorderScreen(
        questions=tuple(asked),
        sets=tuple(sets),
        margin_min=margin_min,
        mean=mean,
        deviation=deviation,
        coefficients=np.array(coefficients).reshape(len(asked), len(features_of(sets))),
        intercepts=np.array(intercepts),
        people=Counter(diagnosis_by_subject(people).values()),
        tested=tested or {},
        **words,
    )
