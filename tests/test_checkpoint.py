"""A checkpoint gives back the network that was saved, and nothing is lost or half written."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypnograph.checkpoint import CARD, INFO, WEIGHTS, WRITTEN_BY_HAND, export, load, read_info, save  # noqa: E402
from hypnograph.errors import HypnographError, UnreadableFileError  # noqa: E402
from hypnograph.models import architectures  # noqa: E402
from tests.models.test_contract import small  # noqa: E402


def random_signals(info, n_windows: int = 2, context: int = 3) -> np.ndarray:
    shape = (n_windows, context, len(info.input.kinds), info.input.epoch_samples)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", list(architectures()))
def test_what_is_loaded_gives_the_logits_of_what_was_saved(name: str, tmp_path: Path) -> None:
    model = small(name)
    network = load(save(model, tmp_path / "checkpoint", name="mine"))
    signals = random_signals(network.info)
    with torch.inference_mode():
        expected = model(torch.from_numpy(signals)).numpy()
    np.testing.assert_array_equal(network.run(signals)[0], expected)
    assert network.info.name == "mine"
    assert network.info.architecture == name


def test_a_folder_holds_weights_a_description_and_a_card_and_nothing_else(tmp_path: Path) -> None:
    save(small("usleep"), tmp_path / "c", data="ten nights", licence="MIT", metrics={"kappa (simulated)": 0.7})
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == sorted([WEIGHTS, INFO, CARD])
    card = (tmp_path / "c" / CARD).read_text()
    for text in ("usleep", "ten nights", "MIT", "kappa (simulated)", "0.7", "EEG, EOG at 128 Hz", "For research"):
        assert text in card
    values = json.loads((tmp_path / "c" / INFO).read_text())
    assert values["architecture"] == "usleep"
    assert values["licence"] == "MIT"


def test_no_pickle_is_ever_read(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    save(small("usleep"), tmp_path / "c")
    (tmp_path / "c" / WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnreadableFileError, match="not the weights"):
        load(tmp_path / "c")
    assert not (tmp_path / "exploded").exists()


def test_what_a_person_wrote_in_the_card_is_kept(tmp_path: Path) -> None:
    save(small("usleep"), tmp_path / "c", name="first")
    card = tmp_path / "c" / CARD
    card.write_text(card.read_text() + "\nSeen to fail on infants.\n")
    save(small("usleep"), tmp_path / "c", name="second", overwrite=True)
    text = card.read_text()
    assert text.startswith("# second")
    assert text.partition(WRITTEN_BY_HAND)[2].strip() == "Seen to fail on infants."


def test_a_card_that_a_person_wrote_alone_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / CARD).write_text("mine")
    save(small("usleep"), tmp_path / "c")
    assert (tmp_path / "c" / CARD).read_text() == "mine"


def test_a_checkpoint_is_not_replaced_unasked(tmp_path: Path) -> None:
    save(small("usleep"), tmp_path / "c", name="first")
    with pytest.raises(HypnographError, match="overwrite"):
        save(small("usleep"), tmp_path / "c", name="second")
    assert read_info(tmp_path / "c").name == "first"


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save(small("usleep"), tmp_path / "one")
    save(small("attnsleep"), tmp_path / "other")
    (tmp_path / "one" / WEIGHTS).write_bytes((tmp_path / "other" / WEIGHTS).read_bytes())
    with pytest.raises(UnreadableFileError, match="not the weights of usleep"):
        load(tmp_path / "one")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="hypnograph models"):
        load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableFileError, match="no checkpoint"):
        load(tmp_path / "empty")


class TestResolution:
    def test_a_network_that_can_is_loaded_at_another_resolution(self, tmp_path: Path) -> None:
        model = small("usleep")
        network = load(save(model, tmp_path / "c"), resolution_s=5)
        signals = random_signals(network.info)
        with torch.inference_mode():
            expected = model(torch.from_numpy(signals), sub_epochs=6).numpy()
        np.testing.assert_array_equal(network.run(signals)[0], expected)
        assert network.info.resolution_s == 5

    def test_one_that_cannot_says_so(self, tmp_path: Path) -> None:
        save(small("tinysleepnet"), tmp_path / "c")
        with pytest.raises(HypnographError, match="one stage each 30 s"):
            load(tmp_path / "c", resolution_s=5)

    @pytest.mark.parametrize("resolution_s", [7, 60, -30, 0.001])
    def test_what_does_not_divide_an_epoch_is_refused(self, tmp_path: Path, resolution_s: float) -> None:
        save(small("usleep"), tmp_path / "c")
        with pytest.raises(HypnographError, match="divide"):
            load(tmp_path / "c", resolution_s=resolution_s)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    save(small("usleep"), folder / "c", name="mine", licence="MIT")
    return export(folder / "c", folder / "model.onnx", resolution_s=10)


class TestExport:
    def test_the_file_describes_itself(self, exported: Path) -> None:
        info = load(exported).info
        assert (info.name, info.licence, info.resolution_s) == ("mine", "MIT", 10)
        assert info == load(exported.parent / "c", resolution_s=10).info

    def test_it_gives_the_same_logits_on_any_context(self, exported: Path) -> None:
        onnx, torch_network = load(exported), load(exported.parent / "c", resolution_s=10)
        for context in (1, 4, 40):
            signals = random_signals(onnx.info, 1, context)
            np.testing.assert_allclose(onnx.run(signals)[0], torch_network.run(signals)[0], atol=1e-4)

    def test_its_resolution_is_fixed(self, exported: Path) -> None:
        with pytest.raises(HypnographError, match="--resolution 5"):
            load(exported, resolution_s=5)

    def test_it_is_not_replaced_unasked(self, exported: Path) -> None:
        with pytest.raises(HypnographError, match="overwrite"):
            export(exported.parent / "c", exported)

    def test_other_files_are_refused(self, exported: Path, tmp_path: Path) -> None:
        (tmp_path / "text.onnx").write_text("hello")
        with pytest.raises(HypnographError, match="no ONNX file"):
            load(tmp_path / "text.onnx")
        with pytest.raises(HypnographError, match="already"):
            export(exported, tmp_path / "again.onnx")
