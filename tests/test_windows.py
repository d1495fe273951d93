"""Pieces and windows of a night. The oracle is the whole night at once, and formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax as scipy_log_softmax

from hypnograph.errors import HypnographError
from hypnograph.windows import log_softmax, pieces, stitch, window_starts, window_weights


class TestPieces:
    @given(st.integers(1, 400), st.integers(1, 60), st.integers(0, 7), st.integers(1, 5))
    def test_a_moving_sum_by_pieces_equals_that_of_the_whole_night(
        self, n_epochs: int, extra: int, reach: int, grid: int
    ) -> None:
        most = -(-reach // grid) * grid + reach + grid + extra
        night = np.arange(n_epochs) ** 2

        def summed(values: np.ndarray) -> np.ndarray:
            return np.convolve(values, np.ones(2 * reach + 1, dtype=int))[reach : reach + len(values)]

        cuts = pieces(n_epochs, most=most, reach=reach, grid=grid)
        parts = [summed(night[c.first : c.past])[c.keep_first - c.first : c.keep_past - c.first] for c in cuts]
        np.testing.assert_array_equal(np.concatenate(parts), summed(night))
        assert all(c.past - c.first <= most and c.first % grid == 0 for c in cuts)

    def test_a_short_night_is_one_piece(self) -> None:
        assert pieces(10, most=10, reach=4) == [(0, 10, 0, 10)]

    def test_margins_that_leave_nothing_are_refused(self) -> None:
        with pytest.raises(HypnographError, match="needs 48"):
            pieces(100, most=40, reach=16, grid=16)


class TestWindows:
    @given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 40))
    def test_every_epoch_is_in_a_window_and_no_window_leaves_the_night(
        self, n_epochs: int, context: int, stride: int
    ) -> None:
        starts = window_starts(n_epochs, context, min(stride, context))
        seen = np.zeros(n_epochs, dtype=int)
        for start in starts:
            seen[start : start + context] += 1
        assert seen.all()
        assert starts == sorted(set(starts))
        assert max(starts) == max(0, n_epochs - context)

    def test_the_middle_of_a_window_counts_most(self) -> None:
        from scipy.signal.windows import hann

        # The samples of a Hann window between the zeros at its ends, half a step from them.
        np.testing.assert_allclose(window_weights(5), hann(11)[1::2])


class TestStitch:
    def test_equal_weights_are_the_multiplicative_aggregation_of_phan(self) -> None:
        # Phan et al. 2019: the product of the probabilities, that is the sum of their logarithms.
        rng = np.random.default_rng(0)
        starts, context, n_epochs = [0, 1, 2], 3, 5
        logits = rng.normal(size=(3, context, 5))
        expected = np.zeros((n_epochs, 5))
        for start, window in zip(starts, scipy_log_softmax(logits, axis=-1), strict=True):
            expected[start : start + context] += window
        stitched = stitch(logits, starts, n_epochs, np.ones(context))
        np.testing.assert_array_equal(stitched.argmax(-1), expected.argmax(-1))
        np.testing.assert_allclose(stitched[2], expected[2] / 3)

    def test_windows_that_agree_give_their_own_probabilities(self) -> None:
        night = np.random.default_rng(1).normal(size=(12, 2, 4))
        starts = window_starts(12, 5, 2)
        logits = np.stack([night[start : start + 5] for start in starts])
        np.testing.assert_allclose(stitch(logits, starts, 12), log_softmax(night), atol=1e-12)

    def test_a_constant_added_to_the_logits_of_a_window_changes_nothing(self) -> None:
        logits = np.random.default_rng(2).normal(size=(2, 3, 5))
        shifted = logits + np.array([0.0, 7.0])[:, None, None]
        np.testing.assert_allclose(stitch(shifted, [0, 2], 5), stitch(logits, [0, 2], 5), atol=1e-12)

    def test_an_epoch_without_a_window_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="epoch 3"):
            stitch(np.zeros((2, 3, 5)), [0, 4], 7)


def test_log_softmax_equals_scipy() -> None:
    logits = np.random.default_rng(3).normal(scale=50, size=(7, 5)).astype(np.float32)
    np.testing.assert_allclose(log_softmax(logits), scipy_log_softmax(logits.astype(float), axis=-1), atol=1e-12)
