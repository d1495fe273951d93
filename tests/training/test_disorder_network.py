"""Networks that read disorders: the oracles are the numpy language model, torch's own layers, the paper's counts."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from hypnograph.errors import HypnographError  # noqa: E402
from hypnograph.sequences.language_model import Config, StageLanguageModel, weight_shapes  # noqa: E402
from hypnograph.training.disorder_network import (  # noqa: E402
    BagOfStages,
    HierarchicalTransformer,
    Schedule,
    StretchLSTM,
    collate,
    focal_loss,
    predict,
    sinusoids,
    stretch_states,
    train,
    where_in_the_night,
)
from hypnograph.training.objectives import focal  # noqa: E402
from hypnograph.training.stage_gpt import StageGPT  # noqa: E402
from tests.sequences.sleepers import night  # noqa: E402

SMALL = Config(positions=60, width=12, layers=1, heads=2)
NIGHTS = [night(seed, broken=seed % 2 == 1, n_epochs=n) for seed, n in enumerate((130, 61, 240, 200))]


def trunk(config: Config = SMALL, seed: int = 0) -> StageGPT:
    torch.manual_seed(seed)
    network = StageGPT(config)
    with torch.no_grad():  # larger than GPT-2 begins, so that a mistake shows
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    made = {"transformer": HierarchicalTransformer(trunk()), "lstm": StretchLSTM(trunk()), "bag": BagOfStages()}
    return {name: network.eval() for name, network in made.items()}


class TestTheTrunk:
    def test_has_the_names_shapes_and_number_of_the_language_model(self) -> None:
        found = StageGPT().to_numpy()
        assert {name: values.shape for name, values in found.items()} == weight_shapes(Config())
        assert sum(parameter.numel() for parameter in StageGPT().parameters()) == 88_080
        assert sum(p.numel() for p in StageGPT(Config(positions=90)).parameters()) == 89_520

    def test_says_the_same_as_the_language_model_in_numpy(self) -> None:
        network = trunk(Config())
        model = StageLanguageModel(config=Config(), weights=network.to_numpy(), context=60)
        stages = np.random.default_rng(0).integers(0, 5, (3, 60))
        with torch.no_grad():
            found = network.logits(network(torch.from_numpy(stages)))[..., :5].log_softmax(-1).numpy()
        np.testing.assert_allclose(found, model.log_probabilities(stages), atol=1e-5)

    def test_weights_go_there_and_back(self) -> None:
        network = trunk()
        model = StageLanguageModel(config=SMALL, weights=network.to_numpy(), context=60)
        back = StageGPT.from_model(model)
        for name, value in network.state_dict().items():
            torch.testing.assert_close(back.state_dict()[name], value, rtol=0, atol=0)
        with torch.no_grad():
            back.stage_embedding.zero_()
        assert model.weights["stage_embedding"].any()

    def test_no_epoch_depends_on_a_later_one(self) -> None:
        network, tokens = trunk(), torch.randint(5, (1, 60))
        later = tokens.clone()
        later[0, 30:] = (later[0, 30:] + 1) % 5
        a, b = network(tokens), network(later)
        torch.testing.assert_close(a[:, :30], b[:, :30])
        assert not torch.allclose(a[:, 30:], b[:, 30:])

    def test_dropout_works_in_training_only(self) -> None:
        network, tokens = trunk(), torch.randint(5, (1, 60))
        assert torch.equal(network(tokens), network(tokens))
        network.train()
        assert not torch.equal(network(tokens), network(tokens))

    def test_what_it_cannot_do_is_refused(self) -> None:
        with pytest.raises(HypnographError, match="61 epochs are longer than the 60 positions"):
            trunk()(torch.zeros(1, 61, dtype=torch.long))
        with pytest.raises(HypnographError, match=r"dropout is 1\.0"):
            StageGPT(dropout=1.0)


class TestOneBatch:
    def test_nights_are_cut_into_stretches_and_padded_at_the_end(self) -> None:
        tokens, scored = collate([np.full(61, 3, np.int8), np.array([-1, 2, -1], np.int8)])
        assert tokens.shape == (2, 2, 60)
        assert tokens[0, 1].tolist() == [3] + [5] * 59
        assert tokens[1, 0, :4].tolist() == [0, 2, 2, 5]  # unscored: the last stage before, at first W
        assert scored.sum((1, 2)).tolist() == [61, 3]

    @pytest.mark.parametrize("name", ["transformer", "lstm", "bag"])
    def test_a_night_never_depends_on_its_batch_mates(self, name) -> None:
        network = networks()[name]
        with torch.no_grad():
            together, alone = network(collate(NIGHTS)).logits, [network(collate([n])).logits[0] for n in NIGHTS]
        torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("head", [HierarchicalTransformer, StretchLSTM])
    def test_with_parity_it_does_as_in_the_official_code(self, head) -> None:
        torch.manual_seed(1)
        network = head(trunk(), parity=True).eval()
        with torch.no_grad():
            together, alone = network(collate(NIGHTS)).logits[1], network(collate([NIGHTS[1]])).logits[0]
        assert not torch.allclose(together, alone, atol=1e-4)

    def test_a_stretch_is_the_state_of_its_last_epoch(self) -> None:
        gpt, stages = trunk(), torch.from_numpy(NIGHTS[0].astype(np.int64))
        states = stretch_states(gpt, collate(NIGHTS[:1]))
        torch.testing.assert_close(states[0, 1], gpt(stages[None, 60:120])[0, -1])
        torch.testing.assert_close(states[0, 2], gpt(stages[None, 120:])[0, -1])  # 10 epochs


class TestTheHierarchicalTransformer:
    def test_has_the_parameters_of_the_paper(self) -> None:
        assert sum(parameter.numel() for parameter in HierarchicalTransformer(StageGPT()).parameters()) == 321_650

    def test_its_layer_is_torchs_own_pre_norm_layer(self) -> None:
        layer = HierarchicalTransformer(trunk()).encoder.eval()
        oracle = nn.TransformerEncoderLayer(192, 6, 192, 0.0, "gelu", batch_first=True, norm_first=True).eval()
        names = {
            "attention_norm": "norm1", "feed_forward_norm": "norm2", "attention": "self_attn",
            "feed_forward.0": "linear1", "feed_forward.2": "linear2",
        }  # fmt: skip
        state = {}
        for name, value in layer.state_dict().items():
            ours = next(o for o in sorted(names, key=len, reverse=True) if name.startswith(f"{o}."))
            state[names[ours] + name[len(ours) :]] = value
        oracle.load_state_dict(state)
        x, there = torch.randn(2, 9, 192), torch.ones(2, 9, dtype=torch.bool)
        there[1, 6:] = False
        found = layer(x, there)[0]
        torch.testing.assert_close(found[0], oracle(x, src_key_padding_mask=~there)[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found[1, :6], oracle(x, src_key_padding_mask=~there)[1, :6], atol=1e-5, rtol=1e-4)

    def test_with_parity_the_residual_begins_at_the_normalised_values(self) -> None:
        layer = HierarchicalTransformer(trunk(), parity=True).encoder.eval()
        for parameter in (*layer.attention.parameters(), *layer.feed_forward.parameters()):
            nn.init.zeros_(parameter)
        nn.init.normal_(layer.attention.out_proj.bias)
        nn.init.normal_(layer.feed_forward[2].bias)
        x, norm = 5 + 3 * torch.randn(1, 4, 192), nn.functional.layer_norm
        found = layer(x, torch.ones(1, 4, dtype=torch.bool))[0]
        mixed = norm(x, (192,)) + layer.attention.out_proj.bias
        torch.testing.assert_close(found, norm(mixed, (192,)) + layer.feed_forward[2].bias)

    def test_the_attention_is_that_of_the_first_place_by_hand(self) -> None:
        layer, x = HierarchicalTransformer(trunk()).encoder.eval(), torch.randn(1, 5, 192)
        normed = nn.functional.layer_norm(x, (192,))[0]
        query, key, _ = (normed @ layer.attention.in_proj_weight.T + layer.attention.in_proj_bias).split(192, dim=1)
        scores = torch.einsum("hv,khv->hk", query[0].view(6, 32), key.view(5, 6, 32)) / 32**0.5
        found = layer(x, torch.ones(1, 5, dtype=torch.bool))[1][0]
        torch.testing.assert_close(found, scores.softmax(-1).mean(0))

    def test_with_parity_the_mask_adds_one_and_hides_nothing(self) -> None:
        network = HierarchicalTransformer(trunk(), parity=True).encoder.eval()
        nn.init.zeros_(network.attention.in_proj_weight)  # all scores are 0, but for the mask
        there = torch.tensor([[True, True, False]])
        expected = torch.tensor([np.e, np.e, 1], dtype=torch.float32) / (2 * np.e + 1)
        torch.testing.assert_close(network(torch.randn(1, 3, 192), there)[1][0], expected)

    def test_attention_says_where_in_the_night_and_never_on_padding(self) -> None:
        network = networks()["transformer"]
        with torch.no_grad():
            attention = network(collate(NIGHTS)).attention
        assert attention.shape == (4, 4)
        assert (attention[1, 2:] == 0).all()
        assert (attention[1, :2] > 0).all()
        assert (attention.sum(1) < 1).all()  # the rest is the learned token's own
        np.testing.assert_allclose(where_in_the_night(network, NIGHTS[1]), attention[1, :2].numpy(), atol=1e-6)

    def test_the_order_of_the_stretches_counts(self) -> None:
        network = networks()["transformer"]
        swapped = np.concatenate([NIGHTS[2][120:], NIGHTS[2][:120]])
        assert abs(np.diff(predict(network, [NIGHTS[2], swapped]))[0]) > 1e-6

    def test_positions_are_those_of_vaswani(self) -> None:
        found = sinusoids(7, 192).numpy()
        assert found[3, 10] == pytest.approx(np.sin(3 / 10_000 ** (10 / 192)), abs=1e-6)
        assert found[3, 11] == pytest.approx(np.cos(3 / 10_000 ** (10 / 192)), abs=1e-6)


def test_a_bag_of_stages_is_a_line_in_the_shares_of_the_stages() -> None:
    bag = BagOfStages()
    shares = np.stack([np.bincount(n, minlength=5) / len(n) for n in NIGHTS])
    with torch.no_grad():
        found = bag(collate(NIGHTS)).logits.numpy()
        vectors, weight, bias = (p.numpy() for p in (bag.stages.weight, bag.answer.weight, bag.answer.bias))
    np.testing.assert_allclose(found, shares @ vectors @ weight.T + bias, atol=1e-5)


def easy(seed: int) -> np.ndarray:
    """Return a night of N2 and N3, or of an ill sleeper, odd seeds, of W and REM."""
    return np.random.default_rng(seed).choice([0, 4] if seed % 2 else [2, 3], 80).astype(np.int8)


HERE = [easy(seed) for seed in range(12)]
ILL = np.arange(12) % 2 == 1
QUICK = Schedule(passes=8, learning_rate=3e-3, warm_up=1, batch=6)


class TestTraining:
    def test_the_loss_is_the_focal_loss_with_alpha_2(self) -> None:
        logits, answers = torch.randn(9, 2), torch.randint(2, (9,))
        found = focal_loss(logits, answers, Schedule(), torch.ones(2))
        torch.testing.assert_close(found, 2 * focal(logits, answers, 2.0))

    def test_balanced_answers_weigh_the_same(self) -> None:
        logits, answers = torch.zeros(4, 2, requires_grad=True), torch.tensor([0, 1, 1, 1])
        focal_loss(logits, answers, Schedule(), 4 / (2 * torch.bincount(answers))).backward()
        torch.testing.assert_close(logits.grad.sum(0), torch.zeros(2))

    def test_the_rate_warms_up_and_falls_along_a_cosine(self) -> None:
        schedule = Schedule()
        assert [schedule.rate(e) for e in (0, 5, 10)] == pytest.approx([1e-8, 2.5e-5, 5e-5])
        assert [schedule.rate(e) for e in (55, 100)] == pytest.approx([2.5e-5, 1e-8], rel=1e-3)

    def test_norms_and_biases_do_not_decay(self) -> None:
        from hypnograph.training.disorder_network import _optimiser

        matrices, others = _optimiser(networks()["transformer"], Schedule()).param_groups
        assert (matrices["weight_decay"], others["weight_decay"], matrices["betas"]) == (5e-4, 0, (0.9, 0.95))
        assert all(p.ndim >= 2 for p in matrices["params"])

    @pytest.mark.parametrize("frozen", [True, False])
    @pytest.mark.parametrize("name", ["transformer", "lstm"])
    def test_it_learns_and_a_frozen_trunk_stays(self, name, frozen) -> None:
        network = networks()[name]
        before = network.trunk.to_numpy()
        train(network, HERE, ILL, Schedule(**vars(QUICK) | {"frozen": frozen}))
        scores = predict(network, [easy(seed) for seed in range(50, 62)])
        assert scores[1::2].min() > scores[::2].max()
        same = [np.array_equal(before[k], v) for k, v in network.trunk.to_numpy().items()]
        assert all(same) if frozen else not any(same[:2])

    def test_a_frozen_trunk_reads_without_dropout(self) -> None:
        from hypnograph.training.disorder_network import _judge

        network = networks()["lstm"]
        alone = network(collate(HERE[:3])).logits
        found = _judge(network, HERE, frozen=True)(torch.tensor([0, 1, 2])).logits
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-4)

    def test_the_same_seed_gives_the_same_network_and_leaves_torchs_own_alone(self) -> None:
        found = []
        for around in (7, 8):
            network = networks()["bag"]
            torch.manual_seed(around)
            expected = torch.rand(1)
            torch.manual_seed(around)
            train(network, HERE, ILL, QUICK, seed=3)
            assert torch.rand(1) == expected
            found.append(predict(network, HERE))
        np.testing.assert_array_equal(*found)

    def test_nights_of_one_answer_are_refused(self) -> None:
        with pytest.raises(HypnographError, match="12 nights, 0 of them ill; training needs nights of both"):
            train(networks()["bag"], HERE, np.zeros(12, bool))
