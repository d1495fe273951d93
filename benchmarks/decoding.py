"""What decoding gains and loses on real stagings, cross-validated by subject; and how long it takes.

Run: ``OMP_NUM_THREADS=1 python benchmarks/decoding.py --cache FOLDER [--only soft-network soft-classifier …]``.

Nothing is tuned on tested subjects. Fitted decoders see the training subjects of the fold; the general one is made of
hypnograms of other datasets; its two numbers were chosen on the soft classifier, never on the soft network.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from hypnograph.evaluation.agreement import scores
from hypnograph.evaluation.staged_nights import StagedNight, estimate, leave_subjects_out
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.sequences.beam_search import BeamDecoder
from hypnograph.sequences.decoder_fitting import best_candidate, candidates
from hypnograph.sequences.decoding import ChainDecoder, Decoder, KeepingDecoder, decode, save_decoder
from hypnograph.sequences.language_model import StageLanguageModel
from hypnograph.sequences.published_decoding import PublishedDecoder
from hypnograph.sequences.trellis import n_gram_trellis, semi_markov_trellis, shares
from real_stagings import (
    DATA,
    boas,
    hard_sleep_edfx,
    hypnograms,
    soft_classifier,
    soft_network,
)
from real_stagings import (
    StagedNight as RealNight,
)

WAKE_KEPT = 60
"""Epochs of wake around sleep: 30 min. Some nights of the corpus are whole days."""
WEIGHT, EVIDENCE = 0.12, 0.6


def corpus(without: str | None) -> list[np.ndarray]:
    """Return the hypnograms of the other datasets, each cut to 30 min around sleep."""
    found = []
    for night in hypnograms(without=without):
        asleep = np.flatnonzero(night.stages > 0)
        if asleep.size:
            found.append(night.stages[max(0, asleep[0] - WAKE_KEPT) : asleep[-1] + WAKE_KEPT + 1])
    return found


def general_decoder(nights: list[np.ndarray], kind: str = "Markov", **options: object) -> ChainDecoder:
    """Return the decoder that needs no fitting; ``sleep`` is the one of all 452 nights."""
    make: dict[str, Callable] = {
        "Markov": n_gram_trellis,
        "2 before": lambda n: n_gram_trellis(n, 2),
        "3 before": lambda n: n_gram_trellis(n, 3),
        "semi-Markov": semi_markov_trellis,
    }
    decoder = ChainDecoder(
        trellis=make[kind](nights), prior=shares(nights), weight=WEIGHT, evidence_weight=EVIDENCE, prior_power=0.0,
        name="sleep",
    )  # fmt: skip
    return replace(decoder, **options)


def published_model() -> StageLanguageModel | None:
    """Return slm-shhs-90 where its weights lie."""
    from hypnograph.sequences.language_model import from_published

    for path in sorted((DATA.parent / "weights").rglob("*slm-90.pth.tar")):
        import torch

        return from_published(torch.load(path, map_location="cpu", weights_only=True))
    return None


# Sets of nights ------------------------------------------------------------------------------------------------------


def sets() -> dict[str, Callable[[], list[RealNight]]]:
    """Return the stagings by name, read when called for."""
    found: dict[str, Callable[[], list[RealNight]]] = {
        "soft-network": soft_network,
        "soft-classifier": lambda: soft_classifier(rolling=False),
        "soft-classifier-rolling": lambda: soft_classifier(rolling=True),
    }
    found |= {f"boas-{name}": (lambda nights=nights: nights) for name, nights in boas().items()}
    found |= {f"hard-{name}": (lambda nights=nights: nights) for name, nights in hard_sleep_edfx().items()}
    return found


def nights_of(real: list[RealNight]) -> list[StagedNight]:
    """Return nights as values of the package."""
    found = []
    for night in real:
        p = night.probabilities
        if p is None:
            p = np.where(night.stages[:, None] >= 0, np.eye(5)[night.stages], np.nan)
        found.append(StagedNight(night.record, night.subject, Hypnogram(night.reference), Hypnodensity(p)))
    return found


# One set -------------------------------------------------------------------------------------------------------------


def fixed_decoders(name: str) -> dict[str, Decoder]:
    """Return the decoders that are not fitted to the stager."""
    other = corpus("boas" if name.startswith("boas") else "sleep-edfx")
    found: dict[str, Decoder] = {"sleep (general)": general_decoder(other)}
    if not name.startswith("soft"):
        return found
    for kind in ("2 before", "3 before", "semi-Markov"):
        found[f"general, {kind}"] = general_decoder(other, kind)
    found["general, best path"] = general_decoder(other, path=True)
    found["general, full Bayes"] = general_decoder(other, weight=1.0, evidence_weight=1.0, prior_power=1.0)
    if (model := published_model()) is not None:
        found["published rule"] = PublishedDecoder(model)
        found["published, softmax twice"] = PublishedDecoder(model, double_softmax=True)
    found["beam, 5-gram"] = BeamDecoder(_five_gram(other), weight=WEIGHT / EVIDENCE, width=16)
    return found


def _five_gram(nights: list[np.ndarray]):
    from hypnograph.sequences.next_stage_corpus import TrainingNight
    from hypnograph.sequences.ngrams import NGramModel

    people = [TrainingNight("corpus", f"p{i}", stages) for i, stages in enumerate(nights)]
    return NGramModel.fit(people, 5)


def decoded_nights(name: str, nights: list[StagedNight], n_folds: int) -> Iterator[tuple[str, StagedNight]]:
    """Yield each night as each decoder has it, with the decoder's name."""
    for label, decoder in {"raw": KeepingDecoder(), **fixed_decoders(name)}.items():
        for night in nights:
            yield label, night._replace(hypnodensity=decode(night.hypnodensity, decoder))
    for rest, left_out in leave_subjects_out(nights, n_folds=n_folds):
        fitted, chosen = candidates(rest), best_candidate(rest)
        labels = {"chain, fitted": _best_chain(fitted, rest), "smoother": len(fitted) - 1, "chosen by fit": chosen}
        print(f"  fold: chose {fitted[chosen].name} ({chosen} of {len(fitted)})", flush=True)
        for label, i in labels.items():
            for night in left_out:
                yield label, night._replace(hypnodensity=decode(night.hypnodensity, fitted[i]))


def _best_chain(fitted: list, nights: list[StagedNight]) -> int:
    """Return which chain is best on a dozen of the nights that it was counted on: few numbers, little to overfit."""
    some = nights[:: max(1, len(nights) // 12)]
    chains = range(1, len(fitted) - 1)
    found = [
        np.sum([_confusion(n._replace(hypnodensity=decode(n.hypnodensity, fitted[i]))) for n in some], axis=0)
        for i in chains
    ]
    return chains[int(kappa(np.stack(found)).argmax())]


def kappa(confusions: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa of matrices, shape (..., 5, 5)."""
    return scores(confusions, np.arange(5))["cohen_kappa"]


def _confusion(night: StagedNight) -> np.ndarray:
    found = np.zeros((5, 5), dtype=np.int64)
    said = night.hypnodensity.argmax().stages
    both = (night.reference.stages >= 0) & (said >= 0)
    np.add.at(found, (night.reference.stages[both], said[both]), 1)
    return found


def _log_loss(night: StagedNight) -> tuple[float, int]:
    truth, p = night.reference.stages, night.hypnodensity.probabilities
    both = (truth >= 0) & night.hypnodensity.known
    return float(-np.log(np.maximum(p[both, truth[both]], 1e-6)).sum()), int(both.sum())


def table(name: str, nights: list[StagedNight], n_folds: int) -> list[dict]:
    """Return a row of numbers for each decoder."""
    subjects = sorted({night.subject for night in nights})
    counts: dict[str, np.ndarray] = {}
    losses: dict[str, list[tuple[float, int]]] = {}
    for label, night in decoded_nights(name, nights, n_folds):
        of_label = counts.setdefault(label, np.zeros((len(subjects), 5, 5), dtype=np.int64))
        of_label[subjects.index(night.subject)] += _confusion(night)
        losses.setdefault(label, []).append(_log_loss(night))
    rows = []
    for label, matrices in counts.items():
        both = np.stack([counts["raw"], matrices], axis=1)
        gain = estimate(lambda sums: kappa(sums)[..., 1] - kappa(sums)[..., 0], both)
        values = scores(matrices.sum(0), np.arange(5))
        loss, n = np.sum(losses[label], axis=0)
        rows.append({
            "decoder": label, "kappa": float(values["cohen_kappa"]), "gain": list(gain),
            "accuracy": float(values["accuracy"]), "macro_f1": float(values["macro_f1"]), "nll": float(loss / n),
        })  # fmt: skip
    return rows


def folds_of(name: str) -> int:
    """Return into how many folds subjects are dealt: each by itself where they are few and the stagings soft."""
    return {"soft-n": 20, "soft-c": 10}.get(name[:6], 3)


def show(name: str, rows: list[dict], nights: int, subjects: int) -> None:
    """Print a table."""
    print(f"\n{name}: {nights} nights of {subjects} subjects\n")
    print("| decoder | kappa | difference | accuracy | macro F1 | −ln p |\n|---|---|---|---|---|---|")
    for row in rows:
        value, low, high = row["gain"]
        difference = "" if row["decoder"] == "raw" else f"{value:+.4f} ({low:+.4f} to {high:+.4f})"
        loss = f"{row['nll']:.3f}" if name.startswith("soft") or "yasa" in name else ""
        print(
            f"| {row['decoder']} | {row['kappa']:.4f} | {difference} | {row['accuracy']:.4f} | "
            f"{row['macro_f1']:.4f} | {loss} |",
            flush=True,
        )


# YASA ----------------------------------------------------------------------------------------------------------------


def yasa_nights() -> dict[str, list[StagedNight]]:
    """Return the one real night, and simulated ones, staged by our YASA."""
    import hypnograph
    from hypnograph.hypnogram_files import read_hypnogram
    from hypnograph.simulate import simulate_hypnogram, simulate_recording

    recording = DATA / "eeg" / "ucddb018.edf"
    real = hypnograph.stage(str(recording), stager="yasa").hypnodensity
    reference = Hypnogram(read_hypnogram(recording.with_suffix(".txt")).stages[: real.n_epochs])
    found = {"yasa-real-night": [StagedNight("ucddb018", "ucddb018", reference, replace(real, start=None))]}
    simulated = []
    for seed in range(1, 7):
        planted = simulate_hypnogram(seed=seed)
        night = simulate_recording(planted, seed=seed, sample_rate=128.0, derivations=("C4-M1",))
        density = replace(hypnograph.stage(night, stager="yasa").hypnodensity, start=None)
        simulated.append(StagedNight(f"sim{seed}", f"sim{seed}", Hypnogram(planted.stages), density))
    return found | {"yasa-simulated-nights": simulated}


def yasa_tables() -> None:
    """Print the general decoder's effect on YASA: too few nights to fit anything."""
    general = general_decoder(corpus("ucddb"))
    for name, nights in yasa_nights().items():
        versions = {"raw": nights}
        versions["sleep (general)"] = [n._replace(hypnodensity=decode(n.hypnodensity, general)) for n in nights]
        counts = {label: np.stack([_confusion(n) for n in each]) for label, each in versions.items()}
        rows = []
        for label, each in versions.items():
            both = np.stack([counts["raw"], counts[label]], axis=1)
            gain = estimate(lambda sums: kappa(sums)[..., 1] - kappa(sums)[..., 0], both)
            values = scores(counts[label].sum(0), np.arange(5))
            loss, n = np.sum([_log_loss(night) for night in each], axis=0)
            rows.append({
                "decoder": label, "kappa": float(values["cohen_kappa"]), "gain": list(gain),
                "accuracy": float(values["accuracy"]), "macro_f1": float(values["macro_f1"]), "nll": loss / n,
            })  # fmt: skip
        show(name, rows, len(nights), len(nights))


# Speed ---------------------------------------------------------------------------------------------------------------


def official_loop(p: np.ndarray, model: StageLanguageModel) -> list[int]:
    """Stage as the official code does: a full pass for each epoch."""
    chosen: list[int] = []
    for t, row in enumerate(np.log(p)):
        fused = row if t < 5 else 0.9 * row + 0.1 * model.log_probabilities(np.array(chosen[-30:]), parity=True)[-1]
        chosen.append(int(fused.argmax()))
    return chosen


def speed() -> None:
    """Print milliseconds for 1,000 epochs, best of five (of two for the loop)."""
    nights = nights_of(soft_network())
    p = np.concatenate([night.hypnodensity.probabilities for night in nights[:2]])[:1000]
    other = corpus("sleep-edfx")
    decoders: dict[str, Decoder] = {
        f"general, {k}": general_decoder(other, k) for k in ("Markov", "2 before", "3 before", "semi-Markov")
    }
    decoders |= {"general, best path": general_decoder(other, path=True), "smoother": candidates(nights[:6])[-1]}
    decoders["beam, 5-gram, width 16"] = BeamDecoder(_five_gram(other), width=16)
    jobs: dict[str, Callable] = {k: (lambda d=d: d.probabilities(p)) for k, d in decoders.items()}
    if (model := published_model()) is not None:
        published = PublishedDecoder(model)
        assert published.probabilities(p).argmax(1).tolist() == official_loop(p, model)
        jobs |= {
            "published rule, ours": lambda: published.probabilities(p),
            "published loop": lambda: official_loop(p, model),
        }
    print("\n| decoding 1,000 epochs | ms |\n|---|---|")
    for name, job in jobs.items():
        times = []
        for _ in range(2 if "loop" in name else 5):
            began = perf_counter()
            job()
            times.append(perf_counter() - began)
        print(f"| {name} | {1000 * min(times):.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the numbers of each set")
    parser.add_argument("--only", nargs="*", help="names of sets, yasa or speed")
    parser.add_argument("--folds", type=int, help="of subjects [soft network 20, soft classifier 10, others 3]")
    parser.add_argument("--ship", type=Path, help="only write the general decoder of all 452 nights to this file")
    parser.add_argument("--names", action="store_true", help="only print the names of the sets")
    args = parser.parse_args()
    if args.names:
        print("\n".join(sets()))
        return
    if args.ship:
        save_decoder(general_decoder(corpus(None)), args.ship, overwrite=True)
        return
    args.cache.mkdir(parents=True, exist_ok=True)
    for name, read in sets().items():
        if args.only and name not in args.only:
            continue
        kept = args.cache / f"{name.replace('/', '-')}.json"
        nights = nights_of(read())
        if not kept.exists():
            kept.write_text(json.dumps(table(name, nights, args.folds or folds_of(name))))
        show(name, json.loads(kept.read_text()), len(nights), len({n.subject for n in nights}))
    if not args.only or "yasa" in args.only:
        yasa_tables()
    if not args.only or "speed" in args.only:
        speed()


if __name__ == "__main__":
    main()
