"""What every module of `hypnograph.datasets` promises; a new file is tested with no other edit."""

import inspect
import pkgutil
from importlib import import_module
from itertools import pairwise

import pytest

import hypnograph.datasets
from hypnograph.channel_labels import ChannelKind, parse_label
from hypnograph.datasets import Dataset, Night, Problem, dataset, dataset_module, datasets, nights, scan
from hypnograph.errors import HypnographError
from tests.datasets.trees import write_psg, write_scoring

MODULES = [import_module(f"hypnograph.datasets.{m.name}") for m in pkgutil.iter_modules(hypnograph.datasets.__path__)]
NAMES = list(datasets())

module = pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rpartition(".")[2])
name = pytest.mark.parametrize("name", NAMES)


@module
class TestModules:
    def test_a_module_has_datasets_with_names_for_a_command_line(self, module):
        assert module.DATASETS
        for key, value in module.DATASETS.items():
            assert isinstance(value, Dataset)
            assert key == key.lower()
            assert key.replace("-", "").isalnum()

    def test_scan_takes_name_and_folder_and_by_keyword_a_text_or_several(self, module):
        first, second, *options = inspect.signature(module.scan).parameters.values()
        assert (first.name, second.name) == ("name", "folder")
        for option in options:
            assert option.kind == option.KEYWORD_ONLY
            assert option.default in ("", ())

    def test_readers_take_what_a_night_gives_them(self, module):
        takes = {"read_recording": ["night"], "read_scoring": ["night", "scoring"]}
        for reader, parameters in takes.items():
            # A reader of signal_files that is imported by its own name would be called with a night, too.
            if hasattr(module, reader):
                assert list(inspect.signature(getattr(module, reader)).parameters) == parameters

    def test_no_name_is_taken_twice(self, module):
        for key in module.DATASETS:
            assert dataset_module(key) is module


@name
class TestDatasets:
    def test_a_reader_learns_what_it_is_and_who_may_have_it(self, name):
        about = dataset(name)
        assert all((about.title, about.licence, about.layout))
        assert about.source.startswith("https://") or name == "folder"
        assert not about.doi or about.doi.startswith("10.")
        assert about.epoch_s in ((None,) if name in ("folder", "bids") else (20.0, 30.0))

    def test_derivations_are_common_names_of_their_kind(self, name):
        for kind, derivations in dataset(name).derivations.items():
            assert len(set(derivations)) == len(derivations) > 0
            for derivation in derivations:
                parsed = parse_label(derivation)
                # A signal that names no electrode ("EOG horizontal") goes by its label.
                assert (parsed.kind, parsed.name or derivation) == (kind, derivation)

    def test_labels_are_replaced_by_something_that_is_understood(self, name):
        for label, meaning in dataset(name).labels.items():
            assert parse_label(meaning).kind != ChannelKind.OTHER, label

    def test_an_empty_folder_has_neither_nights_nor_problems(self, name, tmp_path):
        (tmp_path / "below").mkdir()
        assert list(scan(name, tmp_path)) == []

    def test_what_is_no_recording_is_passed_over(self, name, tmp_path):
        for other in ("README", "LICENSE.txt", "RECORDS", "SHA256SUMS.txt", "subjects.xls", ".hidden.edf"):
            (tmp_path / other).write_text("")
        assert list(scan(name, tmp_path)) == []

    def test_a_strangers_recording_is_a_problem_and_not_a_night(self, name, tmp_path):
        for ending in (".edf", ".h5", ".hea", ".mat"):
            (tmp_path / f"stranger{ending}").write_bytes(b"")
        found = list(scan(name, tmp_path))
        assert found
        assert all(isinstance(problem, Problem) and problem.what for problem in found)
        assert len({str(problem) for problem in found}) == len(found)

    def test_a_folder_or_an_option_that_is_not_there_is_refused(self, name, tmp_path):
        with pytest.raises(HypnographError, match="no such folder"):
            list(scan(name, tmp_path / "missing"))
        with pytest.raises(HypnographError, match="no option 'colour'"):
            list(scan(name, tmp_path, colour="blue"))


class TestRegistry:
    def test_an_unknown_dataset_is_refused_with_the_known_ones(self):
        with pytest.raises(HypnographError, match=r"no dataset 'sleepedf'.*sleep-edf-sc"):
            dataset("sleepedf")

    def test_nights_are_those_of_scan_without_the_problems(self, tmp_path):
        for stem in ("b", "a", "alone"):
            write_psg(tmp_path / f"{stem}.edf", ["C4-A1"])
        for stem in ("a", "b"):
            (tmp_path / f"{stem}.ids").write_text("0,30,W\n")
        assert [night.id for night in nights("folder", tmp_path)] == ["a", "b"]
        assert [type(found) for found in scan("folder", tmp_path)].count(Problem) == 1

    def test_a_scorer_that_is_not_there_is_refused_with_the_known_ones(self, tmp_path):
        write_psg(tmp_path / "a.edf", ["C4-A1"])
        for scorer in ("x", "y"):
            (tmp_path / f"a_{scorer}.ids").write_text("0,30,W\n")
        (night,) = nights("folder", tmp_path)
        with pytest.raises(HypnographError, match=r"no scoring by 'z'; there are: x, y"):
            night.hypnogram("z")

    def test_every_scan_gives_the_same_order(self, tmp_path):
        for stem in ("c", "a", "b"):
            write_psg(tmp_path / stem / "psg.edf", ["C4-A1"])
            (tmp_path / stem / "hypnogram.ids").write_text("0,30,W\n")
        found = [night for night in scan("folder", tmp_path) if isinstance(night, Night)]
        assert all(one.psg < other.psg for one, other in pairwise(found))
        assert found == list(scan("folder", tmp_path))


def test_paths_are_absolute_for_processes_that_work_elsewhere(tmp_path, monkeypatch) -> None:
    write_psg(tmp_path / "data" / "n1.edf", ["C4-M1"])
    write_scoring(tmp_path / "data" / "n1-hypnogram.edf")
    monkeypatch.chdir(tmp_path)
    (night,) = nights("folder", "data")
    monkeypatch.chdir("/")
    assert night.recording().labels == ("C4-M1",)
    assert night.hypnogram().n_epochs == 6
