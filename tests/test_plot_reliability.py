"""The reliability diagram shows the curve."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from hypnograph.errors import HypnographError
from hypnograph.evaluation.calibration import Reliability
from hypnograph.plot import plot_reliability

# The third bin has too few epochs to be drawn.
CURVE = Reliability(np.array([0.3, 0.8, 0.9]), np.array([0.2, 0.7, 0.1]), np.array([25, 75, 9]))


def test_points_lie_where_said_meets_came_true_and_their_areas_are_shares() -> None:
    ax = Figure().add_subplot()
    plot_reliability([("as staged", CURVE)], ax)
    diagonal, line = ax.get_lines()
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert line.get_xydata().tolist() == [[0.3, 0.2], [0.8, 0.7]]
    small, large = ax.collections[0].get_sizes()
    assert large - 8 == pytest.approx(3 * (small - 8))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["as staged"]


def test_colours_are_those_given_one_for_each_curve() -> None:
    ax = Figure().add_subplot()
    plot_reliability([("W", CURVE), ("N1", CURVE)], ax, colours=["#112233", "#445566"])
    assert [to_hex(line.get_color()) for line in ax.get_lines()[1:]] == ["#112233", "#445566"]
    with pytest.raises(HypnographError, match="1 colours for 2 curves"):
        plot_reliability([("W", CURVE), ("N1", CURVE)], ax, colours=["#112233"])


def test_many_curves_each_have_a_colour() -> None:
    ax = Figure().add_subplot()
    plot_reliability([(str(i), CURVE) for i in range(6)], ax)
    assert len({line.get_color() for line in ax.get_lines()[1:]}) == 6
