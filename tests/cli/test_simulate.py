"""``hypnograph simulate`` writes a whole EDF file, and says that the night is simulated."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hypnograph.cli import hypnograph
from hypnograph.errors import HypnographError


def run(*arguments: object) -> str:
    result = CliRunner().invoke(hypnograph, ["simulate", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_file_holds_the_night_and_the_terminal_says_simulated(tmp_path: Path) -> None:
    import edfio

    out = tmp_path / "night.edf"
    assert "simulated" in run(out, "--hours", 0.5, "--signals", "C4-M1,E1-M2,Chin EMG", "--sample-rate", 128)
    edf = edfio.read_edf(out)
    assert edf.labels == ("C4-M1", "E1-M2", "Chin EMG")
    assert edf.duration == 1800
    assert "simulated" in edf.annotations[0].text
    assert np.std(edf.signals[0].data) > 5


def test_what_is_written_is_what_was_simulated(tmp_path: Path) -> None:
    import edfio

    from hypnograph.simulate import simulate_hypnogram, simulate_recording

    out = tmp_path / "night.edf"
    run(out, "--hours", 0.25, "--seed", 4)
    recording = simulate_recording(simulate_hypnogram(seed=4, duration_h=0.25), seed=4)
    for written, signal in zip(edfio.read_edf(out).signals, recording.signals, strict=True):
        scale = 1000.0 if signal.unit == "mV" and written.physical_dimension == "uV" else 1.0
        step = (written.physical_max - written.physical_min) / 65535
        np.testing.assert_allclose(written.data, signal.samples() * scale, atol=step)


def test_the_stages_are_written_beside_it_and_make_the_same_night_again(tmp_path: Path) -> None:
    scoring, again = tmp_path / "night.txt", tmp_path / "again.edf"
    run(tmp_path / "night.edf", "--hours", 0.25, "--signals", "C4-M1", "--scoring", scoring)
    assert len(scoring.read_text().split()) >= 30
    run(again, "--hypnogram", scoring, "--signals", "C4-M1")
    import edfio

    first, second = (edfio.read_edf(path).signals[0].data for path in (tmp_path / "night.edf", again))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("night.txt",), "end the name in .edf"),
        (("night.edf", "--hours", "100"), "24"),
        (("night.edf", "--signals", "Nose"), "Known electrodes"),
        (("night.edf", "--scoring", "night.xyz"), "choose one of"),
    ],
)
def test_what_cannot_be_written_is_one_clear_sentence(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    out = tmp_path / arguments[0]
    with pytest.raises(HypnographError, match=message):
        run(out, *arguments[1:])
    assert not out.exists()
