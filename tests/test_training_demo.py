"""The demo of the page on training runs as written: from a server on loopback to a confusion matrix."""

import hashlib
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import hypnograph as public
from hypnograph import download, remote_files
from hypnograph.cli import hypnograph
from hypnograph.hypnogram import Hypnogram
from hypnograph.hypnogram_files import read_hypnodensity, write_hypnogram
from hypnograph.recording import Recording
from hypnograph.signal_files import edf
from hypnograph.simulate import simulate_hypnogram, simulate_recording
from tests.conftest import REPOSITORY
from tests.test_remote_files import Server, physionet, serving

PAGE = REPOSITORY / "docs" / "how-to" / "train-a-network.md"
# Simulated nights of this length, and a training of some steps: the whole demo takes minutes.
HOURS = 0.75
SHORTER = ["--passes", "2", "--most-steps", "4", "--set", "sampling.batch=2", "--set", "sampling.context=9", "--quiet"]


def simulated(seed: int, labels: dict[str, str], sample_rate: float) -> tuple[Recording, Hypnogram]:
    """A simulated night with other labels: by simulated derivation."""
    from dataclasses import replace

    stages = simulate_hypnogram(seed=seed, duration_h=HOURS)
    night = simulate_recording(stages, seed=seed, sample_rate=sample_rate, derivations=tuple(labels))
    signals = tuple(replace(s, label=label) for s, label in zip(night.signals, labels.values(), strict=True))
    return replace(night, signals=signals), stages


def sleep_edf(folder: Path, n_subjects: int) -> dict[str, bytes]:
    """Files in the layout and with the labels of Sleep-EDF SC: two nights of each subject."""
    labels = {"Fpz-Cz": "EEG Fpz-Cz", "Pz-Oz": "EEG Pz-Oz", "E1-M2": "EOG horizontal"}
    files = {"RECORDS": b"sleep-cassette\n"}
    for subject in range(n_subjects):
        for visit in (1, 2):
            recording, stages = simulated(10 * subject + visit, labels, 100)
            name = f"SC4{subject:02d}{visit}"
            edf.write(
                recording,
                folder / "psg.edf",
            )
            write_hypnogram(stages, folder / "stages.edf", overwrite=True)
            files[f"sleep-cassette/{name}E0-PSG.edf"] = (folder / "psg.edf").read_bytes()
            files[f"sleep-cassette/{name}EC-Hypnogram.edf"] = (folder / "stages.edf").read_bytes()
    return files


def dcsm(folder: Path, n_subjects: int) -> dict[str, bytes]:
    """Files in the layout of DCSM: U-Time's HDF5 and .ids."""
    labels = {name: name for name in ("C3-M2", "C4-M1", "E1-M2", "E2-M2")}
    files = {}
    for subject in range(n_subjects):
        recording, stages = simulated(100 + subject, labels, 128)
        with h5py.File(folder / "psg.h5", "w") as file:
            file.attrs["sample_rate"] = 128
            for index, signal in enumerate(recording.signals):
                array = file.create_dataset(f"channels/{signal.label}", data=signal.samples(), compression="gzip")
                array.attrs["channel_index"] = index
        write_hypnogram(stages, folder / "stages.ids", overwrite=True)
        files[f"tp{subject:03d}/psg.h5"] = (folder / "psg.h5").read_bytes()
        files[f"tp{subject:03d}/hypnogram.ids"] = (folder / "stages.ids").read_bytes()
    return files


@pytest.fixture
def server(tmp_path, monkeypatch):
    """PhysioNet and ERDA on loopback, with more recordings than the demo asks for."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSES_S", (0.0, 0.0, 0.0))
    with serving(Server()) as server:
        monkeypatch.setattr(remote_files, "PHYSIONET", server.url)
        monkeypatch.setattr(remote_files, "ERDA", server.url)
        monkeypatch.setattr(remote_files, "CHECKSUMS", {"dcsm_sha256.txt": f"{server.url}/list.txt"})
        physionet(server, "sleep-edfx/1.0.0", sleep_edf(tmp_path, 4))
        shared = dcsm(tmp_path, 7)
        server.files |= {f"/fUH3xbOXv8/{path}": content for path, content in shared.items()}
        sums = "".join(f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in shared.items())
        server.files["/list.txt"] = sums.encode()
        yield server


def test_the_python_of_the_page_runs(tmp_path, monkeypatch, capsys) -> None:
    for subject in range(3):
        recording, stages = simulated(200 + subject, {"C4-M1": "C4-M1", "E1-M2": "E1-M2"}, 128)
        folder = tmp_path / "nights" / f"P{subject}"
        folder.mkdir(parents=True)
        edf.write(recording, folder / "psg.edf")
        write_hypnogram(stages, folder / "hypnogram.edf")
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert block is not None
    names: dict = {}
    exec(block[1], names)
    assert "1 nights of 1 subjects" in capsys.readouterr().out
    # What the store is staged as, the recording is staged as: there is one path. The store's samples are float16.
    (subject,) = names["split"].test
    path = tmp_path / "nights" / subject.partition("/")[2] / "psg.edf"
    staging = public.stage(path, model=names["result"].checkpoint)
    (predicted,) = (tmp_path / "predictions" / "predicted").glob("*.json")
    from_store = read_hypnodensity(predicted)
    np.testing.assert_allclose(staging.hypnodensity.probabilities, from_store.probabilities, atol=5e-3)


def demo_lines() -> list[list[str]]:
    block = re.search(r"```demo\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert block is not None
    return [shlex.split(line) for line in block[1].splitlines()]


def test_the_demo_runs_as_written(server, tmp_path, monkeypatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    shown = {}
    for program, *words in demo_lines():
        if program == "cd":
            monkeypatch.chdir(tmp_path / "work" / words[0])
            continue
        result = CliRunner().invoke(hypnograph, [*words, *(SHORTER if words[0] == "train" else [])])
        assert result.exit_code == 0, f"{' '.join(words)}\n{result.output}\n{result.exception!r}"
        shown[words[0]] = result.output
    demo = tmp_path / "work" / "demo"
    assert len(list((demo / "data").rglob("*PSG.edf"))) == len(list((demo / "data").rglob("psg.h5"))) == 6
    assert "Cohen's kappa" in shown["confusion"]
    assert (demo / "confusion.png").read_bytes().startswith(b"\x89PNG")
    # One of three subjects of Sleep-EDF has two nights, one of six of DCSM has one.
    assert "3 nights of 2 subjects" in shown["predict"]
    confusion = np.array([[int(cell) for cell in line.split()[1:6]] for line in shown["confusion"].splitlines()[3:8]])
    assert confusion.sum() == int(re.search(r"nights, (\d+) epochs", shown["confusion"])[1]) > 0
