"""`hypnograph stage --decode` and `hypnograph decode`: the oracle is `decode` itself, called from Python."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from hypnograph.cli import hypnograph
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import read_hypnodensity, read_hypnogram, write_hypnogram
from hypnograph.sequences.decoding import KeepingDecoder, decode, load_decoder, save_decoder
from tests.sequences.sleepers import night as sleeper
from tests.sequences.test_decoding import staged
from tests.test_batch import write_night


def run(*arguments: object) -> Result:
    return CliRunner().invoke(hypnograph, list(map(str, arguments)))


def csv_of(path: Path, seed: int, stages: np.ndarray) -> Path:
    density = Hypnodensity(staged(stages, seed, noise=1.8))
    write_hypnogram(density.argmax(), path, hypnodensity=density)
    return path


def test_staging_with_a_decoder_writes_both_what_is_decoded_and_what_was_staged(tmp_path: Path) -> None:
    night = write_night(tmp_path / "night.edf", labels=("C4-M1",))
    plain = run("stage", night, "--out", tmp_path / "plain", "--to", "csv")
    assert plain.exit_code == 0, plain.output
    result = run("stage", night, "--out", tmp_path / "out", "--to", "csv,json,html", "--decode", "sleep")
    assert result.exit_code == 0, result.output
    assert "night-undecoded.csv" in result.output
    raw = read_hypnodensity(tmp_path / "plain" / "night-hypnogram.csv")
    assert raw is not None
    assert read_hypnodensity(tmp_path / "out" / "night-undecoded.csv") == raw
    after = read_hypnodensity(tmp_path / "out" / "night-hypnogram.csv")
    assert after is not None
    expected = decode(raw, load_decoder("sleep"))
    np.testing.assert_allclose(after.probabilities, expected.probabilities)
    assert not np.allclose(after.probabilities, raw.probabilities)
    assert "decoder sleep" in (tmp_path / "out" / "night-hypnogram.json").read_text(encoding="utf-8")
    assert "decoder sleep" in (tmp_path / "out" / "night-report.html").read_text(encoding="utf-8")


def test_without_a_decoder_nothing_more_is_written(tmp_path: Path) -> None:
    night = write_night(tmp_path / "night.edf", labels=("C4-M1",))
    assert run("stage", night, "--out", tmp_path / "out", "--to", "csv", "--decode", "none").exit_code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["night-hypnogram.csv"]


def test_an_unknown_decoder_stops_before_staging_and_names_those_there_are(tmp_path: Path) -> None:
    night = write_night(tmp_path / "night.edf", labels=("C4-M1",))
    result = run("stage", night, "--out", tmp_path / "out", "--decode", "dreams")
    assert result.exit_code != 0
    assert "'dreams'" in str(result.exception or "") + result.output
    assert "sleep" in str(result.exception or "") + result.output
    assert not (tmp_path / "out").exists()


def test_a_csv_is_decoded_and_keeps_its_grid(tmp_path: Path) -> None:
    csv = csv_of(tmp_path / "night-hypnogram.csv", 1, sleeper(1, broken=False))
    result = run("decode", "apply", csv, tmp_path / "decoded.csv")
    assert result.exit_code == 0, result.output
    before, after = read_hypnodensity(csv), read_hypnodensity(tmp_path / "decoded.csv")
    assert before is not None
    assert after is not None
    expected = decode(before, load_decoder("sleep"))
    np.testing.assert_allclose(after.probabilities, expected.probabilities)
    n_changed = int((expected.argmax().stages != before.argmax().stages).sum())
    assert n_changed > 0
    assert f"{n_changed} of 240 epochs" in result.output
    assert run("decode", "apply", csv, csv, "--overwrite").exit_code != 0
    assert read_hypnodensity(csv) == before


def test_stages_alone_cannot_be_decoded_by_the_command(tmp_path: Path) -> None:
    write_hypnogram(Hypnogram(sleeper(1, broken=False)), tmp_path / "night.csv")
    result = run("decode", "apply", tmp_path / "night.csv", tmp_path / "out.csv")
    assert result.exit_code != 0
    assert "no probabilities" in str(result.exception or "") + result.output


def test_a_decoder_is_fitted_to_two_folders_and_helps_on_another_night(tmp_path: Path) -> None:
    for i in range(4):
        stages = sleeper(i, broken=False)
        (tmp_path / "experts").mkdir(exist_ok=True)
        write_hypnogram(Hypnogram(stages), tmp_path / "experts" / f"n{i}.csv")
        csv_of(tmp_path / "staged" / f"n{i}-hypnogram.csv", i, stages)
    result = run("decode", "fit", tmp_path / "experts", tmp_path / "staged", tmp_path / "decoder.json")
    assert result.exit_code == 0, result.output
    assert "4 nights of 4 subjects" in result.output
    truth = sleeper(9, broken=False)
    other = csv_of(tmp_path / "other.csv", 9, truth)
    fitted = run("decode", "apply", other, tmp_path / "out.csv", "--decoder", tmp_path / "decoder.json")
    assert fitted.exit_code == 0, fitted.output
    right = [(read_hypnogram(path).stages == truth).mean() for path in (other, tmp_path / "out.csv")]
    assert right[1] > right[0] + 0.05


def test_a_decoder_that_changes_nothing_says_so(tmp_path: Path) -> None:
    csv = csv_of(tmp_path / "night.csv", 1, sleeper(1, broken=False))
    save_decoder(KeepingDecoder(), tmp_path / "decoder.json")
    result = run("decode", "apply", csv, tmp_path / "out.csv", "--decoder", tmp_path / "decoder.json")
    assert "0 of 240 epochs" in result.output
