"""Files of several scorers: nights by name, scorings on one grid."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.evaluation.scored_files import gather, on_one_grid, read_scored_night
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.stages import W_NREM_REM

SUFFIXES = (".csv", ".txt")
START = datetime(2026, 3, 1, 23)
NIGHT = np.sort(np.random.default_rng(0).integers(0, 5, 50))


def write(path: Path, stages=NIGHT, **fields) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_hypnogram(Hypnogram(np.array(stages), **fields), path, overwrite=True)
    return path


def names_of(paths: list[Path]) -> list[str]:
    (night,), _ = gather(paths, suffixes=SUFFIXES)
    return list(night.scorings)


class TestNames:
    def test_scorers_are_called_as_their_files(self, tmp_path: Path) -> None:
        assert names_of([write(tmp_path / "anna.txt"), write(tmp_path / "ben.txt")]) == ["anna", "ben"]

    def test_or_as_their_folders_where_the_files_have_one_name(self, tmp_path: Path) -> None:
        assert names_of([write(tmp_path / w / "n1.txt") for w in ("anna", "ben")]) == ["anna", "ben"]

    def test_or_by_both_where_neither_tells_them_apart(self, tmp_path: Path) -> None:
        paths = [write(tmp_path / name) for name in ("a/x.txt", "a/y.txt", "b/x.txt")]
        assert names_of(paths) == ["a/x.txt", "a/y.txt", "b/x.txt"]

    def test_or_with_their_endings_where_only_these_differ(self, tmp_path: Path) -> None:
        assert names_of([write(tmp_path / "x.txt"), write(tmp_path / "x.csv")]) == ["x.txt", "x.csv"]

    def test_or_by_the_whole_path_where_not_even_these_do(self, tmp_path: Path) -> None:
        paths = [write(tmp_path / name) for name in ("1/a/x.txt", "2/a/x.txt")]
        assert len(set(names_of(paths))) == 2

    def test_one_file_given_twice_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "anna.txt")
        with pytest.raises(HypnographError, match=r"anna\.txt is given twice"):
            gather([path, tmp_path / "." / "anna.txt"], suffixes=SUFFIXES)


class TestFolders:
    def test_nights_pair_by_name_and_what_is_not_in_all_is_named(self, tmp_path: Path) -> None:
        for who, nights in {
            "anna": ("n1", "n2", "n3"),
            "ben": ("n2", "n3"),
            "net": ("n3-hypnogram", "n2", "n4"),
        }.items():
            for name in nights:
                write(tmp_path / who / f"{name}.txt")
        nights, notes = gather([tmp_path / "anna", tmp_path / "ben"], [tmp_path / "net"], suffixes=SUFFIXES)
        assert [night.name for night in nights] == ["n2", "n3"]
        assert list(nights[1].scorings) == ["anna", "ben"]
        assert nights[1].predicted["net"].name == "n3-hypnogram.txt"
        assert notes == ["2 scorings are not in every folder: n1.txt, n4.txt"]

    def test_no_common_night_and_files_among_folders_are_refused(self, tmp_path: Path) -> None:
        for name in ("a/n1.txt", "a/n2.txt", "b/n1.txt", "c/n2.txt"):
            write(tmp_path / name)
        with pytest.raises(HypnographError, match="no night is in all 3 folders"):
            gather([tmp_path / who for who in "abc"], suffixes=SUFFIXES)
        with pytest.raises(HypnographError, match="some are files"):
            gather([tmp_path / "a", tmp_path / "b/n1.txt"], suffixes=SUFFIXES)


class TestOneGrid:
    def test_scorings_are_placed_by_their_starts(self) -> None:
        later = Hypnogram(NIGHT[10:], start=START + timedelta(seconds=300))
        aligned, notes = on_one_grid({"a": Hypnogram(NIGHT, start=START), "b": later})
        assert aligned["b"].stages.tolist() == [-1] * 10 + NIGHT[10:].tolist()
        assert notes == ["b: aligned by start times"]

    def test_what_one_scorer_loses_all_lose_at_the_same_place(self) -> None:
        # b is shorter by the 5 unscored epochs at the beginning of a; c is as long as a.
        long = np.concatenate([[-1] * 5, NIGHT])
        other = np.concatenate([[0] * 5, NIGHT])
        scorings = {"a": Hypnogram(long), "c": Hypnogram(other), "b": Hypnogram(NIGHT)}
        for order in (("a", "c", "b"), ("a", "b")):
            aligned, _ = on_one_grid({name: scorings[name] for name in order})
            assert {h.stages.tobytes() for h in aligned.values()} == {NIGHT.astype(np.int8).tobytes()}

    def test_a_start_that_one_knows_is_that_of_all(self) -> None:
        aligned, _ = on_one_grid({"a": Hypnogram(NIGHT), "b": Hypnogram(NIGHT, start=START)})
        assert {hypnogram.start for hypnogram in aligned.values()} == {START}

    def test_lengths_that_nothing_explains_are_refused_by_name_unless_cropped(self) -> None:
        scorings = {"anna": Hypnogram(NIGHT), "ben": Hypnogram(NIGHT[:40]), "chris": Hypnogram(NIGHT[:45])}
        with pytest.raises(AlignmentError, match="anna and ben"):
            on_one_grid(scorings)
        aligned, _ = on_one_grid(scorings, crop_to_shorter=True)
        assert {hypnogram.n_epochs for hypnogram in aligned.values()} == {40}


def test_a_night_is_read_in_a_scheme_with_its_subject_and_scorers(tmp_path: Path) -> None:
    for who in ("anna", "ben", "net"):
        write(tmp_path / who / "sub-07_night.txt")
    (files,), _ = gather([tmp_path / "anna", tmp_path / "ben"], [tmp_path / "net"], suffixes=SUFFIXES)
    night, notes = read_scored_night(files, scheme=W_NREM_REM)
    assert (night.subject, list(night.scorings), list(night.predicted)) == ("sub-07", ["anna", "ben"], ["net"])
    assert night.scorings["ben"] == Hypnogram(NIGHT, scorer="ben").merge(W_NREM_REM)
    assert notes == []
