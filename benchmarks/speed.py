"""How fast a night is staged, against MNE and the yasa package, side by side in one run.

Each measurement is a cold process: file to stages, imports included, in turns (ours, theirs, ours, theirs …), so that
what else the machine does touches both alike. The night is coloured noise, 8 h of EEG, EOG and EMG at 256 Hz
(simulated). Ours is the real command, ``hypnograph stage``; its cache of converted trees is warm, and what the first
run costs more is reported. Run: ``python benchmarks/speed.py [--pairs 3] [--date 2026-11-21]``.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

LABELS = ("C4-M1", "E1-M2", "Chin EMG")
RATE, RANGE_UV = 256, 500.0
BAR_RATIO, BAR_MB = 5.0, 400.0

THEIRS = """
import sys, time, json; t = [time.perf_counter()]
import mne, yasa; t.append(time.perf_counter())
raw = mne.io.read_raw_edf(sys.argv[1], preload=True, verbose=False); t.append(time.perf_counter())
staging = yasa.SleepStaging(raw, eeg_name="C4-M1", eog_name="E1-M2", emg_name="Chin EMG"); t.append(time.perf_counter())
staging.fit(); t.append(time.perf_counter())
stages = staging.predict().hypno; t.append(time.perf_counter())
open(sys.argv[2] + "/theirs.txt", "w").write("\\n".join(stages))
phases = ("import", "read", "resample", "features", "classifier")
json.dump(dict(zip(phases, (b - a for a, b in zip(t, t[1:])))), open(sys.argv[2] + "/phases.json", "w"))
"""

OURS = """
import sys, time, json; began = time.perf_counter()
from hypnograph.stagers import create_stager, open_recording
import hypnograph.stagers.ensemble, hypnograph.stagers.yasa
imported = time.perf_counter()
staging = create_stager().stage(open_recording(sys.argv[1]))
open(sys.argv[2] + "/ours.txt", "w").write("\\n".join(staging.hypnogram.names))
json.dump({"import": imported - began, **staging.timings_s}, open(sys.argv[2] + "/phases.json", "w"))
"""


def write_night(path: Path, hours: float) -> None:
    import edfio
    import numpy as np

    rng = np.random.default_rng(0)
    n = int(hours * 3600 * RATE)
    time_s = np.arange(n) / RATE
    frequency = np.fft.rfftfreq(n, 1 / RATE)
    signals = []
    for label, spread_uv, slope in zip(LABELS, (20, 25, 8), (1.0, 1.3, 0.2), strict=True):
        spectrum = rng.standard_normal((2, len(frequency))) / np.maximum(frequency, 0.3) ** slope
        noise = np.fft.irfft(spectrum[0] + 1j * spectrum[1], n)
        noise *= spread_uv / noise.std() * (1 + 0.6 * np.sin(2 * np.pi * time_s / 5400 + rng.uniform(0, 6)))
        noise += 6 * np.sin(2 * np.pi * 10 * time_s) * (np.sin(2 * np.pi * time_s / 777) > 0.6)
        samples = noise.clip(-RANGE_UV, RANGE_UV)
        options = {"label": label, "physical_dimension": "uV", "physical_range": (-RANGE_UV, RANGE_UV)}
        signals.append(edfio.EdfSignal(samples, RATE, **options))
    edfio.Edf(signals).write(path)


def measure(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run a process; return its wall and CPU seconds and its peak memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:4])} … failed:\n{message}")
    return {"wall_s": wall_s, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}


def phases_of(code: str, night: Path, folder: Path, environment: dict[str, str]) -> dict[str, float]:
    measure([sys.executable, "-c", code, str(night), str(folder)], environment)
    return json.loads((folder / "phases.json").read_text())


def same_stages(folder: Path) -> float:
    """Return the share of epochs with the same stage in both results."""
    names = {"WAKE": "W"}
    theirs = [names.get(stage, stage) for stage in (folder / "theirs.txt").read_text().split()]
    ours = (folder / "ours.txt").read_text().split()
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(theirs)


def compare(hours: float, pairs: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        night = folder / "night.edf"
        # In a process of its own: a child's peak memory counts from its parent's.
        writer = multiprocessing.get_context("spawn").Process(target=write_night, args=(night, hours))
        writer.start()
        writer.join()
        environment = {**os.environ, "HYPNOGRAPH_CACHE": str(folder / "cache")}
        ours = ["-m", "hypnograph", "stage", str(night), "--out", str(folder / "out"), "--to", "txt", "--overwrite"]
        command = [sys.executable, *ours]
        first = measure(command, environment)
        rounds = []
        for number in range(1, pairs + 1):
            a = measure(command, environment)
            b = measure([sys.executable, "-c", THEIRS, str(night), str(folder)], environment)
            ratios = {"ratio_wall": b["wall_s"] / a["wall_s"], "ratio_cpu": b["cpu_s"] / a["cpu_s"]}
            rounds.append({"ours": a, "theirs": b, **ratios})
            print_round(number, rounds[-1])
        return {
            "night": f"simulated, {hours:g} h, {', '.join(LABELS)}, {RATE} Hz, EDF",
            "rounds": rounds,
            "first_run": first,
            "ratio_wall_median": statistics.median(r["ratio_wall"] for r in rounds),
            "peak_mb": max(r["ours"]["peak_mb"] for r in rounds),
            "phases_s": {
                "theirs": phases_of(THEIRS, night, folder, environment),
                "ours": phases_of(OURS, night, folder, environment),
            },
            "same_stages": same_stages(folder),
        }


def print_round(number: int, result: dict) -> None:
    for who in ("ours", "theirs"):
        print(f"{number} {who:<7} " + "  ".join(f"{name} {value:8.2f}" for name, value in result[who].items()))
    print(f"{number} ratio   wall {result['ratio_wall']:.1f}, CPU {result['ratio_cpu']:.1f}", flush=True)


def print_summary(result: dict) -> None:
    first = result["first_run"]
    print(f"first run, trees not yet cached: wall_s {first['wall_s']:.2f}")
    for who, phases in result["phases_s"].items():
        print(f"phases of {who:<7} " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in phases.items()) + " s")
    print(f"same stages: {100 * result['same_stages']:.2f} %")
    ratio, peak = result["ratio_wall_median"], result["peak_mb"]
    verdict = "met" if ratio >= BAR_RATIO and peak <= BAR_MB else "MISSED"
    print(f"{ratio:.1f} times faster (bar {BAR_RATIO:g}), peak {peak:.0f} MB (bar {BAR_MB:g}): {verdict}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--date", default=date.today().isoformat(), help="names the file of results")
    arguments = parser.parse_args()
    result = {"date": arguments.date, "cores": os.cpu_count()} | compare(arguments.hours, arguments.pairs)
    print_summary(result)
    path = Path(__file__).parent / "results" / f"speed-{arguments.date}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)
    return 0 if result["ratio_wall_median"] >= BAR_RATIO and result["peak_mb"] <= BAR_MB else 1


if __name__ == "__main__":
    sys.exit(main())
