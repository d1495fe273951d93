"""Nights with probabilities: pairing with a reference, leaving subjects out, limits that count subjects."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.evaluation.pairing import PairedFiles
from hypnograph.evaluation.staged_nights import (
    StagedNight,
    compared,
    estimate,
    leave_subjects_out,
    pooled,
    read_staged_night,
    scheme_of,
    subject_quantile,
)
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.stages import W_SLEEP

RNG = np.random.default_rng(3)
START = datetime(2026, 3, 1, 23, 0)


def density(n: int = 40, **grid: object) -> Hypnodensity:
    return Hypnodensity(np.random.default_rng(n).dirichlet(np.ones(5), n), **grid)  # type: ignore[arg-type]


def a_night(subject: str, n: int = 20) -> StagedNight:
    return StagedNight(f"{subject}-{n}", subject, Hypnogram(np.arange(n) % 5), density(n))


class TestCompared:
    def test_epochs_that_are_unscored_or_unknown_on_either_side_are_left_out(self) -> None:
        probabilities = density(4).probabilities.copy()
        probabilities[1] = np.nan
        found = compared(StagedNight("a", "a", Hypnogram(np.array([0, 1, -1, 3])), Hypnodensity(probabilities)))
        assert found.stages.tolist() == [0, 3]
        np.testing.assert_array_equal(found.probabilities, probabilities[[0, 3]])

    def test_another_grid_is_refused(self) -> None:
        with pytest.raises(AlignmentError, match="30"):
            compared(StagedNight("a", "a", Hypnogram(np.zeros(30, dtype=int)), density(40)))

    def test_nothing_to_compare_and_mixed_schemes_are_refused(self) -> None:
        unscored = StagedNight("a", "a", Hypnogram(np.full(40, -1)), density(40))
        merged = unscored._replace(hypnodensity=density(40).merge(W_SLEEP))
        with pytest.raises(HypnographError, match="no epoch"):
            pooled([unscored])
        with pytest.raises(HypnographError, match=r"AASM.*W-sleep"):
            scheme_of([unscored, merged])
        with pytest.raises(HypnographError, match="no night"):
            pooled([])


class TestLeavingOut:
    def test_each_subject_is_left_out_once_with_all_nights_and_never_on_both_sides(self) -> None:
        nights = [a_night(f"s{i % 7}", 10 + i) for i in range(14)]
        for n_folds in (3, 20):
            folds = list(leave_subjects_out(nights, n_folds=n_folds))
            assert sorted(n.name for fold in folds for n in fold.left_out) == sorted(n.name for n in nights)
            for rest, left_out in folds:
                assert len(rest) + len(left_out) == 14
                assert not {n.subject for n in rest} & {n.subject for n in left_out}
            assert len(folds) == min(n_folds, 7)

    def test_one_subject_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="subject-pattern"):
            list(leave_subjects_out([a_night("a"), a_night("a", 30)]))


class TestSubjectQuantile:
    def test_with_one_value_each_it_is_the_split_conformal_rank(self) -> None:
        """Oracle: the ⌈(K + 1) level⌉-th smallest value (Vovk et al. 2005)."""
        values = RNG.random(19)
        for level in (0.5, 0.8, 0.9, 0.95):
            expected = np.sort(values)[int(np.ceil(20 * level - 1e-9)) - 1]
            assert subject_quantile([np.array([v]) for v in values], level) == expected

    def test_too_few_subjects_give_no_limit(self) -> None:
        values = [RNG.random(1000) for _ in range(8)]
        assert subject_quantile(values, 0.9) == np.inf
        assert np.isfinite(subject_quantile([*values, RNG.random(3)], 0.9))
        assert subject_quantile([], 0.5) == np.inf

    def test_a_subject_with_many_values_counts_as_one(self) -> None:
        few = [np.array([v]) for v in (0.1, 0.2, 0.3, 0.4)]
        assert subject_quantile([*few, np.full(10_000, 0.9)], 0.6) == 0.4

    def test_a_new_subject_exceeds_it_as_rarely_as_it_says(self) -> None:
        """Oracle: simulation; subjects differ, and have 1 to 60 values each."""
        rng = np.random.default_rng(0)
        inside = []
        for _ in range(1500):
            subjects = [rng.normal(rng.normal(0, 2), 1, rng.integers(1, 60)) for _ in range(25)]
            inside.append((subjects[0] <= subject_quantile(subjects[1:], 0.8)).mean())
        assert 0.79 < np.mean(inside) < 0.87


class TestEstimate:
    def test_the_interval_of_a_mean_is_that_of_drawn_subjects(self) -> None:
        """Oracle: a loop that draws subjects."""
        values = RNG.random(30)
        sums = np.stack([np.ones(30), values], axis=1)
        found = estimate(lambda s: s[:, 1] / s[:, 0], sums, n_bootstrap=4000)
        rng = np.random.default_rng(9)
        draws = [rng.choice(values, 30).mean() for _ in range(4000)]
        assert found.value == pytest.approx(values.mean())
        np.testing.assert_allclose(found[1:], np.percentile(draws, [2.5, 97.5]), atol=0.01)

    def test_one_subject_has_no_interval(self) -> None:
        assert np.isnan(estimate(lambda s: s[:, 0], np.ones((1, 1)))[1:]).all()


class TestReading:
    def write(self, folder: Path, reference: Hypnogram, staged: Hypnodensity) -> PairedFiles:
        write_hypnogram(reference, folder / "sub-01-expert.json", overwrite=True)
        write_hypnogram(staged.argmax(), folder / "sub-01.csv", hypnodensity=staged, overwrite=True)
        return PairedFiles("sub-01", folder / "sub-01-expert.json", folder / "sub-01.csv")

    def test_the_reference_moves_to_the_probabilities_by_start_times(self, tmp_path: Path) -> None:
        staged = density(40, start=START)
        reference = Hypnogram(np.arange(50) % 5, start=START - timedelta(minutes=2))
        night, _ = read_staged_night(self.write(tmp_path, reference, staged))
        assert night.subject == "sub-01"
        np.testing.assert_array_equal(night.hypnodensity.probabilities, staged.probabilities)
        np.testing.assert_array_equal(night.reference.stages, reference.stages[4:44])

    def test_without_starts_an_unscored_end_is_cut_and_another_length_refused(self, tmp_path: Path) -> None:
        stages = np.arange(43) % 5
        stages[40:] = -1
        night, note = read_staged_night(self.write(tmp_path, Hypnogram(stages), density(40)))
        assert night.reference.n_epochs == 40
        assert "last 3 epochs" in note
        longer = self.write(tmp_path, Hypnogram(np.arange(43) % 5), density(40))
        with pytest.raises(AlignmentError, match=r"sub-01-expert.json and sub-01.csv.*crop-to-shorter"):
            read_staged_night(longer)
        assert read_staged_night(longer, crop_to_shorter=True)[0].reference.n_epochs == 40

    def test_a_coarser_reference_grid_and_scheme(self, tmp_path: Path) -> None:
        files = self.write(tmp_path, Hypnogram(np.arange(20) % 5), density(40, epoch_s=15.0))
        night, _ = read_staged_night(files, scheme=W_SLEEP)
        assert night.reference.scheme == night.hypnodensity.scheme == W_SLEEP
        np.testing.assert_array_equal(night.reference.stages, np.repeat(np.arange(20) % 5 > 0, 2))

    def test_a_scoring_without_probabilities_is_refused(self, tmp_path: Path) -> None:
        write_hypnogram(Hypnogram(np.zeros(4, dtype=int)), tmp_path / "a.csv")
        with pytest.raises(HypnographError, match=r"a\.csv holds no probabilities"):
            read_staged_night(PairedFiles("a", tmp_path / "a.csv", tmp_path / "a.csv"))
