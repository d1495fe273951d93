"""What a hypnogram says about sleep disorders: every method on the 108 nights of CAP, beside its baselines.

Run: OMP_NUM_THREADS=1 python benchmarks/cap_disorders.py [--part tested,margins,elsewhere,confound,networks,controls]

Prints the tables of LOG.md. Seeds are fixed: the same numbers each time. The part `networks` takes about 20 minutes of
one core, the others two. The published trunk is ../shared/weights/sleepgpt-slm-60.pth.tar.
"""

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnogram
from hypnograph.sequences.disorder_features import feature_values
from hypnograph.sequences.disorders import DisorderScreen
from hypnograph.sequences.language_model import StageLanguageModel, from_published
from hypnograph.training.disorder_fitting import ANY, DEFAULT_SETS, Person, fit_logistic, fit_screen, questions
from hypnograph.training.disorder_methods import BASELINES, NETWORKS, Method, methods
from hypnograph.training.disorder_validation import METRICS, HeldOutScores, cross_validated, permutation_p
from real_stagings import DATA, cap, hypnograms

SCREEN = ("statistics",)
FITTED = ("statistics", "transitions", "bouts", "triplets", "boosting")
PERMUTED = ("wake", "statistics", "transitions")
TRUNK = DATA.parent / "weights" / "sleepgpt-slm-60.pth.tar"


def people() -> list[Person]:
    return [Person(night.subject, night.disorder, Hypnogram(night.stages)) for night in cap()]


def trunk() -> StageLanguageModel:
    import torch

    torch.set_num_threads(1)
    return from_published(torch.load(TRUNK, map_location="cpu", weights_only=True))


def row(tested: HeldOutScores) -> str:
    estimates, spreads = tested.estimates(), tested.spreads()
    auc, spread = estimates["AUC"], spreads["AUC"]
    cells = [f"{auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})", f"{spread.low:.3f} to {spread.high:.3f}"]
    return " | ".join([*cells, *(f"{estimates[m].value:.2f}" for m in METRICS[1:])])


def compare(names: Sequence[str], repeats: int, *, known: dict[str, Method], only: Sequence[str] = ()) -> None:
    asked, few = questions(people(), "normal")
    print(f"Not tested, too few people: {few}")
    for question in asked.values():
        if only and question.name not in only:
            continue
        ill = int(question.ill.sum())
        print(f"\n{question.name}: {ill} against {len(question.ill) - ill}; {repeats} × 10 folds by person")
        numbers = " | ".join(METRICS[1:])
        print(f"| method | AUC, 95 % over people | over repeats | {numbers} | AUC above the better baseline | p |")
        print("|" + "---|" * (len(METRICS) + 4))
        found: dict[str, HeldOutScores] = {}
        for name in (*BASELINES, *names):
            # A fold of the whole network takes half a minute.
            tests = (5, 1) if name == "network" else (10, repeats)
            found[name] = cross_validated(known[name], question, n_folds=tests[0], n_repeats=tests[1])
            line = f"| {known[name].words} | {row(found[name])} | {above(found, name)} | "
            print(f"{line}{chance(name, question, found)} |", flush=True)


def above(found: dict[str, HeldOutScores], name: str) -> str:
    """Return the AUC above that of the better baseline: one that has learned nothing can lie far below 0.5."""
    if name in BASELINES:
        return ""
    better = max(BASELINES, key=lambda baseline: found[baseline].estimates()["AUC"].value)
    value, low, high = found[name].auc_above(found[better])
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f}), {better}"


def chance(name: str, question, found: dict[str, HeldOutScores]) -> str:
    if name not in PERMUTED:
        return ""
    return f"{permutation_p(methods()[name], question, found[name].estimates()['AUC'].value):.3f}"


def margins() -> None:
    """How much hangs on choices that were made without looking: the crop and the penalty."""
    question = questions(people(), "normal")[0][ANY]
    whole = Method("length of the whole recording", lambda h: np.array([h.duration_s]), methods()["length"].score)
    print(f"\nNot cropped: length of the whole recording: {row(cross_validated(whole, question))}")
    for margin_min in (0.0, 30.0):
        for name in ("length", "wake", "statistics", "transitions"):
            tested = cross_validated(methods(margin_min=margin_min)[name], question)
            print(f"margin {margin_min:g} min, {name}: {row(tested)}")
    for penalty in (1.0, 10.0, 100.0):
        for name in ("statistics", "transitions"):

            def score(train, ill, test, seed, penalty=penalty):
                return fit_logistic(np.stack(train), ill, penalty=penalty).log_odds(np.stack(test))

            tested = cross_validated(methods()[name]._replace(score=score), question)
            print(f"penalty {penalty:g}, {name}: {row(tested)}")


def elsewhere() -> None:
    """What the screen says of other laboratories, where most are healthy or have apnoea only."""
    screen = fit_screen(people(), healthy="normal", sets=SCREEN)
    wake = fit_screen(people(), healthy="normal", sets=("wake",))
    print("\n| nights of | nights | median probability | above 0.5 | wake only: above 0.5 |\n|---|---|---|---|---|")
    nights: dict[str, list[Hypnogram]] = {}
    for night in hypnograms():
        group = night.dataset
        if group.startswith("sleep-edfx"):
            group = f"sleep-edfx {night.record[:2]}"
        nights.setdefault(group, []).append(Hypnogram(night.stages))
    for group, found in nights.items():
        p, q = (np.array(probabilities(s, found)) for s in (screen, wake))
        shown = f"{np.median(p):.2f} | {np.mean(p > 0.5):.2f} | {np.mean(q > 0.5):.2f}"
        print(f"| {group} | {len(p)} of {len(found)} | {shown} |")


def confound() -> None:
    """Sleep-EDF's first nights as more healthy people, as SleepGPT's authors had it: what one number does then."""
    first = {n.subject: n for n in hypnograms() if n.dataset.startswith("sleep-edfx") and n.record.startswith("SC")}
    nights = [(n.disorder != "normal", n.stages) for n in cap()] + [(False, n.stages) for n in first.values()]
    longest = max(len(stages) for _, stages in nights)
    ill = np.array([answer for answer, _ in nights])
    print(
        f"\nCAP and {len(first)} first nights of Sleep-EDF SC: {ill.sum()} ill; the longest night has {longest} epochs"
    )
    for margin_min, name in ((0.0, "length"), (30.0, "length"), (0.0, "wake")):
        x = np.array([feature_values(Hypnogram(stages), [name], margin_min=margin_min) for _, stages in nights])
        scores = (x if name == "wake" else -x).T  # short nights and wake: what one would guess of the ill
        for among, chosen in (("CAP and Sleep-EDF", np.arange(len(ill))), ("CAP", np.arange(108))):
            held = HeldOutScores(scores=scores[:, chosen], ill=ill[chosen], subjects=np.arange(len(chosen)))
            auc, low, high = held.estimates()["AUC"]
            what = f"{name} of the sleep period ± {margin_min:g} min, not fitted"
            print(f"{what}, {among}: AUC {auc:.3f} ({low:.3f} to {high:.3f})")


def controls() -> None:
    """Whether the LSTM, the best on CAP, reads the length or the order of stages, and what it says elsewhere."""
    lstm, asked = methods(trunk=trunk())["lstm-frozen"], questions(people(), "normal")[0]
    any_disorder, random = asked[ANY], np.random.default_rng(0)
    nights = [lstm.prepare(person.hypnogram) for person in any_disorder.people]
    other = {
        "dodh": "healthy",
        "sleep-accel": "healthy",
        "sleep-edfx SC": "healthy",
        "sleep-edfx ST": "trouble falling asleep",
        "ucddb": "apnoea",
    }
    found = {
        group: [n for n in hypnograms() if group.startswith(n.dataset) and n.record.startswith(group.partition(" ")[2])]
        for group in other
    }
    new = {g: [lstm.prepare(Hypnogram(n.stages)) for n in f if (n.stages > 0).sum() >= 120] for g, f in found.items()}
    scores = lstm.score(nights, any_disorder.ill, [night for group in new.values() for night in group], 0)
    for group, said in zip(new, np.split(scores > 0, np.cumsum([len(g) for g in new.values()])[:-1]), strict=True):
        print(f"LSTM fitted on CAP, {group} ({other[group]}): {said.mean():.2f} of {len(said)} called ill", flush=True)
    altered = {
        "all epochs N2": lambda h: np.full_like(lstm.prepare(h), 2),
        "epochs in random order": lambda h: random.permutation(lstm.prepare(h)),
    }
    for words, prepare in altered.items():
        tested = cross_validated(lstm._replace(prepare=prepare), any_disorder, n_repeats=1)
        print(f"LSTM, {words}: {row(tested)}", flush=True)
    for name in list(asked)[1:]:
        print(f"LSTM, {name}: {row(cross_validated(lstm, asked[name], n_repeats=1))}", flush=True)


def probabilities(screen: DisorderScreen, nights: list[Hypnogram]) -> list[float]:
    found = []
    for night in nights:
        try:
            found.append(screen.screen(night).findings[0].probability)
        except HypnographError:  # less than an hour of sleep
            continue
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--part", default="tested,margins,elsewhere,confound,networks,controls")
    parser.add_argument("--networks", default=",".join(("bag", *NETWORKS)))
    options = parser.parse_args()
    print(Counter(person.diagnosis for person in people()), "features:", ", ".join(DEFAULT_SETS))
    if "tested" in options.part:
        compare(FITTED, options.repeats, known=methods())
    if "margins" in options.part:
        margins()
    if "elsewhere" in options.part:
        elsewhere()
    if "confound" in options.part:
        confound()
    if "networks" in options.part:
        compare(options.networks.split(","), 2, known=methods(trunk=trunk()), only=(ANY,))
    if "controls" in options.part:
        controls()
