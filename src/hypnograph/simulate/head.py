"""Where electrodes are and how much of a source they see: volume conduction, in the simplest form that looks right.

The head is a unit sphere: x to the right, y to the nose, z up. An electrode sees a source weaker by a Gaussian of their
distance; a derivation sees the difference of its two electrodes. Neighbours so share most of what they record, and what
the mastoid picks up is in all derivations that are referenced to it.
"""

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import MissingChannelError

# The 10-20 system projected on the sphere; E1 and E2 beside the eyes, one below and one above their level.
ELECTRODES: dict[str, tuple[float, float, float]] = {
    "Fp1": (-0.31, 0.95, 0.0), "Fpz": (0.0, 1.0, 0.0), "Fp2": (0.31, 0.95, 0.0),
    "F7": (-0.81, 0.59, 0.0), "F3": (-0.55, 0.67, 0.5), "Fz": (0.0, 0.71, 0.71),
    "F4": (0.55, 0.67, 0.5), "F8": (0.81, 0.59, 0.0),
    "T3": (-1.0, 0.0, 0.0), "C3": (-0.71, 0.0, 0.71), "Cz": (0.0, 0.0, 1.0),
    "C4": (0.71, 0.0, 0.71), "T4": (1.0, 0.0, 0.0),
    "P3": (-0.55, -0.67, 0.5), "Pz": (0.0, -0.71, 0.71), "P4": (0.55, -0.67, 0.5),
    "O1": (-0.31, -0.95, 0.0), "Oz": (0.0, -1.0, 0.0), "O2": (0.31, -0.95, 0.0),
    "M1": (-0.85, -0.35, -0.45), "M2": (0.85, -0.35, -0.45), "A1": (-0.85, -0.35, -0.45), "A2": (0.85, -0.35, -0.45),
    "E1": (-0.68, 0.70, -0.28), "E2": (0.68, 0.70, -0.12),
}  # fmt: skip

# How far a source spreads, in radii of the head.
_SPREAD = 0.8


def electrodes_of(derivation: str) -> tuple[str, str]:
    """Return the two electrodes of a derivation such as ``"C4-M1"``.

    Raises
    ------
    MissingChannelError
        If it is not two electrodes that are known, joined by a dash.
    """
    pair = tuple(derivation.split("-"))
    if len(pair) != 2 or not set(pair) <= ELECTRODES.keys():
        raise MissingChannelError(
            f"cannot simulate the derivation {derivation!r}: write two electrodes and a dash, as in C4-M1. "
            f"Known electrodes: {', '.join(ELECTRODES)}"
        )
    return pair[0], pair[1]


def lead_field(derivations: tuple[str, ...], sources: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return what a source of amplitude 1 gives in each derivation.

    Parameters
    ----------
    derivations
        e.g. ``("C4-M1", "E1-M2")``.
    sources : float array, shape (n_sources, 3)
        Positions.

    Returns
    -------
    NDArray[np.float32], shape (n_derivations, n_sources)
    """
    pairs = np.array([[ELECTRODES[name] for name in electrodes_of(derivation)] for derivation in derivations])
    distance = np.linalg.norm(pairs[:, :, None, :] - sources[None, None], axis=-1)
    seen = np.exp(-0.5 * (distance / _SPREAD) ** 2)
    return np.asarray(seen[:, 0] - seen[:, 1], dtype=np.float32)
