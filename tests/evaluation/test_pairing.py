"""Which scoring belongs to which: files by name, epochs by start times."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.evaluation.agreement import agreement, check_comparable
from hypnograph.evaluation.pairing import Pairing, align_predicted, pair_files, subject_of
from hypnograph.hypnogram import Hypnogram

SUFFIXES = (".csv", ".edf", ".tsv", ".txt")
START = datetime(2026, 3, 1, 22, 30)
RNG = np.random.default_rng(11)
STAGES = RNG.integers(0, 5, 120)


@pytest.fixture
def pair(tmp_path: Path):
    def make(reference: list[str], predicted: list[str]) -> Pairing:
        for side, names in (("reference", reference), ("predicted", predicted)):
            for name in names:
                path = tmp_path / side / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return pair_files(tmp_path / "reference", tmp_path / "predicted", suffixes=SUFFIXES)

    return make


def names(found: Pairing) -> list[tuple[str, str, str]]:
    return [(p.name, p.reference.name, p.predicted.name) for p in found.pairs]


class TestFilesPairByName:
    def test_the_same_name(self, pair) -> None:
        assert names(pair(["a.txt", "b.txt"], ["b.csv", "a.csv"])) == [("a", "a.txt", "a.csv"), ("b", "b.txt", "b.csv")]

    def test_the_same_name_but_for_what_the_file_is(self, pair) -> None:
        found = pair(["n1_stages.txt", "n10_stages.txt"], ["n1-hypnogram.csv", "n10-PSG-hypnogram.csv"])
        assert names(found) == [
            ("n1", "n1_stages.txt", "n1-hypnogram.csv"),
            ("n10", "n10_stages.txt", "n10-PSG-hypnogram.csv"),
        ]

    def test_sleep_edf_nights(self, pair) -> None:
        found = pair(
            ["SC4001EC-Hypnogram.edf", "SC4002EC-Hypnogram.edf", "ST7011JP-Hypnogram.edf"],
            ["SC4002E0-PSG-hypnogram.csv", "ST7011J0-PSG-hypnogram.csv", "SC4001E0-PSG-hypnogram.csv"],
        )
        assert [name for name, *_ in names(found)] == ["SC4001", "SC4002", "ST7011"]
        assert all(reference[:6] == predicted[:6] for _, reference, predicted in names(found))

    def test_recordings_beside_the_scorings_are_left_out(self, pair) -> None:
        found = pair(["SC4001E0-PSG.edf", "SC4001EC-Hypnogram.edf"], ["SC4001E0-PSG-hypnogram.csv"])
        assert names(found) == [("SC4001", "SC4001EC-Hypnogram.edf", "SC4001E0-PSG-hypnogram.csv")]
        assert found.unpaired_reference == ()

    def test_one_name_that_begins_with_the_other(self, pair) -> None:
        found = pair(["night1.txt", "night2.txt"], ["night1_v2.csv", "night10_v2.csv"])
        assert names(found) == [("night1", "night1.txt", "night1_v2.csv")]
        assert [p.name for p in found.unpaired_reference] == ["night2.txt"]
        assert [p.name for p in found.unpaired_predicted] == ["night10_v2.csv"]

    def test_never_by_position(self, pair) -> None:
        found = pair(["a.txt", "b.txt", "c.txt"], ["b.csv", "c.csv", "d.csv"])
        assert [name for name, *_ in names(found)] == ["b", "c"]
        assert [p.name for p in found.unpaired_reference] == ["a.txt"]

    def test_several_candidates_are_none(self, pair) -> None:
        found = pair(["a.txt", "b.txt"], ["a_one.csv", "a_two.csv", "b.csv"])
        assert [name for name, *_ in names(found)] == ["b"]
        assert len(found.unpaired_predicted) == 2

    def test_several_files_of_one_role_and_name_are_none(self, pair) -> None:
        found = pair(["a-expert.txt", "b.txt"], ["a-expert_stages.csv", "a-expert_hypnogram.csv", "b.csv"])
        assert [name for name, *_ in names(found)] == ["b"]
        assert len(found.unpaired_predicted) == 2

    def test_of_one_scoring_in_several_formats_the_first_format_counts(self, pair) -> None:
        assert names(pair(["a.txt"], ["a.tsv", "a.edf", "a.csv", "a.html"])) == [("a", "a.txt", "a.csv")]

    def test_folders_in_folders(self, pair) -> None:
        assert len(pair(["x/sub-01_events.tsv", "y/sub-02_events.tsv"], ["sub-01.csv", "sub-02.csv"]).pairs) == 2

    def test_nothing_in_common_is_an_error_that_names_both(self, pair) -> None:
        with pytest.raises(HypnographError, match=r"a\.txt .*b\.csv"):
            pair(["a.txt"], ["b.csv"])


class TestSubjects:
    @pytest.mark.parametrize(
        ("name", "subject"),
        [
            ("SC4001", "SC400"), ("SC4002E0-PSG", "SC400"), ("ST7121", "ST712"), ("sub-07_ses-2_task-sleep", "sub-07"),
            ("n12", "n12"), ("SC40012", "SC40012"),
        ],
    )  # fmt: skip
    def test_are_known_for_sleep_edf_and_bids_names(self, name: str, subject: str) -> None:
        assert subject_of(name) == subject

    def test_are_what_a_pattern_finds(self) -> None:
        assert subject_of("p12_night2", r"^p(\d+)") == "12"
        assert subject_of("p12_night2", r"^p\d+") == "p12"

    def test_a_pattern_that_does_not_match_is_an_error(self) -> None:
        with pytest.raises(HypnographError, match="does not match 'night2'"):
            subject_of("night2", r"^p(\d+)")
        with pytest.raises(HypnographError, match="not a regular expression"):
            subject_of("night2", "(")


class TestEpochsAlignByStartTimes:
    def test_a_prediction_that_begins_earlier_and_ends_later(self) -> None:
        reference = Hypnogram(STAGES[20:80], start=START + timedelta(minutes=10))
        aligned = align_predicted(reference, Hypnogram(STAGES, start=START))
        assert agreement(*aligned[:2]).accuracy == 1
        assert aligned[2] == "aligned by start times"

    def test_what_the_prediction_does_not_reach_is_unscored_and_counted(self) -> None:
        reference, predicted = (
            Hypnogram(STAGES, start=START),
            Hypnogram(STAGES[30:100], start=START + timedelta(minutes=15)),
        )
        found = agreement(*align_predicted(reference, predicted)[:2])
        assert (found.n_epochs, found.accuracy, found.n_predicted_unscored) == (70, 1, 50)

    def test_a_finer_prediction_comes_to_the_reference_epochs(self) -> None:
        aligned = align_predicted(Hypnogram(STAGES), Hypnogram(STAGES).upsample(6))
        assert agreement(*aligned[:2]).accuracy == 1
        assert "5 s" in aligned[2]

    def test_no_overlap_is_refused(self) -> None:
        with pytest.raises(AlignmentError, match="does not overlap"):
            align_predicted(Hypnogram(STAGES, start=START), Hypnogram(STAGES, start=START + timedelta(hours=5)))


class TestEpochsOfUnknownStart:
    def test_of_equal_length_stay_as_they_are(self) -> None:
        reference, predicted, note = align_predicted(Hypnogram(STAGES), Hypnogram(STAGES, start=START))
        assert note == ""
        assert agreement(reference, predicted).n_epochs == 120
        assert reference.start == START

    def test_lose_an_unscored_end(self) -> None:
        longer = Hypnogram(np.append(STAGES, [-1, -1]))
        for pair in ((longer, Hypnogram(STAGES)), (Hypnogram(STAGES), longer)):
            *aligned, note = align_predicted(*pair)
            assert agreement(*aligned).accuracy == 1
            assert "last 2 epochs" in note

    def test_else_lose_an_unscored_beginning(self) -> None:
        *aligned, note = align_predicted(Hypnogram(np.append([-1] * 3, STAGES)), Hypnogram(STAGES))
        assert agreement(*aligned).accuracy == 1
        assert "first 3 epochs of the reference" in note

    def test_else_are_refused_with_both_lengths(self) -> None:
        aligned = align_predicted(Hypnogram(STAGES), Hypnogram(STAGES[:-7]))
        with pytest.raises(AlignmentError, match=r"120 epochs, the predicted hypnogram 113.*--crop-to-shorter"):
            check_comparable(*aligned[:2])

    def test_else_lose_their_end_if_told_so(self) -> None:
        *aligned, note = align_predicted(Hypnogram(STAGES), Hypnogram(STAGES[:-7]), crop_to_shorter=True)
        assert agreement(*aligned).n_epochs == 113
        assert "to match lengths" in note

    def test_and_of_other_epoch_lengths_are_refused(self) -> None:
        with pytest.raises(AlignmentError, match="30 s, the predicted hypnogram of 20 s"):
            align_predicted(Hypnogram(STAGES), Hypnogram(STAGES, epoch_s=20.0))
