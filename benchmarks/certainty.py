"""Do probabilities of stagers mean what they say, on real stagings, and where do experts disagree?

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/certainty.py [--png DIR] [--only softs|yasa|experts]

softs    three soft stagings of Sleep-EDF (`real_stagings.py`): a context-free network (39 nights, 20 subjects), a
         logistic regression with and without features of the neighbouring epochs (20 nights, 10 subjects). Everything
         that is fitted (calibration, limits of stage sets, the factor of doubt) is fitted on other subjects.
yasa     the one real night with the YASA classifiers, calibrated on simulated nights of the same montage.
experts  DOD-H: does the entropy of six networks' votes tell where five experts disagree?

Intervals: 95 %, bootstrap over subjects. Some minutes.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import real_stagings
from hypnograph.evaluation.calibration import (
    METHODS,
    Calibration,
    calibrated_folds,
    certainty_scores,
    fit_calibration,
    reliability,
)
from hypnograph.evaluation.conformal import NightSets, cross_fitted_sets, fit_sets, set_scores
from hypnograph.evaluation.staged_nights import Fold, StagedNight, estimate, leave_subjects_out, pooled
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.review import review_plan, reviewed_accuracy

WANTED = (0.85, 0.9, 0.95)
SIMULATED_SEEDS = range(101, 113)
N_EXPERTS = 5


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print("| " + " | ".join(heading) + " |\n|" + "---|" * len(heading))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    print()


def shown(value: tuple[float, float, float]) -> str:
    middle, low, high = value
    return f"{middle:.3f}" if np.isnan(low) else f"{middle:.3f} ({low:.3f} to {high:.3f})"


# ── soft stagings of Sleep-EDF ──


def staged(nights: Iterable[real_stagings.StagedNight]) -> list[StagedNight]:
    return [StagedNight(n.record, n.subject, Hypnogram(n.reference), Hypnodensity(n.probabilities)) for n in nights]


def softs(folder: Path | None) -> None:
    sets = {
        "network, context-free": staged(real_stagings.soft_network()),
        "regression, context-free": staged(real_stagings.soft_classifier(rolling=False)),
        "regression, with neighbours": staged(real_stagings.soft_classifier(rolling=True)),
    }
    for name, nights in sets.items():
        print(f"## {name}: {len(nights)} nights, {len({n.subject for n in nights})} subjects\n")
        folds = {"as staged": list(leave_subjects_out(nights))}
        folds |= {method: list(calibrated_folds(nights, method=method)) for method in METHODS}
        calibration_table(folds)
        sets_table(folds["vector"])
        review_table(nights)
        if folder is not None:
            draw(folds, folder / f"reliability-{name.replace(', ', '-').replace(' ', '-')}.png")


def left_out(folds: Sequence[Fold]) -> list[StagedNight]:
    return [night for fold in folds for night in fold.left_out]


def calibration_table(folds: dict[str, list[Fold]]) -> None:
    rows = []
    for name, own in folds.items():
        nights = left_out(own)
        found = certainty_scores(nights)
        p, y = pooled(nights)
        numbers = (found.calibration_error, found.stage_error, found.brier, found.nll, found.accuracy)
        rows.append([name, *map(shown, numbers), f"{cohen_kappa_score(y, p.argmax(axis=1)):.3f}"])
    table(("", "ECE", "ECE of stages", "Brier", "NLL", "accuracy", "kappa"), rows)


def sets_table(folds: list[Fold]) -> None:
    rows = []

    def add(level: float, **options: object) -> None:
        found = set_scores(cross_fitted_sets(folds, level=level, **options), level)
        kind = f"{options.get('score', 'lac')}{', per stage' * bool(options.get('per_stage'))}"
        nights = f"{found.lowest:.3f}, {found.tenth:.3f}, {found.median:.3f}"
        rows.append([
            options["promise"], kind, f"{level:.2f}", shown(found.coverage), nights, found.nights_kept,
            found.size.value, found.share_of_one.value, found.by_stage["N1"],
        ])  # fmt: skip

    for promise in ("epochs", "subjects", "nights"):
        for level in (0.8, 0.9, 0.95):
            add(level, promise=promise)
    for promise in ("epochs", "nights"):
        add(0.9, promise=promise, per_stage=True)
        add(0.9, promise=promise, score="aps")
        add(0.9, promise=promise, score="raps")
    heading = (
        "promise",
        "score",
        "level",
        "coverage",
        "night: lowest, tenth, median",
        "nights kept",
        "stages in a set",
    )
    table((*heading, "sets of one", "N1 covered"), rows)


def review_table(nights: list[StagedNight]) -> None:
    """Each night: a plan from a calibration (and a factor of doubt) of other subjects; then what was reached."""
    fitted: dict[str, dict[int, Calibration]] = {method: {} for method in METHODS}
    for rest, out in leave_subjects_out(nights):
        for method in METHODS:
            calibration = fit_calibration(rest, method=method, n_folds=5)
            fitted[method] |= {id(night): calibration for night in out}
    ways: dict[str, Callable[[StagedNight], tuple[Hypnodensity, float]]] = {
        "as staged (not calibrated)": lambda n: (n.hypnodensity, 1.0),
        "temperature": lambda n: (fitted["temperature"][id(n)].apply(n.hypnodensity), 1.0),
        "vector": lambda n: (fitted["vector"][id(n)].apply(n.hypnodensity), 1.0),
        "vector, 9 of 10 nights": lambda n: (
            fitted["vector"][id(n)].apply(n.hypnodensity), fitted["vector"][id(n)].doubt_factor()
        ),
    }  # fmt: skip
    table(
        ("wanted", "reckoned with", "look at", "reached, mean of nights", "lowest night", "nights that reach it"),
        [[f"{wanted:.2f}", name, *review_row(nights, way, wanted)] for wanted in WANTED for name, way in ways.items()],
    )


def review_row(
    nights: list[StagedNight], way: Callable[[StagedNight], tuple[Hypnodensity, float]], wanted: float
) -> list[object]:
    looked, reached = [], []
    for night in nights:
        density, factor = way(night)
        if not np.isfinite(factor):
            return ["too few subjects", "", "", ""]
        plan = review_plan(density, wanted, doubt_factor=factor)
        looked.append(plan.fraction)
        reached.append(reviewed_accuracy(plan, density.argmax(), night.reference))
    subjects = [night.subject for night in nights]
    kept = float((np.array(reached) >= wanted).mean())
    return [over_subjects(looked, subjects), over_subjects(reached, subjects), min(reached), kept]


def over_subjects(values: Sequence[float], subjects: Sequence[str]) -> str:
    """The mean over nights with its interval by bootstrap over subjects."""
    names, places = np.unique(subjects, return_inverse=True)
    sums = np.zeros((len(names), 2))
    np.add.at(sums, places, np.stack([np.ones(len(values)), np.asarray(values)], axis=1))
    return shown(estimate(lambda draws: draws[:, 1] / draws[:, 0], sums))


def draw(folds: dict[str, list[Fold]], path: Path) -> None:
    from matplotlib.figure import Figure

    from hypnograph.plot import plot_reliability, stage_colours
    from hypnograph.stages import AASM_5

    figure = Figure(figsize=(13.5, 5), layout="constrained")
    before, after = (left_out(folds[name]) for name in ("as staged", "vector"))
    first, *others = figure.subplots(1, 3)
    plot_reliability([("as staged", reliability(before)), ("vector scaling", reliability(after))], first)
    first.set_title("the most probable stage", loc="left", fontsize=10)
    for ax, nights, title in zip(others, (before, after), ("as staged", "vector scaling"), strict=True):
        curves = [(label, reliability(nights, stage=label)) for label in AASM_5.labels]
        plot_reliability(curves, ax, colours=stage_colours(AASM_5))
        ax.set_title(f"each stage, {title}", loc="left", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"drawn: {path}\n")


# ── YASA on simulated nights and on the real one ──


def by_yasa(recording: object, reference: Hypnogram, name: str) -> StagedNight:
    from hypnograph.stagers import stage

    density = stage(recording, stager="yasa", eog="none", emg="none").hypnodensity
    aligned = reference.align(None, density.n_epochs)
    return StagedNight(
        name, name, Hypnogram(aligned.stages), Hypnodensity(density.probabilities, scorer=density.scorer)
    )


def yasa() -> None:
    from hypnograph.hypnogram_files import read_hypnogram
    from hypnograph.simulate import simulate_hypnogram, simulate_recording

    eeg = real_stagings.DATA / "eeg"
    real = by_yasa(eeg / "ucddb018.edf", read_hypnogram(eeg / "ucddb018.txt"), "real")
    simulated = []
    for seed in SIMULATED_SEEDS:
        stages = simulate_hypnogram(seed=seed)
        recording = simulate_recording(stages, seed=seed, sample_rate=128.0, derivations=("C4-M1",))
        simulated.append(by_yasa(recording, stages, f"simulated {seed}"))
    print(f"## YASA, one EEG: {len(simulated)} simulated nights, 1 real night\n")
    densities = {"as staged": (simulated, real)}
    for method in METHODS:
        apply = fit_calibration(simulated, method=method, n_folds=0).apply
        crossed = left_out(list(calibrated_folds(simulated, method=method)))
        densities[method] = (crossed, real._replace(hypnodensity=apply(real.hypnodensity)))
        print(method, fit_calibration(simulated, method=method, n_folds=0))
    print()
    rows = []
    for name, (of_simulated, of_real) in densities.items():
        for where, nights in (("simulated", of_simulated), ("real", [of_real])):
            found = certainty_scores(nights)
            numbers = (found.accuracy, found.confidence, found.calibration_error, found.brier, found.nll)
            rows.append([name, where, *map(shown, numbers)])
    table(("", "nights", "accuracy", "confidence", "ECE", "Brier", "NLL"), rows)
    real_night_tables(simulated, densities["temperature"][1], real)


def real_night_tables(simulated: list[StagedNight], calibrated: StagedNight, real: StagedNight) -> None:
    """Sets and epochs to look at on the real night, by what simulated nights taught; then as the night itself knows."""
    taught, own = fit_calibration(simulated), fit_calibration([real])
    print(f"temperature of simulated nights {1 / taught.scale[0]:.2f}, of the real night itself {1 / own.scale[0]:.2f}")
    print(f"factor of doubt of simulated nights, 9 of 10: {taught.doubt_factor():.2f}\n")
    rows = []
    for wanted in WANTED:
        for name, density, factor in (
            ("as staged", real.hypnodensity, 1.0),
            ("simulated", calibrated.hypnodensity, 1.0),
            ("simulated, 9 of 10 nights", calibrated.hypnodensity, taught.doubt_factor()),
        ):
            plan = review_plan(density, wanted, doubt_factor=factor)
            reached = reviewed_accuracy(plan, density.argmax(), real.reference)
            rows.append([f"{wanted:.2f}", name, plan.expected_before, plan.fraction, reached])
    table(("wanted", "calibrated on", "expected without a look", "look at", "reached"), rows)
    rows = []
    matched = [n._replace(hypnodensity=taught.apply(n.hypnodensity)) for n in simulated]
    for promise in ("epochs", "nights"):
        for level in (0.8, 0.9, 0.95):
            sets = fit_sets(matched, level=level, promise=promise).sets(calibrated.hypnodensity)
            found = set_scores([NightSets(calibrated, sets)], level)
            rows.append([promise, f"{level:.2f}", found.coverage.value, found.size.value, found.share_of_one.value])
    table(("promise", "level", "coverage on the real night", "stages in a set", "sets of one"), rows)


# ── five experts and six networks ──


class Dod:
    """One night of DOD-H: how uncertain six networks and five experts are in each epoch that all five scored."""

    def __init__(self, row: dict) -> None:
        experts, networks = (np.array(list(row[who].values())) for who in ("scorers", "predicted"))
        kept = (experts >= 0).all(axis=0)
        self.votes = votes_of(networks)
        density = Hypnodensity(self.votes / len(networks))
        self.entropy = density.entropy()
        predicted = density.argmax().stages
        changes = np.flatnonzero(np.diff(predicted)) + 0.5
        far = np.full(len(predicted), 99.0) if not len(changes) else None
        self.nearness = -(far if far is not None else np.abs(np.arange(len(predicted))[:, None] - changes).min(axis=1))
        self.is_n1 = (predicted == 1).astype(float)
        expert_votes = votes_of(np.where(experts < 0, 0, experts))
        self.expert_entropy = Hypnodensity(expert_votes / N_EXPERTS).entropy()
        self.disagree = expert_votes.max(axis=1) < N_EXPERTS
        self.wrong = predicted != expert_votes.argmax(axis=1)
        self.kept = kept & (networks >= 0).all(axis=0)
        columns = (self.entropy, smooth(self.entropy, 3), smooth(self.entropy, 9), np.exp(self.nearness / 3))
        self.features = np.column_stack([*columns, np.eye(5)[predicted]])


def votes_of(stages: np.ndarray) -> np.ndarray:
    """Count the votes of scorers (scorer, epoch) for each stage: (epoch, stage)."""
    return np.stack([(stages == stage).sum(axis=0) for stage in range(5)], axis=1).astype(float)


def smooth(values: np.ndarray, n_epochs: int) -> np.ndarray:
    return uniform_filter1d(np.asarray(values, dtype=float), n_epochs, mode="nearest")


def experts() -> None:
    rows = real_stagings._rows(real_stagings.DATA / "scorers" / "dod-h.jsonl")
    nights = [Dod(row) for row in rows if row["predicted"]]
    n_epochs = sum(night.kept.sum() for night in nights)
    share = np.concatenate([n.disagree[n.kept] for n in nights]).mean()
    print(
        f"## DOD-H: {len(nights)} nights with six networks, {n_epochs} epochs, experts not unanimous in {share:.3f}\n"
    )
    agreeing_table(nights)
    predictors: dict[str, Callable[[Dod], np.ndarray]] = {
        "entropy of six networks": lambda n: n.entropy,
        "mean over 3 epochs": lambda n: smooth(n.entropy, 3),
        "mean over 5 epochs": lambda n: smooth(n.entropy, 5),
        "mean over 9 epochs": lambda n: smooth(n.entropy, 9),
        "entropy + mean over 5": lambda n: n.entropy + smooth(n.entropy, 5),
        "nearness of a stage change (no entropy)": lambda n: n.nearness,
        "N1 predicted (no entropy)": lambda n: n.is_n1,
    }
    learned = {id(night): chance for night, chance in zip(nights, learned_disagreement(nights), strict=True)}
    predictors["logistic regression of all these, other nights"] = lambda n: learned[id(n)]
    found = []
    for name, of in predictors.items():
        auc = [roc_auc_score(n.disagree[n.kept], of(n)[n.kept]) for n in nights]
        wrong = [roc_auc_score(n.wrong[n.kept], of(n)[n.kept]) for n in nights]
        rank = [spearmanr(of(n)[n.kept], n.expert_entropy[n.kept]).statistic for n in nights]
        ids = [str(i) for i in range(len(nights))]
        lowest = f"{min(auc):.3f}"
        found.append([name, over_subjects(auc, ids), lowest, over_subjects(rank, ids), over_subjects(wrong, ids)])
    heading = ("predictor", "AUC: experts disagree", "lowest night", "Spearman with experts' entropy")
    table((*heading, "AUC: majority of networks is wrong"), found)
    both = []
    for width in (1, 3, 5, 11, 21):
        rank = [
            spearmanr(smooth(n.entropy, width)[n.kept], smooth(n.expert_entropy, width)[n.kept]).statistic
            for n in nights
        ]
        both.append([width, over_subjects(rank, [str(i) for i in range(len(nights))])])
    table(("both smoothed over epochs", "Spearman of the entropies, mean of nights"), both)
    means = [(n.entropy[n.kept].mean(), n.expert_entropy[n.kept].mean()) for n in nights]
    print(
        f"Spearman of the nights' means: {spearmanr(*zip(*means, strict=True)).statistic:.3f} ({len(nights)} nights)\n"
    )


def learned_disagreement(nights: list[Dod]) -> list[np.ndarray]:
    """How likely experts disagree, in each epoch of a night, learned on the other nights."""
    found = []
    for night in nights:
        rest = [other for other in nights if other is not night]
        x, y = (np.concatenate([getattr(o, name)[o.kept] for o in rest]) for name in ("features", "disagree"))
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(x, y)
        found.append(model.predict_proba(night.features)[:, 1])
    return found


def agreeing_table(nights: list[Dod]) -> None:
    most = np.concatenate([n.votes.max(axis=1)[n.kept] for n in nights])
    disagree = np.concatenate([n.disagree[n.kept] for n in nights])
    wrong = np.concatenate([n.wrong[n.kept] for n in nights])
    rows = []
    for votes in range(6, 1, -1):
        here = most == votes
        if here.any():
            rows.append([votes, float(here.mean()), float(disagree[here].mean()), float(wrong[here].mean())])
    table(("networks that agree", "share of epochs", "experts not unanimous", "majority not the experts'"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--png", type=Path, help="folder for the reliability diagrams")
    parser.add_argument("--only", choices=("softs", "yasa", "experts"))
    options = parser.parse_args()
    if options.only in (None, "softs"):
        softs(options.png)
    if options.only in (None, "yasa"):
        yasa()
    if options.only in (None, "experts"):
        experts()


if __name__ == "__main__":
    main()
