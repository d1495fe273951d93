"""Wake against N3 on real EEG: a small network, leave one subject out, beside a logistic regression on band powers.

Run: .venv/bin/python benchmarks/wake_n3.py SHARED/data [--passes 6]

24 subjects of the UCD Sleep Apnea Database (PhysioNet ucddb, ODC-By): 23 of whom there are only the epochs of W and N3,
and one whole night of which the same is taken. One EEG derivation, 128 Hz, scaled to an inter-quartile range of 20 µV.
The network is a small SeqSleepNet of one epoch, up to 60 Hz: what tells wake is muscle, too. Both methods are trained
on the same subjects and tested on the one left out; the kappa is of all epochs pooled. Nothing is chosen on a tested
subject: the last pass is used.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from hypnograph.hypnogram_files import read_hypnogram
from hypnograph.montage import ChannelKind
from hypnograph.signal_files import read_recording
from hypnograph.training.cross_validation import Fold, judge, run_fold
from hypnograph.training.machine import Machine
from hypnograph.training.recipes import Recipe, parse_recipe
from hypnograph.training.splits import leave_one_out
from hypnograph.training.store import Store, create_store, write_catalogue, write_night

RECIPE = """
title = "W against N3: a small network on one epoch"
[network]
architecture = "seqsleepnet"
[network.options]
n_channels = 1
sample_rate = 128.0
highest_hz = 63.0
n_units = 16
n_attention = 16
n_stages = 2
[input]
band_hz = [0.3, 60.0]
[sampling]
name = "natural"
batch = 32
[optimiser]
name = "adamw"
learning_rate = 2e-3
weight_decay = 1e-2
[schedule]
name = "cosine"
factor = 0.02
[[augmentation]]
name = "amplitude"
min_factor = 0.7
max_factor = 1.4
[stopping]
passes = 6
[validation]
every = 1000
"""
WAKE, N3 = 0, 3


def subjects(data: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return (epochs in µV at 128 Hz, stages) of each subject; only W and N3."""
    found = {}
    for path in sorted((data / "eeg" / "wake-n3").glob("*.npz")):
        with np.load(path) as content:
            found[path.stem] = content["microvolt_x20"].astype(np.float32) / 20, content["stage"].astype(np.int8)
    recording = read_recording(data / "eeg" / "ucddb018.edf")
    stages = read_hypnogram(data / "eeg" / "ucddb018.txt").stages
    epochs = recording.signals[0].samples()[: len(stages) * 3840].reshape(-1, 3840)
    kept = np.isin(stages[: len(epochs)], (WAKE, N3))
    found["ucddb018"] = epochs[kept], stages[: len(epochs)][kept]
    return found


def store_of(people: dict[str, tuple[np.ndarray, np.ndarray]], folder: Path, recipe: Recipe) -> Store:
    """Write a store; the epochs of a subject are not consecutive, so each is prepared by itself."""
    spec, entries = recipe.input_spec(), []
    store = create_store(folder, spec)
    for name, (epochs, stages) in people.items():
        prepared = np.concatenate([spec.prepare(epoch, 128.0) for epoch in epochs.astype(np.float64)])
        entry = {
            "dataset": "ucddb", "id": name, "subject": name, "family": "", "visit": "", "disorder": "",
            "licence": "ODC-By", "scorers": ["1"], "clock": None, "warnings": [],
            "derivations": [{"kind": "EEG", "name": "EEG"}],
        }  # fmt: skip
        entries.append(write_night(store, entry, {(ChannelKind.EEG, "EEG"): prepared}, stages[None]))
    return write_catalogue(store, entries)


def band_powers(epochs: np.ndarray) -> np.ndarray:
    """Return log powers of 32 bands of 2 Hz, in the epochs of a subject."""
    power = np.abs(np.fft.rfft(epochs * np.hanning(epochs.shape[1]), axis=1)) ** 2
    hz = np.fft.rfftfreq(epochs.shape[1], 1 / 128)
    bands = [power[:, (hz >= low) & (hz < low + 2)].mean(axis=1) for low in range(0, 64, 2)]
    return np.log(np.stack(bands, axis=1) + 1e-9)


def logistic_kappa(people: dict[str, tuple[np.ndarray, np.ndarray]]) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import cohen_kappa_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = {name: band_powers(epochs) for name, (epochs, _) in people.items()}
    true, said = [], []
    for left_out in people:
        others = [name for name in people if name != left_out]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(np.concatenate([features[n] for n in others]), np.concatenate([people[n][1] for n in others]))
        true.append(people[left_out][1])
        said.append(model.predict(features[left_out]))
    return float(cohen_kappa_score(np.concatenate(true), np.concatenate(said)))


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--passes", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = parse_recipe(RECIPE, [f"stopping.passes={options.passes}"])
    people = subjects(options.data)
    n_epochs = sum(len(stages) for _, stages in people.values())
    print(f"{len(people)} subjects, {n_epochs} epochs of W and N3")
    print(f"logistic regression on band powers: kappa {logistic_kappa(people):.3f}", flush=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = store_of(people, Path(folder, "store"), recipe)
        splits = leave_one_out(store.subjects, validation=0.0, seed=1)
        folds = [Fold(n, split, Path(folder, "cv", f"fold-{n:02d}")) for n, split in enumerate(splits, start=1)]
        for fold in folds:
            run_fold(fold, recipe, store, machine=Machine(accelerator="cpu", keeping="memory", workers=1))
        evaluation = judge(folds, Path(folder, "cv"))
    kappa = evaluation.pooled_estimates["cohen_kappa"]
    print(f"network, leave one subject out: kappa {kappa.value:.3f} ({kappa.low:.3f} to {kappa.high:.3f}), bar 0.94; "
          f"{(time.perf_counter() - began) / 60:.1f} min")  # fmt: skip
    print(evaluation)


if __name__ == "__main__":
    main()
