"""People and models on the same nights, all compared so that their numbers compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hypnograph.errors import HypnographError
from hypnograph.evaluation.agreement import none_if_nan, wake_trim
from hypnograph.evaluation.chance_corrected import KappaMatrix, ScorerAgreement, kappa_matrix, scorer_agreement
from hypnograph.evaluation.consensus import ScoredNight, leave_one_out, majority, soft_agreements_left_out
from hypnograph.evaluation.disagreement import mean_over_nights
from hypnograph.evaluation.tables import Estimate, Evaluation, NightPair, evaluate_nights
from hypnograph.hypnogram import Hypnogram

if TYPE_CHECKING:
    import pandas as pd

CONSENSUS = "consensus"
OTHERS = "the others"


@dataclass(frozen=True, repr=False)
class ManyScorers:
    """Agreement of people and models over the nights that all of them scored.

    Parameters
    ----------
    people, models
        Names.
    against_others
        By name: a person against the consensus of the other people; a model against each consensus of all people but
        one, so that a night counts several times and the mean is what compares with a person (`leave_one_out`).
    people_together
        All people of `against_others` in one.
    against_each
        By model, then by person.
    against_consensus
        By model: against the consensus of all people; empty where these are two, who have none.
    soft_agreement
        By name, with the others as in `against_others`; mean over nights.
    soft_agreement_by_night
        By name, then by night.
    kappas
        Of each pair.
    among_people
        Chance-corrected agreement of all people.
    """

    people: tuple[str, ...]
    models: tuple[str, ...]
    against_others: Mapping[str, Evaluation]
    people_together: Evaluation
    against_each: Mapping[str, Mapping[str, Evaluation]]
    against_consensus: Mapping[str, Evaluation]
    soft_agreement: Mapping[str, Estimate]
    soft_agreement_by_night: Mapping[str, Mapping[str, float]]
    kappas: KappaMatrix
    among_people: ScorerAgreement

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and texts, ready for JSON; None where undefined."""

        def plain(estimate: Estimate) -> dict[str, float | None]:
            return {part: none_if_nan(value) for part, value in estimate._asdict().items()}

        kappas = [[none_if_nan(float(value)) for value in row] for row in self.kappas.values]
        return {
            "people": list(self.people),
            "models": list(self.models),
            "against_others": {name: found.as_dict() for name, found in self.against_others.items()},
            "people_together": self.people_together.as_dict(),
            "against_each": {
                model: {person: found.as_dict() for person, found in each.items()}
                for model, each in self.against_each.items()
            },
            "against_consensus": {model: found.as_dict() for model, found in self.against_consensus.items()},
            "soft_agreement": {name: plain(found) for name, found in self.soft_agreement.items()},
            "kappa_matrix": {"names": list(self.kappas.names), "values": kappas},
            "among_people": {name: plain(found) for name, found in self.among_people._asdict().items()},
        }

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each scorer, what it is compared with, and night; then all metrics (`Agreement.as_row`)."""
        import pandas as pd

        compared = [(name, OTHERS, found) for name, found in self.against_others.items()]
        compared += [(m, person, found) for m, each in self.against_each.items() for person, found in each.items()]
        compared += [(model, CONSENSUS, found) for model, found in self.against_consensus.items()]
        parts = []
        for scorer, against, found in compared:
            # A model meets several consensuses of a night: their mean.
            part = found.to_frame().groupby(["night", "subject"], sort=False).mean().reset_index()
            soft = self.soft_agreement_by_night[scorer] if against == OTHERS else {}
            part.insert(2, "soft_agreement", [soft.get(night, np.nan) for night in part["night"]])
            part.insert(0, "against", against)
            part.insert(0, "scorer", scorer)
            parts.append(part)
        return pd.concat(parts, ignore_index=True)


def compare_scorers(
    nights: Sequence[ScoredNight], *, wake_trim_min: float | None = None, n_bootstrap: int = 1000, seed: int = 0
) -> ManyScorers:
    """Compare people and models.

    Parameters
    ----------
    nights
        All with the same people, two or more, and the same models; different names.
    wake_trim_min
        Keep only from so many minutes before the first sleep of the people's consensus to so many after its last; None:
        keep all.
    n_bootstrap, seed
        Of the intervals over subjects.

    Raises
    ------
    HypnographError
        If there is no night, people or models differ between nights, or two nights have one name.
    AlignmentError
        If the scorings of a night do not lie on one grid.
    """
    _check(nights)
    if wake_trim_min is not None:
        nights = [trim_wake(night, wake_trim_min) for night in nights]

    def evaluated(pairs: Sequence[NightPair]) -> Evaluation:
        return evaluate_nights(pairs, n_bootstrap=n_bootstrap, seed=seed)

    people, models = tuple(nights[0].scorings), tuple(nights[0].predicted)
    pairs = leave_one_out(nights)
    soft = {night.name: soft_agreements_left_out(night) for night in nights}
    consensus = {night.name: majority(list(night.scorings.values())) for night in nights}
    subjects = [night.subject for night in nights]
    return ManyScorers(
        people=people,
        models=models,
        against_others={name: evaluated(of_it) for name, of_it in pairs.items()},
        people_together=evaluated([pair for name in people for pair in pairs[name]]),
        against_each={
            model: {
                person: evaluated([_pair(night, night.scorings[person], model) for night in nights])
                for person in people
            }
            for model in models
        },
        against_consensus={
            model: evaluated([_pair(night, consensus[night.name], model) for night in nights])
            for model in (models if len(people) > 2 else ())
        },
        soft_agreement={
            name: mean_over_nights([soft[n.name][name] for n in nights], subjects, n_bootstrap=n_bootstrap, seed=seed)
            for name in pairs
        },
        soft_agreement_by_night={name: {night: found[name] for night, found in soft.items()} for name in pairs},
        kappas=kappa_matrix(nights),
        among_people=scorer_agreement(nights, n_bootstrap=n_bootstrap, seed=seed),
    )


def trim_wake(night: ScoredNight, minutes: float) -> ScoredNight:
    """Return the night from `minutes` before the first sleep of the people's consensus to `minutes` after its last."""
    kept = np.flatnonzero(wake_trim(majority(list(night.scorings.values())), minutes))
    first, past_last = int(kept[0]), int(kept[-1]) + 1
    return night._replace(
        scorings={name: hypnogram.crop(first, past_last) for name, hypnogram in night.scorings.items()},
        predicted={name: hypnogram.crop(first, past_last) for name, hypnogram in night.predicted.items()},
    )


def _pair(night: ScoredNight, reference: Hypnogram, model: str) -> NightPair:
    return NightPair(night.name, night.subject, reference, night.predicted[model])


def _check(nights: Sequence[ScoredNight]) -> None:
    if not nights:
        raise HypnographError("there is no night to compare")
    teams = {(frozenset(night.scorings), frozenset(night.predicted)) for night in nights}
    if len(teams) > 1:
        raise HypnographError(
            f"the nights have {len(teams)} different teams of people and models; compare nights that all of them scored"
        )
    if len({night.name for night in nights}) < len(nights):
        raise HypnographError("two nights have one name; give each its own")
