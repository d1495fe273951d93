"""Many recordings: found, staged, written whole; a failure stops nothing else."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from hypnograph import batch
from hypnograph.batch import Job, Options, find_recordings, plan, run, run_one
from hypnograph.errors import HypnographError
from hypnograph.recording import Annotation, Recording, Signal
from hypnograph.signal_files import edf

RATE, MINUTES = 100, 6


def write_night(path: Path, seed: int = 0, minutes: float = MINUTES, labels: tuple[str, ...] = ("C4-M1",)) -> Path:
    """Write a short simulated recording: pink noise of 20 µV."""
    n = int(RATE * 60 * minutes)

    def read(first: int, last: int) -> np.ndarray:
        spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=n))
        noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), n)
        return (20 * noise / noise.std())[first:last].astype(np.float32)

    signals = tuple(Signal(label, float(RATE), "uV", n, read) for label in labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    edf.write(Recording(signals, 60.0 * minutes, datetime(2026, 1, 1, 23)), path)
    return path


def write_scoring(path: Path) -> Path:
    edf.write(Recording((), 0.0, datetime(2026, 1, 1, 23), (Annotation(0, 30, "Sleep stage W"),)), path)
    return path


@pytest.fixture
def night(tmp_path: Path) -> Path:
    return write_night(tmp_path / "in" / "night.edf")


class TestFindingRecordings:
    def test_a_folder_is_searched_with_its_folders_and_scorings_are_left_out(self, tmp_path: Path, night: Path) -> None:
        deep = write_night(tmp_path / "in" / "lab" / "other.edf")
        write_scoring(tmp_path / "in" / "night-Hypnogram.edf")
        (tmp_path / "in" / "notes.txt").write_text("W")
        assert find_recordings([tmp_path / "in"]) == [(deep, Path("lab")), (night, Path())]

    def test_a_damaged_file_in_a_folder_is_not_left_out(self, tmp_path: Path, night: Path) -> None:
        (tmp_path / "in" / "bad.edf").write_bytes(b"0" * 100)
        assert len(find_recordings([tmp_path / "in"])) == 2

    def test_a_missing_path_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"absent\.edf"):
            find_recordings([tmp_path / "absent.edf"])

    def test_a_folder_without_recordings_says_what_was_looked_for(self, tmp_path: Path) -> None:
        with pytest.raises(HypnographError, match=r"\.edf"):
            find_recordings([tmp_path])


class TestPlan:
    def test_outputs_are_named_after_the_recording(self, tmp_path: Path, night: Path) -> None:
        (job,) = plan([night], tmp_path / "out", ("csv", "html"))
        assert [p.name for p in job.outputs.values()] == ["night-hypnogram.csv", "night-report.html"]

    def test_recordings_of_one_name_do_not_share_a_file(self, tmp_path: Path, night: Path) -> None:
        twin = night.with_suffix(".rec")
        twin.write_bytes(night.read_bytes())
        jobs = plan([night, twin], tmp_path, ("txt",))
        assert len({job.outputs["txt"] for job in jobs}) == 2

    def test_what_would_be_written_twice_is_refused(self, tmp_path: Path, night: Path) -> None:
        twin = write_night(tmp_path / "elsewhere" / "night.edf")
        with pytest.raises(HypnographError, match=r"night\.edf-hypnogram\.txt"):
            plan([night, twin], tmp_path, ("txt",))


class TestOneRecording:
    def test_all_files_are_written_and_the_recording_is_untouched(self, tmp_path: Path, night: Path) -> None:
        before = night.read_bytes()
        (job,) = plan([night], tmp_path / "out", ("edf", "tsv", "csv", "json", "txt", "ids", "npy", "html"))
        outcome = run_one(job, Options())
        assert outcome.status == "staged", outcome.message
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in job.outputs.values())
        assert night.read_bytes() == before

    def test_the_result_is_that_of_the_python_function(self, tmp_path: Path, night: Path) -> None:
        from hypnograph.hypnogram_files import read_hypnogram
        from hypnograph.stagers import stage

        (job,) = plan([night], tmp_path, ("txt",))
        run_one(job, Options())
        assert read_hypnogram(job.outputs["txt"]).names == stage(night).hypnogram.names

    def test_an_existing_file_is_never_replaced_unasked(self, tmp_path: Path, night: Path) -> None:
        (job,) = plan([night], tmp_path, ("txt",))
        job.outputs["txt"].write_text("corrected by hand")
        outcome = run_one(job, Options())
        assert outcome.status == "failed"
        assert "--overwrite" in outcome.message
        assert job.outputs["txt"].read_text() == "corrected by hand"
        assert run_one(job, Options(overwrite=True)).status == "staged"
        assert job.outputs["txt"].read_text() != "corrected by hand"

    def test_resume_skips_what_is_done_and_adds_what_is_missing(self, tmp_path: Path, night: Path) -> None:
        (job,) = plan([night], tmp_path, ("txt", "csv"))
        job.outputs["txt"].write_text("done")
        assert run_one(job, Options(resume=True)).status == "staged"
        assert job.outputs["txt"].read_text() == "done"
        assert job.outputs["csv"].exists()
        assert run_one(job, Options(resume=True)).status == "skipped"

    def test_a_failure_while_writing_leaves_nothing(self, tmp_path: Path, night: Path, monkeypatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr("hypnograph.report.write_report", fail)
        (job,) = plan([night], tmp_path / "out", ("txt", "html"))
        outcome = run_one(job, Options())
        assert (outcome.status, outcome.message) == ("failed", "disk full")
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_defect_of_ours_is_an_outcome_too(self, tmp_path: Path, night: Path, monkeypatch) -> None:
        monkeypatch.setattr(batch, "create_stager", lambda *_, **__: 1 / 0)
        outcome = run_one(Job(night, {}), Options())
        assert (outcome.status, outcome.message) == ("failed", "unexpected ZeroDivisionError: division by zero")


class TestManyRecordings:
    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_a_failing_file_does_not_stop_the_others(self, tmp_path: Path, n_jobs: int) -> None:
        nights = [write_night(tmp_path / "in" / f"{i}.edf", seed=i) for i in range(3)]
        nights[1].write_bytes(nights[1].read_bytes()[:300])
        outcomes = list(run(plan([tmp_path / "in"], tmp_path / "out", ("txt",)), Options(), n_jobs=n_jobs))
        assert {o.job.recording.name: o.status for o in outcomes} == {
            "0.edf": "staged", "1.edf": "failed", "2.edf": "staged",
        }  # fmt: skip

    def test_two_processes_give_the_same_files_as_one(self, tmp_path: Path) -> None:
        for i in range(2):
            write_night(tmp_path / "in" / f"{i}.edf", seed=i)
        for n_jobs in (1, 2):
            list(run(plan([tmp_path / "in"], tmp_path / str(n_jobs), ("csv",)), Options(), n_jobs=n_jobs))
        for path in sorted((tmp_path / "1").iterdir()):
            assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()

    def test_a_dask_cluster_by_address_does_the_work(self, tmp_path: Path) -> None:
        distributed = pytest.importorskip("distributed")
        for i in range(2):
            write_night(tmp_path / "in" / f"{i}.edf", seed=i)
        jobs = plan([tmp_path / "in"], tmp_path / "out", ("txt",))
        with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
            outcomes = list(run(jobs, Options(), cluster=cluster.scheduler_address))
        assert [outcome.status for outcome in outcomes] == ["staged", "staged"]
