"""Examples per second of the whole training loop: beside the bare model step, and beside braindecode's own pipeline.

Run: .venv/bin/python benchmarks/training_speed.py [--rounds 3] [--nights 4] [--steps 3] [--batches 4 16 64]

U-Sleep's recipe has a batch of 64 windows; the smaller ones are for those who have less memory.

The nights are noise (8 h, two derivations), written once: as a store on disk for ours, and as MNE recordings in memory
for braindecode (its windows dataset, its SequenceSampler, torch's DataLoader, a plain loop with Adam). Both train
U-Sleep of the same size on 35-epoch windows. "Bare" is our step on one batch that is in memory already. The contestants
take turns; the largest speed of the rounds counts. The two sides run in processes of their own: what our loop asks of
the memory's allocator must not help the other.
"""

import argparse
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hypnograph.models import create_model
from hypnograph.montage import ChannelKind
from hypnograph.training.batches import Loader, stage_targets
from hypnograph.training.freed_memory import freed_memory_kept
from hypnograph.training.keeping import create_keeper
from hypnograph.training.machine import Machine, create_fabric
from hypnograph.training.objectives import create_objective
from hypnograph.training.optimisers import create_optimiser
from hypnograph.training.recipes import Recipe, parse_recipe
from hypnograph.training.sampled_windows import Nights
from hypnograph.training.sampling import create_sampler
from hypnograph.training.steps import Stepper
from hypnograph.training.store import Store, create_store, open_store, write_catalogue, write_night
from usleep_speed import pretend_torchaudio

USLEEP = """
[network]
architecture = "usleep"
[sampling]
name = "balanced"
context = 35
batch = {batch}
"""
TINYSLEEPNET = """
[network]
architecture = "tinysleepnet"
[sampling]
name = "tracks"
context = 20
batch = 15
shift_s = 3.0
skip = 4
"""
Task = tuple[str, int]  # a network, and how many windows a step has


def recipe_of(task: Task) -> Recipe:
    return parse_recipe({"usleep": USLEEP, "tinysleepnet": TINYSLEEPNET}[task[0]].format(batch=task[1]))


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
    optimiser = create_optimiser(recipe.optimiser, model, fused=True)
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


def braindecode_pipeline(store: Store, context: int) -> Callable[[int, int], float]:
    """Return what trains braindecode's U-Sleep for some steps of a batch and gives windows per second."""
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

    def run(batch: int, steps: int) -> float:
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


def our_side(pipe: Connection, folder: str) -> None:
    """Run our loop or our bare step of a task when told to."""
    made: dict[Task, Any] = {}

    def run(task: Task, who: str, steps: int, turn: int) -> float:
        if task not in made:
            made.clear()  # the one before has its turns behind it
            made[task] = pipeline(recipe_of(task), open_store(Path(folder, task[0])))
        return bare_step(made[task], steps) if who == "bare" else whole_loop(made[task], steps, turn)

    with freed_memory_kept():
        serve(pipe, run)


def their_side(pipe: Connection, folder: str) -> None:
    """Run braindecode's pipeline when told to."""
    run = braindecode_pipeline(open_store(Path(folder, "usleep")), recipe_of(("usleep", 4)).sampling.context)
    serve(pipe, lambda task, who, steps, turn: run(task[1], steps))


def serve(pipe: Connection, answer: Callable[..., float]) -> None:
    while (asked := pipe.recv()) is not None:
        pipe.send(answer(*asked))


def started(side: Callable[[Connection, str], None], folder: str) -> Connection:
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(target=side, args=(theirs, folder), daemon=True).start()
    return ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nights", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 16, 64])
    options = parser.parse_args()
    tasks = [*(("usleep", batch) for batch in options.batches), ("tinysleepnet", 15)]
    print(f"{torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        for name, n_nights in {"usleep": options.nights, "tinysleepnet": 15}.items():
            write_nights(Path(folder, name), recipe_of((name, 15)), n_nights)
        with closing(started(our_side, folder)) as ours, closing(started(their_side, folder)) as theirs:
            sides = {"bare": ours, "loop": ours, "braindecode": theirs}
            results = {task: race(task, sides, options.rounds, options.steps) for task in tasks}
            for side in (ours, theirs):
                side.send(None)
    print("| network, windows a step | bare | whole loop | ratio (bar 0.95) | braindecode | ours / theirs (bar 2) |")
    print("|---|---|---|---|---|---|")
    for (name, batch), speed in results.items():
        bare, loop, theirs = (speed.get(who) for who in ("bare", "loop", "braindecode"))
        beside = "| |" if theirs is None else f"{theirs:.2f} | {loop / theirs:.2f} |"
        print(f"| {name}, {batch} | {bare:.2f} | {loop:.2f} | {loop / bare:.3f} | {beside}")


def race(task: Task, contestants: dict[str, Connection], rounds: int, steps: int) -> dict[str, float]:
    """Return the largest windows per second of each, after one round that does not count."""
    results: dict[str, float] = {}
    for turn in range(rounds + 1):
        for who, side in contestants.items():
            if who == "braindecode" and task[0] != "usleep":
                continue
            side.send((task, who, steps, turn))
            speed = side.recv()
            if turn:
                results[who] = max(results.get(who, 0.0), speed)
                print(f"round {turn}  {task[0]}, {task[1]:<3} {who:<12} {speed:8.2f} windows/s", flush=True)
    return results


if __name__ == "__main__":
    main()
