"""Five people and six networks on 25 healthy nights, compared so that their numbers compare (DOD-H).

    OMP_NUM_THREADS=1 python benchmarks/dod_h.py

Reads ../shared/data/scorers/dod-h.jsonl: stages of five scorers, cut to the stretch that all scored, and the hard
stages that six networks gave in the cross-validation of Guillot et al. 2020 (doi 10.1109/TNSRE.2020.3011181), on the 22
nights where their length fits. Nothing is fitted but Dawid-Skene and STAPLE, which see no reference. Every night is of
another subject; intervals are 95 %, by bootstrap over subjects.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, f1_score

from hypnograph.evaluation.consensus import (
    ScoredNight,
    leave_one_out,
    majority,
    soft_agreements,
    soft_hypnodensity,
    unanimous,
)
from hypnograph.evaluation.dawid_skene import METHODS, latent_stages
from hypnograph.evaluation.disagreement import DoubtedNight, doubt_agreement, mean_over_nights
from hypnograph.evaluation.many_scorers import ManyScorers, compare_scorers
from hypnograph.evaluation.statistics_agreement import statistics_bias, statistics_icc
from hypnograph.evaluation.tables import Estimate, NightPair, evaluate_nights
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from real_stagings import DATA

ODD = "095d6e40"
"""The night in which scorer_1 agrees with nobody (soft agreement 0.40), at no shift of the time axis."""


def main() -> None:
    every = read_nights()
    nights = [night for night in every if night.predicted]
    print(f"{len(every)} nights, {sum(len(next(iter(n.scorings.values()))) for n in every)} epochs; "
          f"{len(nights)} of them with networks")  # fmt: skip
    found = compare_scorers(nights)
    show_people_and_networks(found, nights)
    show_published_protocol(every)
    show_kappas(found)
    show_among_people(every)
    show_consensus_methods(nights)
    show_statistics(nights)
    show_doubt(nights)


def read_nights() -> list[ScoredNight]:
    found = []
    for line in (DATA / "scorers" / "dod-h.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        people, networks = (
            {name: Hypnogram(np.array(stages, np.int8), scorer=name) for name, stages in row[side].items()}
            for side in ("scorers", "predicted")
        )
        found.append(ScoredNight(row["record"][:8], row["record"][:8], people, networks))
    return found


def show_people_and_networks(found: ManyScorers, nights: list[ScoredNight]) -> None:
    print("\n== Against the consensus of the other people (networks: of every four people, averaged), 22 nights\n")
    print("| | kappa, pooled | kappa, mean of nights | macro F1, pooled | F1 N1 | soft agreement | against all five |")
    print("|---|---|---|---|---|---|---|")
    for name, evaluation in (*found.against_others.items(), ("all people", found.people_together)):
        pooled, night = evaluation.pooled_estimates, evaluation.per_night["cohen_kappa"]
        soft = show(found.soft_agreement[name]) if name in found.soft_agreement else ""
        whole = f"{found.against_consensus[name].pooled.cohen_kappa:.3f}" if name in found.against_consensus else ""
        print(f"| {name} | {show(pooled['cohen_kappa'])} | {show(Estimate(night.mean, night.low, night.high))} "
              f"| {show(pooled['macro_f1'])} | {pooled['f1_N1'].value:.3f} | {soft} | {whole} |")  # fmt: skip
    print("\nNetwork minus the mean person, kappa of each night (leave-one-out):")
    for which, kept in (("22 nights", nights), (f"without {ODD}", [n for n in nights if n.name != ODD])):
        by_night = {name: kappas(pairs) for name, pairs in leave_one_out(kept).items()}
        people = np.mean([by_night[name] for name in kept[0].scorings], axis=0)
        for name in kept[0].predicted:
            difference = mean_over_nights(by_night[name] - people, [n.subject for n in kept])
            better = int((by_night[name] > people).sum())
            print(f"  {which}: {name}: {show(difference)}, better in {better} of {len(kept)} nights")


def kappas(pairs: list[NightPair]) -> NDArray[np.float64]:
    """Return the kappa of each night, the mean over its pairs."""
    nights = evaluate_nights(pairs, n_bootstrap=0).nights
    names = list(dict.fromkeys(night.name for night in nights))
    return np.array([np.mean([n.agreement.cohen_kappa for n in nights if n.name == name]) for name in names])


def show_published_protocol(nights: list[ScoredNight]) -> None:
    """Print what the authors' own rules give: epochs weighted by votes, networks against the four best people."""
    print("\n== The published protocol (Guillot et al. 2020: people F1 86.8, SimpleSleepNet 89.9; soft 0.85 to 0.92)\n")
    rows: dict[str, list[tuple[float, float]]] = {}
    for night in nights:
        names = list(night.scorings)
        soft = dict(zip(names, soft_agreements(list(night.scorings.values())), strict=True))
        ranked = sorted(names, key=lambda name: -soft[name])
        for name, scoring in {**night.scorings, **night.predicted}.items():
            team = [night.scorings[other] for other in ranked if other != name]
            rows.setdefault(name, []).append(weighted(scoring, team[:4]))
    for name, values in rows.items():
        f1, kappa = np.mean(values, axis=0)
        print(f"  {name}: F1 {100 * f1:.1f}, kappa {kappa:.3f} ({len(values)} nights)")
    people = np.array([value for name in nights[0].scorings for value in rows[name]])
    print(f"  all people: F1 {100 * people[:, 0].mean():.1f}, kappa {people[:, 1].mean():.3f}")
    each = np.array([soft_agreements(list(night.scorings.values())) for night in nights])
    odd = [night.name for night in nights].index(ODD)
    for name, column in zip(nights[0].scorings, each.T, strict=True):
        mean = show(mean_over_nights(column, [night.subject for night in nights]))
        print(f"  soft agreement of {name}: {mean}, lowest night {column.min():.3f}, {ODD} {column[odd]:.3f}")


def weighted(scoring: Hypnogram, ranked: list[Hypnogram]) -> tuple[float, float]:
    """Return F1 and kappa with each epoch weighted by the share of the votes that the consensus has."""
    stages = np.stack([one.stages for one in ranked])
    votes = np.stack([(stages == stage).sum(axis=0) for stage in range(-1, 5)])
    consensus = votes.argmax(axis=0) - 1
    consensus = np.where((votes == votes.max(axis=0)).sum(axis=0) > 1, stages[0], consensus)
    share = votes[consensus + 1, np.arange(len(consensus))] / len(ranked)
    kept = consensus >= 0
    args = (consensus[kept], scoring.stages[kept])
    f1 = f1_score(*args, labels=range(5), average="weighted", sample_weight=share[kept], zero_division=0)
    return float(f1), float(cohen_kappa_score(*args, sample_weight=share[kept]))


def show_kappas(found: ManyScorers) -> None:
    print("\n== Kappa of each pair, 22 nights\n")
    names, values = found.kappas
    print("| | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for i, name in enumerate(names):
        print(f"| {name} | " + " | ".join("" if i == j else f"{v:.2f}" for j, v in enumerate(values[i])) + " |")


def show_among_people(every: list[ScoredNight]) -> None:
    print("\n== Among the five people\n")
    for which, kept in (("25 nights", every), (f"without {ODD}", [n for n in every if n.name != ODD])):
        among = compare_scorers([n._replace(predicted={}) for n in kept]).among_people
        print(f"  {which}: " + ", ".join(f"{name} {show(value)}" for name, value in among._asdict().items()))


def show_consensus_methods(nights: list[ScoredNight]) -> None:
    """Print how well those who took no part agree with each consensus of four people."""
    print("\n== Consensus of four people by method: kappa of who took no part, 22 nights\n")
    methods = ("majority", *METHODS)
    rows: dict[str, dict[str, list[NightPair]]] = {method: {} for method in methods}
    for left_out in nights[0].scorings:
        teams = [{name: h for name, h in night.scorings.items() if name != left_out} for night in nights]
        found = {}
        for method in METHODS:
            found[method] = [density.argmax() for density in latent_stages(teams, method=method).nights]
        found["majority"] = [majority(list(team.values())) for team in teams]
        for method in methods:
            for night, reference in zip(nights, found[method], strict=True):
                others = {"the person left out": night.scorings[left_out], **night.predicted}
                for name, scoring in others.items():
                    pair = NightPair(night.name, night.subject, reference, scoring)
                    rows[method].setdefault(name, []).append(pair)
    print("| | " + " | ".join(methods) + " |\n" + "|---" * (len(methods) + 1) + "|")
    for name in rows["majority"]:
        cells = [show(evaluate_nights(rows[method][name]).pooled_estimates["cohen_kappa"]) for method in methods]
        print(f"| {name} | " + " | ".join(cells) + " |")
    theta = latent_stages([night.scorings for night in nights]).confusion
    print("\nDawid-Skene of all five, share of its stage that each person finds (W, N1, N2, N3, REM):")
    for name, matrix in theta.items():
        print(f"  {name}: " + ", ".join(f"{share:.2f}" for share in np.diag(matrix)))


def show_statistics(nights: list[ScoredNight]) -> None:
    print("\n== Sleep statistics: ICC(2,1) among the five people; bias (limits of agreement) against the others\n")
    correlations = statistics_icc(nights)
    pairs = leave_one_out(nights)
    biases = {name: statistics_bias(of_it) for name, of_it in pairs.items()}
    together = [NightPair(f"{p.name} {name}", *p[1:]) for name in nights[0].scorings for p in pairs[name]]
    biases = {"all people": statistics_bias(together)} | biases
    print("| | " + " | ".join(correlations) + " |\n" + "|---" * (len(correlations) + 1) + "|")
    print("| ICC, people | " + " | ".join(show(value, 2) for value in correlations.values()) + " |")
    for name, of_it in biases.items():
        cells = [f"{b.bias.value:+.1f} ({b.lower.value:.0f} to {b.upper.value:.0f})" for b in of_it.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")
    # The differences of five people from each other are not independent: no interval for them together.
    del biases["all people"]
    clear = {name: [s for s, b in of_it.items() if b.bias.low > 0 or b.bias.high < 0] for name, of_it in biases.items()}
    print(
        "\nBias whose interval excludes 0: "
        + "; ".join(f"{name}: {', '.join(s) or 'none'}" for name, s in clear.items())
    )


def show_doubt(nights: list[ScoredNight]) -> None:
    print("\n== Does the entropy of the networks' votes tell where the five people disagree? (within nights, mean)\n")
    rivals = {
        "votes of the six networks": network_votes,
        "votes of five, without Tsinalis": lambda n: network_votes(n, without="Tsinalis_et_Al"),
        "votes of the six, mean of three epochs": lambda n: smoothed(network_votes(n)),
        "near a change of stage (SimpleNet alone)": lambda n: near_changes(n.predicted["SimpleNet"]),
    }
    for name, votes in rivals.items():
        show_doubt_of(name, [DoubtedNight(n.subject, list(n.scorings.values()), votes(n)) for n in nights])
    print("\n  For whether two of the people differ, mean over the ten pairs:")
    for name, votes in {**rivals, "votes of the other three people": None}.items():
        doubted = []
        for night in nights:
            for pair in combinations(night.scorings, 2):
                rest = [h for k, h in night.scorings.items() if k not in pair]
                density = soft_hypnodensity(rest) if votes is None else votes(night)
                doubted.append(DoubtedNight(night.subject, [night.scorings[k] for k in pair], density))
        show_doubt_of(name, doubted)
    print("\nAccuracy against the majority of the five where these are unanimous / where not:")
    for name, (same, apart) in accuracies(nights).items():
        print(f"  {name}: {same:.3f} / {apart:.3f}")


def show_doubt_of(name: str, doubted: list[DoubtedNight]) -> None:
    found = doubt_agreement(doubted)
    print(f"  {name}: AUC {show(found.auc)}, Spearman {show(found.spearman)}")


def network_votes(night: ScoredNight, without: str = "") -> Hypnodensity:
    return soft_hypnodensity([h for name, h in night.predicted.items() if name != without])


def smoothed(votes: Hypnodensity) -> Hypnodensity:
    padded = np.pad(votes.probabilities, ((1, 1), (0, 0)), mode="edge")
    return replace(votes, probabilities=(padded[:-2] + padded[1:-1] + padded[2:]) / 3)


def near_changes(hypnogram: Hypnogram) -> Hypnodensity:
    """Return a hypnodensity that is the less sure the nearer a change of stage is: what costs nothing."""
    changes = np.flatnonzero(np.diff(hypnogram.stages)) + 0.5
    epochs = np.arange(hypnogram.n_epochs)
    distance = np.abs(epochs[:, None] - changes).min(axis=1) if changes.size else np.full(len(epochs), np.inf)
    sure = 1 - 0.4 / (1 + distance)
    return Hypnodensity(np.stack([sure, 1 - sure, *np.zeros((3, len(sure)))], axis=1))


def accuracies(nights: list[ScoredNight]) -> Mapping[str, tuple[float, float]]:
    counts: dict[str, NDArray[np.int64]] = {}
    for night in nights:
        people = list(night.scorings.values())
        reference, same = majority(people).stages, unanimous(people)
        for name, hypnogram in night.predicted.items():
            right = hypnogram.stages == reference
            sums = [(right & same).sum(), same.sum(), (right & ~same).sum(), (~same).sum()]
            counts[name] = counts.get(name, 0) + np.array(sums)
    return {name: (float(c[0] / c[1]), float(c[2] / c[3])) for name, c in counts.items()}


def show(estimate: Estimate, digits: int = 3) -> str:
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


if __name__ == "__main__":
    main()
