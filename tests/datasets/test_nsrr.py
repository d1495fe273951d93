"""NSRR: names and labels of the downloads (U-Time's recipes, github.com/perslev/U-Time), layout of sleepdata.org."""

from pathlib import Path

import pytest

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import dataset, nights
from hypnograph.datasets.nsrr import DATASETS
from hypnograph.montage import choose_derivations
from tests.datasets.trees import START, scanned, write_psg

CODES = (0, 1, 2, 3, 4, 5, 9)
NAMES = ["W", "N1", "N2", "N3", "N3", "REM", "UNSCORED"]
REVERSED = [*reversed(NAMES)]


def nsrr_xml(codes: tuple[int, ...]) -> str:
    events = "".join(
        f"<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Stage|{code}</EventConcept>"
        f"<Start>{30 * i}</Start><Duration>30</Duration></ScoredEvent>"
        for i, code in enumerate(codes)
    )
    return f"<PSGAnnotation><EpochLength>30</EpochLength><ScoredEvents>{events}</ScoredEvents></PSGAnnotation>"


def profusion_xml(codes: tuple[int, ...]) -> str:
    stages = "".join(f"<SleepStage>{code}</SleepStage>" for code in codes)
    return f"<CMPStudyConfig><EpochLength>30</EpochLength><SleepStages>{stages}</SleepStages></CMPStudyConfig>"


def write_night(
    root: Path, stem: str, below: str = "", labels: tuple[str, ...] = ("C3", "A2"), kinds: str = "nsrr profusion"
) -> None:
    """Write a recording and its scorings; that of Profusion runs backwards, so that it is told from the other."""
    polysomnography = root / "polysomnography"
    write_psg(polysomnography / "edfs" / below / f"{stem}.edf", labels, n_epochs=len(CODES))
    for kind in kinds.split():
        folder = polysomnography / f"annotations-events-{kind}" / below
        folder.mkdir(parents=True, exist_ok=True)
        text = nsrr_xml(CODES) if kind == "nsrr" else profusion_xml(CODES[::-1])
        (folder / f"{stem}-{kind}.xml").write_text(text)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "below", "stem", "subject", "visit"),
        [
            ("shhs", "shhs2", "shhs2-200078", "200078", "2"),
            ("shhs1", "shhs1", "shhs1-200001", "200001", "1"),
            ("shhs2", "shhs2", "shhs2-200078", "200078", "2"),
            ("shhs1-attnsleep", "shhs1", "shhs1-200010", "200010", "1"),
            ("mesa", "", "mesa-sleep-5805", "5805", ""),
            ("mros", "visit2", "mros-visit2-aa5665", "aa5665", "2"),
            ("ccshs", "", "ccshs-trec-1800005", "1800005", "trec"),
            ("chat", "followup", "chat-followup-300001", "300001", "followup"),
            ("chat", "", "chat-nonrandomized-300004", "300004", "nonrandomized"),
            ("chat", "baseline", "chat-baseline-nonrandomized-300004", "300004", "nonrandomized"),
            ("abc", "month18", "abc-month18-900001", "900001", "month18"),
            ("hpap", "lab/split", "homepap-lab-split-1600150", "1600150", "lab-split"),
            ("sof", "", "sof-visit-8-07853", "07853", "8"),
            ("cfs", "", "cfs-visit5-802593-famID17", "802593", "5"),
        ],
    )
    def test_a_name_says_subject_and_visit(self, tmp_path, name, below, stem, subject, visit):
        write_night(tmp_path, stem, below)
        (night,), problems = scanned(name, tmp_path)
        assert (night.id, night.subject, night.visit, problems) == (stem.lower(), subject, visit, {})
        assert night.hypnogram().names == NAMES

    def test_both_visits_of_a_subject_are_one_subject(self, tmp_path):
        for visit, subject in ((1, 200078), (2, 200078), (1, 200001)):
            write_night(tmp_path, f"shhs{visit}-{subject}", f"shhs{visit}")
        found = {name: [n.id for n in nights(name, tmp_path)] for name in ("shhs", "shhs1", "shhs2")}
        assert found["shhs"] == [*found["shhs1"], *found["shhs2"]] == ["shhs1-200001", "shhs1-200078", "shhs2-200078"]
        assert [n.subject for n in nights("shhs", tmp_path)] == ["200001", "200078", "200078"]

    def test_attnsleep_took_329_subjects_of_the_first_visit(self, tmp_path):
        folder = tmp_path / "edfs"
        folder.mkdir()
        for subject in range(200001, 205805):
            for ending in (".edf", "-nsrr.xml"):
                (folder / f"shhs1-{subject}{ending}").touch()
        (folder / "shhs2-200010.edf").touch()
        taken, problems = scanned("shhs1-attnsleep", tmp_path)
        assert (len(taken), taken[0].id, taken[-1].id, problems) == (329, "shhs1-200010", "shhs1-205789", {})

    def test_recordings_at_home_without_eeg_are_passed_over(self, tmp_path):
        write_psg(tmp_path / "home" / "homepap-home-1600002.edf", ("Flow",))
        assert scanned("hpap", tmp_path) == ([], {})


class TestFamilies:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for subject in (800002, 800017, 800018):
            write_night(tmp_path, f"cfs-visit5-{subject}")
        (tmp_path / "datasets").mkdir()
        table = tmp_path / "datasets" / "cfs-visit5-dataset-0.7.0.csv"
        table.write_text("nsrrid,age,FAMILYI\n800002,41,10\n800017,12,11\n800018,44,11\n800019,8,11\n")
        return tmp_path

    def test_relatives_are_of_one_family(self, folder):
        found, problems = scanned("cfs", folder)
        assert [(n.subject, n.family) for n in found] == [("800002", "10"), ("800017", "11"), ("800018", "11")]
        assert problems == {}

    def test_a_subject_without_a_family_is_a_problem(self, folder):
        write_night(folder, "cfs-visit5-800099")
        found, problems = scanned("cfs", folder)
        assert [n.subject for n in found] == ["800002", "800017", "800018", "800099"]
        assert "no 800099" in problems["polysomnography/edfs/cfs-visit5-800099.edf"]

    def test_a_family_in_the_name_needs_no_table(self, tmp_path):
        write_night(tmp_path, "cfs-visit5-802593-famID17")
        (night,), problems = scanned("cfs", tmp_path)
        assert (night.family, problems) == ("17", {})

    @pytest.mark.parametrize("content", [None, "", "nsrrid,age\n800002,41\n"])
    def test_it_is_a_problem_that_families_are_not_known(self, folder, content):
        table = folder / "datasets" / "cfs-visit5-dataset-0.7.0.csv"
        table.unlink()
        if content is not None:
            table.write_text(content)
        found, problems = scanned("cfs", folder)
        assert [n.family for n in found] == ["", "", ""]
        assert "families are not known" in problems["." if content is None else "datasets/cfs-visit5-dataset-0.7.0.csv"]


class TestReading:
    def test_the_scoring_of_nsrr_comes_before_that_of_profusion(self, tmp_path):
        write_night(tmp_path, "mesa-sleep-0001")
        write_night(tmp_path, "mesa-sleep-0002", kinds="profusion")
        one, other = scanned("mesa", tmp_path)[0]
        assert (one.hypnogram().names, other.hypnogram().names) == (NAMES, REVERSED)
        assert one.hypnogram().start == other.hypnogram().start == START

    @pytest.mark.parametrize("second", ["EEG(sec)", "EEG(SEC)", "EEG sec", "EEG2", "EEG 2"])
    def test_the_labels_of_shhs_are_c4_and_c3_whatever_comes_first(self, tmp_path, second):
        write_night(tmp_path, "shhs1-200001", labels=("SaO2", second, "EEG", "EOG(L)", "EOG(R)", "EMG", "ECG"))
        recording = next(nights("shhs1", tmp_path)).recording()
        assert recording.labels == ("SaO2", "C3-M2", "C4-M1", "E1-PG1", "E2-PG1", "EMG", "ECG")

    def test_the_labels_of_mesa_are_those_of_its_montage(self, tmp_path):
        write_night(tmp_path, "mesa-sleep-0001", labels=("EKG", "EOG-L", "EOG-R", "EMG", "EEG1", "EEG2", "EEG3"))
        recording = next(nights("mesa", tmp_path)).recording()
        assert recording.labels == ("EKG", "E1-Fpz", "E2-Fpz", "EMG", "Fz-Cz", "Cz-Oz", "C4-M1")

    @pytest.mark.parametrize(
        ("name", "stem", "labels"),
        [
            ("shhs1", "shhs1-200001", ("EEG(sec)", "EEG", "EOG(L)", "EOG(R)")),
            ("mesa", "mesa-sleep-0001", ("EOG-L", "EOG-R", "EEG1", "EEG2", "EEG3")),
            ("cfs", "cfs-visit5-800002-famid1", ("C3", "C4", "M1", "M2", "LOC", "ROC")),
            ("ccshs", "ccshs-trec-1800005", ("C3", "C4", "A1", "A2", "LOC", "ROC")),
            ("chat", "chat-baseline-300001", ("F3", "F4", "C3", "C4", "T3", "T4", "O1", "O2", "M1", "M2", "E1", "E2")),
        ],
    )
    def test_the_montage_finds_what_u_sleep_sampled(self, tmp_path, name, stem, labels):
        write_psg(tmp_path / f"{stem}.edf", labels, n_epochs=1, sample_rate=64.0)
        (tmp_path / f"{stem}-nsrr.xml").write_text(nsrr_xml((0,)))
        montage = choose_derivations(next(nights(name, tmp_path)).recording())
        for kind in (ChannelKind.EEG, ChannelKind.EOG):
            assert {d.name for d in montage.of(kind)} == set(dataset(name).derivations[kind])


class TestProblems:
    def test_what_is_alone_strange_or_twice_is_named(self, tmp_path):
        write_night(tmp_path, "shhs1-200001", "shhs1", kinds="")
        write_night(tmp_path, "shhs1-200002", "shhs1")
        (tmp_path / "polysomnography/edfs/shhs1/shhs1-200002.edf").unlink()
        write_night(tmp_path, "shhs1-200003", "shhs1")
        write_psg(tmp_path / "shhs1-200003.edf", ("EEG",))
        write_psg(tmp_path / "mesa-sleep-0001.edf", ("EEG1",))
        (tmp_path / "shhs1-dataset-0.21.0.csv").write_text("nsrrid\n")
        found, problems = scanned("shhs1", tmp_path)
        assert [night.id for night in found] == ["shhs1-200003"]
        edfs, scorings = "polysomnography/edfs/shhs1", "polysomnography/annotations-events-nsrr/shhs1"
        assert problems.keys() == {
            f"{edfs}/shhs1-200001.edf",
            f"{scorings}/shhs1-200002-nsrr.xml",
            "shhs1-200003.edf",
            "mesa-sleep-0001.edf",
        }
        assert "no scoring" in problems[f"{edfs}/shhs1-200001.edf"]
        assert "no recording" in problems[f"{scorings}/shhs1-200002-nsrr.xml"]
        assert "is taken" in problems["shhs1-200003.edf"]
        assert "not a name of shhs1" in problems["mesa-sleep-0001.edf"]

    @pytest.mark.parametrize("name", DATASETS)
    def test_a_stranger_is_told_an_example_that_is_a_name(self, tmp_path, name):
        write_psg(tmp_path / "stranger.edf", ("EEG",))
        example = scanned(name, tmp_path)[1]["stranger.edf"].partition("such as ")[2].partition(" ")[0]
        write_psg(tmp_path / example, ("EEG",))
        assert "no scoring" in scanned(name, tmp_path)[1][example]
