"""Stage language models: a small GPT-2 over the stages of a night, computed by numpy; the published ones load, too.

The tokens are the stages of the scheme, in their order, and one more that pads. The network is GPT-2 (Radford et al.
2019): layer norm before attention and before the feed-forward part, learned positions, GELU by tanh, and the embedding
of the stages is also the output. Given the stages up to epoch t it says how likely each stage is at epoch
t + `targets_ahead`.

The models of SleepGPT (github.com/yuty2009/sleepgpt, Apache-2.0), trained on SHHS visit 1, have 88,080 parameters with
60 positions and 89,520 with 90: `from_published`.

Differs from the official code
------------------------------
- The published models say what comes two epochs ahead, not one: their training shifted the targets twice. The official
  code uses them as if it were one. Here `StageLanguageModel.targets_ahead` is 2 for them, and what uses a model has to
  respect it.
- The last position of the published models was never trained: the second shift left it without a target. Their
  `context` is therefore 59 and 89. With 60 and 90 they are 0.03 to 0.06 nats worse, as LOG.md shows.
- Probabilities are over the five stages and sum to 1. The official code lets the padding token keep its share:
  ``parity=True``.
- A night may hold unscored epochs; the official corpus leaves them out, so that time breaks there.

Models that `training.language_model` trained have unshifted targets: `targets_ahead` is 1, and every position is used.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from hypnograph.errors import HypnographError
from hypnograph.sequences.model_folder import about, about_of, checked_weights, read_model, write_model
from hypnograph.sequences.next_stage import filled
from hypnograph.stages import AASM_5, Stage, StageScheme
from hypnograph.windows import log_softmax

Floats = NDArray[np.float32]

ARCHITECTURE = "stage-gpt"

NORM_EPSILON = 1e-5
FEED_FORWARD = 4
"""The hidden layer of the feed-forward part is so many times as wide as the network."""
WINDOWS_AT_ONCE = 8
"""More need more memory than the processor's cache holds, and are slower."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the network looks like; the defaults are the published sizes.

    Parameters
    ----------
    positions
        Epochs that it has learned positions for.
    tokens
        The stages and the padding.
    width
        Values for each epoch between the layers.
    layers, heads
        Attention layers, and heads in each.
    """

    positions: int = 60
    tokens: int = 6
    width: int = 48
    layers: int = 3
    heads: int = 6

    def __post_init__(self) -> None:
        """Refuse values that make no network."""
        for name, least in {"positions": 1, "tokens": 3, "width": 1, "layers": 1, "heads": 1}.items():
            if getattr(self, name) < least:
                raise HypnographError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.width % self.heads:
            raise HypnographError(f"width {self.width} is not a multiple of the {self.heads} heads")


def weight_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the names of the weights and their shapes; matrices are (in, out)."""
    width, hidden = config.width, FEED_FORWARD * config.width
    shapes: dict[str, tuple[int, ...]] = {
        "stage_embedding": (config.tokens, width),
        "position_embedding": (config.positions, width),
    }
    for layer in range(config.layers):
        for part, n_in, n_out in (
            ("attention.query_key_value", width, 3 * width),
            ("attention.output", width, width),
            ("feed_forward.expand", width, hidden),
            ("feed_forward.contract", hidden, width),
        ):
            shapes |= {f"layers.{layer}.{part}.weight": (n_in, n_out), f"layers.{layer}.{part}.bias": (n_out,)}
        for part in ("attention_norm", "feed_forward_norm"):
            shapes |= {f"layers.{layer}.{part}.{value}": (width,) for value in ("weight", "bias")}
    return shapes | {f"final_norm.{value}": (width,) for value in ("weight", "bias")}


@dataclass(frozen=True, eq=False, kw_only=True)
class StageLanguageModel:
    """p(stage at t + `targets_ahead` | stages up to t).

    Parameters
    ----------
    config
        What the network looks like.
    weights
        float32 arrays by the names and of the shapes of `weight_shapes`; they are copied, and read-only from then on.
    context
        How many epochs it is given at most: of the published models all positions but the last. Fewer are a model
        with a shorter memory: ``dataclasses.replace(model, context=30)``.
    targets_ahead
        How many epochs ahead the prediction lies; 1 is the next epoch. The published models have 2: they were trained
        with targets that had been shifted twice. One epoch ahead a table of transitions is better than they are.
    scheme
        The stages, in their order.
    name
        What the weights are called, e.g. ``"slm-shhs-60"``.
    data
        What they were trained on, in words.
    licence
        Of the weights.
    source
        Where they come from: an address or a DOI.

    Raises
    ------
    HypnographError
        If weights are missing, unknown, not finite or of another shape, or the numbers do not fit together.
    """

    config: Config
    weights: Mapping[str, Floats]
    context: int
    targets_ahead: int = 1
    scheme: StageScheme = AASM_5
    name: str = ""
    data: str = ""
    licence: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.context <= self.config.positions:
            raise HypnographError(
                f"context is {self.context} epochs; with {self.config.positions} positions it is 1 to "
                f"{self.config.positions}"
            )
        if self.targets_ahead < 1:
            raise HypnographError(f"targets_ahead is {self.targets_ahead}; the nearest target is 1 epoch ahead")
        if self.config.tokens != self.scheme.n_stages + 1:
            raise HypnographError(
                f"{self.config.tokens} tokens; scheme {self.scheme.name} needs {self.scheme.n_stages + 1}: "
                f"its {self.scheme.n_stages} stages and the padding"
            )
        weights = checked_weights(self.weights, weight_shapes(self.config), "weights of this language model")
        object.__setattr__(self, "weights", MappingProxyType(weights))

    @property
    def n_parameters(self) -> int:
        """How many values the weights are; the embedding, which is also the output, counts once."""
        return sum(values.size for values in self.weights.values())

    def log_probabilities(self, stages: ArrayLike, *, parity: bool = False) -> NDArray[np.float64]:
        """Return how likely each stage is `targets_ahead` epochs later, at each epoch.

        Epoch t is given the stages from t − context + 1 to t, or from the start of the night if that is nearer; never
        a later one. The oldest of these is always at the first position: each epoch past the first context is the end
        of a window of its own.

        An unscored epoch is read as the last scored stage before it, as W where there is none. The published models
        never saw their padding token: given it, they do worse on the epochs around (LOG.md).

        Parameters
        ----------
        stages : int array, shape (n_epochs,) or (night, n_epochs)
            Indices into the labels of the scheme; −1 is unscored.
        parity
            As the official code: the padding token keeps its share, so that the stages sum to a little less than 1.

        Returns
        -------
        float64 array, shape (n_epochs, n_stages) or (night, n_epochs, n_stages)
            Natural logarithms. Row t is for epoch t + `targets_ahead`.

        Raises
        ------
        HypnographError
            If there are no stages, or what is given is not stages of the scheme.
        """
        tokens = filled(stages, self.scheme)
        logits = self._logits(np.atleast_2d(tokens)).reshape(*tokens.shape, -1)
        n_stages = self.scheme.n_stages
        return log_softmax(logits)[..., :n_stages] if parity else log_softmax(logits[..., :n_stages])

    def reader(self, n_nights: int = 1) -> "_WindowReader":
        """Return what reads so many nights side by side, from before their first epochs.

        Each epoch is the end of a window of up to `context` epochs, which is computed anew.
        """
        return _WindowReader(self, n_nights)

    def save(self, folder: str | Path) -> Path:
        """Write a checkpoint: ``model.safetensors``, ``model.json`` and ``README.md``, the model card.

        Parameters
        ----------
        folder
            Is made if need be. Each file in it is written whole or not at all, the weights last.

        Raises
        ------
        HypnographError
            If the folder holds one of these files: a checkpoint is never overwritten.
        """
        info = {
            "architecture": ARCHITECTURE,
            "config": asdict(self.config),
            "context": self.context,
            "targets_ahead": self.targets_ahead,
            **about(self),
        }
        facts = {
            "Architecture": f"{ARCHITECTURE}, {self.n_parameters:,} parameters",
            "Input": f"the stages of up to {self.context} epochs: {', '.join(self.scheme.labels)}",
            "Output": f"how likely each stage is; epochs ahead: {self.targets_ahead}",
        }
        return write_model(folder, info, self.weights, facts=facts)

    def _logits(self, tokens: NDArray[np.intp]) -> Floats:
        """Return the logits of nights, shape (night, n_epochs, tokens)."""
        context = self.context
        hidden = self._hidden(tokens[:, :context], n_last=min(context, tokens.shape[1]))
        if tokens.shape[1] > context:
            windows = sliding_window_view(tokens[:, 1:], context, axis=1).reshape(-1, context)
            later = self._hidden(windows, n_last=1).reshape(len(tokens), -1, self.config.width)
            hidden = np.concatenate([hidden, later], axis=1)
        return hidden @ self.weights["stage_embedding"].T

    def _hidden(self, windows: NDArray[np.intp], n_last: int) -> Floats:
        """Return the hidden values of windows at their last `n_last` epochs, shape (window, n_last, width)."""
        batches = np.array_split(windows, math.ceil(len(windows) / WINDOWS_AT_ONCE))
        return np.concatenate([self._run(batch, n_last) for batch in batches])

    def _run(self, tokens: NDArray[np.intp], n_last: int) -> Floats:
        weights, n = self.weights, tokens.shape[1]
        x = weights["stage_embedding"][tokens] + weights["position_embedding"][:n]
        for layer in range(self.config.layers):
            # The last layer computes only what is asked for; the others are seen by it whole.
            asked = n_last if layer == self.config.layers - 1 else n
            x = self._layer(x, f"layers.{layer}", asked)
        return self._norm(x, "final_norm")

    def _layer(self, x: Floats, name: str, asked: int) -> Floats:
        y = x[:, -asked:] + self._attention(self._norm(x, f"{name}.attention_norm"), f"{name}.attention", asked)
        expanded = self._linear(self._norm(y, f"{name}.feed_forward_norm"), f"{name}.feed_forward.expand")
        return y + self._linear(_gelu(expanded), f"{name}.feed_forward.contract")

    def _attention(self, x: Floats, name: str, asked: int) -> Floats:
        """Return what the last `asked` epochs take from those before them and from themselves."""
        n_windows, n, width = x.shape
        heads = self._linear(x, f"{name}.query_key_value").reshape(n_windows, n, 3, self.config.heads, -1)
        query, key, value = np.ascontiguousarray(heads.transpose(2, 0, 3, 1, 4))  # each (window, head, epoch, value)
        query = query[:, :, -asked:] / np.float32(math.sqrt(key.shape[-1]))
        weight = query @ key.swapaxes(-1, -2)
        # In place: a new array for each step takes twice the time.
        weight += np.where(np.tri(n, dtype=bool), np.float32(0), np.float32(-np.inf))[-asked:]
        weight -= weight.max(axis=-1, keepdims=True)
        np.exp(weight, out=weight)
        mixed = weight @ value / weight.sum(axis=-1, keepdims=True)
        return self._linear(mixed.swapaxes(1, 2).reshape(n_windows, asked, width), f"{name}.output")

    def _linear(self, x: Floats, name: str) -> Floats:
        return np.asarray(x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])

    def _norm(self, x: Floats, name: str) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(NORM_EPSILON))
        return np.asarray(centred / deviation * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])


class _WindowReader:
    def __init__(self, model: StageLanguageModel, n_nights: int) -> None:
        self._model = model
        self._tokens = np.empty((n_nights, 0), dtype=np.intp)

    def read(self, stages: NDArray[np.intp]) -> NDArray[np.float64]:
        model = self._model
        last = self._tokens[:, -1] if self._tokens.size else np.full(len(self._tokens), Stage.W)
        newest = np.where(np.asarray(stages) == Stage.UNSCORED, last, stages)
        self._tokens = np.column_stack([self._tokens, newest])[:, -model.context :]
        hidden = model._hidden(self._tokens, n_last=1)[:, 0]
        logits = hidden @ model.weights["stage_embedding"].T
        return log_softmax(logits[:, : model.scheme.n_stages]).astype(np.float64)

    def select(self, nights: NDArray[np.intp]) -> None:
        self._tokens = self._tokens[nights]


def _gelu(x: Floats) -> Floats:
    """GELU by tanh, as GPT-2 has it."""
    cubic = x + np.float32(0.044715) * x * x * x
    return np.asarray(x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * cubic)) / 2)


# Files ---------------------------------------------------------------------------------------------------------------


def load_gpt(folder: str | Path) -> StageLanguageModel:
    """Read a checkpoint that `StageLanguageModel.save` wrote.

    Raises
    ------
    UnreadableFileError
        If there is none, it is damaged, of another architecture, or of a newer format.
    """

    def build(info: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> StageLanguageModel:
        others = {name: value for name, value in info.items() if name not in ("format", "architecture", "version")}
        fields = others | about_of(info) | {"config": Config(**info["config"])}
        return StageLanguageModel(weights=arrays, **fields)

    return read_model(folder, ARCHITECTURE, build)


def published_names(layers: int = 3) -> dict[str, str]:
    """Return the names of the published files, each with ours; ``lm_head.weight`` is the embedding again."""
    parts = {
        "ln_1": "attention_norm",
        "attn.c_attn": "attention.query_key_value",
        "attn.c_proj": "attention.output",
        "ln_2": "feed_forward_norm",
        "mlp.c_fc": "feed_forward.expand",
        "mlp.c_proj": "feed_forward.contract",
    }
    modules = {
        f"h.{layer}.{theirs}": f"layers.{layer}.{ours}" for layer in range(layers) for theirs, ours in parts.items()
    }
    modules["ln_f"] = "final_norm"
    return {
        "transformer.wte.weight": "stage_embedding",
        "transformer.wpe.weight": "position_embedding",
        **{f"transformer.{t}.{value}": f"{o}.{value}" for t, o in modules.items() for value in ("weight", "bias")},
        "lm_head.weight": "stage_embedding",
    }


def from_published(state_dict: Mapping[str, Any]) -> StageLanguageModel:
    """Make a model from the weights that SleepGPT's authors published.

    The files are ``output/gpt_shhs_pretrained/60_48_3_6.pth.tar`` and ``90_48_3_6.pth.tar`` of
    github.com/yuty2009/sleepgpt (Apache-2.0), saved on a GPU: read one with
    ``torch.load(path, map_location="cpu", weights_only=True)``.

    Parameters
    ----------
    state_dict
        Values by the names of the published file (`published_names`), as arrays or tensors; or the file's whole content
        with them under ``"state_dict"``. The causal masks in it are not needed.

    Returns
    -------
    StageLanguageModel
        Its `targets_ahead` is 2 and its `context` leaves out the last position; see the top of this file.

    Raises
    ------
    HypnographError
        If a name is missing, unknown, or has another shape.
    """
    values: Mapping[str, Any] = state_dict.get("state_dict", state_dict)
    embedded = np.shape(values.get("transformer.wpe.weight", 0))
    config = Config(positions=embedded[0]) if embedded else Config()
    names, shapes = published_names(config.layers), weight_shapes(config)
    masks = {f"transformer.h.{layer}.attn.{name}" for layer in range(config.layers) for name in ("bias", "masked_bias")}
    weights = checked_weights(
        {name: value for name, value in values.items() if name not in masks},
        {theirs: shapes[ours] for theirs, ours in names.items()},
        "published stage language model",
    )
    if not np.array_equal(weights["lm_head.weight"], weights["transformer.wte.weight"]):
        raise HypnographError("lm_head.weight is not transformer.wte.weight; the published models have one for both")
    return StageLanguageModel(
        config=config,
        weights={ours: weights[theirs] for theirs, ours in names.items()},
        context=config.positions - 1,
        targets_ahead=2,
        name=f"slm-shhs-{config.positions}",
        data="SHHS visit 1, 5,793 nights",
        licence="Apache-2.0",
        source="github.com/yuty2009/sleepgpt at c9dff7afa1d2920c354663f52d93f9ab3b929c27",
    )
