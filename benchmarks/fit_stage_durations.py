"""Fit the semi-Markov table of `hypnograph.simulate` to real hypnograms.

Run (seconds): .venv/bin/python benchmarks/fit_stage_durations.py ../shared/data/hypnograms

Reads every `*.jsonl` of the folder (one night a line: dataset, licence, stages; 30-s epochs), writes
`src/hypnograph/stage_durations.json` and prints real nights beside 200 simulated ones.
"""

import argparse
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from hypnograph.simulate.sleep_architecture import cycle_phase, simulate_hypnogram
from hypnograph.whole_file import whole_file

REPOSITORY = Path(__file__).resolve().parents[1]
PHASE_EDGES_MIN = [5.0, 15.0, 35.0, 55.0, 75.0, 95.0, 125.0]
N_PHASES = 2 * (len(PHASE_EDGES_MIN) + 1)
N_QUANTILES = 13
# Recordings that begin near lights off; the others begin awake by design (sleep-edfx) or asleep.
FROM_LIGHTS_OFF = {"boas-ds005555", "dodh", "sleep-accel", "ucddb"}
W, REM = 0, 4
# Minutes of REM owed that make its odds e times larger; chosen so that REM's share and latency vary as in real nights.
REM_PRESSURE_MIN = 25.0
# How many imagined observations of the coarser estimate a finer one is given (shrinkage of sparse cells).
PRIOR = 3.0

HOW = (
    "Runs between the first and the last epoch of the main sleep, nights with two hours of sleep or more; what "
    "follows an hour of wake is another sleep. transitions[third of the night][phase][previous stage][stage][next"
    f" stage]: counts, each level shrunk towards the coarser one by {PRIOR:g} imagined runs; phase: minutes since "
    "REM last ended against phase_edges_min; then the same since sleep began, as long as there was no REM. "
    "duration_epochs[third][stage][next stage]: equally spaced quantiles, of at least 40 runs. rem_share_so_far: "
    f"mean REM up to each twelfth of the night; the odds of REM grow by e for every {REM_PRESSURE_MIN:g} min below"
    " it. onset_latency_min, final_wake_min: quantiles in recordings that begin near lights off. "
    "night_tendency_sd: spread between nights of the log odds of each stage, fitted (up to 0.6) so that the "
    "stages' shares differ between simulated nights as between real ones."
)


def read_nights(folder: Path) -> list[dict]:
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    nights = [json.loads(line) for line in lines]
    return [night for night in nights if (np.array(night["stages"]) > 0).sum() >= 240]


def sleep_period(stages: np.ndarray) -> np.ndarray:
    """From the first to the last epoch of sleep of the main sleep: naps beyond an hour of wake are another sleep."""
    asleep = np.flatnonzero(stages > 0)
    parts = np.split(asleep, np.flatnonzero(np.diff(asleep) > 120) + 1)
    main_sleep = max(parts, key=len)
    return stages[main_sleep[0] : main_sleep[-1] + 1]


def runs_of(stages: np.ndarray) -> list[tuple[int, int, int]]:
    edges = np.concatenate([[0], np.flatnonzero(np.diff(stages)) + 1, [len(stages)]])
    return [(int(a), int(b - a), int(stages[a])) for a, b in pairwise(edges)]


def observations(stages: np.ndarray) -> list[tuple[int, int, int, int, int, int]]:
    """(third, phase, previous, stage, next, duration) of each run whose neighbours are scored."""
    found, rem_ended = [], -1
    runs = runs_of(stages)
    for i, (at, length, stage) in enumerate(runs):
        third = min(3 * at // len(stages), 2)
        phase = cycle_phase(at, rem_ended, PHASE_EDGES_MIN)
        previous = runs[i - 1][2] if i else W
        following = runs[i + 1][2] if i + 1 < len(runs) else -1
        if min(previous, stage, following) >= 0:
            found.append((third, phase, previous, stage, following, length))
        if stage == REM:
            rem_ended = at + length
    return found


def rem_share_so_far(period: np.ndarray) -> np.ndarray:
    """REM up to each twelfth of the night, as a share of the night's epochs."""
    so_far = np.concatenate([[0], np.cumsum(period == REM)]) / len(period)
    return so_far[np.linspace(0, len(period), 13).round().astype(int)]


def fit_transitions(found: np.ndarray) -> list:
    """Counts by third, phase, previous and stage, each level shrunk towards the coarser one."""
    counts = np.zeros((3, N_PHASES, 5, 5, 5))
    np.add.at(counts, tuple(found[:, :5].T), 1)
    impossible = np.eye(5, dtype=bool)

    def shrink(fine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
        odds = fine + PRIOR * coarse
        return odds / odds.sum(axis=-1, keepdims=True)

    by_stage = shrink(counts.sum(axis=(0, 1, 2)), np.where(impossible, 0, 0.25))
    by_phase = shrink(counts.sum(axis=2), np.broadcast_to(by_stage, (3, N_PHASES, 5, 5)))
    full = shrink(counts, by_phase[:, :, None])
    return np.round(full, 4).tolist()


def fit_durations(found: np.ndarray) -> list:
    """Quantiles by third, stage and next; cells with few runs borrow those of the whole night, then of any next."""
    probabilities = np.linspace(0, 1, N_QUANTILES)

    def quantiles(third: int, stage: int, following: int) -> list[float]:
        here = found[found[:, 3] == stage]
        same_next = here[here[:, 4] == following]
        in_third = same_next[same_next[:, 0] == third]
        chosen = next((part for part in (in_third, same_next, here) if len(part) >= 40), here)
        # The outermost quantiles would be the luck of one night.
        return np.quantile(chosen[:, 5], np.clip(probabilities, 0.0, 0.995)).round(1).tolist()

    return [[[quantiles(t, s, n) for n in range(5)] for s in range(5)] for t in range(3)]


def statistics(stages: np.ndarray) -> dict[str, float]:
    period = sleep_period(stages)
    scored = period[period >= 0]
    asleep = scored[scored > 0]
    row = {
        f"{name} % of sleep": 100 * float((asleep == i).mean())
        for i, name in enumerate(["", "N1", "N2", "N3", "REM"])
        if i
    }
    row["WASO min"] = float((scored == W).sum() / 2)
    row["awakenings"] = float((np.diff((period == W).astype(int)) == 1).sum())
    rem = np.flatnonzero(period == REM)
    row["REM latency min"] = float(rem[0] / 2) if len(rem) else np.nan
    row["stage shifts"] = float((np.diff(scored) != 0).sum())
    thirds = np.array_split(period, 3)
    row["N3 in first third %"] = 100 * float((thirds[0] == 3).sum() / max(1, (period == 3).sum()))
    row["REM in last third %"] = 100 * float((thirds[2] == REM).sum() / max(1, (period == REM).sum()))
    return row


def table_of(rows: list[dict[str, float]]) -> dict[str, np.ndarray]:
    columns = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            columns[name].append(value)
    return {name: np.array(values) for name, values in columns.items()}


def spread(values: np.ndarray) -> float:
    return float(np.subtract(*np.nanpercentile(values, [84, 16])) / 2)


def fit_tendency(table: dict, real: dict[str, np.ndarray]) -> None:
    """Widen the nights' tendencies until stages' shares differ between nights as much as in reality."""
    watched = ["WASO min", "N1 % of sleep", None, "N3 % of sleep", "REM % of sleep"]
    sd = np.array([0.3, 0.3, 0.0, 0.3, 0.3])
    for _ in range(12):
        table["night_tendency_sd"] = sd.round(3).tolist()
        drawn = table_of([statistics(simulate_hypnogram(seed=s, table=table).stages) for s in range(300)])
        for i, name in enumerate(watched):
            if name:
                sd[i] = np.clip(sd[i] * (spread(real[name]) / spread(drawn[name])) ** 0.7, 0.05, 0.6)


def fit(folder: Path) -> dict:
    nights = read_nights(folder)
    periods = [sleep_period(np.array(night["stages"])) for night in nights]
    found = np.array([row for period in periods for row in observations(period)])
    in_bed = [np.array(night["stages"]) for night in nights if night["dataset"] in FROM_LIGHTS_OFF]
    heads = [np.flatnonzero(stages > 0)[0] / 2 for stages in in_bed]
    tails = [(len(stages) - 1 - np.flatnonzero(stages > 0)[-1]) / 2 for stages in in_bed]
    grid = np.clip(np.linspace(0, 1, N_QUANTILES), 0, 0.97)
    first = np.bincount([period[0] for period in periods], minlength=5)
    licences = sorted({(night["dataset"], night["licence"]) for night in nights})
    table = {
        "about": "Semi-Markov model of sleep stages (W, N1, N2, N3, REM; 30-s epochs), fitted to public hypnograms",
        "fitted_by": "benchmarks/fit_stage_durations.py",
        "sources": [
            {"dataset": d, "licence": lic, "nights": sum(night["dataset"] == d for night in nights)}
            for d, lic in licences
        ],
        "n_nights": len(nights),
        "n_runs": len(found),
        "how": HOW,
        "phase_edges_min": PHASE_EDGES_MIN,
        "onset_stage": (first / first.sum()).round(4).tolist(),
        "onset_latency_min": np.quantile(heads, grid).round(1).tolist(),
        "final_wake_min": np.quantile(tails, grid).round(1).tolist(),
        "rem_share_so_far": np.mean([rem_share_so_far(period) for period in periods], axis=0).round(4).tolist(),
        "rem_pressure_min": REM_PRESSURE_MIN,
        "transitions": fit_transitions(found),
        "duration_epochs": fit_durations(found),
    }
    fit_tendency(table, table_of([statistics(np.array(night["stages"])) for night in nights]))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "src/hypnograph/stage_durations.json")
    options = parser.parse_args()
    table = fit(options.folder)
    with whole_file(options.out) as temporary:
        temporary.write_text(json.dumps(table, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")
    real = table_of([statistics(np.array(night["stages"])) for night in read_nights(options.folder)])
    drawn = table_of([statistics(simulate_hypnogram(seed=s, table=table).stages) for s in range(1000, 1200)])
    print(
        f"{table['n_nights']} real nights, {table['n_runs']} runs; 200 simulated nights: "
        "mean ± SD [5th, 95th percentile]"
    )
    for name, values in real.items():

        def text(v: np.ndarray) -> str:
            low, high = np.nanpercentile(v, [5, 95])
            return f"{np.nanmean(v):6.1f} ± {np.nanstd(v):5.1f} [{low:6.1f}, {high:6.1f}]"

        print(f"{name:>20}   real {text(values)}   simulated {text(drawn[name])}")


if __name__ == "__main__":
    main()
