"""``hypnograph prepare``: a table of what the store has, and problems that do not pass in silence."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.errors import HypnographError
from hypnograph.training.store import open_store
from tests.datasets.trees import write_psg, write_scoring

HOW = ("--kinds", "EEG,EOG", "--rate", "64")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, ["prepare", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    for name in ("s1n1", "s1n2", "s2n1"):
        write_psg(tmp_path / "in" / f"{name}.edf", ("C4-M1", "E1-M2"), sample_rate=64.0)
        write_scoring(tmp_path / "in" / f"{name}-Hypnogram.edf")
    return tmp_path / "in"


def test_the_nights_of_a_folder_become_a_store(tmp_path: Path, nights: Path) -> None:
    result = run(tmp_path / "store", f"folder={nights}", *HOW, "--subject", r"s\d", "--scaling", "robust")
    assert result.exit_code == 0, result.output
    store = open_store(tmp_path / "store")
    assert store.subjects == ("folder/s1", "folder/s2")
    assert (store.spec.sample_rate, store.spec.scaling) == (64.0, "robust")
    (row,) = [line for line in result.output.splitlines() if line.startswith("folder")]
    # 3 nights of 6 epochs, 2 derivations of 1,920 samples of 2 bytes in each
    assert row.split()[1:] == ["3", "2", "0.1", "0.1"]
    assert "3 prepared, 0 skipped, 0 failed" in result.output


def test_the_same_command_again_skips_and_a_store_that_is_there_says_how(tmp_path: Path, nights: Path) -> None:
    run(tmp_path / "store", f"folder={nights}", *HOW)
    assert "0 prepared, 3 skipped, 0 failed" in run(tmp_path / "store", f"folder={nights}").output
    assert "3 prepared, 0 skipped, 0 failed" in run(tmp_path / "store", f"folder={nights}", "--overwrite").output


def test_what_cannot_be_prepared_is_named_and_fails_only_a_strict_run(tmp_path: Path, nights: Path) -> None:
    (nights / "s1n2.edf").write_bytes((nights / "s1n2.edf").read_bytes()[:300])
    (nights / "s2n1-Hypnogram.edf").unlink()
    result = run(tmp_path / "store", f"folder={nights}", *HOW)
    assert result.exit_code == 0
    assert "failed: folder/s1n2" in result.output
    assert "s2n1.edf: no scoring" in result.output
    assert run(tmp_path / "store", f"folder={nights}", *HOW, "--strict").exit_code == 1


def test_what_is_odd_about_a_night_is_told(tmp_path: Path, nights: Path) -> None:
    write_scoring(nights / "s2n1-Hypnogram.edf", ["N2"] * 20)
    result = run(tmp_path / "store", f"folder={nights}", *HOW)
    assert "note: folder/s2n1: 7.0 min of the scoring lie outside the recording" in result.output


def test_ones_own_names_of_stages_and_derivations(tmp_path: Path) -> None:
    write_psg(tmp_path / "in" / "n1.edf", ("C4-M1", "C3-M2", "E1-M2"), sample_rate=64.0)
    (tmp_path / "in" / "n1-scoring.txt").write_text("quiet\nN1\nN2\nbad\nR\nN2\n")
    mapped = ("--stage-map", "quiet=W", "--stage-map", "bad=UNSCORED", "--eeg", "C3-M2", "--eeg", "O1-M2")
    result = run(tmp_path / "store", f"folder={tmp_path / 'in'}", *HOW, *mapped)
    assert result.exit_code == 0, result.output
    (night,) = open_store(tmp_path / "store").nights
    assert night.hypnogram().names == ["W", "N1", "N2", "UNSCORED", "REM", "N2"]
    assert [list(names) for names in night.derivations.values()] == [["C3-M2"], ["E1-M2"]]
    refused = run(tmp_path / "other", f"folder={tmp_path / 'in'}", *HOW)
    assert "--stage-map" in refused.output
    assert run(tmp_path / "store", f"folder={tmp_path / 'in'}", "--emg", "Chin").exit_code == 2


def test_epochs_of_20_s_are_brought_to_those_of_the_network_or_each_has_a_window(tmp_path: Path) -> None:
    write_psg(tmp_path / "in" / "n1.edf", ("C4-M1", "E1-M2", "Chin EMG"), sample_rate=128.0)
    names = ["W", "N1", "N1", "N2", "N2", "N3", "N3", "REM", "W"]
    write_scoring(tmp_path / "in" / "n1-Hypnogram.edf", names, epoch_s=20.0)
    source = f"folder={tmp_path / 'in'}"
    shapes = {}
    recipe = ("--recipe", "seqsleepnet")
    for how in (HOW, (*HOW, "--centred"), recipe, (*recipe, "--not-centred")):
        result = run(tmp_path / "store", source, *how)
        assert result.exit_code == 0, result.output
        (night,) = open_store(tmp_path / "store").nights
        shapes[how[-1]] = (night.epoch_s, night.hypnogram().names)
        shutil.rmtree(tmp_path / "store")
    own = (20.0, names[1:-1])
    brought = (30.0, ["W", "N1", "N2", "N3", "N3", "W"])
    assert shapes == {"64": brought, "--centred": own, "seqsleepnet": own, "--not-centred": brought}
    for name in ("usleep", "tinysleepnet"):  # the one reads epochs in a row, the other's sampling shifts them
        with pytest.raises(HypnographError, match="takes epochs in a row for one signal"):
            run(tmp_path / "x", source, "--recipe", name, "--centred")


def test_nights_are_added_as_those_that_are_there_were_cut(tmp_path: Path) -> None:
    for name in ("s1", "s2"):
        write_psg(tmp_path / "in" / f"{name}.edf", ("C4-M1", "E1-M2"), sample_rate=64.0)
        write_scoring(tmp_path / "in" / f"{name}-Hypnogram.edf", ["W", "W", "N2", "W", "W", "W"])
    source, one = f"folder={tmp_path / 'in'}", ("--psg", "s1.edf")
    cut = ("--crop", "0.5", "--crop-order", "unscored-is-sleep", "--centred")
    assert run(tmp_path / "store", source, *HOW, *one, *cut).exit_code == 0
    assert run(tmp_path / "store", source).output.count("1 prepared, 1 skipped, 0 failed") == 1
    store = open_store(tmp_path / "store")
    assert [night.n_epochs for night in store.nights] == [3, 3]
    assert store.nights[0].entry["choices"] == store.nights[1].entry["choices"]
    run(tmp_path / "store", source, *HOW, "--psg", "s2.edf", "--overwrite")
    assert "are not all cut alike: --crop" in run(tmp_path / "store", source).output
    assert "0 prepared, 1 skipped" in run(tmp_path / "store", source, *one, *cut).output


@pytest.mark.parametrize(
    ("options", "message"), [(("--crop-order", "masked"), "together with --crop"), (("--jobs", "0"), "-1 is one for")]
)
def test_options_that_would_do_nothing_are_refused(options: tuple, message: str, tmp_path: Path, nights: Path) -> None:
    result = run(tmp_path / "store", f"folder={nights}", *HOW, *options)
    assert result.exit_code == 2
    assert message in result.output


def test_a_folder_without_a_night_says_so_and_makes_no_store(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(HypnographError, match=r"no night that could be prepared in .*check-data says why"):
        run(tmp_path / "store", f"folder={tmp_path / 'in'}", *HOW)
    assert not (tmp_path / "store").exists()


def test_a_run_that_prepares_nothing_fails(tmp_path: Path, nights: Path) -> None:
    assert run(tmp_path / "store", f"folder={nights}", "--kinds", "EMG", "--rate", "64").exit_code == 1


def test_nights_are_prepared_as_a_model_takes_them(tmp_path: Path, nights: Path, monkeypatch) -> None:
    from types import SimpleNamespace

    from hypnograph.channel_labels import ChannelKind
    from hypnograph.preprocess import InputSpec

    spec = InputSpec((ChannelKind.EOG,), 50.0, context=35)
    monkeypatch.setattr(
        "hypnograph.released_weights.load", lambda name: SimpleNamespace(info=SimpleNamespace(input=spec))
    )
    assert run(tmp_path / "store", f"folder={nights}", "--like", "some-weights").exit_code == 0
    store = open_store(tmp_path / "store")
    assert (store.spec.kinds, store.spec.sample_rate) == ((ChannelKind.EOG,), 50.0)


def test_a_recipe_says_how_and_how_much(tmp_path: Path, nights: Path) -> None:
    (tmp_path / "recipe.toml").write_text('crop_min = 0.5\n[network]\narchitecture = "tinysleepnet"\n')
    result = run(tmp_path / "store", f"folder={nights}", "--recipe", tmp_path / "recipe.toml")
    assert result.exit_code == 0, result.output
    store = open_store(tmp_path / "store")
    assert store.spec.sample_rate == 100.0
    # W N1 N2 N3 REM and one that is not scored: half a minute around sleep ends with REM.
    assert store.nights[0].hypnogram().names == ["W", "N1", "N2", "N3", "REM"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("folder",), "write DATASET=FOLDER"),
        (("folder=in",), "say how to prepare"),
        (("folder=in", *HOW, "--like", "x"), "give one"),
        (("folder=in", "--like", "x", "--rate", "64"), "together with --kinds"),
        (("folder=in", "--kinds", "EEG,EAR"), "'ear' is not one of"),
        (("folder=in", *HOW, "--band", "35"), "LOW,HIGH"),
        (("sleep-edf-sc=in", *HOW, "--subject", "x"), "the dataset 'folder'"),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, nights: Path, arguments: tuple, message: str) -> None:
    result = run(tmp_path / "store", *(part.replace("=in", f"={nights}") for part in arguments))
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "store").exists()
