"""People who never slept: calm nights of the healthy, broken nights of the ill."""

import numpy as np

from hypnograph.hypnogram import Hypnogram
from hypnograph.training.disorder_fitting import Person


def night(seed: int, *, broken: bool, n_epochs: int = 240) -> np.ndarray:
    """Return stages that begin and end with sleep; a broken night changes stage four times as often, and wakes more."""
    random = np.random.default_rng(seed)
    stay, next_stage = (0.75, [0.2, 0.2, 0.3, 0.1, 0.2]) if broken else (0.94, [0.05, 0.05, 0.4, 0.25, 0.25])
    stages = [2]
    while len(stages) < n_epochs - 1:
        stages.append(stages[-1] if random.random() < stay else int(random.choice(5, p=next_stage)))
    return np.array([*stages, 2], dtype=np.int8)


def sleepers(n: int = 12, *, ill: str = "rbd", n_epochs: int = 240) -> list[Person]:
    """Return n healthy people with calm nights and n with broken ones."""
    return [
        Person(f"{name}{i}", name, Hypnogram(night(seed, broken=name == ill, n_epochs=n_epochs)))
        for name, first in (("normal", 0), (ill, 1000))
        for i, seed in enumerate(range(first, first + n))
    ]
