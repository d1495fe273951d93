"""Decoding: properties that hold for every decoder, and parity with the published loop, written out here."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.evaluation.staged_nights import StagedNight
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.sequences.beam_search import BeamDecoder
from hypnograph.sequences.decoder_fitting import candidates, fit_decoder
from hypnograph.sequences.decoding import (
    ChainDecoder,
    KeepingDecoder,
    SmoothingDecoder,
    decode,
    load_decoder,
    save_decoder,
    shipped_decoders,
    without_gaps,
)
from hypnograph.sequences.language_model import Config, StageLanguageModel, weight_shapes
from hypnograph.sequences.next_stage import filled
from hypnograph.sequences.published_decoding import PublishedDecoder
from hypnograph.sequences.smoothing import Regression, context_features, fit_regression
from hypnograph.sequences.trellis import best_path, n_gram_trellis, semi_markov_trellis, shares
from hypnograph.stages import AASM_5, SCHEMES
from tests.sequences.sleepers import night

NIGHTS = [night(seed, broken=False) for seed in range(8)]
MARKOV = n_gram_trellis(NIGHTS, 1)


def staged(stages: np.ndarray, seed: int, *, noise: float = 1.4) -> np.ndarray:
    """Return the probabilities of a stager that sees each epoch alone, and not well."""
    random = np.random.default_rng(seed)
    logits = 2.0 * np.eye(5)[stages] + noise * random.normal(size=(len(stages), 5))
    odds = np.exp(logits)
    return odds / odds.sum(1, keepdims=True)


TWO_BEFORE = n_gram_trellis(NIGHTS, 2)


class TwoBefore:
    """A chain that knows two stages, as a model of the next: with a beam wide enough, beam search is exact."""

    name, scheme, targets_ahead = "two before", AASM_5, 1

    def log_probabilities(self, stages):
        return self.reader().read(filled(stages, self.scheme))

    def reader(self, n_nights: int = 1) -> "TwoBefore":
        reader = TwoBefore()
        reader.before = None
        reader.chosen = np.arange(n_nights)
        return reader

    def read(self, stages):
        older = stages if self.before is None else self.before[self.chosen]
        self.before = stages
        self.chosen = np.arange(len(stages))
        return np.log(TWO_BEFORE.moves[older * 5 + stages] @ np.eye(5)[TWO_BEFORE.stages])

    def select(self, nights) -> None:
        self.chosen = nights


def language_model(*, targets_ahead: int = 1, seed: int = 0) -> StageLanguageModel:
    config, random = Config(positions=40, width=12, layers=2, heads=3), np.random.default_rng(seed)
    weights = {name: random.normal(0, 0.7, shape) for name, shape in weight_shapes(config).items()}
    return StageLanguageModel(config=config, weights=weights, context=39, targets_ahead=targets_ahead)


@cache
def decoders() -> dict:
    prior = shares(NIGHTS)
    nights = pairs(4)
    chains = [c for c in candidates(nights) if isinstance(c, ChainDecoder)]
    return {
        "chain": ChainDecoder(trellis=MARKOV, prior=prior, weight=0.5, prior_power=0),
        "semi-Markov path": ChainDecoder(
            trellis=semi_markov_trellis(NIGHTS, longest=4), prior=prior, prior_power=0, path=True
        ),
        "calibrated chain": chains[0],
        "smoother": candidates(nights)[-1],
        "errors": next(c for c in candidates(pairs(4, hard=True)) if isinstance(c, ChainDecoder)),
        "beam": BeamDecoder(TwoBefore(), width=8, lag=5),
        "published": PublishedDecoder(language_model(), context=12),
    } | {name: load_decoder(name) for name in shipped_decoders()}


def pairs(n: int, *, hard: bool = False) -> list[StagedNight]:
    found = []
    for seed in range(n):
        p = staged(NIGHTS[seed], seed)
        p = np.eye(5)[p.argmax(1)] if hard else p
        found.append(StagedNight(f"n{seed}", f"s{seed // 2}", Hypnogram(NIGHTS[seed]), Hypnodensity(p)))
    return found


# Every decoder -------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60), st.floats(0, 1))
def test_rows_sum_to_one_unknown_rows_stay_unknown_and_the_grid_is_kept(seed: int, n: int, gaps: float) -> None:
    random = np.random.default_rng(seed)
    p = staged(random.integers(0, 5, n), seed)
    p[random.random(n) < gaps] = np.nan
    for name, decoder in decoders().items():
        before = Hypnodensity(p, scorer="someone")
        after = decode(before, decoder)
        assert (after.known == before.known).all(), name
        np.testing.assert_allclose(after.probabilities[after.known].sum(1), 1, err_msg=name)
        assert after.start == before.start
        assert after.scorer.startswith("someone"), name


@pytest.mark.parametrize("name", ["chain", "semi-Markov path", "calibrated chain", "smoother", "beam"])
def test_a_stager_without_context_gains(name: str) -> None:
    decoder = decoders()[name]
    before, after = [], []
    for seed in (5, 6, 7):
        given_p = Hypnodensity(staged(NIGHTS[seed], 100 + seed))
        before.append(given_p.argmax().stages == NIGHTS[seed])
        after.append(decode(given_p, decoder).argmax().stages == NIGHTS[seed])
    assert np.mean(after) > np.mean(before) + 0.05


def test_the_raw_hypnodensity_is_not_changed() -> None:
    before = Hypnodensity(staged(NIGHTS[0], 0))
    kept = before.probabilities.copy()
    for decoder in decoders().values():
        decode(before, decoder)
    np.testing.assert_array_equal(before.probabilities, kept)


def test_with_weight_0_nothing_changes() -> None:
    p = np.maximum(staged(NIGHTS[0], 0), 1e-3)
    p /= p.sum(1, keepdims=True)
    for decoder in (
        ChainDecoder(trellis=MARKOV, prior=shares(NIGHTS), weight=0, prior_power=0),
        PublishedDecoder(language_model(), weight=0),
        KeepingDecoder(),
    ):
        np.testing.assert_allclose(decode(Hypnodensity(p), decoder).probabilities, p, atol=1e-12)


def test_an_unknown_night_comes_back_as_it_is() -> None:
    unknown = Hypnodensity(np.full((4, 5), np.nan))
    assert all(decode(unknown, decoder) == unknown for decoder in decoders().values())


def test_another_scheme_or_epoch_length_is_refused() -> None:
    decoder = decoders()["chain"]
    with pytest.raises(HypnographError, match=r"5 s.*30 s"):
        decode(Hypnodensity(staged(NIGHTS[0], 0), epoch_s=5), decoder)
    three = next(scheme for scheme in SCHEMES.values() if scheme.n_stages == 3)
    with pytest.raises(HypnographError, match=three.name):
        decode(Hypnodensity(np.full((4, 3), 1 / 3), scheme=three), decoder)


def test_a_known_neighbour_fills_a_gap_for_the_smoother() -> None:
    p = np.full((6, 5), np.nan)
    p[1], p[4] = np.eye(5)[2], np.eye(5)[3]
    assert without_gaps(p).argmax(1).tolist() == [2, 2, 2, 3, 3, 3]


# Chains --------------------------------------------------------------------------------------------------------------


def test_prior_division_is_bayes_rule() -> None:
    p, prior = staged(NIGHTS[0], 0), shares(NIGHTS)
    decoder = ChainDecoder(trellis=MARKOV, prior=prior, prior_power=1.0, path=True)
    divided = np.maximum(p, 1e-4) / prior
    np.testing.assert_allclose(decoder.probabilities(p), best_path(np.log(divided), MARKOV), rtol=1e-6)


@pytest.mark.parametrize("calibrated", [False, True])
def test_across_a_gap_the_chain_goes_on_by_its_moves_alone(calibrated: bool) -> None:
    p = np.full((9, 5), np.nan)
    p[0], p[8] = np.eye(5)[3] * 0.96 + 0.008, np.full(5, 0.2)
    prior = shares(NIGHTS)
    calibration = Regression(np.eye(5), np.zeros(5)) if calibrated else None
    decoder = ChainDecoder(trellis=MARKOV, prior=prior, prior_power=1.0, calibration=calibration)
    expected = (MARKOV.start * p[0] / prior) @ np.linalg.matrix_power(MARKOV.moves, 8) * p[8] / prior
    np.testing.assert_allclose(decoder.probabilities(p)[8], expected / expected.sum(), rtol=1e-6)


# Smoother ------------------------------------------------------------------------------------------------------------


def test_the_regression_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 4)) * [1, 2, 0.5, 1]
    y = (x @ random.normal(size=(4, 5)) + random.gumbel(size=(600, 5))).argmax(1)
    ours = fit_regression([x[:200], x[200:]], [y[:200], y[200:]], ridge=3.0).probabilities(x)
    theirs = linear_model.LogisticRegression(C=1 / 3, tol=1e-8, max_iter=2000)
    scaled = (x - x.mean(0)) / (x.std(0) + 1e-6)
    np.testing.assert_allclose(ours, theirs.fit(scaled, y).predict_proba(scaled), atol=3e-3)


def test_context_features_are_those_of_the_epochs_around_and_know_no_place_in_the_night() -> None:
    p = staged(night(1, broken=False, n_epochs=400), 1)
    found = context_features(p)
    assert found.shape == (400, 115)
    np.testing.assert_allclose(found[200, 5 * 5 : 6 * 5], np.log(np.maximum(p[200], 1e-4)))
    np.testing.assert_allclose(found[200, 55:60], p[197:200].mean(0))
    np.testing.assert_allclose(found[200, -5:], p[265:329].mean(0))
    np.testing.assert_allclose(context_features(p[50:350])[150], found[200])


# Beam search ---------------------------------------------------------------------------------------------------------


def test_a_wide_beam_finds_the_exact_posterior_of_a_short_night() -> None:
    p = staged(NIGHTS[0][:4], 3)
    start = np.zeros(25)
    start[::6] = 0.2  # W W, N1 N1 …: a beam knows nothing about the first epoch
    exact = ChainDecoder(trellis=replace(TWO_BEFORE, start=start), prior=shares(NIGHTS), prior_power=0)
    beam = BeamDecoder(TwoBefore(), weight=1.0, width=5**4, lag=10)
    np.testing.assert_allclose(beam.probabilities(p), exact.probabilities(p), atol=1e-9)


def test_a_beam_refuses_a_model_that_looks_two_epochs_ahead() -> None:
    with pytest.raises(HypnographError, match="2 epochs ahead"):
        BeamDecoder(language_model(targets_ahead=2))


# The published rule --------------------------------------------------------------------------------------------------


def official_loop(scores: np.ndarray, model, *, weight: float, n: int, min_len: int = 5) -> list[int]:
    """Return what SleepGPT's `correct` does: a full pass for each epoch, its own choices fed back.

    Where nothing is known, which the official code does not have, the last choice is repeated.
    """
    chosen: list[int] = []
    for t, z in enumerate(scores):
        if np.isnan(z[0]):
            chosen.append(chosen[-1])
            continue
        base = z - np.log(np.exp(z).sum())
        if t >= min_len:
            window = np.array(chosen[-n:])
            base = (1 - weight) * base + weight * model.log_probabilities(window, parity=True)[-1]
        chosen.append(int(base.argmax()))
    return chosen


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("double_softmax", [False, True])
@pytest.mark.parametrize("targets_ahead", [1, 2])
def test_the_published_rule_is_the_official_loop(weight: float, double_softmax: bool, targets_ahead: int) -> None:
    p, model = staged(NIGHTS[2], 9)[:150], language_model(targets_ahead=targets_ahead)
    decoder = PublishedDecoder(model, weight=weight, context=12, double_softmax=double_softmax)
    found = decode(Hypnodensity(p), decoder).argmax().stages
    expected = official_loop(p if double_softmax else np.log(p), model, weight=weight, n=12)
    assert found.tolist() == expected
    assert expected != p.argmax(1).tolist()


def test_in_a_gap_the_last_choice_goes_on() -> None:
    p, model = staged(NIGHTS[2], 9)[:150], language_model()
    p[np.random.default_rng(1).random(150) < 0.2] = np.nan
    p[0] = 0.2
    found = decode(Hypnodensity(p), PublishedDecoder(model, weight=0.7, context=12)).argmax().stages
    expected = np.array(official_loop(np.log(p), model, weight=0.7, n=12))
    assert found[found >= 0].tolist() == expected[found >= 0].tolist()


def test_used_rightly_a_model_of_two_ahead_says_nothing_about_the_next_epoch() -> None:
    p, model = staged(NIGHTS[2], 9)[:60], language_model(targets_ahead=2)
    rightly = PublishedDecoder(model, weight=0.8, context=12, one_ahead=False).probabilities(p).argmax(1)
    expected: list[int] = []
    for t, row in enumerate(np.log(p)):
        if t >= 5:
            window = np.array(expected[: t - 1][-12:])
            fused = 0.2 * row + 0.8 * model.log_probabilities(window)[-1]
        expected.append(int((fused if t >= 5 else row).argmax()))
    assert rightly.tolist() == expected


def test_the_first_five_epochs_and_shorter_nights_stay_as_staged() -> None:
    p, decoder = staged(NIGHTS[0], 0), PublishedDecoder(language_model(), weight=1.0, context=12)
    np.testing.assert_array_equal(decoder.probabilities(p)[:5], p[:5])
    assert not np.allclose(decoder.probabilities(p)[5], p[5])
    np.testing.assert_array_equal(decoder.probabilities(p[:3]), p[:3])


@pytest.mark.parametrize(
    ("options", "message"), [({"weight": 1.1}, "weight"), ({"context": 40}, "1 to 39"), ({"untouched": 0}, "untouched")]
)
def test_numbers_that_make_no_published_decoder_are_refused(options: dict, message: str) -> None:
    with pytest.raises(HypnographError, match=message):
        PublishedDecoder(language_model(), **options)


# Fitting and files ---------------------------------------------------------------------------------------------------


def test_fitting_chooses_a_decoder_that_helps_and_none_where_the_stager_is_perfect() -> None:
    assert not isinstance(fit_decoder(pairs(4), n_folds=2), KeepingDecoder)
    perfect = [n._replace(hypnodensity=Hypnodensity(np.eye(5)[n.reference.stages])) for n in pairs(4)]
    assert isinstance(fit_decoder(perfect, n_folds=2), KeepingDecoder)


def test_fitting_needs_two_subjects() -> None:
    with pytest.raises(HypnographError, match="1 subject"):
        fit_decoder(pairs(2))


def test_a_fit_on_stages_alone_uses_the_errors_of_the_stager() -> None:
    chains = [c for c in candidates(pairs(4, hard=True)) if isinstance(c, ChainDecoder)]
    assert chains
    assert all(c.errors is not None for c in chains)


@pytest.mark.parametrize("name", ["chain", "semi-Markov path", "calibrated chain", "smoother", "errors"])
def test_a_file_gives_back_the_decoder(name: str, tmp_path: Path) -> None:
    decoder, p = decoders()[name], staged(NIGHTS[7], 1)
    save_decoder(decoder, tmp_path / "decoder.json")
    for source in (tmp_path, tmp_path / "decoder.json"):
        again = load_decoder(source)
        np.testing.assert_allclose(again.probabilities(p), decoder.probabilities(p), atol=1e-6)
        assert again.name == decoder.name
    with pytest.raises(HypnographError, match="exists"):
        save_decoder(decoder, tmp_path / "decoder.json")


@pytest.mark.parametrize("change", [{"kind": "oracle"}, {"format": 99}, {"weights": [[1.0]]}, {"scheme": "mine"}])
def test_a_file_that_is_no_decoder_is_refused(change: dict, tmp_path: Path) -> None:
    save_decoder(decoders()["smoother"], tmp_path / "decoder.json")
    values = json.loads((tmp_path / "decoder.json").read_text())
    (tmp_path / "decoder.json").write_text(json.dumps(values | change))
    with pytest.raises(UnreadableFileError, match=r"decoder\.json"):
        load_decoder(tmp_path)


def test_an_unknown_name_lists_those_that_exist() -> None:
    with pytest.raises(HypnographError, match="there are none"):
        load_decoder("nonsense")


def test_shipped_decoders_are_small_and_load() -> None:
    from hypnograph.sequences.decoding import WEIGHTS

    assert "sleep" in shipped_decoders()
    for name in shipped_decoders():
        folder = WEIGHTS / f"decoder-{name}"
        assert (folder / "README.md").is_file()
        assert sum(file.stat().st_size for file in folder.iterdir()) < 200_000
        assert load_decoder(name).name == name


def test_a_regression_refuses_other_features() -> None:
    with pytest.raises(HypnographError, match="3 features"):
        SmoothingDecoder(Regression(np.zeros((4, 5)), np.zeros(5))).regression.probabilities(np.zeros((2, 3)))
