"""Prepared nights: windows read beside a plain memory map, preparing beside resampling alone, memory as nights grow.

Run: .venv/bin/python benchmarks/store_speed.py [--nights 60] [--windows 1000] [--rounds 5]

The contestants of a part take turns, and the smallest time of the rounds counts. Signals of the first part are random
numbers, the recordings of the others are simulated. The files are in the operating system's cache: what is compared is
the code, not the disk.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Night, Scoring
from hypnograph.preprocess import InputSpec
from hypnograph.training.prepared_night import PreparedNight
from hypnograph.training.store import create_store, open_store, write_catalogue, write_night

EEG, EOG = ChannelKind.EEG, ChannelKind.EOG
NAMES = {EEG: "C4-M1", EOG: "E1-M2"}
SPEC = InputSpec((EEG, EOG), 128.0, outliers="clip", scaling="robust", resampling="polyphase")
CONTEXT, N_EPOCHS = 35, 960


def best(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the smallest seconds of each, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, call in contestants.items():
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
    return {name: min(taken[1:]) for name, taken in times.items()}


def fill(address: Path, n_nights: int, *, compress: bool = False) -> tuple[PreparedNight, ...]:
    store, entries = create_store(address, SPEC, compress=compress), []
    rng = np.random.default_rng(0)
    for i in range(n_nights):
        signals = {key: rng.normal(size=(N_EPOCHS, SPEC.epoch_samples)).astype(np.float16) for key in NAMES.items()}
        entry = {
            "dataset": "random", "id": str(i), "subject": str(i), "family": "", "visit": "", "disorder": "",
            "licence": "", "scorers": [""], "clock": None, "source": "", "warnings": [],
            "derivations": [{"kind": kind, "name": name} for kind, name in NAMES.items()],
        }  # fmt: skip
        stages = np.repeat(rng.integers(-1, 5, 192), 5).astype(np.int8)[None]
        entries.append(write_night(store, entry, signals, stages))
    return write_catalogue(store, entries).nights


def windows(folder: Path, n_nights: int, n_windows: int, rounds: int) -> None:
    """Compare random windows of two channels, made float32 in the place of a batch."""
    nights = {"plain": fill(folder / "plain", n_nights), "zstd": fill(folder / "zstd", n_nights, compress=True)}
    maps = []
    for night in nights["plain"]:
        mapped = {}
        for kind, name in NAMES.items():
            file = folder / f"{night.id}-{kind}.f16"
            night.read(kind, name).astype(np.float16).tofile(file)
            mapped[kind] = np.memmap(file, np.float16, "r", shape=(N_EPOCHS, SPEC.epoch_samples))
        maps.append(mapped)
    rng = np.random.default_rng(1)
    picks = [tuple(rng.integers(0, (n_nights, n_nights, N_EPOCHS - CONTEXT))) for _ in range(n_windows)]
    out = np.empty((CONTEXT, 2, SPEC.epoch_samples), dtype=np.float32)

    def by_map() -> None:
        for eeg, eog, first in picks:
            for channel, (kind, place) in enumerate(((EEG, eeg), (EOG, eog))):
                out[:, channel] = maps[place][kind][first : first + CONTEXT]

    def by_store(those: tuple[PreparedNight, ...]) -> None:
        for eeg, eog, first in picks:
            for channel, (kind, place) in enumerate(((EEG, eeg), (EOG, eog))):
                those[place].read(kind, NAMES[kind], first, first + CONTEXT, out=out[:, channel])

    taken = best(
        {
            "np.memmap, float16": by_map,
            "store": lambda: by_store(nights["plain"]),
            "store, compressed": lambda: by_store(nights["zstd"]),
        },
        rounds,
    )
    print(f"random windows of {CONTEXT} epochs, two channels at 128 Hz, {n_nights} nights of 8 h")
    print("| | µs a window | ratio |\n|---|---|---|")
    for name, seconds in taken.items():
        print(f"| {name} | {seconds / n_windows * 1e6:.0f} | {seconds / taken['np.memmap, float16']:.2f} |")


def recorded(folder: Path, hours: float) -> Night:
    """Simulate a night of two signals at 256 Hz and write it with its scoring."""
    from dataclasses import replace

    from hypnograph.hypnogram_files import write_hypnogram
    from hypnograph.signal_files import edf
    from hypnograph.simulate import simulate_hypnogram, simulate_recording

    hypnogram = simulate_hypnogram(seed=1, duration_h=hours)
    recording = simulate_recording(hypnogram, seed=1, derivations=tuple(NAMES.values()))
    psg, scoring = folder / f"{hours:g}h.edf", folder / f"{hours:g}h-hypnogram.edf"
    edf.write(recording, psg)
    write_hypnogram(replace(hypnogram, start=recording.start), scoring, overwrite=True)
    return Night(dataset="folder", id="n", subject="n", psg=psg, scorings=(Scoring("", scoring),))


def preparing(folder: Path, rounds: int) -> None:
    """Compare preparing a night with reading and resampling its signals, and with all that `InputSpec.prepare` does."""
    from hypnograph.montage import choose_derivations, read_derivation
    from hypnograph.preprocess import resample, resample_polyphase
    from hypnograph.training.preparation import prepare

    night = recorded(folder, 8)

    def read_and(work: Callable[[np.ndarray, float], object]) -> None:
        recording = night.recording()
        for derivation in choose_derivations(recording, kinds=SPEC.kinds).derivations:
            derived = read_derivation(recording, derivation)
            work(derived.amplitude_uv, derived.sample_rate)

    plain = InputSpec((EEG, EOG), 100.0)
    for what, spec, alone in (
        ("256 to 128 Hz, polyphase, clipped and scaled", SPEC, lambda x, rate: resample_polyphase(x, rate, 128.0)),
        ("256 to 100 Hz, spectrum, µV", plain, lambda x, rate: resample(x, rate, 100.0)),
    ):
        address = folder / f"prepared-{spec.sample_rate:g}"
        taken = best(
            {
                "reading and resampling": lambda alone=alone: read_and(alone),
                "reading and InputSpec.prepare": lambda spec=spec: read_and(spec.prepare),
                "prepare": lambda spec=spec, address=address: prepare([night], address, spec, overwrite=True),
            },
            rounds,
        )
        print(f"\npreparing 8 h of two signals, {what}\n| | s | ratio |\n|---|---|---|")
        for name, seconds in taken.items():
            print(f"| {name} | {seconds:.2f} | {seconds / taken['reading and resampling']:.2f} |")


def memory(folder: Path) -> None:
    """Measure the peak memory of preparing, and of opening what was prepared, each in a process of its own."""
    recorded(folder, 1)
    print("\npeak memory, MB\n| nights | preparing 1 h each | opening the store | opening, ms |\n|---|---|---|---|")
    for n_nights in (20, 100, 400):
        prepared = child(folder, "prepare", n_nights)
        opened = child(folder, "open", n_nights)
        print(f"| {n_nights:,} | {prepared['peak_mb']:.0f} | {opened['peak_mb']:.0f} | {opened['s'] * 1e3:.0f} |")
    multiply(folder / "many-400", folder / "many-20000", 50)
    opened = child(folder, "open", 20_000)
    print(f"| 20,000 | | {opened['peak_mb']:.0f} | {opened['s'] * 1e3:.0f} |")


def multiply(source: Path, target: Path, times: int) -> None:
    """Write a catalogue that lists each night so many times: opening reads nothing else."""
    store = open_store(source)
    many = create_store(target, SPEC)
    write_catalogue(many, ({**n.entry, "id": f"{n.id}-{i}"} for n in store.nights for i in range(times)))


def child(folder: Path, what: str, n_nights: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", what, str(folder), str(n_nights)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def as_child(what: str, folder: Path, n_nights: int) -> None:
    from dataclasses import replace

    address = folder / f"many-{n_nights}"
    began = time.perf_counter()
    if what == "open":
        store = open_store(address)
        assert len(store.nights) == n_nights
    else:
        from hypnograph.training.preparation import prepare

        scoring = Scoring("", folder / "1h-hypnogram.edf")
        night = Night(dataset="folder", id="n", subject="n", psg=folder / "1h.edf", scorings=(scoring,))
        report = prepare((replace(night, id=f"n{i}", subject=f"n{i}") for i in range(n_nights)), address, SPEC)
        assert report.count("prepared") == n_nights
    print(json.dumps({"s": time.perf_counter() - began, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """Return the peak memory of this process since it began; `getrusage` would count its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        as_child(options.child[0], Path(options.child[1]), int(options.child[2]))
        return
    print(f"load at the start: {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory() as name:
        windows(Path(name), options.nights, options.windows, options.rounds)
        preparing(Path(name), options.rounds)
        memory(Path(name))


if __name__ == "__main__":
    main()
