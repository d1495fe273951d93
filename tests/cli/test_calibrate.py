"""``hypnograph calibrate``, and what ``hypnograph stage`` makes of a calibration."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sklearn.metrics import log_loss

from hypnograph.cli import hypnograph
from hypnograph.evaluation.calibration import Calibration, cross_fitted, fit_calibration
from hypnograph.evaluation.conformal import cross_fitted_sets, set_scores
from hypnograph.evaluation.staged_nights import StagedNight, leave_subjects_out, pooled
from hypnograph.hypnogram_files import write_hypnogram
from hypnograph.stages import W_SLEEP
from tests.evaluation.test_calibration import simulated_nights
from tests.test_batch import write_night

NIGHTS = [n._replace(name=f"sub-{n.subject}_{n.name}") for n in simulated_nights(10, scale=0.6, n_epochs=200)]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, list(map(str, arguments)))


def write(folder: Path, nights: list[StagedNight]) -> tuple[Path, Path]:
    for night in nights:
        write_hypnogram(night.reference, folder / "experts" / f"{night.name}.json")
        staged = folder / "staged" / f"{night.name}-hypnogram.csv"
        write_hypnogram(night.hypnodensity.argmax(), staged, hypnodensity=night.hypnodensity)
        staged.with_suffix(".txt").write_text("W\n" * 200)  # the same night, without probabilities
    return folder / "experts", folder / "staged"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write(tmp_path_factory.mktemp("nights"), NIGHTS)


@pytest.fixture(scope="module")
def calibration(folders: tuple[Path, Path]) -> Path:
    path = folders[0].parent / "calibration.json"
    result = run("calibrate", "fit", *folders, path)
    assert result.exit_code == 0, result.output
    return path


class TestFit:
    def test_the_file_is_that_of_the_library_and_the_table_says_how_it_does(
        self, folders: tuple[Path, Path], tmp_path: Path
    ) -> None:
        """Oracle: log_loss of scikit-learn on the cross-fitted nights."""
        result = run("calibrate", "fit", *folders, tmp_path / "c.json", "--png", tmp_path / "c.png")
        assert result.exit_code == 0, result.output
        found = Calibration.load(tmp_path / "c.json")
        assert found.scale == pytest.approx(fit_calibration(NIGHTS, n_folds=0).scale)
        assert (found.n_subjects, found.n_nights, found.n_epochs) == (10, 20, 4000)
        for nights in (NIGHTS, cross_fitted(NIGHTS)):
            p, y = pooled(nights)
            assert f"{log_loss(y, p, labels=range(5)):.3f}" in result.output
        for text in ("20 nights of 10 subjects", "temperature 1.6", "9 of 10 nights have at most", "as many errors"):
            assert text in result.output
        assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")

    def test_vector_scaling_shows_its_numbers(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        result = run("calibrate", "fit", *folders, tmp_path / "c.json", "--method", "vector")
        assert re.search(r"N1  scale 0\.\d\d  offset [+-]", result.output), result.output

    def test_one_night_is_fitted_and_nothing_is_claimed_beyond_it(
        self, folders: tuple[Path, Path], tmp_path: Path
    ) -> None:
        one = [next(folder.glob("sub-s0_s0n0*.[cj]s*")) for folder in folders]
        result = run("calibrate", "fit", *one, tmp_path / "c.json")
        assert result.exit_code == 0, result.output
        assert "one subject: nothing tells" in result.stderr
        assert "cross-fitted" not in result.output

    def test_nothing_is_replaced_unasked(self, folders: tuple[Path, Path], calibration: Path) -> None:
        before = calibration.read_bytes()
        assert "exists" in str(run("calibrate", "fit", *folders, calibration).exception)
        assert run("calibrate", "fit", *folders, calibration, "--overwrite").exit_code == 0
        assert calibration.read_bytes() == before  # the same nights, the same file


class TestEvaluate:
    def test_without_a_calibration_nothing_is_said_of_epochs_to_look_at(self, folders: tuple[Path, Path]) -> None:
        result = run("calibrate", "evaluate", *folders)
        assert result.exit_code == 0, result.output
        assert "confidence is not accuracy" in result.stderr
        assert "look at" not in result.stdout

    def test_the_numbers_are_those_of_the_library(self, folders: tuple[Path, Path], calibration: Path) -> None:
        result = run("calibrate", "evaluate", *folders, "--calibration", calibration, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        p, y = pooled(NIGHTS)
        assert found["as_staged"]["nll"][0] == pytest.approx(log_loss(y, p, labels=range(5)))
        assert found["calibrated"]["calibration_error"][0] < 0.03 < found["as_staged"]["calibration_error"][0]
        apply = Calibration.load(calibration).apply
        after = [n._replace(hypnodensity=apply(n.hypnodensity)) for n in NIGHTS]
        sets = set_scores(cross_fitted_sets(leave_subjects_out(after), level=0.8), 0.8)
        first = found["stage_sets"][0]
        assert (first["promise"], first["level"]) == ("subjects", 0.8)
        assert first["coverage"] == pytest.approx(sets.coverage.value)
        for row in found["review"]:
            assert row["reached"] == pytest.approx(row["wanted"], abs=0.02) or row["reckoned"] != "expected"
            assert row["nights that reach it"] >= 0.8 or row["reckoned"] == "expected"

    def test_stages_can_be_merged_first(self, folders: tuple[Path, Path]) -> None:
        found = json.loads(run("calibrate", "evaluate", *folders, "--scheme", "w-sleep", "--json").stdout)
        merged = [
            n._replace(reference=n.reference.merge(W_SLEEP), hypnodensity=n.hypnodensity.merge(W_SLEEP)) for n in NIGHTS
        ]
        p, y = pooled(merged)
        assert found["as_staged"]["nll"][0] == pytest.approx(log_loss(y, p))

    def test_a_folder_and_a_file_are_not_compared(self, folders: tuple[Path, Path]) -> None:
        assert run("calibrate", "evaluate", folders[0], next(folders[1].glob("*.csv"))).exit_code == 2

    def test_a_night_without_a_partner_is_named(self, tmp_path: Path) -> None:
        experts, staged = write(tmp_path, NIGHTS[:4])
        next(staged.glob("*n1*.csv")).unlink()
        next(staged.glob("*n1*.txt")).unlink()
        result = run("calibrate", "evaluate", experts, staged)
        assert result.exit_code == 0, result.output
        assert "n1.json has no partner" in result.stderr


class TestStage:
    @pytest.fixture
    def night(self, tmp_path: Path) -> Path:
        return write_night(tmp_path / "night.edf", labels=("C4-M1",))

    def stage(self, night: Path, *options: object) -> Result:
        return run("stage", night, "--out", night.parent / "out", "--to", "txt", "--overwrite", *options)

    def test_without_a_calibration_no_accuracy_is_promised(self, night: Path) -> None:
        assert "accuracy" not in self.stage(night).output
        refused = self.stage(night, "--wanted-accuracy", 0.9)
        assert refused.exit_code == 2
        assert "hypnograph calibrate fit" in refused.output

    def test_with_one_it_says_how_much_to_look_at(self, night: Path, calibration: Path) -> None:
        result = self.stage(night, "--calibration", calibration, "--wanted-accuracy", 0.999)
        assert result.exit_code == 0, result.output
        assert "calibrated on 20 nights of 10 subjects" in result.output
        found = re.search(r"for 0\.999: look at (\d+)% of the epochs \((\d+)\)", result.output)
        assert found, result.output
        assert 0 < int(found[2]) <= 60

    def test_a_harder_wish_needs_more_epochs(self, night: Path, calibration: Path) -> None:
        looked = []
        for wanted in (0.01, 0.97, 1.0):
            output = self.stage(night, "--calibration", calibration, "--wanted-accuracy", wanted).output
            looked.append(int(re.findall(r"look at \d+% of the epochs \((\d+)\)", output)[0]))
        assert looked[0] == 0 < looked[1] < looked[2]

    def test_a_calibration_of_another_stager_is_noted(self, night: Path, calibration: Path, tmp_path: Path) -> None:
        content = json.loads(calibration.read_text()) | {"stager": "my network 3"}
        (tmp_path / "other.json").write_text(json.dumps(content))
        result = self.stage(night, "--calibration", tmp_path / "other.json")
        assert "the calibration is for my network 3" in result.output

    def test_a_calibration_of_other_stages_is_noted_and_not_used(self, night: Path, tmp_path: Path) -> None:
        merged = [
            n._replace(reference=n.reference.merge(W_SLEEP), hypnodensity=n.hypnodensity.merge(W_SLEEP)) for n in NIGHTS
        ]
        fit_calibration(merged).save(tmp_path / "two.json")
        result = self.stage(night, "--calibration", tmp_path / "two.json")
        assert result.exit_code == 0, result.output
        assert "the calibration is for the stages W, sleep" in result.output
        assert "look at" not in result.output.split("note")[1]

    def test_a_calibration_does_not_change_what_is_written(self, night: Path, calibration: Path) -> None:
        written = night.parent / "out" / "night-hypnogram.csv"
        contents = []
        for options in ([], ["--calibration", calibration]):
            assert self.stage(night, "--to", "csv", *options).exit_code == 0
            contents.append(written.read_bytes())
        assert contents[0] == contents[1]

    def test_several_nights_each_get_their_share(self, night: Path, calibration: Path) -> None:
        write_night(night.parent / "second.edf", labels=("C4-M1",), seed=4)
        result = run("stage", night.parent, "--out", night.parent / "out", "--to", "txt", "--calibration", calibration)
        assert len(re.findall(r"for 0\.9: look at \d+%", result.output)) == 2
