"""Gradient-boosted decision trees: read once from LightGBM's text format, kept as flat arrays, evaluated by numpy.

A published classifier comes as a joblib file, which is a pickle. A pickle can run code, so it is never loaded: its
tokens are read until the model's text appears (`model_text`). The text is turned into arrays once and kept in a cache
folder.

Evaluation handles all epochs and all trees of one depth at a time. Whether an epoch passes a node is one bit; a night's
epochs of a node are some hundred bytes, and going down the trees is a logical AND of those bytes. This takes a tenth of
the time that importing a tree library would.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypnograph.cache import cache_folder
from hypnograph.errors import UnreadableFileError
from hypnograph.whole_file import whole_file

FloatArray = NDArray[np.float64]

# Part of the names of cached files: count up when the arrays change their meaning.
_LAYOUT = 1
_MODEL_BEGINS = "tree\nversion=v"
# LightGBM's bit field: a numerical split, missing values not treated apart.
_PLAIN_SPLIT = 2


@dataclass(frozen=True, eq=False)
class TreeEnsemble:
    """Trees for several classes; the probabilities are the softmax of the summed leaf values.

    Parameters
    ----------
    feature_names : str array, shape (n_features,)
        The columns that it takes, in order.
    feature, threshold : int32 and float64 array, shape (n_conditions,)
        Conditions ``x[feature] > threshold``, each once.
    condition, depth, below, above : int32 array, shape (n_nodes,)
        For each inner node, in order of depth: its condition, its depth, and where an epoch goes that does not, or
        does, meet the condition. Places 0 to n_nodes − 1 are nodes, after them come the leaves, `n_leaves` for each
        tree. The first n_trees nodes are the roots.
    leaf_value : float64 array, shape (n_trees, n_leaves)
        Tree i is for class i modulo n_classes. Unused leaves are 0.
    n_classes : int array, shape ()
    """

    feature_names: NDArray[np.str_]
    feature: NDArray[np.int32]
    threshold: FloatArray
    condition: NDArray[np.int32]
    depth: NDArray[np.int32]
    below: NDArray[np.int32]
    above: NDArray[np.int32]
    leaf_value: FloatArray
    n_classes: NDArray[np.int_]

    @cached_property
    def _levels(self) -> list[slice]:
        edges = np.flatnonzero(np.diff(self.depth, prepend=-1, append=self.depth[-1] + 1))
        return [slice(a, b) for a, b in pairwise(edges)]

    def probabilities(self, features: NDArray[np.floating[Any]]) -> FloatArray:
        """Return the probability of each class.

        Parameters
        ----------
        features : float array, shape (n_epochs, n_features)
            In the order of `feature_names`; no NaN.

        Returns
        -------
        float64 array, shape (n_epochs, n_classes)
        """
        scores = self._scores(features)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))

    def _scores(self, features: NDArray[np.floating[Any]]) -> FloatArray:
        leaf = self._leaves(self._conditions(features))[:, : len(features)]
        values = np.take_along_axis(self.leaf_value, leaf, axis=1)
        return np.asarray(values.reshape(-1, int(self.n_classes), len(features)).sum(axis=0).T)

    def _conditions(self, features: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """Return which epochs meet each condition, shape (n_conditions, n_epochs / 8), eight epochs to a byte."""
        columns = np.ascontiguousarray(features.T, dtype=np.float64)
        met = np.empty((len(self.feature), -(-len(features) // 8)), dtype=np.uint8)
        edges = np.searchsorted(self.feature, np.arange(len(columns) + 1))
        for column, first, last in zip(columns, edges[:-1], edges[1:], strict=True):
            met[first:last] = np.packbits(column > self.threshold[first:last, None], axis=1)
        return met

    def _leaves(self, met: NDArray[np.uint8]) -> NDArray[np.unsignedinteger[Any]]:
        """Return the leaf in which each epoch ends in each tree, shape (n_trees, n_epochs rounded up to 8)."""
        n_trees, n_leaves = self.leaf_value.shape
        n_nodes = len(self.condition)
        here = np.zeros((n_nodes + n_trees * n_leaves, met.shape[1]), dtype=np.uint8)
        here[:n_trees] = 0xFF
        for level in self._levels:
            passed = here[level] & met[self.condition[level]]
            here[self.above[level]] = passed
            here[self.below[level]] = here[level] ^ passed
        reached = here[n_nodes:].reshape(n_trees, n_leaves, -1)
        number = np.min_scalar_type(n_leaves - 1)
        leaf = np.zeros((n_trees, 8 * met.shape[1]), dtype=number)
        for bit in range(max(1, (n_leaves - 1).bit_length())):
            odd = (np.arange(n_leaves) >> bit) & 1 == 1
            bits = np.unpackbits(np.bitwise_or.reduce(reached[:, odd], axis=1), axis=1)
            leaf |= bits.astype(number, copy=False) << number.type(bit)
        return leaf


# LightGBM's text -----------------------------------------------------------------------------------------------------


def parse_lightgbm(text: str) -> TreeEnsemble:
    """Read a multi-class model in LightGBM's text format (version 2 to 4).

    Raises
    ------
    UnreadableFileError
        If the model is of another kind: categorical splits, missing values as a branch, linear leaves.
    """
    head, *rest = text.split("\n\nend of trees", 1)[0].split("\nTree=")
    header = _fields(head)
    trees = [_fields(tree) for tree in rest]
    plain = {"num_cat": {"0"}, "is_linear": {"0"}, "decision_type": {str(_PLAIN_SPLIT)}}
    for tree in trees:
        for name, allowed in plain.items():
            if not set(tree.get(name, next(iter(allowed))).split()) <= allowed:
                raise UnreadableFileError(
                    f"a tree has {name}={tree[name][:20]}; only plain numerical splits are supported"
                )
    if any(int(tree["num_leaves"]) < 2 for tree in trees):
        raise UnreadableFileError("a tree has no split; only trees with splits are supported")
    if not trees or not header.get("objective", "").startswith("multiclass "):
        raise UnreadableFileError("not a LightGBM model for several classes")
    return _flatten(header, trees)


def _fields(lines: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines.split("\n") if "=" in line)


def _flatten(header: dict[str, str], trees: list[dict[str, str]]) -> TreeEnsemble:
    n_trees = len(trees)
    n_inner = np.array([int(tree["num_leaves"]) - 1 for tree in trees])
    n_leaves = int(n_inner.max()) + 1
    owner = np.repeat(np.arange(n_trees), n_inner)
    first_node = np.cumsum(n_inner) - n_inner
    feature, threshold = _joined(trees, "split_feature", int), _joined(trees, "threshold", float)
    conditions, condition = np.unique(np.stack([feature, threshold]), axis=1, return_inverse=True)
    # A child is the number of a node of the same tree, or −1 minus the number of a leaf.
    children = np.stack([_joined(trees, "left_child", int), _joined(trees, "right_child", int)])
    inner = children >= 0
    depth = np.zeros(len(owner), dtype=int)
    for node in range(len(owner)):  # a parent always comes before its children
        for child in children[inner[:, node], node]:
            depth[first_node[owner[node]] + child] = depth[node] + 1
    order = np.argsort(depth, kind="stable")
    place = np.empty(len(order), dtype=int)
    place[order] = np.arange(len(order))
    goes_to = len(order) + owner * n_leaves + (-1 - children)
    goes_to[inner] = place[(first_node[owner] + children)[inner]]
    leaf_value = np.zeros((n_trees, n_leaves))
    for row, tree in zip(leaf_value, trees, strict=True):
        values = tree["leaf_value"].split()
        row[: len(values)] = np.array(values, dtype=float)
    return TreeEnsemble(
        feature_names=np.array(header["feature_names"].split()),
        feature=conditions[0].astype(np.int32),
        threshold=conditions[1],
        condition=condition.ravel()[order].astype(np.int32),
        depth=depth[order].astype(np.int32),
        below=goes_to[0][order].astype(np.int32),
        above=goes_to[1][order].astype(np.int32),
        leaf_value=leaf_value,
        n_classes=np.array(int(header["num_class"])),
    )


def _joined(trees: list[dict[str, str]], name: str, dtype: type) -> NDArray[Any]:
    return np.array(" ".join(tree[name] for tree in trees).split(), dtype=dtype)


# The file that it comes in, and the cache ----------------------------------------------------------------------------


def load_tree_ensemble(path: Path) -> tuple[TreeEnsemble, str]:
    """Return the trees of a published classifier and the file's SHA-256.

    The trees are kept in `cache_folder` under the file's hash; where the folder cannot be written, or what is there
    cannot be read, they are made anew.

    Parameters
    ----------
    path
        A LightGBM classifier saved by joblib.

    Raises
    ------
    UnreadableFileError
        If no supported model is found in the file.
    """
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    cached = cache_folder() / f"trees-{_LAYOUT}-{sha256}.npz"
    kept = _read_cached(cached)
    if kept is not None:
        return kept, sha256
    ensemble = parse_lightgbm(model_text(content, path.name))
    try:
        with whole_file(cached) as temporary:
            np.savez(temporary, **{field.name: getattr(ensemble, field.name) for field in fields(ensemble)})
    except OSError:
        pass  # a read-only home: the next run makes them again
    return ensemble, sha256


def _read_cached(path: Path) -> TreeEnsemble | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return TreeEnsemble(**{field.name: arrays[field.name] for field in fields(TreeEnsemble)})
    except (OSError, ValueError, KeyError, EOFError, TypeError, zlib.error, zipfile.BadZipFile):
        return None


def model_text(content: bytes, name: str) -> str:
    """Return the LightGBM text inside a pickled classifier, without running the pickle.

    Raises
    ------
    UnreadableFileError
        If there is none.
    """
    try:
        text = next((token for token in _strings(content) if token.startswith(_MODEL_BEGINS)), None)
    except (zlib.error, ValueError) as error:
        raise UnreadableFileError(f"{name}: not a classifier saved by joblib ({error})") from error
    if text is None:
        raise UnreadableFileError(f"{name}: holds no LightGBM model")
    return text


def _strings(content: bytes) -> Iterator[str]:
    import pickletools

    plain = zlib.decompress(content) if content[:1] == b"x" else content
    return (argument for _, argument, _ in pickletools.genops(plain) if isinstance(argument, str))
