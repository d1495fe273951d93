"""Stage language models: the oracles are GPT-2 written anew with torch and the facts of specs/models.md C.3."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402, N812

from hypnograph.errors import HypnographError, UnreadableFileError  # noqa: E402
from hypnograph.sequences.language_model import (  # noqa: E402
    Config,
    StageLanguageModel,
    from_published,
    load_gpt,
    published_names,
    weight_shapes,
)
from hypnograph.stages import W_SLEEP  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
NIGHT = np.random.default_rng(3).integers(0, 5, 200)


def published_layout(positions: int, seed: int = 0) -> dict:
    """Return random weights by the names and shapes of the published files, too small for rounding to show."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int, size: float = 0.25, mean: float = 0.0):
        return mean + size * torch.randn(*shape, generator=random)

    state = {"transformer.wte.weight": draw(6, 48), "transformer.wpe.weight": draw(positions, 48, size=0.8)}
    for i in range(3):
        block = f"transformer.h.{i}"
        for norm in ("ln_1", "ln_2"):
            state |= {f"{block}.{norm}.weight": draw(48, mean=0.5), f"{block}.{norm}.bias": draw(48, size=0.1)}
        state[f"{block}.attn.bias"] = torch.ones(1, 1, positions, positions, dtype=torch.bool).tril()
        state[f"{block}.attn.masked_bias"] = torch.tensor(-1e4)
        for name, n_in, n_out in (
            ("attn.c_attn", 48, 144),
            ("attn.c_proj", 48, 48),
            ("mlp.c_fc", 48, 192),
            ("mlp.c_proj", 192, 48),
        ):
            state |= {f"{block}.{name}.weight": draw(n_in, n_out), f"{block}.{name}.bias": draw(n_out)}
    state |= {"transformer.ln_f.weight": draw(48, mean=1), "transformer.ln_f.bias": draw(48, size=0.1)}
    return state | {"lm_head.weight": state["transformer.wte.weight"]}


def recomputed(state: dict, stages) -> np.ndarray:
    """Return GPT-2's logits of one window, straight from the published names, with torch's functions in float64."""
    state = {name: value.double() for name, value in state.items()}
    n = len(stages)

    def norm(x, name: str):
        return F.layer_norm(x, (48,), state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5)

    def linear(x, name: str):
        return F.linear(x, state[f"{name}.weight"].T, state[f"{name}.bias"])

    x = F.embedding(torch.as_tensor(stages), state["transformer.wte.weight"]) + state["transformer.wpe.weight"][:n]
    for i in range(3):
        block = f"transformer.h.{i}"
        parts = linear(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn").split(48, dim=1)
        query, key, value = (part.view(n, 6, 8).transpose(0, 1) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + linear(mixed.transpose(0, 1).reshape(n, 48), f"{block}.attn.c_proj")
        inner = F.gelu(linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc"), approximate="tanh")
        x = x + linear(inner, f"{block}.mlp.c_proj")
    return F.linear(norm(x, "transformer.ln_f"), state["lm_head.weight"]).numpy()


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).log_softmax(-1).numpy()


@pytest.fixture(scope="module")
def state() -> dict:
    return published_layout(20)


@pytest.fixture(scope="module")
def model(state: dict) -> StageLanguageModel:
    return from_published(state)


@pytest.fixture(scope="module", params=[60, 90])
def published(request) -> dict:
    """The authors' files; tests that use them are skipped where they are absent."""
    shared = Path(os.environ.get("HYPNOGRAPH_SHARED", REPOSITORY.parent / "shared"))
    path = shared / "weights" / f"sleepgpt-slm-{request.param}.pth.tar"
    if not path.is_file():
        pytest.skip(f"published weights not found at {path}")
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def cap_nights(shared_data: Path) -> list[np.ndarray]:
    """Stages of 108 nights of the CAP Sleep Database."""
    lines = (shared_data / "disorders" / "cap.jsonl").read_text().splitlines()
    return [np.array(json.loads(line)["stages"]) for line in lines]


class TestTheNetworkIsGpt2:
    """Oracle: `recomputed`."""

    @pytest.mark.parametrize("n", [1, 2, 19])
    def test_random_weights_give_what_torchs_functions_give(self, state, model, n: int) -> None:
        expected = recomputed(state, NIGHT[:n])
        np.testing.assert_allclose(model.log_probabilities(NIGHT[:n]), log_softmax(expected[:, :5]), atol=1e-5)

    def test_parity_leaves_the_padding_its_share(self, state, model) -> None:
        expected = log_softmax(recomputed(state, NIGHT[:19]))[:, :5]
        given = model.log_probabilities(NIGHT[:19], parity=True)
        np.testing.assert_allclose(given, expected, atol=1e-5)
        assert (np.exp(given).sum(axis=1) < 1).all()

    def test_published_weights_give_what_torchs_functions_give(self, published: dict) -> None:
        model = from_published(published)
        stages = np.repeat(NIGHT, 4)[: model.config.positions]
        given = replace(model, context=model.config.positions).log_probabilities(stages)
        np.testing.assert_allclose(given, log_softmax(recomputed(published, stages)[:, :5]), atol=1e-5)

    @pytest.mark.parametrize(("positions", "expected"), [(60, 88_080), (90, 89_520)])
    def test_the_numbers_of_parameters_are_those_of_the_specification(self, positions: int, expected: int) -> None:
        assert from_published(published_layout(positions)).n_parameters == expected


class TestWhatANightIsGiven:
    def test_each_epoch_past_the_context_sees_the_last_context_and_nothing_else(self, state, model) -> None:
        """Oracle: `recomputed`, each context by itself."""
        epochs = [0, 1, 17, 18, 19, 20, 40, 199]
        contexts = [NIGHT[max(0, t - 18) : t + 1] for t in epochs]
        expected = [log_softmax(recomputed(state, context)[-1, :5]) for context in contexts]
        np.testing.assert_allclose(model.log_probabilities(NIGHT)[epochs], expected, atol=1e-5)

    def test_the_published_context_leaves_out_the_position_that_was_never_trained(self, model) -> None:
        assert (model.config.positions, model.context) == (20, 19)

    def test_a_stage_never_depends_on_later_ones(self, model) -> None:
        changed = NIGHT.copy()
        changed[100:] = (changed[100:] + 1) % 5
        before, after = model.log_probabilities(NIGHT), model.log_probabilities(changed)
        np.testing.assert_allclose(before[:100], after[:100], atol=1e-6)
        assert (np.abs(before[100:] - after[100:]).max(axis=1) > 1e-3).all()

    def test_a_night_never_depends_on_its_batch_mates(self, model) -> None:
        nights = np.stack([NIGHT, NIGHT[::-1], np.roll(NIGHT, 7)])
        together = model.log_probabilities(nights)
        assert together.shape == (3, 200, 5)
        for night, given in zip(nights, together, strict=True):
            np.testing.assert_allclose(given, model.log_probabilities(night), atol=1e-6)

    def test_a_shorter_memory_is_the_same_network_on_shorter_contexts(self, state, model) -> None:
        given = replace(model, context=5).log_probabilities(NIGHT)
        expected = log_softmax(recomputed(state, NIGHT[96:101])[-1, :5])
        np.testing.assert_allclose(given[100], expected, atol=1e-5)

    def test_probabilities_sum_to_1(self, model) -> None:
        np.testing.assert_allclose(np.exp(model.log_probabilities(NIGHT)).sum(axis=1), 1, atol=1e-12)

    def test_an_unscored_epoch_is_read_as_the_last_scored_stage_and_at_first_as_w(self, model) -> None:
        holes = [[-1, -1, 2, -1, -1, 3, -1], [4, -1, -1, 1, 0, -1, 2]]
        filled = [[0, 0, 2, 2, 2, 3, 3], [4, 4, 4, 1, 0, 0, 2]]
        np.testing.assert_array_equal(model.log_probabilities(holes), model.log_probabilities(filled))

    @pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64])
    def test_any_integers_will_do(self, model, dtype) -> None:
        np.testing.assert_array_equal(model.log_probabilities(NIGHT.astype(dtype)), model.log_probabilities(NIGHT))


class TestThePublishedModelsOnCap:
    """Oracle: the measurement in specs/models.md C.3, 108 CAP nights."""

    def test_the_specifications_numbers_come_back(self, published: dict, cap_nights: list[np.ndarray]) -> None:
        """Counted over every position of windows of all K positions, K epochs apart, that end inside the night."""
        model = from_published(published)
        k = model.config.positions
        stages = [night[start : start + k + 2] for night in cap_nights for start in range(0, len(night) - k - 1, k)]
        windows = np.stack(stages)
        log_p = replace(model, context=k).log_probabilities(windows[:, :k])
        expected = {60: [(0.292, 0.928), (0.410, 0.890)], 90: [(0.273, 0.933), (0.387, 0.895)]}[k]
        for ahead, (nll, accuracy) in zip((1, 2), expected, strict=True):
            target = windows[:, ahead : ahead + k]
            assert -np.take_along_axis(log_p, target[..., None], axis=-1).mean() == pytest.approx(nll, abs=0.004)
            assert (log_p.argmax(axis=-1) == target).mean() == pytest.approx(accuracy, abs=0.002)

    def test_the_last_position_was_never_trained(self, published: dict) -> None:
        size = np.linalg.norm(from_published(published).weights["position_embedding"], axis=1)
        assert size[:-1].min() > 3
        assert size[-1] < 0.1

    def test_leaving_out_the_last_position_is_better(self, published: dict, cap_nights: list[np.ndarray]) -> None:
        model = from_published(published)
        nights = np.stack([night[:160] for night in cap_nights[::8]])

        def nll(context: int) -> float:
            log_p = replace(model, context=context).log_probabilities(nights)[:, 100:-2]
            return -np.take_along_axis(log_p, nights[:, 102:, None], axis=-1).mean()

        assert nll(model.context) < nll(model.config.positions) - 0.02


class TestACheckpoint:
    def test_comes_back_as_it_was(self, model, tmp_path: Path) -> None:
        model = replace(model, context=12, scheme=model.scheme)
        back = load_gpt(model.save(tmp_path / "slm"))
        for name in ("config", "context", "targets_ahead", "scheme", "name", "data", "licence", "source"):
            assert getattr(back, name) == getattr(model, name), name
        np.testing.assert_array_equal(back.log_probabilities(NIGHT), model.log_probabilities(NIGHT))

    def test_may_be_of_another_scheme(self, tmp_path: Path) -> None:
        config = Config(positions=8, tokens=3, width=6, layers=1, heads=2)
        random = np.random.default_rng(0)
        weights = {name: random.normal(size=shape) for name, shape in weight_shapes(config).items()}
        model = StageLanguageModel(config=config, weights=weights, context=8, scheme=W_SLEEP)
        back = load_gpt(model.save(tmp_path / "w-sleep"))
        assert (back.scheme, back.targets_ahead) == (W_SLEEP, 1)
        assert back.log_probabilities(NIGHT % 2).shape == (200, 2)

    def test_says_what_it_is_to_a_person_and_to_a_program(self, model, tmp_path: Path) -> None:
        folder = model.save(tmp_path)
        info = json.loads((folder / "model.json").read_text())
        assert {"architecture": "stage-gpt", "targets_ahead": 2, "scheme": "AASM"}.items() <= info.items()
        card = (folder / "README.md").read_text()
        for fact in ("slm-shhs-20", "Apache-2.0", "SHHS visit 1", "epochs ahead: 2"):
            assert fact in card
        assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.json", "model.safetensors"]

    @pytest.mark.parametrize("name", ["README.md", "model.json", "model.safetensors"])
    def test_never_overwrites_a_file(self, model, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("mine")
        with pytest.raises(HypnographError, match=f"{name} exists"):
            model.save(tmp_path)
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]

    @pytest.mark.parametrize("missing", ["model.json", "model.safetensors"])
    def test_that_is_not_whole_is_refused(self, model, tmp_path: Path, missing: str) -> None:
        (model.save(tmp_path) / missing).unlink()
        with pytest.raises(UnreadableFileError, match="no checkpoint"):
            load_gpt(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"architecture": "usleep"}, "architecture is 'usleep'"),
            ({"format": 2}, "reads up to 1"),
            ({"scheme": "R&K"}, "scheme 'R&K'"),
            ({"context": 21}, "context is 21"),
            ({"config": {"positions": 19}}, "shape"),
            ({"config": {"positions": "20"}}, "no checkpoint"),
            ({"config": None}, "no checkpoint"),
            ({"teacher": 1}, "no checkpoint"),
        ],
    )
    def test_whose_description_is_wrong_is_refused(self, model, tmp_path: Path, change: dict, message: str) -> None:
        path = model.save(tmp_path) / "model.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(UnreadableFileError, match=message):
            load_gpt(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff"])
    def test_whose_description_is_damaged_is_refused(self, model, tmp_path: Path, content: bytes) -> None:
        (model.save(tmp_path) / "model.json").write_bytes(content)
        with pytest.raises(UnreadableFileError, match="no checkpoint"):
            load_gpt(tmp_path)

    def test_whose_weights_are_damaged_is_refused(self, model, tmp_path: Path) -> None:
        path = model.save(tmp_path) / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(UnreadableFileError, match="no checkpoint"):
            load_gpt(tmp_path)


class TestRefusals:
    @pytest.mark.parametrize(
        ("stages", "message"),
        [
            ([0, 1, 5], "0 to 5"),
            ([0, -2], "-2 to 0"),
            ([], "at least one"),
            ([0.0, 1.0], "integers"),
            ([True, False], "integers"),
            ([[[1]]], r"shape \(1, 1, 1\)"),
            (1, "shape"),
        ],
    )
    def test_what_is_not_stages_is_refused(self, model, stages, message: str) -> None:
        with pytest.raises(HypnographError, match=message):
            model.log_probabilities(stages)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"context": 0}, "context is 0"),
            ({"context": 21}, "1 to 20"),
            ({"targets_ahead": 0}, "targets_ahead is 0"),
            ({"scheme": W_SLEEP}, "needs 3"),
            ({"config": Config(positions=21)}, r"position_embedding has shape \(20, 48\), needed is \(21, 48\)"),
        ],
    )
    def test_a_model_that_does_not_fit_together_is_refused(self, model, change: dict, message: str) -> None:
        with pytest.raises(HypnographError, match=message):
            replace(model, **change)

    @pytest.mark.parametrize("change", [{"width": 0}, {"heads": 5}, {"layers": 0}, {"positions": 0}, {"tokens": 2}])
    def test_a_network_that_cannot_be_is_refused(self, change: dict) -> None:
        with pytest.raises(HypnographError, match=next(iter(change))):
            Config(**change)

    @pytest.mark.parametrize("name", ["transformer.wpe.weight", "transformer.h.2.ln_2.bias", "lm_head.weight"])
    def test_published_weights_that_miss_one_are_refused(self, state: dict, name: str) -> None:
        with pytest.raises(HypnographError, match=f"missing .*{name}"):
            from_published({other: value for other, value in state.items() if other != name})

    def test_published_weights_with_one_more_are_refused(self, state: dict) -> None:
        with pytest.raises(HypnographError, match=r"unknown .*h\.3\.ln_1"):
            from_published(state | {"transformer.h.3.ln_1.weight": torch.ones(48)})

    def test_published_weights_of_another_shape_are_refused(self, state: dict) -> None:
        with pytest.raises(HypnographError, match=r"c_fc.weight has shape \(192, 48\), needed is \(48, 192\)"):
            from_published(state | {"transformer.h.0.mlp.c_fc.weight": torch.ones(192, 48)})

    def test_published_weights_with_an_output_of_its_own_are_refused(self, state: dict) -> None:
        with pytest.raises(HypnographError, match="lm_head"):
            from_published(state | {"lm_head.weight": torch.ones(6, 48)})

    def test_weights_that_are_not_finite_are_refused(self, state: dict) -> None:
        with pytest.raises(HypnographError, match=r"ln_f\.bias holds values that are not finite"):
            from_published(state | {"transformer.ln_f.bias": torch.full((48,), torch.nan)})


class TestAModelIsAValue:
    def test_its_weights_cannot_be_changed_and_are_not_those_given(self, state: dict) -> None:
        given = {name: value.numpy().copy() for name, value in state.items()}
        model = from_published(given)
        with pytest.raises(ValueError, match="read-only"):
            model.weights["stage_embedding"][0] = 0
        before = model.log_probabilities(NIGHT)
        given["transformer.wpe.weight"][:] = 0
        np.testing.assert_array_equal(model.log_probabilities(NIGHT), before)

    def test_arrays_and_tensors_bare_or_in_their_file_make_the_same_model(self, state: dict, model) -> None:
        arrays = {name: value.numpy() for name, value in state.items() if "masked_bias" not in name}
        for given in (arrays, {"epoch": 400, "state_dict": state}):
            np.testing.assert_array_equal(
                from_published(given).log_probabilities(NIGHT), model.log_probabilities(NIGHT)
            )

    def test_each_weight_has_a_published_name(self) -> None:
        assert set(published_names().values()) == set(weight_shapes(Config()))


def test_a_reader_gives_what_a_whole_night_gives() -> None:
    model = from_published(published_layout(60))
    short = replace(model, context=7)
    other = np.random.default_rng(4).integers(0, 5, 30)
    reader = short.reader(2)
    rows = np.stack([reader.read(np.array([a, b])) for a, b in zip(NIGHT[:30], other, strict=True)], axis=1)
    np.testing.assert_allclose(rows[0], short.log_probabilities(NIGHT[:30]), atol=1e-5)
    reader.select(np.array([1]))
    np.testing.assert_allclose(reader.read(np.array([-1]))[0], short.log_probabilities([*other, -1])[-1], atol=1e-5)
