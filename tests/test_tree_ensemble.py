"""Trees give LightGBM's own probabilities; the pickle that they come in is never run.

The oracle is the lightgbm package.
"""

import os
import pickle
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

from hypnograph.errors import UnreadableFileError
from hypnograph.tree_ensemble import cache_folder, load_tree_ensemble, model_text, parse_lightgbm


@pytest.fixture(scope="module")
def lightgbm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("lightgbm")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYPNOGRAPH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def examples(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, 6)).astype(np.float32)
    classes = (features[:, 0] > 0).astype(int) + (features[:, 1] * features[:, 2] > 0.3) + (features[:, 3] > 1)
    return features, classes


@pytest.fixture(scope="module")
def classifier(lightgbm):
    return train(lightgbm)


def train(lightgbm, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"n_estimators": 12, "num_leaves": 40, "verbose": -1, "n_jobs": 1} | options
        return lightgbm.LGBMClassifier(**options).fit(*examples(3000))


def saved(classifier, path: Path) -> Path:
    import joblib

    joblib.dump(classifier, path, compress=True)
    return path


def expected(classifier, features: np.ndarray) -> np.ndarray:
    return classifier.booster_.predict(features)


class TestProbabilities:
    @pytest.mark.parametrize("n_epochs", [1, 8, 37])
    def test_they_equal_lightgbm(self, classifier, n_epochs: int) -> None:
        features, _ = examples(n_epochs, seed=5)
        ours = parse_lightgbm(classifier.booster_.model_to_string()).probabilities(features)
        np.testing.assert_allclose(ours, expected(classifier, features), rtol=1e-12)

    def test_a_value_on_a_threshold_goes_where_lightgbm_sends_it(self, classifier) -> None:
        ensemble = parse_lightgbm(classifier.booster_.model_to_string())
        features = np.zeros((len(ensemble.threshold), 6))
        features[np.arange(len(features)), ensemble.feature] = ensemble.threshold
        np.testing.assert_allclose(ensemble.probabilities(features), expected(classifier, features), rtol=1e-12)

    def test_infinite_values_go_where_lightgbm_sends_them(self, classifier) -> None:
        features = np.array([[np.inf] * 6, [-np.inf] * 6])
        ours = parse_lightgbm(classifier.booster_.model_to_string()).probabilities(features)
        np.testing.assert_allclose(ours, expected(classifier, features), rtol=1e-12)

    @pytest.mark.parametrize("options", [{"num_leaves": 2}, {"num_leaves": 300, "min_child_samples": 2}])
    def test_small_and_large_trees_equal_lightgbm(self, lightgbm, options: dict[str, int]) -> None:
        trained = train(lightgbm, **options)
        features, _ = examples(50, seed=6)
        ours = parse_lightgbm(trained.booster_.model_to_string()).probabilities(features)
        np.testing.assert_allclose(ours, expected(trained, features), rtol=1e-12)


class TestRefusals:
    def test_a_model_for_two_classes_is_refused(self, lightgbm) -> None:
        features, classes = examples(500)
        trained = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(features, classes > 0)
        with pytest.raises(UnreadableFileError, match="several classes"):
            parse_lightgbm(trained.booster_.model_to_string())

    def test_a_model_with_missing_values_as_a_branch_is_refused(self, lightgbm) -> None:
        features, classes = examples(500)
        features[::7, 0] = np.nan
        trained = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(features, classes)
        with pytest.raises(UnreadableFileError, match="decision_type"):
            parse_lightgbm(trained.booster_.model_to_string())

    @pytest.mark.parametrize("content", [b"", b"not a pickle", b"x\x9cbroken", zlib.compress(pickle.dumps({"a": "b"}))])
    def test_other_files_are_refused_by_name(self, content: bytes) -> None:
        with pytest.raises(UnreadableFileError, match=r"clf\.joblib"):
            model_text(content, "clf.joblib")


class _Bomb:
    def __reduce__(self):
        return (os.mkdir, (os.environ["BOMB"],))


class TestLoading:
    def test_a_saved_classifier_is_read_and_kept(self, classifier, tmp_path: Path, cache: Path) -> None:
        path = saved(classifier, tmp_path / "clf.joblib")
        features, _ = examples(20, seed=7)
        for _ in range(2):
            ensemble, sha256 = load_tree_ensemble(path)
            np.testing.assert_allclose(ensemble.probabilities(features), expected(classifier, features), rtol=1e-12)
        assert [file.name for file in cache.iterdir()] == [f"trees-1-{sha256}.npz"]

    def test_code_in_the_pickle_is_not_run(self, classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
        path = tmp_path / "clf.joblib"
        path.write_bytes(zlib.compress(pickle.dumps([_Bomb(), classifier.booster_.model_to_string()])))
        load_tree_ensemble(path)
        assert not (tmp_path / "exploded").exists()

    @pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK" + bytes(100)])
    def test_a_damaged_cache_is_made_anew(self, classifier, tmp_path: Path, cache: Path, damage) -> None:
        path = saved(classifier, tmp_path / "clf.joblib")
        load_tree_ensemble(path)
        (kept,) = cache.iterdir()
        whole = kept.read_bytes()
        kept.write_bytes(damage(whole))
        ensemble, _ = load_tree_ensemble(path)
        features, _ = examples(5)
        np.testing.assert_allclose(ensemble.probabilities(features), expected(classifier, features), rtol=1e-12)
        assert len(kept.read_bytes()) == len(whole)

    def test_a_cache_that_cannot_be_written_does_no_harm(
        self, classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a-file").write_text("in the way")
        monkeypatch.setenv("HYPNOGRAPH_CACHE", str(tmp_path / "a-file" / "cache"))
        ensemble, _ = load_tree_ensemble(saved(classifier, tmp_path / "clf.joblib"))
        assert int(ensemble.n_classes) == 4

    @pytest.mark.skipif(sys.platform != "linux", reason="each platform has its own place")
    def test_the_cache_follows_the_desktop_standard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HYPNOGRAPH_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
        assert cache_folder() == Path("/somewhere/hypnograph")
