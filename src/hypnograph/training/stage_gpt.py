"""The network of the stage language model in torch, by the names of `sequences.language_model`: to train, to extend."""

import math
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from hypnograph.errors import HypnographError
from hypnograph.sequences.language_model import FEED_FORWARD, NORM_EPSILON, Config, StageLanguageModel, weight_shapes

WEIGHT_DEVIATION = 0.02
"""Of the normal distribution that GPT-2's weights begin with."""


class StageGPT(nn.Module):
    """GPT-2 over the stages of a night (Radford et al. 2019); 88,080 parameters with the defaults.

    The parameters have the names and shapes of `weight_shapes`, so that `to_numpy` is what `StageLanguageModel` takes.

    Parameters
    ----------
    config
        What the network looks like.
    dropout
        Probability of dropping a value while training: of the embedding, of the attention, and before each sum. A
        number of the training, not of the weights.
    """

    def __init__(self, config: Config | None = None, *, dropout: float = 0.1) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise HypnographError(f"dropout is {dropout}; it must be at least 0 and below 1")
        self.config = config = Config() if config is None else config
        self.stage_embedding = nn.Parameter(torch.empty(config.tokens, config.width))
        self.position_embedding = nn.Parameter(torch.empty(config.positions, config.width))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(_Layer(config.width, config.heads, dropout) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(config.width, NORM_EPSILON)
        self._initialise()

    @classmethod
    def from_model(cls, model: StageLanguageModel, *, dropout: float = 0.1) -> Self:
        """Return the network of a language model, with copies of its weights."""
        network = cls(model.config, dropout=dropout)
        network.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in model.weights.items()})
        return network

    def _initialise(self) -> None:
        """Begin as GPT-2 does: what is added to the residual stream is smaller the more layers add to it."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name:
                adds = name.endswith(("attention.output.weight", "feed_forward.contract.weight"))
                nn.init.normal_(parameter, std=WEIGHT_DEVIATION / (math.sqrt(2 * self.config.layers) if adds else 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the hidden values after the final norm; those of an epoch depend on none that come after it.

        Parameters
        ----------
        tokens : integer Tensor
            Shape (window, epoch), at most `positions` epochs: stages, and the last token for padding.

        Returns
        -------
        float32 Tensor, shape (window, epoch, width)
        """
        if tokens.shape[-1] > self.config.positions:
            raise HypnographError(
                f"windows of {tokens.shape[-1]} epochs are longer than the {self.config.positions} positions"
            )
        x = F.embedding(tokens, self.stage_embedding) + self.position_embedding[: tokens.shape[-1]]
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x)
        return self.final_norm(x)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of the tokens for each epoch's hidden values, shape (window, epoch, tokens)."""
        return hidden @ self.stage_embedding.T

    def to_numpy(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of the weights by name, in the order of `weight_shapes`."""
        state = self.state_dict()
        return {name: state[name].detach().cpu().numpy().astype(np.float32) for name in weight_shapes(self.config)}


class _Matrix(nn.Module):
    """A linear layer whose weight is (in, out), as GPT-2 has it."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.empty(n_out))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query_key_value = _Matrix(width, 3 * width)
        self.output = _Matrix(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n_windows, n, width = x.shape
        parts = self.query_key_value(x).view(n_windows, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)  # each (window, head, epoch, value)
        dropped = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropped, is_causal=True)
        return self.output(mixed.transpose(1, 2).reshape(n_windows, n, width))  # type: ignore[no-any-return]


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = _Matrix(width, FEED_FORWARD * width)
        self.contract = _Matrix(FEED_FORWARD * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(F.gelu(self.expand(x), approximate="tanh"))  # type: ignore[no-any-return]


class _Layer(nn.Module):
    """Attention, then the feed-forward part, each after its norm and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, NORM_EPSILON)
        self.attention = _Attention(width, heads, dropout)
        self.feed_forward_norm = nn.LayerNorm(width, NORM_EPSILON)
        self.feed_forward = _FeedForward(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))  # type: ignore[no-any-return]
