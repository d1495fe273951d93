"""Pictures of a night: they show what the values say."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from hypnograph.errors import HypnographError
from hypnograph.hypnogram import Hypnodensity, Hypnogram, probabilities_of
from hypnograph.multitaper import spectrogram
from hypnograph.plot import (
    clock,
    plot_confusion,
    plot_hypnodensity,
    plot_hypnogram,
    plot_night,
    plot_spectrogram,
    stage_colours,
    stage_order,
    time_ticks,
    unscored_stretches,
)  # fmt: skip
from hypnograph.stages import AASM_5, SCHEMES, W_NREM_REM, StageScheme

NAMES = ["W"] * 20 + ["N1"] * 4 + ["N2"] * 60 + ["N3"] * 40 + ["UNSCORED"] * 6 + ["REM"] * 30 + ["W"] * 20
NIGHT = Hypnogram.from_names(NAMES, start=datetime(2026, 3, 1, 23, 10))


def axes():
    return Figure().add_subplot()


class TestTimeAxis:
    def test_ticks_stand_at_round_clock_times(self) -> None:
        ticks = time_ticks(8 * 3600, datetime(2026, 3, 1, 22, 47, 30))
        assert ticks[0] == (750.0, "23:00")
        assert [tick.label for tick in ticks[1:3]] == ["00:00", "01:00"]

    def test_without_a_start_they_count_from_it(self) -> None:
        assert [tick.label for tick in time_ticks(3 * 3600, None)][:3] == ["0:00", "0:15", "0:30"]

    @pytest.mark.parametrize("hours", [0.02, 0.5, 3, 8, 20, 70])
    def test_there_are_never_too_many(self, hours: float) -> None:
        ticks = time_ticks(3600 * hours, datetime(2026, 3, 1, 22, 47, 30))
        assert len(ticks) <= 13
        assert all(0 <= tick.seconds <= 3600 * hours for tick in ticks)

    def test_clock_passes_midnight(self) -> None:
        assert clock(3600, datetime(2026, 3, 1, 23, 30)) == "00:30:00"
        assert clock(3600 * 25, None) == "25:00:00"


class TestColours:
    def test_a_stage_keeps_its_colour_when_stages_merge(self) -> None:
        merged, whole = stage_colours(W_NREM_REM), stage_colours(AASM_5)
        assert (merged[0], merged[2]) == (whole[0], whole[4])

    def test_a_scheme_of_ones_own_gets_colours_too(self) -> None:
        own = StageScheme("own", ("awake", "asleep"), (0, 1, 1, 1, 1))
        assert len(set(stage_colours(own))) == 2

    @pytest.mark.parametrize("dark", [False, True])
    @pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
    def test_stages_stay_apart_in_colour_blindness(self, scheme: StageScheme, dark: bool) -> None:
        # Machado et al. 2009, doi 10.1109/TVCG.2009.113, severity 1.0: none, deutan, protan, tritan.
        deficiencies = np.array([
            [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
            [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
        ])  # fmt: skip
        for matrix in deficiencies:
            seen = [_lab(np.clip(matrix @ _linear(colour), 0, 1)) for colour in stage_colours(scheme, dark=dark)]
            apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[i + 1 :]]
            assert min(apart) > 20  # CIE 1976 colour difference; 2.3 is just noticeable


def _linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    f = np.cbrt(np.maximum(to_xyz @ linear / [0.9505, 1, 1.089], 1e-6))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


class TestHypnogram:
    def test_wake_is_on_top_then_rem_then_ever_deeper_sleep(self) -> None:
        ax = axes()
        plot_hypnogram(NIGHT, ax)
        labels = [label.get_text() for label in ax.get_yticklabels()]
        assert labels == ["W", "REM", "N1", "N2", "N3"]
        assert list(ax.get_yticks()) == sorted(ax.get_yticks(), reverse=True)

    def test_bars_cover_the_time_of_their_stage_in_its_colour(self) -> None:
        ax = axes()
        plot_hypnogram(NIGHT, ax)
        covered = {}
        for bars in ax.collections:
            colour = to_hex(bars.get_colors()[0])
            covered[colour] = sum(segment[1, 0] - segment[0, 0] for segment in bars.get_segments()) * 120
        assert covered == {
            colour: pytest.approx(NIGHT.counts()[label])
            for colour, label in zip(stage_colours(AASM_5), AASM_5.labels, strict=True)
        }

    def test_ticks_are_clock_times(self) -> None:
        ax = axes()
        plot_hypnogram(NIGHT, ax)
        assert "23:20" in [label.get_text() for label in ax.get_xticklabels()]
        assert ax.get_xlabel() == "clock time"

    @pytest.mark.parametrize("hypnogram", [
        NIGHT.merge(W_NREM_REM), NIGHT.upsample(6), Hypnogram(np.full(10, -1)), Hypnogram(np.array([], dtype=int)),
    ], ids=["merged", "5-s epochs", "unscored", "empty"])  # fmt: skip
    def test_draws_any_hypnogram(self, hypnogram: Hypnogram) -> None:
        ax = axes()
        plot_hypnogram(hypnogram, ax)
        ax.figure.canvas.draw_idle()
        assert len(ax.get_yticks()) == hypnogram.scheme.n_stages


def test_unscored_stretches_are_found() -> None:
    assert unscored_stretches(NIGHT.scored) == [(124, 130)]
    assert unscored_stretches(np.array([False, True, False])) == [(0, 1), (2, 3)]
    assert unscored_stretches(np.ones(3, bool)) == []


def test_a_hypnodensity_is_stacked_to_one() -> None:
    ax = axes()
    plot_hypnodensity(Hypnodensity(probabilities_of(NIGHT), start=NIGHT.start), ax)
    assert len(ax.patches) == 5 + 1  # five stages and the hatched stretch
    assert np.nanmax(ax.patches[4].get_data().values) == pytest.approx(1)


def test_a_spectrogram_has_its_frequencies_and_times() -> None:
    amplitude = np.random.default_rng(0).normal(size=128 * 600)
    ax = axes()
    image = plot_spectrogram(spectrogram(amplitude, 128), ax, limits_db=(-20, 10))
    assert image.get_extent() == pytest.approx([0, 1 / 6, 0.375, 30.125])
    assert image.get_clim() == (-20, 10)


class TestConfusion:
    def test_shows_shares_and_counts(self) -> None:
        ax = axes()
        plot_confusion(np.array([[900, 100], [0, 0]]), ["W", "sleep"], ax)
        assert [text.get_text() for text in ax.texts] == ["90 %\n900", "10 %\n100", "–", "–"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "reference")

    def test_counts_that_do_not_fit_the_labels_are_refused(self) -> None:
        with pytest.raises(HypnographError, match=r"shape \(2, 3\)"):
            plot_confusion(np.ones((2, 3), int), ["W", "N1"], axes())


class TestNight:
    def test_scorings_are_placed_by_their_starts(self) -> None:
        later = NIGHT.crop(20, 100)
        figure = plot_night([("one", NIGHT), ("two", later)])
        first = [min(segment[0, 0] for bars in ax.collections for segment in bars.get_segments()) for ax in figure.axes]
        assert first == pytest.approx([0, 20 / 120])
        assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()

    def test_all_panels_share_one_time_axis(self) -> None:
        amplitude = np.random.default_rng(0).normal(size=100 * 30 * len(NIGHT))
        figure = plot_night(
            [("scorer", NIGHT)], hypnodensity=Hypnodensity(probabilities_of(NIGHT), start=NIGHT.start),
            spectrogram=spectrogram(amplitude, 100, start=NIGHT.start, derivation="C4-M1"),
        )  # fmt: skip
        figure.canvas.draw()
        panels = [ax for ax in figure.axes if ax.get_xlabel() or ax.get_shared_x_axes().get_siblings(ax)[1:]]
        edges = {(round(ax.get_position().x0, 3), round(ax.get_position().x1, 3)) for ax in panels}
        assert len(panels) == 3
        assert len(edges) == 1

    def test_nothing_to_draw_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="no scoring"):
            plot_night([])

    def test_is_written_in_each_format(self, tmp_path: Path) -> None:
        for suffix in ("png", "svg", "pdf"):
            plot_night([("scorer", NIGHT)]).savefig(tmp_path / f"night.{suffix}")
            assert (tmp_path / f"night.{suffix}").stat().st_size > 5000


def test_stage_order_of_merged_schemes() -> None:
    assert [W_NREM_REM.labels[stage] for stage in stage_order(W_NREM_REM)] == ["W", "REM", "NREM"]
