"""Train the stage language model that ships, `night-memory`, and its twins that never saw one dataset.

Run: python benchmarks/train_night_memory.py FOLDER     (about 20 min of one core)

FOLDER gets a model for each of the eight datasets, trained on the other seven, and `night-memory`, trained on all 452
nights. `benchmarks/language_models.py --models 'FOLDER/{dataset}'` measures the twins; how surprising the nights are to
twins that never saw their dataset is what `hypnograph language-model score` compares a night with.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hypnograph.sequences.any_model import load_language_model
from hypnograph.sequences.next_stage_corpus import TrainingNight
from hypnograph.sequences.plausibility import reference_surprise, save_reference
from hypnograph.training.language_model import train_language_model
from real_stagings import hypnograms

NAME = "night-memory"
ABOUT = {
    "data": "452 nights of Sleep-EDF Expanded, UCDDB, SLPDB, Sleep-Accel, BOAS (ds005555), ds005207, ds004348 and "
    "DOD-H (majority of five scorers)",
    "licence": "of hypnograph; the data: ODC-By 1.0 (PhysioNet), CC0 (OpenNeuro), MIT (DOD-H)",
    "source": "benchmarks/train_night_memory.py of hypnograph",
}


def train(folder: Path, without: str | None) -> None:
    """Train a model without one dataset, or on all, unless it is there."""
    if folder.exists():
        return
    nights = [TrainingNight(n.dataset, n.subject, n.stages, n.record) for n in hypnograms(without=without)]
    model = train_language_model(nights, show=lambda text: print(f"{folder.name}: {text}", flush=True))
    replace(model, name=folder.name, **ABOUT).save(folder)


def unseen_surprise(folder: Path, datasets: list[str]) -> np.ndarray:
    """Return the mean surprise of each night to the model that never saw its dataset."""
    of = {dataset: [n.stages for n in hypnograms() if n.dataset == dataset] for dataset in datasets}
    return np.concatenate([reference_surprise(load_language_model(folder / name), of[name]) for name in datasets])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    datasets = sorted({night.dataset for night in hypnograms()})
    for dataset in datasets:
        train(folder / dataset, dataset)
    if not (folder / NAME).exists():
        train(folder / NAME, None)
        nats = unseen_surprise(folder, datasets)
        save_reference(folder / NAME, nats, "nights of eight datasets, each read by a model that never saw its dataset")


if __name__ == "__main__":
    main()
