"""Examples per second of the whole training loop: beside the bare model step, and beside braindecode's own pipeline.

Run: /opt/venv/bin/python benchmarks/training_speed.py [--rounds 3] [--nights 8] [--steps 6]

The nights are noise (8 h, two derivations), written once: as a store on disk for ours, and as MNE recordings in memory
for braindecode (its windows dataset, its SequenceSampler, torch's DataLoader, a plain loop with Adam). Both train
U-Sleep of the same size on 35-epoch windows. "Bare" is our step on one batch that is in memory already. The contestants
take turns; the largest speed of the rounds counts.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hypnograph.models import create_model
from hypnograph.montage import ChannelKind
from hypnograph.training.batches import Loader, stage_targets
from hypnograph.training.keeping import create_keeper
from hypnograph.training.loop import Machine, create_fabric
from hypnograph.training.objectives import create_objective
from hypnograph.training.optimisers import create_optimiser
from hypnograph.training.recipes import Recipe, parse_recipe
from hypnograph.training.sampled_windows import Nights
from hypnograph.training.sampling import create_sampler
from hypnograph.training.steps import Stepper
from hypnograph.training.store import Store, create_store, write_catalogue, write_night
from usleep_speed import pretend_torchaudio

RECIPES = {
    "usleep": """
[network]
architecture = "usleep"
[sampling]
name = "balanced"
context = 35
batch = 4
""",
    "tinysleepnet": """
[network]
architecture = "tinysleepnet"
[sampling]
name = "tracks"
context = 20
batch = 15
shift_s = 3.0
skip = 4
""",
}


def write_nights(folder: Path, recipe: Recipe, n_nights: int, n_epochs: int = 960) -> Store:
    """Write a store of noise."""
    spec, entries, rng = recipe.input_spec(), [], np.random.default_rng(0)
    store = create_store(folder, spec)
    for night in range(n_nights):
        stages = rng.integers(0, 5, (1, n_epochs)).astype(np.int8)
        names = [(ChannelKind(kind), f"{kind} 1") for kind in spec.kinds]
        signals = {key: rng.standard_normal((n_epochs, spec.epoch_samples), dtype=np.float32) for key in names}
        entry = {
            "dataset": "noise", "id": f"n{night:03d}", "subject": f"n{night:03d}", "family": "", "visit": "",
            "disorder": "", "licence": "", "scorers": ["1"], "clock": None, "warnings": [],
            "derivations": [{"kind": str(kind), "name": name} for kind, name in names],
        }  # fmt: skip
        entries.append(write_night(store, entry, signals, stages))
    return write_catalogue(store, entries)


def pipeline(recipe: Recipe, store: Store) -> tuple[Any, Loader, Stepper]:
    """Return sampler, loader and stepper, as the loop puts them together."""
    spec = store.spec
    fabric = create_fabric(Machine(accelerator="cpu"))
    torch.manual_seed(1)
    model = create_model(recipe.network.architecture, **recipe.network.options)
    optimiser = create_optimiser(recipe.optimiser, model)
    wrapped, optimised = fabric.setup(model, optimiser)
    carries = recipe.sampling.name == "tracks"
    if carries:
        wrapped.mark_forward_method("run")
    stages = [night.stages[0] for night in store.nights]
    nights = Nights(store.nights, stages, spec.kinds, spec.epoch_samples, spec.epoch_s)
    targets = [stage_targets(night.stages, "first", 5) for night in store.nights]
    loader = Loader(nights, targets, create_keeper("stream", store.nights), [], recipe.sampling.context, seed=1)
    stepper = Stepper(
        fabric=fabric, network=model, wrapped=wrapped, optimiser=optimised, objective=create_objective("cross_entropy"),
        carries=carries,
    )  # fmt: skip
    return create_sampler(recipe.sampling, nights, 1), loader, stepper


def whole_loop(parts: tuple[Any, Loader, Stepper], steps: int, n_pass: int) -> float:
    """Return windows per second of loading and stepping."""
    sampler, loader, stepper = parts
    stepper.begin()
    windows, began = 0, time.perf_counter()
    batches = loader.batches(sampler, n_pass)
    for batch in batches:
        stepper.take(batch)
        windows += len(batch.signals)
        if stepper.steps == steps:
            break
    speed = windows / (time.perf_counter() - began)
    batches.close()
    return speed


def bare_step(parts: tuple[Any, Loader, Stepper], steps: int) -> float:
    """Return windows per second of stepping on a batch that is in memory."""
    sampler, loader, stepper = parts
    batch = loader.load(next(iter(sampler.steps(0))), 0, 0)
    stepper.begin()
    began = time.perf_counter()
    for _ in range(steps):
        stepper.take(batch)
    return steps * len(batch.signals) / (time.perf_counter() - began)


def braindecode_pipeline(store: Store, batch: int, context: int) -> Any:
    """Return what trains braindecode's U-Sleep for some steps and gives windows per second."""
    pretend_torchaudio()
    warnings.simplefilter("ignore")
    import mne
    from braindecode.datasets import BaseConcatDataset, RawDataset
    from braindecode.models import USleep
    from braindecode.preprocessing import create_windows_from_events
    from braindecode.samplers import SequenceSampler
    from torch.utils.data import DataLoader

    mne.set_log_level("ERROR")
    recordings = []
    for night in store.nights:
        signals = np.stack([night.read(kind, names[0]).ravel() for kind, names in night.derivations.items()])
        raw = mne.io.RawArray(signals, mne.create_info(["EEG", "EOG"], 128.0, ["eeg", "eog"]))
        texts = [f"stage {stage}" for stage in night.stages[0]]
        raw.set_annotations(mne.Annotations(np.arange(len(texts)) * 30.0, np.full(len(texts), 30.0), texts))
        recordings.append(RawDataset(raw, description={"subject": night.id}))
    windows = create_windows_from_events(
        BaseConcatDataset(recordings), 0, 0, window_size_samples=3840, window_stride_samples=3840, preload=True,
        mapping={f"stage {stage}": stage for stage in range(5)},
    )  # fmt: skip
    sampler = SequenceSampler(windows.get_metadata(), context, context, randomize=True, random_state=1)
    torch.manual_seed(1)
    model = USleep(n_chans=2, sfreq=128, depth=12, n_outputs=5, input_window_seconds=30, with_skip_connection=True)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    loss_of = torch.nn.CrossEntropyLoss()

    def run(steps: int) -> float:
        loader = DataLoader(windows, batch_size=batch, sampler=sampler)
        model.train()
        done, began = 0, time.perf_counter()
        for x, y, *_ in loader:
            optimiser.zero_grad()
            loss_of(model(x.float()), y).backward()
            optimiser.step()
            done += 1
            if done == steps:
                break
        return done * batch / (time.perf_counter() - began)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nights", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in RECIPES.items():
            recipe = parse_recipe(text)
            store = write_nights(Path(folder, name), recipe, max(options.nights, recipe.sampling.batch))
            parts = pipeline(recipe, store)
            contestants = {
                "bare": lambda turn, parts=parts: bare_step(parts, options.steps),
                "loop": lambda turn, parts=parts: whole_loop(parts, options.steps, turn),
            }
            if name == "usleep":
                theirs = braindecode_pipeline(store, recipe.sampling.batch, recipe.sampling.context)
                contestants["braindecode"] = lambda turn, theirs=theirs: theirs(options.steps)
            for turn in range(options.rounds + 1):  # the first round warms up
                for who, run in contestants.items():
                    speed = run(turn)
                    if turn:
                        results[f"{name}, {who}"] = max(results.get(f"{name}, {who}", 0.0), speed)
                        print(f"round {turn}  {name:<13} {who:<12} {speed:8.2f} windows/s", flush=True)
    for name in RECIPES:
        ratio = results[f"{name}, loop"] / results[f"{name}, bare"]
        print(f"{name}: whole loop / bare step = {ratio:.3f} (bar 0.95)")
    ratio = results["usleep, loop"] / results["usleep, braindecode"]
    print(f"usleep: ours / braindecode = {ratio:.2f} (bar 2)")
    print(json.dumps({key: round(value, 3) for key, value in results.items()}))


if __name__ == "__main__":
    main()
