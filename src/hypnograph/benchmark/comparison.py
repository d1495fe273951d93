"""A comparison: what every stager is worth on the same epochs of the same nights, and which differences hold."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hypnograph.benchmark.costs import Cost
from hypnograph.benchmark.paired_tests import PairedTest, paired_tests
from hypnograph.benchmark.references import Reference
from hypnograph.benchmark.staging import Staged
from hypnograph.errors import HypnographError
from hypnograph.evaluation.tables import Evaluation, NightPair, evaluate_nights
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnogram
from hypnograph.published_results import PublishedResult
from hypnograph.stages import StageScheme
from hypnograph.training.prediction_files import PREDICTED, read_rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One stager of a comparison.

    Parameters
    ----------
    name, description
        What it is called, and what it is.
    evaluation
        Its agreement with the reference.
    cost
        Seconds, parameters, megabytes.
    n_unstaged
        Scored epochs that it did not stage: outside what it sees, or of unusable signal. Nobody is judged on them.
    warnings
        What a reader should know before trusting its numbers.
    """

    name: str
    description: str
    evaluation: Evaluation
    cost: Cost
    n_unstaged: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison:
    """Stagers, judged on the same epochs of the same nights.

    Parameters
    ----------
    stagers
        In the order in which they were given.
    tests
        Of each pair, by macro F1 and by kappa.
    datasets
        Whose nights.
    reference
        ``"first"`` scorer, or their ``"majority"``.
    protocol
        How the subjects were parted, in words.
    n_simulated
        Nights that nobody slept.
    lost
        Nights that are not judged, and why, by key.
    left_out
        Stagers that are not compared, and why, by name.
    published
        Results of others on the same datasets.
    """

    stagers: tuple[Judged, ...]
    tests: tuple[PairedTest, ...]
    datasets: tuple[str, ...]
    reference: str
    protocol: str
    n_simulated: int = 0
    lost: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    published: tuple[PublishedResult, ...] = ()

    @property
    def n_nights(self) -> int:
        return len(self.stagers[0].evaluation.nights)

    @property
    def n_subjects(self) -> int:
        return self.stagers[0].evaluation.n_subjects

    @property
    def n_epochs(self) -> int:
        return self.stagers[0].evaluation.pooled.n_epochs

    @property
    def scheme(self) -> StageScheme:
        return self.stagers[0].evaluation.pooled.scheme

    @property
    def title(self) -> str:
        """What is compared on what; says so where nights are simulated."""
        many = len(self.stagers)
        nights = f"night{'s' * (self.n_nights != 1)}"
        if self.n_simulated == self.n_nights:
            nights = f"{self.n_nights} simulated {nights}"
        else:
            nights = f"{self.n_nights} {nights}" + f", {self.n_simulated} of them simulated" * bool(self.n_simulated)
        return f"{many} stager{'s' * (many != 1)} on {', '.join(self.datasets)}: {nights}"

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """The evaluation of each stager, by name."""
        return {stager.name: stager.evaluation for stager in self.stagers}

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each stager: pooled metrics with intervals, means and deviations over nights, costs."""
        import pandas as pd

        return pd.DataFrame(
            [_flat(stager) for stager in self.stagers],
            index=pd.Index([stager.name for stager in self.stagers], name="stager"),
        )

    def nights_frame(self) -> "pd.DataFrame":
        """Return a row for each stager and night: subject, then all metrics."""
        import pandas as pd

        frames = {name: evaluation.to_frame() for name, evaluation in self.evaluations.items()}
        return pd.concat(frames, names=["stager"])

    def table_markdown(self) -> str:
        """Return all tables and notes as Markdown."""
        from hypnograph.benchmark.writing import markdown

        return markdown(self)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and texts, ready for JSON; None where undefined."""
        return {
            "title": self.title,
            "datasets": list(self.datasets),
            "protocol": self.protocol,
            "reference": self.reference,
            "n_nights": self.n_nights,
            "n_subjects": self.n_subjects,
            "n_epochs": self.n_epochs,
            "n_simulated": self.n_simulated,
            "stagers": [
                {
                    "name": stager.name,
                    "description": stager.description,
                    "warnings": list(stager.warnings),
                    "n_unstaged": stager.n_unstaged,
                    "cost": asdict(stager.cost),
                    "evaluation": stager.evaluation.as_dict(),
                }
                for stager in self.stagers
            ],
            "paired_tests": [test.as_dict() for test in self.tests],
            "lost_nights": dict(self.lost),
            "left_out": dict(self.left_out),
            "published": [result.as_dict() for result in self.published],
        }

    def __repr__(self) -> str:
        width = max(len(stager.name) for stager in self.stagers)
        lines = [f"{self.title}, {self.n_subjects} subjects, {self.n_epochs} epochs"]
        for stager in self.stagers:
            pooled = stager.evaluation.pooled
            numbers = f"macro F1 {pooled.macro_f1:.3f}  kappa {pooled.cohen_kappa:.3f}  accuracy {pooled.accuracy:.3f}"
            lines.append(f"  {stager.name:<{width}}  {numbers}")
        return "\n".join(lines)


def _flat(stager: Judged) -> dict[str, Any]:
    evaluation = stager.evaluation
    row: dict[str, Any] = {"n_nights": len(evaluation.nights), "n_subjects": evaluation.n_subjects}
    row["n_epochs"] = evaluation.pooled.n_epochs
    for name, (value, low, high) in evaluation.pooled_estimates.items():
        night = evaluation.per_night[name]
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        row |= {f"{name}_night_mean": night.mean, f"{name}_night_low": night.low, f"{name}_night_high": night.high}
        row |= {f"{name}_night_sd": night.sd}
    return row | asdict(stager.cost) | {"warnings": "; ".join(stager.warnings)}


# From files to numbers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Votes:
    """What each stager said of the nights that all of them staged.

    Parameters
    ----------
    names
        Of the stagers.
    nights
        Reference and predicted stages of each stager, on the same epochs; what is not judged is unscored in all.
    n_unstaged
        By stager; see `Judged`.
    lost, left_out
        See `Comparison`.
    """

    names: tuple[str, ...]
    nights: Mapping[str, tuple[Reference, Hypnogram, tuple[Hypnogram, ...]]]
    n_unstaged: Mapping[str, int]
    lost: Mapping[str, str]
    left_out: Mapping[str, str]


def gather(staged: Sequence[Staged], references: Sequence[Reference], *, how: str) -> Votes:
    """Bring what the stagers said to the same epochs of the same nights.

    Parameters
    ----------
    staged
        What became of each stager.
    references
        Of the nights of all test parts.
    how
        Which scoring counts: ``"first"`` or ``"majority"``.

    Raises
    ------
    HypnographError
        If no stager, or no night, is left.
    """
    said = {one.entrant.name: ({} if one.problem else _predicted(one, references)) for one in staged}
    left_out = {
        one.entrant.name: one.problem or _why_none(one) for one in staged if one.problem or not said[one.entrant.name]
    }
    names = tuple(name for name in said if name not in left_out)
    if not names:
        raise HypnographError(
            "no stager could be used: " + "; ".join(f"{name}: {why}" for name, why in left_out.items())
        )
    scheme = min((h.scheme for name in names for h in said[name].values()), key=lambda scheme: scheme.n_stages)
    failed = {one.entrant.name: one.failed for one in staged}
    nights: dict[str, tuple[Reference, Hypnogram, tuple[Hypnogram, ...]]] = {}
    lost: dict[str, str] = {}
    n_unstaged: Counter[str] = Counter()
    for reference in references:
        key = reference.key
        missing = [name for name in names if key not in said[name]]
        if missing:
            lost[key] = "; ".join(f"{name}: {failed[name].get(key, 'not staged')}" for name in missing)
            continue
        truth = reference.hypnogram(how).merge(scheme)
        votes = [said[name][key].merge(scheme) for name in names]
        n_unstaged.update({n: int((truth.scored & ~v.scored).sum()) for n, v in zip(names, votes, strict=True)})
        judged = np.all([truth.scored, *(vote.scored for vote in votes)], axis=0)
        if not judged.any():
            lost[key] = "there is no scored epoch that all stagers staged"
            continue
        nights[key] = (reference, _only(truth, judged), tuple(_only(vote, judged) for vote in votes))
    if not nights:
        raise HypnographError(f"no night was staged by all of {', '.join(names)}: {_some(lost)}")
    return Votes(names, nights, n_unstaged, lost, left_out)


def _why_none(staged: Staged) -> str:
    return f"no night could be staged: {_some(staged.failed)}"


def _some(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{key}: {why}" for key, why in list(reasons.items())[:3]) or "none was tested"


def _only(hypnogram: Hypnogram, judged: Any) -> Hypnogram:
    return replace(hypnogram, stages=np.where(judged, hypnogram.stages, -1))


def _predicted(staged: Staged, references: Iterable[Reference]) -> dict[str, Hypnogram]:
    """Read what a stager said, on the epochs of the recordings."""
    by_key = {reference.key: reference for reference in references}
    prepared = staged.prepared
    of_store = {} if prepared is None else {night.key: night for night in prepared.store.nights}
    found: dict[str, Hypnogram] = {}
    for folder in staged.folders:
        for row in read_rows(folder):
            key, path = f"{row.dataset}/{row.night}", folder / PREDICTED / row.file
            if key not in by_key or not path.exists():
                continue
            reference = by_key[key]
            first = 0 if prepared is None else reference.first_kept(prepared.crop)
            if key in of_store:
                _check_aligned(reference, of_store[key].stages, first)
            predicted = read_hypnogram(path)
            if prepared is None:  # it staged the recording's own epochs, which may begin elsewhere
                predicted = predicted.align(reference.scorings[0].start, reference.n_epochs, reference.epoch_s)
            found[key] = _placed(predicted, reference, first)
    return found


def _check_aligned(reference: Reference, stages: Any, first: int) -> None:
    """Refuse nights whose prepared stages are not those of the reference at the same place."""
    there = np.stack([scoring.stages[first : first + stages.shape[1]] for scoring in reference.scorings])
    if not np.array_equal(there, stages[:, : there.shape[1]]):
        raise HypnographError(
            f"{reference.key}: the prepared stages are not those of the scoring files; they have changed since. "
            "Choose another folder, or remove its stores"
        )


def _placed(predicted: Hypnogram, reference: Reference, first: int) -> Hypnogram:
    """Return what was predicted from epoch `first` on, on all epochs of the recording."""
    epoch_s = reference.epoch_s
    if predicted.epoch_s != epoch_s:
        predicted = predicted.resample(epoch_s)
    stages = np.full(reference.n_epochs, -1, dtype=np.int8)
    n = min(predicted.n_epochs, reference.n_epochs - first)
    stages[first : first + n] = predicted.stages[:n]
    start = reference.scorings[0].start
    return Hypnogram(stages, epoch_s, start=start, scheme=predicted.scheme, scorer=predicted.scorer)


def judge(votes: Votes, *, n_bootstrap: int, seed: int) -> tuple[dict[str, Evaluation], tuple[PairedTest, ...]]:
    """Return the evaluation of each stager, and the tests of all pairs."""
    evaluations = {}
    for place, name in enumerate(votes.names):
        pairs = [
            NightPair(key, one.person, truth, said[place], one.simulated)
            for key, (one, truth, said) in votes.nights.items()
        ]
        evaluations[name] = evaluate_nights(pairs, n_bootstrap=n_bootstrap, seed=seed)
    return evaluations, paired_tests(evaluations, n_bootstrap=n_bootstrap, seed=seed)


def seen(staged: Staged, tested: set[str]) -> tuple[str, ...]:
    """Return warnings about a stager that was not trained here: whom of the tested subjects it may have seen."""
    entrant = staged.entrant
    if entrant.recipe is not None:
        return ()
    if entrant.split is None:
        data = "" if entrant.network is None or not entrant.network.info.data else f": {entrant.network.info.data}"
        return (f"trained elsewhere{data}; it is not known whether it has seen these subjects",)
    met = tested & {*entrant.split.train, *entrant.split.validation}
    if met:
        return (f"may have seen these subjects: {len(met)} of the {len(tested)} tested are in its training",)
    return ()
