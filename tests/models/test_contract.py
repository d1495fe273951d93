"""What every network promises, run over the folder."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from hypnograph.channel_labels import ChannelKind  # noqa: E402
from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.models import architectures, count_parameters, create_model, describe  # noqa: E402
from hypnograph.preprocess import InputSpec  # noqa: E402

NAMES = list(architectures())


def small(name: str, **options):
    """Return the architecture's smallest preset with fixed weights, in evaluation mode."""
    torch.manual_seed(0)
    preset = "small" if "small" in architectures()[name].PRESETS else "default"
    return create_model(name, preset=preset, **options).eval()


def windows(model, n_windows: int = 2, context: int = 3, seed: int = 0):
    config = model.config
    shape = (n_windows, context, config.n_channels, round(config.sample_rate * config.epoch_s))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=NAMES)
def model(request):
    return small(request.param)


def test_the_file_is_named_after_the_architecture() -> None:
    for name, module in architectures().items():
        assert module.__name__.rpartition(".")[2] == name.replace("-", "_")


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_gives_source_count_and_differences(name: str) -> None:
    text = architectures()[name].__doc__
    assert "Differs from the paper" in text
    assert "doi" in text.lower() or "arxiv" in text.lower()
    assert "parameters" in text


@pytest.mark.parametrize("context", [1, 3, 5])
def test_any_context_gives_logits_for_each_epoch_and_stage(model, context: int) -> None:
    with torch.inference_mode():
        logits = model(windows(model, 2, context))
    assert logits.shape[:2] == (2, context)
    assert logits.shape[-1] == model.config.n_stages
    assert logits.ndim in (3, 4)
    assert logits.dtype == torch.float32


def test_a_window_never_depends_on_its_batch_mates(model) -> None:
    x = windows(model, 3)
    with torch.inference_mode():
        together, alone = model(x), model(x[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_evaluation_is_deterministic(model) -> None:
    x = windows(model)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), model(x), rtol=0, atol=0)


def test_gradients_reach_every_parameter(model) -> None:
    model.train()
    model(windows(model, 2, 4)).square().sum().backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert missing == []


def test_a_state_dict_makes_an_equal_network(model) -> None:
    other = type(model)(model.config)
    other.load_state_dict(model.state_dict())
    x = windows(model)
    with torch.inference_mode():
        torch.testing.assert_close(other.eval()(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in NAMES if architectures()[name].CAUSAL])
def test_a_causal_network_does_not_see_the_future(name: str) -> None:
    model = small(name)
    x = windows(model, 1, 6)
    changed = x.clone()
    changed[:, 4:] += 10
    with torch.inference_mode():
        torch.testing.assert_close(model(changed)[:, :4], model(x)[:, :4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_goes_through_plain_values_and_back(name: str) -> None:
    module = architectures()[name]
    for config in module.PRESETS.values():
        assert module.Config(**dataclasses.asdict(config)) == config
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.n_stages = 7


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_stages_is_an_argument(name: str) -> None:
    model = create_model(
        name, preset="small" if "small" in architectures()[name].PRESETS else "default", n_stages=3
    ).eval()
    with torch.inference_mode():
        assert model(windows(model, 1, 2)).shape[-1] == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [{"n_stages": 1}, {"n_channels": 0}, {"sample_rate": -1.0}])
def test_impossible_values_are_refused_when_the_configuration_is_made(name: str, wrong: dict) -> None:
    with pytest.raises(HypnographError):
        create_model(name, **wrong)


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(HypnographError, match="There are"):
        create_model("resnet")
    with pytest.raises(HypnographError, match="There are"):
        create_model(NAMES[0], preset="none")
    with pytest.raises(HypnographError, match="n_stages"):
        create_model(NAMES[0], depth_of_field=3)


def test_a_network_of_many_channels_can_be_given_its_input() -> None:
    spec = InputSpec((ChannelKind.EEG,) * 5, 128.0)
    assert describe(small("usleep", n_channels=5), input=spec).input == spec
    with pytest.raises(HypnographError, match="say which"):
        describe(small("usleep", n_channels=5))


def test_parameters_are_counted() -> None:
    assert count_parameters(torch.nn.Linear(3, 2)) == 8
