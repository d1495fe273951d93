"""How real does a simulated night look to independent judges? Takes some minutes.

Run: .venv/bin/python benchmarks/simulation_realism.py [--nights 10] [--data ../shared/data]

1. The yasa package stages simulated nights (C4-M1, E1-M2, chin EMG); kappa against the hypnogram that was planted.
2. Band powers of C4-M1, stage by stage, beside those of the one real night with all stages (UCD Sleep Apnea Database,
   ucddb018; the 5th to 95th percentile of its epochs), and, for W and N3, beside 23 more real subjects (the range of
   their medians). The real signals have a line at 22 Hz (the mains' third harmonic folded at 128 Hz); 21 to 23 Hz are
   left out on both sides.
"""

import argparse
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.signal import welch

from hypnograph.recording import Recording
from hypnograph.simulate import simulate_hypnogram, simulate_recording

BANDS = {"delta": (0.5, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 12.0), "sigma": (12.0, 16.0), "beta": (16.0, 30.0)}
STAGES = ("W", "N1", "N2", "N3", "REM")
SIGNALS = ("C4-M1", "E1-M2", "Chin EMG")


def stages_by_yasa(recording: Recording) -> np.ndarray:
    """Stage a recording with the yasa package itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mne
        import yasa

        microvolts = np.array([recording.signal(name).samples() for name in SIGNALS], dtype=float)
        info = mne.create_info(list(SIGNALS), recording.signals[0].sample_rate, ["eeg", "eog", "emg"])
        raw = mne.io.RawArray(microvolts * 1e-6, info, verbose="ERROR")
        stager = yasa.SleepStaging(raw, eeg_name=SIGNALS[0], eog_name=SIGNALS[1], emg_name=SIGNALS[2])
        names = stager.predict().hypno
    return np.array([["WAKE", "N1", "N2", "N3", "REM"].index(name) for name in names])


def confusion(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    counts = np.zeros((5, 5), dtype=int)
    np.add.at(counts, (reference, predicted), 1)
    return counts


def kappa(counts: np.ndarray) -> float:
    """Cohen's kappa of a confusion matrix (doi 10.1177/001316446002000104)."""
    shares = counts / counts.sum()
    by_chance = float(shares.sum(axis=0) @ shares.sum(axis=1))
    return (float(np.trace(shares)) - by_chance) / (1 - by_chance)


def band_powers(epochs_uv: np.ndarray, sample_rate: float) -> dict[str, np.ndarray]:
    """Absolute (µV²) and relative power of each band in each epoch (n_epochs, n_samples)."""
    frequency, density = welch(epochs_uv, sample_rate, nperseg=round(4 * sample_rate), axis=-1)
    kept = (frequency < 21) | (frequency > 23)
    width = frequency[1]
    powers = {
        name: density[:, kept & (frequency >= low) & (frequency < high)].sum(axis=1) * width
        for name, (low, high) in BANDS.items()
    }
    total = sum(powers.values())
    return powers | {f"{name} %": 100 * power / total for name, power in powers.items()}


def real_night(data: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    import edfio

    signal = edfio.read_edf(data / "eeg/ucddb018.edf").signals[0]
    names = (data / "eeg/ucddb018.txt").read_text().split()
    stages = np.array([next((i for i, s in enumerate(STAGES) if re.fullmatch(rf"{s}|{s[0]}", n)), -1) for n in names])
    per_epoch = round(30 * signal.sampling_frequency)
    n = min(len(stages), len(signal.data) // per_epoch)
    epochs = signal.data[: n * per_epoch].reshape(n, per_epoch)
    return band_powers(epochs, signal.sampling_frequency), stages[:n]


def wake_and_deep_sleep(data: Path) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    for path in sorted((data / "eeg/wake-n3").glob("*.npz")):
        with np.load(path) as night:
            recorded = np.ptp(night["microvolt_x20"], axis=1) > 0
            yield (
                band_powers(night["microvolt_x20"][recorded] / 20.0, float(night["sample_rate"])),
                night["stage"][recorded],
            )


def compare_powers(simulated: list[tuple[dict[str, np.ndarray], np.ndarray]], data: Path) -> None:
    real, real_stages = real_night(data)
    others = list(wake_and_deep_sleep(data))
    print("\nBand powers of C4-M1, µV² and % of 0.5-30 Hz: percentiles 5, 50, 95 of epochs")
    print(
        f"{'':14}{'simulated':>22} {'real night':>22}  inside  nights' medians inside   medians of 23 subjects (5-95)"
    )
    for stage, stage_name in enumerate(STAGES):
        for name in real:
            pooled = np.concatenate([powers[name][stages == stage] for powers, stages in simulated])
            low, middle, high = np.percentile(real[name][real_stages == stage], [5, 50, 95])
            medians = np.array([np.median(p[name][s == stage]) for p, s in simulated if (s == stage).sum() >= 10])
            among = [np.median(p[name][s == stage]) for p, s in others if (s == stage).sum() >= 20]
            text = " ".join(f"{v:6.1f}" for v in np.percentile(pooled, [5, 50, 95]))
            elsewhere = " to ".join(f"{v:.1f}" for v in np.percentile(among, [5, 95])) if among else ""
            print(
                f"{stage_name:4}{name:10}{text:>22} {low:7.1f} {middle:6.1f} {high:6.1f}"
                f"  {np.mean((pooled >= low) & (pooled <= high)):5.0%}"
                f"  {np.sum((medians >= low) & (medians <= high)):8d} of {len(medians)}   {elsewhere:>22}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=10)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    options = parser.parse_args()
    powers, total, kappas = [], np.zeros((5, 5), dtype=int), []
    for seed in range(1, options.nights + 1):
        hypnogram = simulate_hypnogram(seed=seed)
        recording = simulate_recording(hypnogram, seed=seed, derivations=SIGNALS)
        counts = confusion(hypnogram.stages, stages_by_yasa(recording))
        recall = " ".join(f"{v:.2f}" for v in np.diag(counts) / np.maximum(counts.sum(axis=1), 1))
        print(
            f"simulated night, seed {seed:2}: kappa {kappa(counts):.3f}; recall {recall}; epochs {counts.sum(axis=1)}",
            flush=True,
        )
        kappas.append(kappa(counts))
        total += counts
        powers.append(
            (band_powers(recording.signal("C4-M1").samples().reshape(hypnogram.n_epochs, -1), 256.0), hypnogram.stages)
        )
    print(
        f"{len(kappas)} simulated nights: mean kappa {np.mean(kappas):.3f}, lowest {min(kappas):.3f}, "
        f"pooled {kappa(total):.3f}"
    )
    print(
        "pooled recall",
        " ".join(f"{s} {v:.2f}" for s, v in zip(STAGES, np.diag(total) / total.sum(axis=1), strict=True)),
    )
    print(total)
    if options.data.is_dir():
        compare_powers(powers, options.data)


if __name__ == "__main__":
    main()
