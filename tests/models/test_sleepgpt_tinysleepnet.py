"""SleepGPT's TinySleepNet: counts and shapes of specs/models.md C.2, and the published weights."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402, N812

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import count_parameters  # noqa: E402
from hypnograph.models.sleepgpt_tinysleepnet import Config, Model, from_published, published_names  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def published() -> dict:
    """The authors' file; tests that use it are skipped where it is absent."""
    shared = Path(os.environ.get("HYPNOGRAPH_SHARED", REPOSITORY.parent / "shared"))
    path = shared / "weights" / "sleepgpt-tinysleepnet.pth.tar"
    if not path.is_file():
        pytest.skip(f"published weights not found at {path}")
    return torch.load(path, map_location="cpu", weights_only=True)


def as_published(model: Model) -> dict:
    """Return the values of a network under the names and shapes of the published file."""
    values = model.state_dict()
    return {
        theirs: values[ours].unsqueeze(-1) if values[ours].ndim == 3 else values[ours]
        for theirs, ours in published_names().items()
    }


def recomputed(values: dict, x):
    """Stage epochs (epoch, sample) straight from the published file, with functions alone and in float64."""
    values = {name: value.double() for name, value in values.items()}

    def block(x, name: str, padding: tuple[int, int], stride: int = 1):
        x = F.conv2d(F.pad(x, (0, 0, *padding)), values[f"{name}.0.weight"], stride=(stride, 1))
        mean, var, weight, bias = (
            values[f"{name}.1.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / torch.sqrt(var + 1e-5) * weight + bias).clamp(min=0)

    x = block(x.double()[:, None, :, None], "conv1.0", (24, 25), 6)
    x = x[:, :, : 62 * 8].unflatten(2, (62, 8)).amax(3)
    for name in ("conv1.3", "conv1.4", "conv1.5"):
        x = block(x, name, (3, 4))
    x = x[:, :, : 15 * 4].unflatten(2, (15, 4)).amax(3)
    return x.flatten(1) @ values["classifier.weight"].T + values["classifier.bias"]


def epochs_uv(n: int = 6):
    """Noise of brain-like size, coloured differently in each epoch, µV, shape (epoch, sample)."""
    noise = torch.randn(n, 3000, generator=torch.Generator().manual_seed(1)) * 20
    slow = torch.sin(torch.arange(3000) / 100 * 2 * torch.pi * torch.arange(1, n + 1)[:, None])
    return noise + 50 * slow


def test_the_parameters_are_those_of_the_published_file() -> None:
    assert count_parameters(Model(Config())) == 410_245


def test_an_epoch_becomes_1920_features() -> None:
    model = Model(Config()).eval()
    assert Config().n_frames == 15
    assert model.first(torch.zeros(1, 1, 3000)).shape == (1, 128, 500)
    assert model.features(torch.zeros(2, 1, 3000)).shape == (2, 1920)


def test_with_tensorflow_s_padding_an_epoch_becomes_the_2048_features_of_tinysleepnet() -> None:
    model = Model(Config(tensorflow_padding=True)).eval()
    assert model.first.padding == (22, 22)
    assert model.features(torch.zeros(1, 1, 3000)).shape == (1, 2048)
    assert count_parameters(model) == 410_885


def test_the_padding_shifts_the_first_frames_by_two_samples() -> None:
    ours, theirs = Model(Config()).eval(), Model(Config(tensorflow_padding=True)).eval()
    theirs.first.load_state_dict(ours.first.state_dict())
    x = torch.randn(1, 1, 3000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        shifted = ours.first(F.pad(x, (0, 2))[..., 2:])
        torch.testing.assert_close(shifted[..., 5:-5], theirs.first(x)[..., 5:-5])


@pytest.mark.parametrize(("sample_rate", "epoch_s"), [(100, 30), (128, 30), (256, 20), (99.5, 30), (64, 30), (100, 2)])
@pytest.mark.parametrize("tensorflow_padding", [False, True])
def test_the_frames_are_counted_as_the_layers_make_them(sample_rate, epoch_s, tensorflow_padding) -> None:
    config = Config(sample_rate=sample_rate, epoch_s=epoch_s, tensorflow_padding=tensorflow_padding, n_filters=2)
    x = torch.zeros(1, 2, 1, config.n_samples)
    assert Model(config).eval()(x).shape == (1, 2, 5)


@pytest.mark.parametrize(
    "wrong", [{"epoch_s": 1.0}, {"epoch_s": float("nan")}, {"epoch_s": -1}, {"sample_rate": 8}, {"dropout": 1.0}]
)
def test_impossible_values_are_named(wrong: dict) -> None:
    with pytest.raises(HypnographError, match=next(iter(wrong))):
        Config(**wrong)


def test_each_epoch_is_staged_alone() -> None:
    model = Model(Config(n_filters=4)).eval()
    x = torch.randn(1, 4, 1, 3000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model(x)[0], model(x[0, :, None])[:, 0])


def test_weights_under_the_published_names_come_back_equal() -> None:
    torch.manual_seed(0)
    model = Model(Config()).eval()
    x = epochs_uv(2)
    with torch.inference_mode():
        logits = from_published(as_published(model))(x[None, :, None])
        torch.testing.assert_close(logits, model(x[None, :, None]), rtol=0, atol=0)


def test_a_file_with_other_names_or_shapes_is_refused() -> None:
    values = as_published(Model(Config()))
    with pytest.raises(HypnographError, match=r"missing \['classifier.bias'\]"):
        from_published({name: value for name, value in values.items() if name != "classifier.bias"})
    with pytest.raises(HypnographError, match=r"unknown \['head.weight'\]"):
        from_published(values | {"head.weight": torch.zeros(1)})
    with pytest.raises(HypnographError, match=r"classifier.weight has shape \(5, 2048\)"):
        from_published(values | {"classifier.weight": torch.zeros(5, 2048)})


def test_the_published_weights_give_the_same_logits_as_a_recomputation(published) -> None:
    model, x = from_published(published), epochs_uv()
    assert not model.training
    assert count_parameters(model) == 410_245
    with torch.inference_mode():
        logits = model(x[None, :, None])[0]
    expected = recomputed(published, x)
    assert expected.std() > 0.5
    torch.testing.assert_close(logits.double(), expected, rtol=1e-4, atol=1e-3)


def test_on_a_real_night_the_published_weights_meet_the_amplitudes_they_were_trained_on(published, shared_data) -> None:
    """Microvolts, 0.4 to 30 Hz: another derivation and another laboratory, so agreement is modest (0.55)."""
    edfio = pytest.importorskip("edfio")
    uv = edfio.read_edf(shared_data / "eeg" / "ucddb018.edf").signals[0].data
    codes = {"W": 0, "N1": 1, "N2": 2, "N3": 3, "R": 4, "REM": 4}
    stages = [codes.get(line, -1) for line in (shared_data / "eeg" / "ucddb018.txt").read_text().split()]
    uv = signal.resample_poly(uv - np.median(uv), 100, 128)
    uv = signal.sosfiltfilt(signal.butter(4, (0.4, 30), btype="band", fs=100, output="sos"), uv)
    n = min(len(stages), len(uv) // 3000)
    x = torch.tensor(uv[: n * 3000].reshape(1, n, 1, 3000).copy(), dtype=torch.float32)
    model = from_published(published)
    with torch.inference_mode():
        predicted = model(x)[0].argmax(1).numpy()
        spread = model.first.convolution(F.pad(x[0], model.first.padding)).var((0, 2))
    assert 0.4 < (spread / model.first.norm.running_var).median() < 2.5
    scored = np.array(stages[:n]) >= 0
    assert (predicted == np.array(stages[:n]))[scored].mean() > 0.5
