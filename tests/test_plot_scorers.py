"""Pictures of several scorers: they show what the values say."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from hypnograph.errors import HypnographError
from hypnograph.evaluation.consensus import majority, soft_hypnodensity
from hypnograph.hypnogram import Hypnogram
from hypnograph.plot import plot_disagreement, plot_kappa_matrix, plot_scorers, stage_colours
from hypnograph.stages import AASM_5, W_SLEEP

TEAM = {
    "anna": Hypnogram(np.array([0, 1, 2, 2, 3, -1]), start=datetime(2026, 3, 1, 23)),
    "ben": Hypnogram(np.array([0, 2, 2, 2, 3, -1])),
    "chris": Hypnogram(np.array([0, 2, 4, -1, 2, -1])),
}
CONSENSUS = majority(list(TEAM.values()))


def axes():
    return Figure().add_subplot()


class TestDisagreement:
    def test_a_strip_is_coloured_where_a_scorer_differs_in_the_stage_that_it_has(self) -> None:
        ax = axes()
        plot_disagreement(list(TEAM.items()), CONSENSUS, ax)
        shown = np.asarray(ax.images[0].get_array())
        colours = stage_colours(AASM_5)
        white, grey = to_rgb("#ffffff"), to_rgb("#e4e7ea")
        assert shown.shape == (3, 6, 3)
        expected = {
            "anna": [white, to_rgb(colours[1]), white, white, white, grey],
            "ben": [white] * 5 + [grey],
            "chris": [white, white, to_rgb(colours[4]), grey, to_rgb(colours[2]), grey],
        }
        for row, of_it in zip(shown, expected.values(), strict=True):
            assert row == pytest.approx(np.array(of_it))

    def test_where_the_consensus_is_unscored_nobody_differs(self) -> None:
        ax = axes()
        plot_disagreement([("anna", Hypnogram(np.array([0, 2])))], Hypnogram(np.array([0, -1])), ax)
        assert np.asarray(ax.images[0].get_array())[0, 1] == pytest.approx(np.array(to_rgb("#e4e7ea")))

    def test_the_strips_have_the_scorers_names_from_the_top_and_the_time_of_the_night(self) -> None:
        ax = axes()
        plot_disagreement(list(TEAM.items()), CONSENSUS, ax)
        assert [label.get_text() for label in ax.get_yticklabels()] == ["anna", "ben", "chris"]
        assert ax.get_ylim() == (2.5, -0.5)
        assert ax.get_xlim() == pytest.approx((0, 6 / 120))
        assert ax.get_xlabel() == "clock time"

    def test_what_is_not_on_the_grid_of_the_consensus_is_refused(self) -> None:
        for wrong in (TEAM["anna"].crop(0, 5), TEAM["anna"].merge(W_SLEEP)):
            with pytest.raises(HypnographError, match="anna"):
                plot_disagreement([("anna", wrong)], CONSENSUS, axes())
        with pytest.raises(HypnographError, match="no scoring"):
            plot_disagreement([], CONSENSUS, axes())


def test_consensus_strips_and_votes_share_one_time_axis(tmp_path: Path) -> None:
    figure = plot_scorers(list(TEAM.items()), CONSENSUS, soft_hypnodensity(list(TEAM.values())))
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    assert figure.axes[0].get_title(loc="left") == "majority of 3 scorers"
    figure.savefig(tmp_path / "night.png")
    assert (tmp_path / "night.png").stat().st_size > 5000


class TestKappaMatrix:
    VALUES = np.array([[1, 0.7, 0.6], [0.7, 1, np.nan], [0.6, np.nan, 1]])

    def test_shows_each_pair_and_leaves_the_diagonal_and_the_undefined_empty(self) -> None:
        ax = axes()
        plot_kappa_matrix(["anna", "ben", "net"], self.VALUES, ax)
        found = {text.get_position(): text.get_text() for text in ax.texts}
        assert found == {(1, 0): "0.70", (2, 0): "0.60", (0, 1): "0.70", (0, 2): "0.60"}
        assert not ax.lines

    def test_a_line_parts_people_and_models(self) -> None:
        ax = axes()
        plot_kappa_matrix(["anna", "ben", "net"], self.VALUES, ax, n_people=2)
        assert list(ax.lines[0].get_ydata()) == [1.5, 1.5]

    def test_values_that_do_not_fit_the_names_are_refused(self) -> None:
        with pytest.raises(HypnographError, match=r"shape \(3, 3\)"):
            plot_kappa_matrix(["anna", "ben"], self.VALUES, axes())
