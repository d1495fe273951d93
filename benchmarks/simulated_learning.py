"""Does each network learn? Every architecture on 20 simulated subjects, split by subject, some minutes for each.

Run: .venv/bin/python benchmarks/simulated_learning.py FOLDER [--minutes 4] [--jobs 2] [--only NAME …]

The nights are simulated (8 h, no two alike; nobody slept them): the numbers say that the training works, not how well a
network stages people. FOLDER keeps nights, stores and runs; a network that is done is not trained again. 12 subjects
train, 3 choose the best pass, 5 are tested. Budgets are of minutes on one thread; the U-nets get twice as many.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from hypnograph.datasets import nights
from hypnograph.evaluation.tables import Evaluation
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.signal_files import edf
from hypnograph.simulate import simulate_hypnogram, simulate_recording

# These take twice as many minutes as the others.
SLOW = ("usleep", "utime", "ecg-utime-eeg")
N_SUBJECTS, HOURS = 20, 8.0
DERIVATIONS = ("C4-M1", "C3-M2", "E1-M2", "Chin EMG")

# What a budget of minutes needs: rates are higher than those of trainings that take days. Every network gets EEG, EOG
# and EMG: REM sleep is hard to tell from one EEG.
FAST = [
    "network.options.n_channels=3",
    "optimiser.learning_rate=1e-3",
    "stopping.passes=1000",
    "stopping.patience=none",
    "validation.monitor=macro_f1",
]
RECIPES: dict[str, tuple[str, list[str]]] = {
    "usleep": ("usleep", [*FAST, "sampling.batch=2", "sampling.epochs_per_pass=7000",
                          "network.options.norm_momentum=0.1"]),
    "utime": ("utime", [*FAST, "sampling.batch=4", "sampling.context=15", "sampling.epochs_per_pass=3000",
                        "network.options.complexity_factor=1.0", "network.options.norm_momentum=0.1"]),
    "tinysleepnet": ("tinysleepnet", [*FAST, "sampling.name=natural", "sampling.batch=4", "sampling.shift_s=0.0",
                                      "network.options.norm_momentum=0.1"]),
    "deepsleepnet": ("deepsleepnet", [
        *FAST, "network.options.norm_momentum=0.1", "network.options.first_filters=16",
        "network.options.filters=32", "network.options.units=64",
        "optimiser.learning_rates.representation=1e-4", "pretraining.optimiser.learning_rate=1e-3",
        "pretraining.stopping.passes=1", "pretraining.validation.every=1",
    ]),
    "attnsleep": ("attnsleep", FAST),
    "attnsleep-conformer": ("attnsleep-conformer", FAST),
    "attnsleep-msp": ("attnsleep-msp", FAST),
    "attnsleep-msp-crnn": ("attnsleep-msp-crnn", FAST),
    "seqsleepnet": ("seqsleepnet", [*FAST, "sampling.stride=20"]),
    "sleepgpt-tinysleepnet": ("sleepgpt-tinysleepnet", [*FAST, "schedule.name=constant"]),
    "sleepgpt-lstm": ("sleepgpt-lstm", [*FAST, "schedule.name=constant"]),
    "ecg-utime-eeg": ("ecg-utime-eeg", [*FAST, 'input.kinds=["EEG", "EOG", "EMG"]', "sampling.batch=32",
                                        "network.options.initial_width=4"]),
}  # fmt: skip


def simulate(folder: Path) -> None:
    """Write the nights that are not there yet: a folder for each subject."""
    for subject in range(N_SUBJECTS):
        place = folder / f"S{subject:02d}"
        if (place / "hypnogram.edf").exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        stages = simulate_hypnogram(seed=1000 + subject, duration_h=HOURS)
        artefacts = subject % 4 == 0
        night = simulate_recording(
            stages, seed=1000 + subject, sample_rate=128, derivations=DERIVATIONS, artefacts=artefacts
        )
        edf.write(night, place / "psg.edf")
        write_hypnogram(stages, place / "hypnogram.edf", overwrite=True)


def learn(name: str, folder: Path, minutes: float) -> None:
    """Prepare the nights for a network, train it, stage the test nights, and write what came of it."""
    import torch

    from hypnograph.checkpoint import load
    from hypnograph.models import count_parameters
    from hypnograph.training.loop import train
    from hypnograph.training.machine import Machine
    from hypnograph.training.people import draw_fractions, people_of
    from hypnograph.training.prediction_files import evaluate_predictions, predict
    from hypnograph.training.preparation import prepare
    from hypnograph.training.recipes import read_recipe

    torch.set_num_threads(1)
    recipe = read_recipe(*RECIPES[name])
    spec = recipe.input_spec()
    place = folder / "runs" / name
    found = list(nights("folder", folder / "nights"))
    store = prepare(found, folder / "stores" / name, spec, max_derivations=1).store
    split = draw_fractions(people_of(store), validation=0.15, test=0.25, seed=1)
    machine = Machine(accelerator="cpu", workers=1, most_minutes=minutes)
    began = time.perf_counter()
    result = train(recipe, store, split, place, machine=machine, resume=True)
    trained = time.perf_counter() - began
    network = load(result.checkpoint)
    began = time.perf_counter()
    n_nights = len(list(predict(network, store, split.test, place / "predictions", overwrite=True)))
    seconds = (time.perf_counter() - began) / n_nights
    evaluation = evaluate_predictions([place / "predictions"])
    facts = {
        "parameters": count_parameters(network.model),
        "passes": len(result.history),
        "steps": int(sum(row["steps"] for row in result.history)),
        "train_minutes": trained / 60,
        "stage_s_per_night": seconds,
    }
    (place / "result.json").write_text(json.dumps(facts | row_of(evaluation)))


def row_of(evaluation: Evaluation) -> dict[str, float]:
    pooled, estimate = evaluation.pooled, evaluation.pooled_estimates["macro_f1"]
    stages = {f"f1_{label}": stage.f1 for label, stage in pooled.per_stage.items()}
    return {
        "accuracy": pooled.accuracy, "macro_f1": pooled.macro_f1, "low": estimate.low, "high": estimate.high,
        "kappa": pooled.cohen_kappa, **stages,
    }  # fmt: skip


def run(names: list[str], folder: Path, minutes: float, jobs: int) -> None:
    """Train the networks that are not done, some at a time, each in a process of its own."""
    waiting = [name for name in names if not (folder / "runs" / name / "result.json").exists()]
    running: list[tuple[str, subprocess.Popen[bytes]]] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            budget = str(2 * minutes if name in SLOW else minutes)
            command = [sys.executable, __file__, str(folder), "--minutes", budget, "--one", name]
            running.append((name, subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})))
        time.sleep(1)
        for name, process in running:
            if process.poll() is not None:
                print(f"{name}: {'done' if not process.returncode else f'exit {process.returncode}'}", flush=True)
        running = [(name, process) for name, process in running if process.poll() is None]


def print_table(names: list[str], folder: Path) -> None:
    print("simulated nights: 12 subjects train, 3 choose, 5 test; pooled macro F1 with 95 % interval over subjects")
    print(f"{'network':<22} {'parameters':>10} {'minutes':>8} {'steps':>6} {'macro F1':>23} {'kappa':>6}  F1 by stage")
    for name in names:
        path = folder / "runs" / name / "result.json"
        if not path.exists():
            print(f"{name:<22} not done")
            continue
        row = json.loads(path.read_text())
        stages = " ".join(f"{key[3:]} {value:.2f}" for key, value in row.items() if key.startswith("f1_"))
        print(
            f"{name:<22} {row['parameters']:>10,} {row['train_minutes']:>8.1f} {row['steps']:>6} "
            f"{row['macro_f1']:>7.3f} ({row['low']:.3f} to {row['high']:.3f}) {row['kappa']:>6.3f}  {stages}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=list(RECIPES))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        learn(options.one, options.folder, options.minutes)
        return
    simulate(options.folder / "nights")
    run(options.only, options.folder, options.minutes, options.jobs)
    print_table(options.only, options.folder)


if __name__ == "__main__":
    main()
