"""Hypothesis strategies for the words of the domain."""

from datetime import datetime

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.stages import AASM_5, SCHEMES

# The machines that run the tests are shared: time is no criterion here. The same examples in each run.
settings.register_profile("hypnograph", deadline=None, derandomize=True, database=None)
settings.load_profile("hypnograph")

EPOCH_S = (0.5, 1 / 3, 1.0, 30 / 7, 10.0, 20.0, 29.97, 30.0)
SCORERS = ("", "expert-2", "Jörg", "U-Sleep v2.0", "a,b;c\td", '"quoted"')

schemes = st.sampled_from(list(SCHEMES.values()))
epoch_lengths = st.sampled_from(EPOCH_S)
# Sub-second starts and dates that an EDF header can hold.
starts = st.none() | st.datetimes(datetime(1985, 1, 2), datetime(2084, 12, 30))
seconds = st.integers(-(10**9), 10**11).map(lambda microseconds: microseconds / 1e6)


@st.composite
def hypnograms(draw, *, scheme=None, epoch_s=None, start=starts, min_epochs=1, max_epochs=60):
    scheme = draw(schemes) if scheme is None else scheme
    stages = draw(st.lists(st.integers(-1, scheme.n_stages - 1), min_size=min_epochs, max_size=max_epochs))
    return Hypnogram(
        np.array(stages, dtype=np.int8),
        epoch_s=draw(epoch_lengths) if epoch_s is None else epoch_s,
        start=draw(start),
        scheme=scheme,
        scorer=draw(st.sampled_from(SCORERS)),
        lights_off_s=draw(st.none() | seconds),
        lights_on_s=draw(st.none() | seconds),
    )


@st.composite
def hypnodensities(draw, *, scheme=AASM_5, n_epochs=None, epoch_s=None, start=starts):
    n = draw(st.integers(1, 30)) if n_epochs is None else n_epochs
    weights = draw(arrays(np.float64, (n, scheme.n_stages), elements=st.floats(0, 1, width=32)))
    weights[weights.sum(axis=1) < 1e-6] = 1.0
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    unknown = draw(arrays(np.bool_, n))
    probabilities[unknown] = np.nan
    return Hypnodensity(
        probabilities,
        epoch_s=draw(epoch_lengths) if epoch_s is None else epoch_s,
        start=draw(start),
        scheme=scheme,
        scorer=draw(st.sampled_from(SCORERS)),
    )
