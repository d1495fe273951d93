"""``hypnograph split``: one file or a folder of folds, reproducible, and no option ignored in silence."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.training.recipes import parse_recipe
from hypnograph.training.splits import read_split
from tests.datasets.trees import write_psg, write_scoring
from tests.training.nights import write_store
from tests.training.test_loop import TINY


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("split") / "store"
    write_store(folder, parse_recipe(TINY).input_spec(), n_subjects=10, n_epochs=5, datasets=("a", "b"))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["split", *map(str, arguments)])


def test_one_split_has_its_shares_of_each_dataset(store: Path, tmp_path: Path) -> None:
    result = run(store, tmp_path / "split.json", "--validation", "0.1", "--test", "0.3")
    assert result.output == f"{tmp_path / 'split.json'}: 12 train, 2 validation, 6 test (subjects)\n"
    split = read_split(tmp_path / "split.json")
    assert sorted(s[0] for s in split.test) == ["a"] * 3 + ["b"] * 3


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ((), (4, 4)),
        (("--max-test", "1"), (4, 2)),
        (("--max-validation", "0"), (0, 4)),
        (("--usleep",), (2, 4)),
    ],
)
def test_each_option_makes_the_parts_that_it_says(options: tuple, sizes: tuple, store: Path, tmp_path: Path) -> None:
    assert run(store, tmp_path / "split.json", *options).exit_code == 0
    split = read_split(tmp_path / "split.json")
    assert (len(split.validation), len(split.test)) == sizes


def test_the_same_seed_writes_the_same_file_and_another_seed_another(store: Path, tmp_path: Path) -> None:
    for name, seed in {"one": 1, "again": 1, "other": 2}.items():
        run(store, tmp_path / name, "--seed", seed)
    one, again, other = ((tmp_path / name).read_bytes() for name in ("one", "again", "other"))
    assert one == again != other


def test_folds_are_files_that_together_test_everybody(store: Path, tmp_path: Path) -> None:
    result = run(store, tmp_path / "splits", "--folds", "5")
    assert result.output.count("14 train, 2 validation, 4 test") == 5
    files = sorted((tmp_path / "splits").iterdir())
    assert [file.name for file in files] == [f"fold-0{n}.json" for n in range(1, 6)]
    assert len({s for file in files for s in read_split(file).test}) == 20


def test_a_table_of_people_says_families_and_disorders(tmp_path: Path) -> None:
    """Two of eight have insomnia, of one family."""
    for i in range(8):
        write_psg(tmp_path / "in" / f"s{i}.edf", ("C4-M1",), sample_rate=64.0)
        write_scoring(tmp_path / "in" / f"s{i}-Hypnogram.edf")
    rows = [f"s{i},{'F1' if i < 2 else f'G{i}'},{'insomnia' if i in (0, 5) else 'none'}" for i in range(8)]
    (tmp_path / "people.csv").write_text("\n".join(["subject,family,disorder", *rows]))
    source, people = f"folder={tmp_path / 'in'}", ("--people", tmp_path / "people.csv")
    assert run(source, tmp_path / "splits", "--folds", 2, "--by-disorder", *people, "--validation", 0).exit_code == 0
    for file in sorted((tmp_path / "splits").iterdir()):
        tested = {subject.removeprefix("folder/") for subject in read_split(file).test}
        assert len(tested & {"s0", "s1"}) != 1
        assert len(tested & {"s0", "s5"}) == 1
    assert "used together with the dataset 'folder'" in str(run("dcsm=.", tmp_path / "x", *people).exception)


def test_published_folds_have_a_name(store: Path, tmp_path: Path) -> None:
    assert run(store, tmp_path / "splits", "--folds", "attnsleep-edf-20").exit_code == 0
    # The first of AttnSleep's order of 20 is the subject of index 14: b/S04, after ten of a.
    assert read_split(tmp_path / "splits" / "fold-01.json").test == ("b/S04",)


def test_what_exists_is_replaced_only_where_it_is_asked(store: Path, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text("mine")
    assert "--overwrite" in str(run(store, tmp_path / "split.json").exception)
    assert (tmp_path / "split.json").read_text() == "mine"
    assert run(store, tmp_path / "split.json", "--overwrite").exit_code == 0


def test_folds_of_two_draws_are_never_mixed(store: Path, tmp_path: Path) -> None:
    run(store, tmp_path / "splits", "--folds", "5")
    refused = run(store, tmp_path / "splits", "--folds", "2")
    assert "holds 5 folds already" in str(refused.exception)
    assert len(list((tmp_path / "splits").iterdir())) == 5
    assert run(store, tmp_path / "splits", "--folds", "2", "--overwrite").exit_code == 0
    assert sorted(file.name for file in (tmp_path / "splits").iterdir()) == ["fold-01.json", "fold-02.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--usleep", "--test", "0.1"), "leave --test out"),
        (("--usleep", "--folds", "3"), "leave --folds out"),
        (("--usleep", "--max-validation", "3"), "leave --max-validation out"),
        (("--by-disorder",), "no disorder is known"),
        (("--subject", "x"), "--subject is used together with the dataset 'folder'"),
        (("--folds", "3", "--test", "0.1"), "leave --test out"),
        (("--folds", "3", "--max-test", "1"), "leave --max-test out"),
        (("--folds", "leave-one-out", "--by-disorder"), "leave --by-disorder out"),
        (("--folds", "attnsleep-edf-20", "--validation", "0.1"), "leave --validation out"),
        (("--folds", "3", "--by-disorder"), "no disorder is known"),
        (("--folds", "1"), "folds must be 2 or more"),
        (("--folds", "many"), "no folds 'many'"),
        (("--validation", "1.5"), "give a fraction"),
        (("--validation", "0.6", "--test", "0.6"), "leave nobody to train on"),
        (("--seed", "-1"), "0 or more"),
    ],
)
def test_what_does_not_fit_together_is_said_and_nothing_is_written(
    options: tuple, message: str, store: Path, tmp_path: Path
) -> None:
    result = run(store, tmp_path / "out", *options)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_and_a_folder_no_file(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert "name a folder" in str(run(store, tmp_path / "file", "--folds", "3").exception)
    assert "name a file" in str(run(store, tmp_path / "folder", "--overwrite").exception)
