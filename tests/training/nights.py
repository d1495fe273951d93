"""Small stores of prepared nights whose stages can be told from their signals; nobody slept them."""

from pathlib import Path

import numpy as np

from hypnograph.montage import ChannelKind
from hypnograph.preprocess import InputSpec
from hypnograph.training.store import Store, create_store, write_catalogue, write_night

# The sine wave of each stage, W to REM: cycles in an epoch.
_CYCLES = (150, 90, 45, 15, 210)


def stages_of_night(n_epochs: int, seed: int) -> np.ndarray:
    """Return stages in runs of 3 to 8 epochs."""
    rng = np.random.default_rng((seed, 1))
    runs = np.repeat(rng.integers(0, 5, n_epochs), rng.integers(3, 9, n_epochs))[:n_epochs].astype(np.int8)
    runs[:5] = range(5)
    return runs


def signals_of(stages: np.ndarray, epoch_samples: int, seed: int, *, scale: float = 1.0) -> np.ndarray:
    """Return epochs (n_epochs, epoch_samples): the wave of each stage in noise."""
    rng = np.random.default_rng((seed, 2))
    time = np.arange(epoch_samples) / epoch_samples
    waves = np.stack([np.sin(2 * np.pi * cycles * time) for cycles in _CYCLES])
    return scale * (waves[np.maximum(stages, 0)] + rng.normal(0, 0.5, (len(stages), epoch_samples)))


def write_store(
    address: Path | str,
    spec: InputSpec,
    *,
    n_subjects: int = 4,
    nights_each: int = 1,
    n_epochs: int = 40,
    datasets: tuple[str, ...] = ("folder",),
    derivations: int = 1,
    unscored: tuple[int, ...] = (),
    n_scorers: int = 1,
    scale: float = 1.0,
    simulated: bool = False,
    epoch_s: float | None = None,
) -> Store:
    """Write a store of nights that a network can learn at once."""
    store, entries = create_store(address, spec), []
    for dataset in datasets:
        for subject in range(n_subjects):
            for visit in range(nights_each):
                seed = hash((dataset == datasets[0], subject, visit)) % 2**32
                stages = stages_of_night(n_epochs + subject, seed)
                stages[list(unscored)] = -1
                names = {kind: [f"{kind} {i + 1}" for i in range(derivations)] for kind in spec.kinds}
                signals = {
                    (ChannelKind(kind), name): signals_of(stages, spec.epoch_samples, seed + i, scale=scale)
                    for kind, of_kind in names.items()
                    for i, name in enumerate(of_kind)
                }
                entry = _entry(dataset, subject, visit, names) | {"scorers": [str(i + 1) for i in range(n_scorers)]}
                entry |= {"simulated": simulated, "epoch_s": epoch_s or spec.epoch_s}
                entries.append(write_night(store, entry, signals, _scorings(stages, n_scorers, seed)))
    return write_catalogue(store, entries)


def _scorings(stages: np.ndarray, n_scorers: int, seed: int) -> np.ndarray:
    """Return the first scorer's stages, and those of others who differ in every fifth epoch or so."""
    rng = np.random.default_rng((seed, 3))
    scorings = np.tile(stages, (n_scorers, 1))
    differs = (rng.random(scorings.shape) < 0.2) & (scorings >= 0)
    differs[0] = False
    scorings[differs] = rng.integers(0, 5, differs.sum())
    return scorings


def _entry(dataset: str, subject: int, visit: int, names: dict) -> dict:
    return {
        "dataset": dataset,
        "id": f"S{subject:02d}N{visit}",
        "subject": f"S{subject:02d}",
        "family": "",
        "visit": str(visit),
        "disorder": "",
        "licence": "CC0",
        "scorers": ["1"],
        "clock": None,
        "warnings": [],
        "derivations": [{"kind": str(kind), "name": name} for kind, of_kind in names.items() for name in of_kind],
    }
