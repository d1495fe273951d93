"""Write many_scorers.json: scorings of simulated scorers, and what independent packages make of them.

In an environment of its own: pip install krippendorff==0.9.0 statsmodels==0.15.0 irrCAC==0.4.4 crowd-kit==1.4.2
pingouin==0.6.1 SimpleITK==2.5.7, then: python tests/golden/generate_many_scorers.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import krippendorff
import numpy as np
import pandas as pd
import pingouin
import SimpleITK
from crowdkit.aggregation import DawidSkene
from irrCAC.raw import CAC
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

PACKAGES = ("krippendorff", "statsmodels", "irrCAC", "crowd-kit", "pingouin", "SimpleITK")
N_ROUNDS = 30


def scorings() -> tuple[np.ndarray, np.ndarray]:
    """Return stages of five scorers in 200 epochs: complete, and with epochs that some or all left unscored."""
    rng = np.random.default_rng(20)
    truth = np.repeat(rng.integers(0, 5, 20), 10)
    errors = np.array([0.1, 0.15, 0.2, 0.3, 0.45])[:, None]
    complete = np.where(rng.random((5, 200)) < errors, rng.integers(0, 5, (5, 200)), truth)
    gaps = np.where(rng.random((5, 200)) < 0.15, -1, complete)
    gaps[:, 37] = -1
    gaps[1:, 80] = -1
    return complete, gaps


def dawid_skene(stages: np.ndarray) -> dict:
    data = pd.DataFrame(
        [
            (epoch, scorer, stages[scorer, epoch])
            for scorer in range(5)
            for epoch in range(200)
            if stages[scorer, epoch] >= 0
        ],
        columns=["task", "worker", "label"],
    )
    model = DawidSkene(n_iter=N_ROUNDS, tol=-np.inf)  # else it stops where its bound falls
    found = model.fit_predict_proba(data).reindex(range(200)).sort_index(axis=1)
    matrices = [model.errors_.loc[scorer].sort_index().sort_index(axis=1).T.to_numpy().tolist() for scorer in range(5)]
    return {"n_rounds": N_ROUNDS, "probabilities": found.fillna(-1).to_numpy().tolist(), "confusion": matrices}


def staple(asleep: np.ndarray) -> dict:
    images = [SimpleITK.GetImageFromArray(row[None].astype(np.uint8)) for row in asleep]
    model = SimpleITK.STAPLEImageFilter()
    model.SetForegroundValue(1)
    found = SimpleITK.GetArrayFromImage(model.Execute(images))[0]
    return {
        "probability_of_sleep": found.tolist(),
        "sensitivity": list(model.GetSensitivity()),
        "specificity": list(model.GetSpecificity()),
    }


def main() -> None:
    complete, gaps = scorings()
    raw = pd.DataFrame(gaps.T).replace(-1, np.nan)
    measured = np.random.default_rng(3).normal(400, 60, (25, 1)) + np.random.default_rng(4).normal(
        [0, 5, -9, 2, 30], 20, (25, 5)
    )
    long = (
        pd.DataFrame(measured)
        .melt(ignore_index=False, var_name="scorer", value_name="minutes")
        .reset_index(names="night")
    )
    icc = pingouin.intraclass_corr(long, targets="night", raters="scorer", ratings="minutes").set_index("Type")
    row = icc.loc["ICC2"] if "ICC2" in icc.index else icc.loc["ICC(A,1)"]
    interval = row[next(name for name in icc.columns if name.startswith("CI95"))]
    result = {
        "made_with": {name: version(name) for name in PACKAGES},
        "complete": complete.tolist(),
        "gaps": gaps.tolist(),
        "fleiss_kappa_complete": fleiss_kappa(aggregate_raters(complete.T)[0]),
        "krippendorff_alpha_complete": krippendorff.alpha(complete.astype(float), level_of_measurement="nominal"),
        "krippendorff_alpha_gaps": krippendorff.alpha(raw.T.to_numpy(), level_of_measurement="nominal"),
        "gwet_ac1_complete": CAC(pd.DataFrame(complete.T), digits=12).gwet()["est"]["coefficient_value"],
        "gwet_ac1_gaps": CAC(raw, digits=12).gwet()["est"]["coefficient_value"],
        "dawid_skene_gaps": dawid_skene(gaps),
        "staple_complete": staple(complete > 0),
        "icc_values": measured.round(6).tolist(),
        "icc": [float(row["ICC"]), *map(float, interval)],
    }
    Path(__file__).with_name("many_scorers.json").write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
