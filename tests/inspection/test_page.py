"""The page holds all that it needs, says where its stages are from, and nothing of the patient."""

import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.hypnogram import Hypnogram  # noqa: E402
from hypnograph.inspection import Inspection, inspect  # noqa: E402
from hypnograph.inspection.page import chosen_cells, summary_rows, write_page  # noqa: E402
from hypnograph.models import create_model, describe  # noqa: E402
from hypnograph.network import TorchNetwork  # noqa: E402
from hypnograph.simulate import simulate_hypnogram, simulate_recording  # noqa: E402


@pytest.fixture(scope="module")
def night():
    stages = simulate_hypnogram(seed=2, duration_h=0.75)
    return stages, simulate_recording(stages, seed=2, sample_rate=128, derivations=("C4-M1",))


@pytest.fixture(scope="module")
def inspection(night) -> Inspection:
    torch.manual_seed(0)
    model = create_model("tinysleepnet", preset="small")
    network = TorchNetwork(model, describe(model, name="a <b>bold</b> name", data="<i>nights</i>"))
    return inspect(network, night[1], scoring=night[0])


@pytest.fixture(scope="module")
def written(inspection, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("page")
    return write_page(inspection, folder, recording_name="night-7", formats=("png", "svg"))


def test_the_page_needs_no_other_file_and_no_script(written) -> None:
    page = written[0].read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "<script" not in page


def test_every_figure_is_a_file_in_each_format(written) -> None:
    assert {path.name for path in written[1:]} >= {"filters-1.png", "filters-1.svg", "stages-1.png", "cell-1.svg"}
    for path in written[1:]:
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml")


def test_the_page_says_which_night_and_whose_stages(written) -> None:
    page = written[0].read_text(encoding="utf-8")
    assert "night-7: 90 epochs, EEG C4-M1" in page
    assert "from the scoring by simulated" in page
    assert "tinysleepnet, " in page


def test_texts_of_a_checkpoint_are_escaped(written) -> None:
    page = written[0].read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "<i>" not in page
    assert "a &lt;b&gt;bold" in page


def test_what_a_network_lacks_is_said(written, inspection) -> None:
    assert "no attention that can be read" in written[0].read_text(encoding="utf-8")


def test_the_same_inspection_gives_the_same_page(written, inspection, tmp_path) -> None:
    again = write_page(inspection, tmp_path, recording_name="night-7", formats=("png", "svg"))
    for one, other in zip(written, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_nothing_is_replaced_unasked(inspection, tmp_path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(HypnographError, match="overwrite"):
        write_page(inspection, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert (tmp_path / "index.html").read_text() == "mine"


def test_unknown_formats_name_those_that_there_are(inspection, tmp_path) -> None:
    with pytest.raises(HypnographError, match=r"'gif'.*png, svg"):
        write_page(inspection, tmp_path, formats=("gif",))


def test_the_strongest_cell_of_each_measure_is_listed(inspection) -> None:
    table = inspection.night.table
    rows = summary_rows(table)
    assert {row[0] for row in rows} == set(table["tracks"])
    for tracks, _, n_found, cell, value, _ in rows:
        group = table[table["tracks"] == tracks]
        distance = (group["value"] - group["neutral"]).abs()
        assert abs(float(value) - group["neutral"].iloc[0]) == pytest.approx(distance.max(), abs=1e-3)
        assert cell in set(group["cell"])
        assert n_found == group["found"].sum()
    drawn = chosen_cells(table)
    assert all(("below the threshold" in what) != table["found"].any() for _, what in drawn)


def test_a_night_in_which_no_cell_can_be_judged_has_a_page_that_says_so(night, tmp_path) -> None:
    torch.manual_seed(0)
    model = create_model("tinysleepnet", preset="small")
    drowsy = Hypnogram(np.arange(90) // 3 % 2, start=night[1].start)  # W and N1 only, and no runs
    inspected = inspect(TorchNetwork(model, describe(model)), night[1], scoring=drowsy)
    page = write_page(inspected, tmp_path, recording_name="night")[0].read_text(encoding="utf-8")
    assert "Nothing can be measured" in page


class TestInspect:
    def test_stages_are_placed_by_their_start_and_unscored_ones_do_not_count(self, night) -> None:
        stages, recording = night
        half = Hypnogram(stages.stages[30:], start=recording.start + timedelta(minutes=15))
        model = create_model("sleepgpt-tinysleepnet", preset="small")
        inspected = inspect(TorchNetwork(model, describe(model)), recording, scoring=half)
        np.testing.assert_array_equal(inspected.night.stages.stages[:30], -1)
        assert inspected.night.activations[0].n_epochs.sum() == 60

    def test_without_a_scoring_the_stages_are_the_networks(self, night) -> None:
        model = create_model("sleepgpt-tinysleepnet", preset="small")
        inspected = inspect(TorchNetwork(model, describe(model)), night[1])
        assert inspected.night.stages_from == "the network itself"

    def test_a_network_of_three_stages_gets_a_scoring_of_three(self, night) -> None:
        model = create_model("sleepgpt-tinysleepnet", preset="small", n_stages=3)
        inspected = inspect(TorchNetwork(model, describe(model)), night[1], scoring=night[0])
        assert inspected.night.stages.scheme.n_stages == 3

    def test_a_scoring_without_a_recording_is_an_error(self, night) -> None:
        model = create_model("sleepgpt-tinysleepnet", preset="small")
        with pytest.raises(HypnographError, match="no recording"):
            inspect(TorchNetwork(model, describe(model)), scoring=night[0])

    def test_a_scoring_without_a_stage_is_an_error(self, night) -> None:
        model = create_model("sleepgpt-tinysleepnet", preset="small")
        with pytest.raises(HypnographError, match="no epoch of the night is scored"):
            inspect(TorchNetwork(model, describe(model)), night[1], scoring=Hypnogram([-1] * 90))

    def test_the_generator_of_random_numbers_is_left_as_it_was(self, night, inspection) -> None:
        model = create_model("tinysleepnet", preset="small")
        torch.manual_seed(4)
        expected = torch.rand(1)
        torch.manual_seed(4)
        inspect(TorchNetwork(model, describe(model)), night[1], scoring=night[0])
        assert torch.rand(1) == expected
