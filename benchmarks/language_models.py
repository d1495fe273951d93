"""How well do language models of stages tell the next stage of datasets that they never saw?

Run: python benchmarks/language_models.py [--published] [--models 'FOLDER/{dataset}' ...] [--errors | --sampling]

Leave one dataset out: each of the eight datasets of ../shared/data/hypnograms (452 nights) is predicted by models that
are fitted on the other seven: n-grams of 2 to 8, semi-Markov models that know 0, 1 and 2 bouts back; beside them the
two published SleepGPT models (../shared/weights; trained on SHHS), held against the next epoch, as their authors use
them, and models of one's own: a folder for each left-out dataset. NLL is in nats an epoch, over all scored epochs that
have one before them; 95 % intervals by a bootstrap over subjects; differences are paired, to the best of the n-grams on
that dataset.

--errors plants wrong epochs in real nights (the first 15 of each dataset) and counts how many are flagged, by models
that never saw the dataset. --sampling compares sampled nights with the real ones of people who were not fitted on.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hypnograph.hypnogram import Hypnogram
from hypnograph.sequences.language_model import from_published
from hypnograph.sequences.next_stage import NextStageModel
from hypnograph.sequences.next_stage_corpus import TrainingNight, subject_folds
from hypnograph.sequences.next_stage_evaluation import NextStageScore, next_stage_scores
from hypnograph.sequences.ngrams import NGramModel
from hypnograph.sequences.plausibility import improbable_stretches, surprise, two_sided
from hypnograph.sequences.sampling import compare_with_real, quartiles, sample_nights
from hypnograph.sequences.semi_markov import SemiMarkovModel
from hypnograph.stages import AASM_5
from real_stagings import DATA, hypnograms

NIGHTS = [TrainingNight(n.dataset, n.subject, n.stages, n.record) for n in hypnograms()]
DATASETS = sorted({night.dataset for night in NIGHTS})


class Remembering:
    """A published model that reads each night once: it is asked twice, for one epoch ahead and for two."""

    def __init__(self, path: Path) -> None:
        import torch

        self._model = from_published(torch.load(path, map_location="cpu", weights_only=True))
        self._known: dict[bytes, np.ndarray] = {}
        self.name, self.scheme, self.targets_ahead = self._model.name, self._model.scheme, self._model.targets_ahead

    def log_probabilities(self, stages: np.ndarray) -> np.ndarray:
        if stages.tobytes() not in self._known:
            self._known[stages.tobytes()] = self._model.log_probabilities(stages)
        return self._known[stages.tobytes()]


def published() -> dict[str, Remembering]:
    models = [Remembering(path) for path in sorted((DATA.parent / "weights").glob("sleepgpt-slm-*.pth.tar"))]
    return {model.name: model for model in models}


def fitted(without: str) -> dict[str, NextStageModel]:
    nights = [night for night in NIGHTS if night.dataset != without]
    longest = NGramModel.fit(nights, 8)
    models: dict[str, NextStageModel] = {f"{order}-gram": longest.shortened(order) for order in range(2, 9)}
    return models | {f"semi-Markov, {back} back": SemiMarkovModel.fit(nights, back=back) for back in (0, 1, 2)}


def leave_one_dataset_out(patterns: Iterable[str], *, with_published: bool) -> None:
    theirs = published() if with_published else {}
    everything = []
    for dataset in DATASETS:
        nights = [night for night in NIGHTS if night.dataset == dataset]
        models = fitted(dataset) | theirs | {title(p): own(p, dataset) for p in patterns}
        grams = {name: model for name, model in models.items() if name.endswith("-gram")}
        best = min(next_stage_scores(grams, nights, n_bootstrap=0), key=lambda score: score.nats.value).model
        scores = next_stage_scores(models, nights, compared_with=best)
        show(scores)
        everything.append(scores)
        two_ahead = next_stage_scores(theirs, nights, epochs_ahead=2) if theirs else []
        for score in two_ahead:
            print(f"  {score.model}, two epochs ahead: {score.nats.value:.4f}, {100 * score.accuracy.value:.1f} %")
    print("\nNLL            " + "".join(f"{dataset[:12]:>13}" for dataset in DATASETS))
    for rows in zip(*everything, strict=True):
        print(f"{rows[0].model:<22}" + "".join(f"{row.nats.value:>13.4f}" for row in rows))


def own(pattern: str, dataset: str) -> NextStageModel:
    from hypnograph.sequences.any_model import load_language_model

    return load_language_model(pattern.format(dataset=dataset))


def title(pattern: str) -> str:
    return Path(pattern.partition("{")[0]).name


def show(scores: list[NextStageScore]) -> None:
    first = scores[0]
    print(f"\n{first.dataset}: {first.n_nights} nights, {first.n_epochs} epochs")
    print("  model                   NLL (95 %)                accuracy (95 %)        against the best n-gram")
    for score in scores:
        apart = "" if score.difference is None else "{:+.4f} ({:+.4f} to {:+.4f})".format(*score.difference)
        accuracy = "{:.1f} ({:.1f} to {:.1f})".format(*(100 * np.array(score.accuracy)))
        print(
            f"  {score.model:<22}  {'{:.4f} ({:.4f} to {:.4f})'.format(*score.nats)}  {accuracy:<21}  {apart}",
            flush=True,
        )


# Planted errors -------------------------------------------------------------------------------------------------------

FLAGS = (10, 20, 40)
N_PLANTED = 8


def planted_errors(patterns: Iterable[str]) -> None:
    """Plant errors in nights of left-out datasets, and tell how many of them are among the first flags of a night."""
    found: dict[tuple[str, str, str], list[list[float]]] = {}
    for dataset in DATASETS:
        nights = [night.stages for night in NIGHTS if night.dataset == dataset][:15]
        models = {n: m for n, m in fitted(dataset).items() if n in ("8-gram", "semi-Markov, 2 back")}
        models |= {title(p): own(p, dataset) for p in patterns}
        for kind, lengths in (("one epoch", (1, 1)), ("2 to 5 epochs", (2, 5))):
            random = np.random.default_rng(0)
            for stages in nights:
                wrong, places = planted(stages, lengths, random)
                for name, model in models.items():
                    for how, ranked in flags(model, wrong).items():
                        found.setdefault((kind, name, how), []).append([share(ranked[:n], places) for n in FLAGS])
    print(f"\n{N_PLANTED} planted errors a night: share found among the first {FLAGS} flags; mean (95 % over nights)")
    for (kind, name, how), shares in found.items():
        print(f"  {kind:<14} {name:<20} {how:<20}" + "  ".join(mean_text(column) for column in np.array(shares).T))


def planted(stages: np.ndarray, lengths: tuple[int, int], random: np.random.Generator) -> tuple[np.ndarray, list]:
    """Return a night with stretches of another stage within its sleep, at least 12 epochs apart, and where they are."""
    wrong, places = stages.copy(), []
    taken = stages < 0
    first, last = np.flatnonzero(stages > 0)[[0, -1]]
    for _ in range(2000):
        begin = int(random.integers(first, last))
        end, stage = begin + int(random.integers(lengths[0], lengths[1] + 1)), int(random.integers(5))
        if end > last or taken[max(0, begin - 12) : end + 12].any() or (stages[begin:end] == stage).any():
            continue
        wrong[begin:end], taken[begin:end] = stage, True
        places.append((begin, end))
        if len(places) == N_PLANTED:
            break
    return wrong, places


def flags(model: NextStageModel, stages: np.ndarray) -> dict[str, list[tuple[int, int]]]:
    """Return stretches by how much they deserve a look, by three measures."""
    nats = np.nan_to_num(surprise(model, stages))
    both = two_sided(model, stages)
    scored = np.flatnonzero(stages >= 0)
    doubt = np.full(len(stages), -np.inf)
    doubt[scored] = both[scored].max(axis=1) - both[scored, stages[scored]]
    stretches = improbable_stretches(model, Hypnogram(stages), least_gain=-np.inf, limit=None)
    return {
        "one-sided surprise": [(int(t), int(t) + 1) for t in np.argsort(-nats, kind="stable")],
        "two-sided epoch": [(int(t), int(t) + 1) for t in np.argsort(-doubt, kind="stable")],
        "stretch gain": [(s.first_epoch, s.first_epoch + s.n_epochs) for s in sorted(stretches, key=lambda s: -s.gain)],
    }


def share(ranked: list[tuple[int, int]], places: list[tuple[int, int]]) -> float:
    return float(np.mean([any(a < end and begin < b for begin, end in ranked) for a, b in places]))


def mean_text(values: np.ndarray) -> str:
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


# Sampling -------------------------------------------------------------------------------------------------------------


def sampled_nights(patterns: Iterable[str]) -> None:
    """Fit on the nights of half of the people, and compare sampled nights with those of the other half."""
    half = subject_folds(NIGHTS, 2, seed=1)
    mine = [night for night, part in zip(NIGHTS, half, strict=True) if part == 0]
    theirs = sorted((night for night, part in zip(NIGHTS, half, strict=True) if part == 1), key=lambda n: n.dataset)
    others = [night.stages for night in theirs]
    models: dict[str, NextStageModel] = {
        "2-gram": NGramModel.fit(mine, 2),
        "8-gram": NGramModel.fit(mine, 8),
        "semi-Markov, 2 back": SemiMarkovModel.fit(mine, back=2),
    }
    real = quartiles(others, AASM_5)
    drawn = {name: sample_nights(m, [len(n) for n in others] * 2, seed=1) for name, m in models.items()}
    for pattern in patterns:  # of each dataset by the model that never saw it
        drawn[title(pattern)] = [
            night
            for dataset in DATASETS
            for lengths in [[len(night.stages) for night in theirs if night.dataset == dataset] * 2]
            for night in sample_nights(own(pattern, dataset), lengths, seed=1)
        ]
    drawn = {"the other real half": [night.stages for night in mine]} | drawn
    print("\nquartiles, and KS distance to the real nights of people who were not fitted on")
    tables = {name: compare_with_real(nights, others, AASM_5) for name, nights in drawn.items()}
    print(f"{'':<20}{'real':^22}" + "".join(f"{name:^30}" for name in tables))
    for name in real.index:
        cells = [quartile_text(real.loc[name])]
        for table in tables.values():
            row = table.loc[name]
            cells.append(f"{quartile_text(row[['sampled 25 %', 'sampled median', 'sampled 75 %']])}  {row['KS']:.2f}")
        print(f"{name:<20}{cells[0]:^22}" + "".join(f"{cell:^30}" for cell in cells[1:]))


def quartile_text(row: Iterable[float]) -> str:
    low, median, high = row
    return f"{median:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=[], metavar="PATTERN")
    parser.add_argument("--published", action="store_true", help="Also the published models: half an hour.")
    parser.add_argument("--errors", action="store_true", help="Planted errors instead.")
    parser.add_argument("--sampling", action="store_true", help="Sampled nights instead.")
    options = parser.parse_args()
    if options.errors:
        planted_errors(options.models)
    elif options.sampling:
        sampled_nights(options.models)
    else:
        leave_one_dataset_out(options.models, with_published=options.published)
