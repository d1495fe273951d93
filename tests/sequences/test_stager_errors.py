"""The errors of a stager: the oracle is the table that made the errors."""

from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.sequences.stager_errors import StagerErrors, fit_stager_errors, load_stager_errors
from tests.sequences.sleepers import night

NIGHTS = [night(seed, broken=False, n_epochs=800) for seed in range(30)]


def stubborn(stages: np.ndarray, seed: int, *, repeats: float) -> np.ndarray:
    """Return what a stager says that is right in 0.6 of the epochs, and else, or stubbornly, repeats itself."""
    random = np.random.default_rng(seed)
    said = stages.copy()
    for t in range(1, len(stages)):
        if random.random() < repeats:
            said[t] = said[t - 1]
        elif random.random() > 0.6:
            said[t] = random.integers(5)
    return said


def test_the_table_of_a_stager_without_memory_does_not_depend_on_what_was_said_before() -> None:
    said = [stubborn(stages, seed, repeats=0.0) for seed, stages in enumerate(NIGHTS)]
    errors = fit_stager_errors(NIGHTS, said)
    expected = 0.6 * np.eye(5) + 0.4 / 5
    np.testing.assert_allclose(errors.alone, expected, atol=0.03)
    common = errors.table[2, 2]
    np.testing.assert_allclose(common, expected[2], atol=0.05)


def test_the_table_of_a_stubborn_stager_knows_that_it_repeats_itself() -> None:
    said = [stubborn(stages, seed, repeats=0.7) for seed, stages in enumerate(NIGHTS)]
    errors = fit_stager_errors(NIGHTS, said)
    # N2 although W was said before: 0.7 repeated, plus its share of the random errors.
    assert errors.table[2, 0, 0] == pytest.approx(0.7 + 0.3 * 0.4 / 5, abs=0.06)
    with_memory, without = errors.evidence(np.array([0, 0])), errors.evidence(np.array([0, 0]), context=False)
    # The second W in a row says less than the first.
    assert np.ptp(with_memory[1]) < np.ptp(without[1])


def test_the_axes_are_the_true_stage_what_was_said_before_and_what_is_said_now() -> None:
    said = np.tile([0, 1, 3], 100)
    table = fit_stager_errors([np.full(300, 2)], [said]).table
    assert table[2, 0, 1] > 0.9
    assert table[2, 1, 0] < 0.05
    assert table[2, 1, 3] > 0.9


def test_evidence_is_read_from_the_tables_and_knows_nothing_of_unscored_epochs() -> None:
    errors = fit_stager_errors(NIGHTS, [stubborn(s, 1, repeats=0.5) for s in NIGHTS])
    found = errors.evidence(np.array([3, 2, -1, 4]))
    np.testing.assert_allclose(found[0], np.log(errors.alone[:, 3]))
    np.testing.assert_allclose(found[1], np.log(errors.table[:, 3, 2]))
    np.testing.assert_array_equal(found[2], 0)
    np.testing.assert_allclose(found[3], np.log(errors.alone[:, 4]))


def test_unscored_epochs_are_not_counted() -> None:
    reference, said = np.array([0, -1, 2, 2]), np.array([0, 1, -1, 2])
    errors = fit_stager_errors([reference], [said])
    same = fit_stager_errors([np.array([0]), np.array([2])], [np.array([0]), np.array([2])])
    np.testing.assert_allclose(errors.alone, same.alone)


def test_a_file_gives_back_the_errors(tmp_path: Path) -> None:
    errors = fit_stager_errors(NIGHTS, NIGHTS, stager="nobody")
    errors.save(tmp_path / "errors.json")
    again = load_stager_errors(tmp_path / "errors.json")
    np.testing.assert_array_equal(again.table, errors.table)
    assert again.stager == "nobody"
    with pytest.raises(HypnographError, match="exists"):
        errors.save(tmp_path / "errors.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UnreadableFileError, match=r"other\.json"):
        load_stager_errors(tmp_path / "other.json")


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(HypnographError, match="4 epochs in its reference, and 3"):
        fit_stager_errors([np.zeros(4, int)], [np.zeros(3, int)])
    with pytest.raises(HypnographError, match="no epoch is scored by both"):
        fit_stager_errors([np.array([-1, 2])], [np.array([1, -1])])
    with pytest.raises(HypnographError, match="table"):
        StagerErrors(np.zeros((5, 5, 5)), np.full((5, 5), 0.2))
