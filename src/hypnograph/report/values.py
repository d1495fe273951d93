"""The report as values that JSON has."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.report.contents import Contents

SCHEMA = "hypnograph.report"
SCHEMA_VERSION = 1


def as_values(contents: Contents) -> dict[str, Any]:
    """Return everything that a report says but the spectrogram."""
    staging = contents.staging
    hypnogram = staging.hypnogram
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "title": contents.title,
        "simulated": contents.simulated,
        "start": None if hypnogram.start is None else hypnogram.start.isoformat(),
        "epoch_s": hypnogram.epoch_s,
        "scheme": hypnogram.scheme.name,
        "labels": list(hypnogram.scheme.labels),
        "lights_off_s": hypnogram.lights_off_s,
        "lights_on_s": hypnogram.lights_on_s,
        "scorer": hypnogram.scorer,
        "stages": hypnogram.names,
        "probabilities": _rounded(staging.hypnodensity.probabilities) if contents.certainty_is_known else None,
        "statistics": contents.statistics.as_dict(),
        "unsure_stretches": [
            {name: round(value, 4) if isinstance(value, float) else value for name, value in stretch._asdict().items()}
            for stretch in contents.stretches
        ],
        "derivations": [
            {
                "kind": str(derivation.kind),
                "name": derivation.name,
                "signal": derivation.signal,
                "reference": derivation.reference,
                "reason": derivation.reason,
            }
            for derivation in staging.derivations
        ],
        "voters": [
            {
                "name": voter.name,
                "mean_weight": round(float(np.mean(voter.weight)), 4) if len(voter.weight) else None,
                "stages": voter.hypnodensity.argmax().names,
            }
            for voter in staging.voters
        ],
        "share_against": None if contents.against is None else _rounded(contents.against),
        "warnings": list(staging.warnings),
        "versions": {
            "hypnograph": contents.versions["hypnograph"],
            "stager": staging.stager,
            "weights_sha256": staging.weights_sha256,
        },
        "timings_s": {phase: round(seconds, 4) for phase, seconds in staging.timings_s.items()},
    }


def _rounded(values: NDArray[np.float64]) -> list[Any]:
    """Return values to 4 decimals as nested lists, None where NaN (JSON has no NaN)."""
    rounded = np.round(values, 4).astype(object)
    rounded[np.isnan(values)] = None
    result: list[Any] = rounded.tolist()
    return result
