"""``hypnograph evaluate``."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sklearn.metrics import cohen_kappa_score

from hypnograph.cli import hypnograph
from hypnograph.errors import AlignmentError, HypnographError
from hypnograph.stages import AASM_5, SCHEMES

RNG = np.random.default_rng(8)
REFERENCE = np.sort(RNG.integers(0, 5, 400))
PREDICTED = np.where(RNG.random(400) < 0.3, RNG.integers(0, 5, 400), REFERENCE)


def write(path: Path, stages: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{AASM_5.label(int(stage))}\n" for stage in stages))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["evaluate", *map(str, arguments)])


def run_json(*arguments: object) -> dict:
    result = run(*arguments, "--json")
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


@pytest.fixture
def two_files(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "night-expert.txt", REFERENCE), write(tmp_path / "night.txt", PREDICTED)


@pytest.fixture
def two_folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("SC4001", "SC4002", "SC4011", "SC4021"):
        wrong = np.where(RNG.random(400) < 0.2, RNG.integers(0, 5, 400), REFERENCE)
        write(tmp_path / "experts" / f"{name}EC-Hypnogram.txt", REFERENCE)
        write(tmp_path / "staged" / f"{name}E0-PSG-hypnogram.txt", wrong)
    return tmp_path / "experts", tmp_path / "staged"


class TestTwoFiles:
    def test_the_numbers_are_those_of_scikit_learn(self, two_files: tuple[Path, Path]) -> None:
        pooled = run_json(*two_files)["pooled"]
        assert pooled["cohen_kappa"] == pytest.approx(cohen_kappa_score(REFERENCE, PREDICTED))
        assert pooled["n_epochs"] == 400

    def test_the_table_has_every_metric_and_stage(self, two_files: tuple[Path, Path]) -> None:
        printed = run(*two_files).stdout
        kappa = cohen_kappa_score(REFERENCE, PREDICTED)
        for text in ("1 night of 1 subject", "accuracy", "macro F1", "MCC", "MGm", f"{kappa:.3f}", "N1", "reference ↓"):
            assert text in printed
        assert "per night" not in printed

    def test_merging_ignoring_and_trimming(self, two_files: tuple[Path, Path]) -> None:
        asleep, said_asleep = REFERENCE > 0, PREDICTED > 0
        two_stages = run_json(*two_files, "--scheme", "w-sleep")["pooled"]
        assert two_stages["cohen_kappa"] == pytest.approx(cohen_kappa_score(asleep, said_asleep))
        ignored = run_json(*two_files, "--ignore", "N1", "--ignore", "W")["pooled"]
        assert ignored["n_epochs"] == np.isin(REFERENCE, [2, 3, 4]).sum()
        assert ignored["ignored"] == ["W", "N1"]
        assert run_json(*two_files, "--wake-trim-min", 5)["pooled"]["n_epochs"] == asleep.sum() + 10

    def test_an_unscored_end_is_left_out_and_said(self, two_files: tuple[Path, Path]) -> None:
        write(two_files[1], np.append(PREDICTED, [-1, -1, -1]))
        result = run(*two_files)
        assert "last 3 epochs of the predicted hypnogram, all unscored" in result.stderr

    def test_other_lengths_are_refused_with_both_unless_cropped(self, two_files: tuple[Path, Path]) -> None:
        write(two_files[1], PREDICTED[:390])
        refused = run(*two_files).exception
        assert isinstance(refused, AlignmentError)
        for text in ("night-expert.txt and night.txt", "400 epochs", "390", "--crop-to-shorter"):
            assert text in str(refused)
        assert run_json(*two_files, "--crop-to-shorter")["pooled"]["n_epochs"] == 390

    def test_a_stage_map_reads_unknown_names(self, two_files: tuple[Path, Path]) -> None:
        two_files[1].write_text(two_files[1].read_text().replace("REM", "dreaming"))
        assert isinstance(run(*two_files).exception, HypnographError)
        kappa = run_json(*two_files, "--stage-map", "dreaming=REM")["pooled"]["cohen_kappa"]
        assert kappa == pytest.approx(cohen_kappa_score(REFERENCE, PREDICTED))


class TestTwoFolders:
    def test_nights_pair_by_name_and_subjects_by_sleep_edf_rule(self, two_folders: tuple[Path, Path]) -> None:
        found = run_json(*two_folders)
        assert [night["night"] for night in found["nights"]] == ["SC4001", "SC4002", "SC4011", "SC4021"]
        assert (found["n_nights"], found["n_subjects"]) == (4, 3)

    def test_a_pattern_names_the_subjects(self, two_folders: tuple[Path, Path]) -> None:
        assert run_json(*two_folders, "--subject-pattern", r"SC4(\d)")["n_subjects"] == 1

    def test_the_table_has_intervals_and_the_spread_over_nights(self, two_folders: tuple[Path, Path]) -> None:
        printed = run(*two_folders).stdout
        for text in ("4 nights of 3 subjects", "per night: mean ± sd", "bootstrap over subjects"):
            assert text in printed

    def test_a_csv_has_a_row_for_each_night(self, two_folders: tuple[Path, Path], tmp_path: Path) -> None:
        assert run(*two_folders, "--csv", tmp_path / "nights.csv").exception is None
        with (tmp_path / "nights.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["subject"] for row in rows] == ["SC400", "SC400", "SC401", "SC402"]
        assert 0.7 < float(rows[0]["accuracy"]) < 0.95
        assert "f1_N1" in rows[0]

    def test_files_without_a_partner_are_listed(self, two_folders: tuple[Path, Path]) -> None:
        write(two_folders[0] / "SC4031EC-Hypnogram.txt", REFERENCE)
        assert "1 reference files without a partner: SC4031EC-Hypnogram.txt" in run(*two_folders).stderr
        assert run_json(*two_folders)["unpaired_reference"] == ["SC4031EC-Hypnogram.txt"]

    def test_the_seed_is_passed_on_and_reported(self, two_folders: tuple[Path, Path]) -> None:
        assert run_json(*two_folders, "--seed", 7)["interval"]["seed"] == 7

    def test_few_subjects_are_noted(self, two_folders: tuple[Path, Path]) -> None:
        assert "3 subjects" in run(*two_folders).stderr


class TestMistakes:
    def test_a_file_and_a_folder(self, two_files: tuple[Path, Path]) -> None:
        result = run(two_files[0], two_files[0].parent)
        assert result.exit_code == 2
        assert "both be files or both be folders" in result.stderr

    def test_a_path_that_is_not_there(self, tmp_path: Path) -> None:
        assert isinstance(run(tmp_path / "no.txt", tmp_path / "no.txt").exception, FileNotFoundError)

    def test_an_unknown_scheme_or_stage_lists_what_is_known(self, two_files: tuple[Path, Path]) -> None:
        assert "W-NREM-REM" in str(run(*two_files, "--scheme", "R&K").exception)
        assert "W, N1, N2, N3, REM" in str(run(*two_files, "--ignore", "S4").exception)

    def test_the_help_names_every_scheme_and_keeps_the_example(self) -> None:
        printed = run("--help").stdout
        assert all(scheme in " ".join(printed.split()) for scheme in SCHEMES)
        assert "\n    hypnograph evaluate experts/" in printed


def test_a_real_night_against_itself_agrees(shared_data: Path) -> None:
    scoring = shared_data / "eeg" / "ucddb018.txt"
    assert run_json(scoring, scoring)["pooled"]["cohen_kappa"] == 1


def test_a_real_scoring_trimmed_to_30_min_of_wake_has_the_841_epochs_of_the_literature(shared_data: Path) -> None:
    # SC4001: DeepSleepNet's preparation (30 min of W on both sides, ends included) gives 841 epochs.
    scoring = shared_data / "fixtures" / "sleep-edf" / "SC4001EC-Hypnogram.edf"
    assert run_json(scoring, scoring, "--wake-trim-min", 30)["pooled"]["n_epochs"] == 841
