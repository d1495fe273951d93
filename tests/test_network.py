"""A night by pieces equals the night at once; the oracle is the network itself on the whole night."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypnograph.checkpoint import export, save  # noqa: E402
from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.model_info import ModelInfo  # noqa: E402
from hypnograph.models import create_model, describe  # noqa: E402
from hypnograph.montage import ChannelKind  # noqa: E402
from hypnograph.network import OnnxNetwork, TorchNetwork, night_logits  # noqa: E402
from hypnograph.preprocess import InputSpec  # noqa: E402
from hypnograph.windows import stitch, window_starts  # noqa: E402


def network(name: str, preset: str = "small", **options) -> TorchNetwork:
    torch.manual_seed(0)
    model = create_model(name, preset=preset, **options)
    for module in model.modules():  # fresh statistics (mean 0, variance 1) would hide a wrong edge
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    return TorchNetwork(model, describe(model))


def night(info: ModelInfo, n_epochs: int) -> np.ndarray:
    shape = (n_epochs, len(info.input.kinds), info.input.epoch_samples)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


class TestPieces:
    @pytest.mark.parametrize(
        ("name", "options", "epochs_at_once"),
        [
            (
                "usleep",
                {"depth": 8, "sample_rate": 32.0},
                12,
            ),  # its coarsest grid is 256 of 960 samples: every fourth epoch
            ("usleep", {"depth": 6, "kernel": 5, "sub_epochs": 6, "sample_rate": 32.0}, 3),
            ("utime", {}, 14),
            ("utime", {"dilated_bottom": True, "sub_epochs": 2, "sample_rate": 64.0}, 24),
            ("utime", {"sample_rate": 100.0, "dilation": 1}, 40),  # 3000 samples and pools of 1920: cuts at every 16th
            ("sleepgpt-lstm", {"many_to_one": True}, 20),
            ("attnsleep", {}, 7),
            ("ecg-utime", {"sub_epochs": 30}, 4),
        ],
    )
    def test_pieces_equal_the_whole_night(self, name: str, options: dict, epochs_at_once: int) -> None:
        net = network(name, "small", **options)
        epochs = night(net.info, 45)
        whole = net.run(epochs[None])[0][0]
        np.testing.assert_allclose(night_logits(net, epochs, epochs_at_once=epochs_at_once), whole, atol=1e-4)

    def test_u_sleep_as_published_is_exact_with_a_margin_of_its_receptive_field(self) -> None:
        net = network("usleep", "default")
        assert (net.info.reach, net.info.grid) == (15, 16)
        epochs = night(net.info, 70)
        whole = net.run(epochs[None])[0][0]
        np.testing.assert_allclose(night_logits(net, epochs, epochs_at_once=47), whole, atol=1e-5)

    def test_a_smaller_margin_would_not_be_exact(self) -> None:
        # Otherwise the tests above would show nothing. A delta of noise in the far past must be noticed.
        net = network("usleep", "small", depth=8, sample_rate=32.0)
        too_short = TorchNetwork(net.model, describe(net.model, reach=0))
        epochs = night(net.info, 45)
        difference = night_logits(too_short, epochs, epochs_at_once=12) - net.run(epochs[None])[0][0]
        assert np.abs(difference).max() > 1e-4

    @pytest.mark.parametrize("name", ["tinysleepnet", "sleepgpt-lstm"])
    def test_a_carried_state_equals_the_whole_night(self, name: str) -> None:
        net = network(name)
        assert net.info.carries_state
        epochs = night(net.info, 23)
        with torch.inference_mode():
            whole = net.model(torch.from_numpy(epochs[None]))[0].numpy()
        np.testing.assert_allclose(night_logits(net, epochs, epochs_at_once=5), whole, atol=1e-5)

    def test_where_odd_lengths_shift_the_maps_the_night_is_passed_whole(self) -> None:
        net = network("usleep", "small", odd_lengths="official")
        assert net.info.reach is None
        epochs = night(net.info, 9)
        np.testing.assert_array_equal(night_logits(net, epochs, epochs_at_once=2), net.run(epochs[None])[0][0])


class TestWindows:
    def test_windows_are_stitched(self) -> None:
        net = network("seqsleepnet")
        epochs = night(net.info, 50)
        starts = window_starts(50, 20, 10)
        logits = np.stack([net.run(epochs[None, start : start + 20])[0][0] for start in starts])
        expected = stitch(logits, starts, 50)
        for at_once in (20, 100):
            np.testing.assert_allclose(night_logits(net, epochs, epochs_at_once=at_once), expected, atol=1e-5)

    def test_a_night_shorter_than_a_window_is_one_window(self) -> None:
        net = network("seqsleepnet")
        assert night_logits(net, night(net.info, 6)).shape == (6, 5)


class TestOnnx:
    @pytest.mark.parametrize("name", ["usleep", "tinysleepnet", "seqsleepnet", "attnsleep"])
    def test_a_night_is_the_same_in_torch_and_onnx(self, name: str, tmp_path: Path) -> None:
        net = network(name)
        save(net.model, tmp_path / "c")
        onnx = OnnxNetwork(export(tmp_path / "c", tmp_path / "model.onnx"))
        epochs = night(net.info, 50)
        np.testing.assert_allclose(
            night_logits(onnx, epochs, epochs_at_once=30), night_logits(net, epochs, epochs_at_once=25), atol=1e-4
        )

    def test_a_file_of_another_program_is_refused(self, tmp_path: Path) -> None:
        onnx = pytest.importorskip("onnx")
        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
        graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [result])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
        onnx.save(model, tmp_path / "theirs.onnx")
        with pytest.raises(HypnographError, match="hypnograph export"):
            OnnxNetwork(tmp_path / "theirs.onnx")


_PEAK = """
import re
import sys
import numpy as np
from hypnograph.network import OnnxNetwork, night_logits
network = OnnxNetwork(sys.argv[1], threads=1)
def peak(n_epochs):
    night_logits(network, np.zeros((n_epochs, 2, 3840), dtype=np.float32), epochs_at_once=64)
    status = open("/proc/self/status").read()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1024
short, long = peak(64), peak(1920)
print(short, long)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_a_long_night_needs_no_more_memory_than_a_piece(tmp_path: Path) -> None:
    save(network("usleep", "default", depth=6).model, tmp_path / "c")
    path = export(tmp_path / "c", tmp_path / "model.onnx")
    run = subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True)
    short_mib, long_mib = map(float, run.stdout.split())
    # The night itself is 56 MiB; at once it needs 830 MiB more than the piece. How much of what was freed a process
    # keeps differs from run to run, by up to 350 MiB.
    assert long_mib < short_mib + 500


def test_a_module_of_a_user_is_given_the_whole_night() -> None:
    class Mean(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3)).unsqueeze(-1) * torch.ones(5)

    info = ModelInfo(architecture="", config={}, input=InputSpec((ChannelKind.EEG,), 100.0))
    epochs = night(info, 7)
    expected = np.repeat(epochs.mean((1, 2))[:, None], 5, axis=1)
    np.testing.assert_allclose(night_logits(TorchNetwork(Mean(), info), epochs), expected, atol=1e-6)
