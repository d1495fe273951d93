"""Attention inside one epoch: the encoder of the paper (TCE) and a Conformer.

Both map features ``(epoch, feature, frame)`` to tokens ``(epoch, token, width)``. With ``tokens="channel"`` the
features are the tokens and the frames their width; with ``"time"`` the other way round. Epochs never see each other.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Tokens: TypeAlias = Literal["channel", "time"]

NORM_EPSILON = 1e-6


class CausalConvolution(nn.Conv1d):
    """A convolution over frames that sees the present frame and those before it."""

    KERNEL = 7

    def __init__(self, n_features: int, *, bias: bool = True) -> None:
        super().__init__(n_features, n_features, self.KERNEL, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (epoch, feature, frame), as many frames as came in."""
        return super().forward(functional.pad(x, (self.KERNEL - 1, 0)))


class UnbiasedLayerNorm(nn.Module):
    """Layer norm as in the official code: the deviation divides by n − 1, and ε is added to it, not to the variance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return x with each token standardised, same shape."""
        deviation = x.std(dim=-1, keepdim=True)
        return self.weight * (x - x.mean(dim=-1, keepdim=True)) / (deviation + NORM_EPSILON) + self.bias


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Return (epoch, head, token, width per head) for (epoch, token, width)."""
    return x.reshape(x.shape[0], x.shape[1], n_heads, x.shape[2] // n_heads).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Return (epoch, token, width) for (epoch, head, token, width per head)."""
    return x.transpose(1, 2).flatten(2)


class ConvolvedAttentionLayer(nn.Module):
    """One layer of the TCE. The residual stream is the convolved query, not the input."""

    def __init__(
        self,
        *,
        n_features: int,
        width: int,
        n_heads: int,
        n_hidden: int,
        dropout: float,
        tokens: Tokens,
        unused_convolutions: bool,
        ignored_norm: bool,
        unbiased_norm: bool,
    ) -> None:
        super().__init__()
        self.n_heads, self.tokens, self.ignored_norm = n_heads, tokens, ignored_norm
        make_norm = UnbiasedLayerNorm if unbiased_norm else lambda size: nn.LayerNorm(size, eps=NORM_EPSILON)
        self.query = CausalConvolution(n_features)
        # With time tokens a bias adds one vector to every key, which the softmax cancels.
        self.key = CausalConvolution(n_features, bias=tokens == "channel")
        self.value = CausalConvolution(n_features)
        self.unused = CausalConvolution(n_features) if unused_convolutions else None
        self.attention_norm = make_norm(width)
        self.attention_weights = nn.Dropout(dropout)
        self.project = nn.Linear(width, width)
        self.feed_forward_norm = make_norm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, n_hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(n_hidden, width)
        )
        self.dropout = nn.Dropout(dropout)

    def _to_tokens(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2) if self.tokens == "time" else x

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (split_heads(tensor, self.n_heads) for tensor in (query, key, value))
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        weights = self.attention_weights(scores.softmax(dim=-1))
        return self.project(merge_heads(weights @ value))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return (epoch, feature, frame), same shape as `x`."""
        query, key, value = (self._to_tokens(layer(x)) for layer in (self.query, self.key, self.value))
        asked = query if self.ignored_norm else self.attention_norm(query)
        attended = query + self.dropout(self._attend(asked, key, value))
        return self._to_tokens(attended + self.dropout(self.feed_forward(self.feed_forward_norm(attended))))


class TemporalContextEncoder(nn.Module):
    """TCE: layers of attention whose queries, keys and values are causal convolutions."""

    def __init__(
        self,
        *,
        n_features: int,
        n_frames: int,
        n_layers: int,
        n_heads: int,
        n_hidden: int,
        dropout: float,
        tokens: Tokens,
        unused_convolutions: bool,
        ignored_norm: bool,
        unbiased_norm: bool,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        width = n_frames if tokens == "channel" else n_features
        self.layers = nn.Sequential(
            *(
                ConvolvedAttentionLayer(
                    n_features=n_features,
                    width=width,
                    n_heads=n_heads,
                    n_hidden=n_hidden,
                    dropout=dropout,
                    tokens=tokens,
                    unused_convolutions=unused_convolutions,
                    ignored_norm=ignored_norm,
                    unbiased_norm=unbiased_norm,
                )
                for _ in range(n_layers)
            )
        )
        self.norm = UnbiasedLayerNorm(width) if unbiased_norm else nn.LayerNorm(width, eps=NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Return (epoch, token, width) for (epoch, feature, frame)."""
        x = self.layers(x)
        return self.norm(x.transpose(1, 2) if self.tokens == "time" else x)  # type: ignore[no-any-return]


def sinusoids(n_tokens: int, width: int) -> Tensor:
    """Return sines and cosines (2 n_tokens − 1, width) of the distances n_tokens − 1, …, 0, …, −(n_tokens − 1)."""
    distance = torch.arange(n_tokens - 1, -n_tokens, -1, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000) / width))
    return torch.stack([torch.sin(distance * rate), torch.cos(distance * rate)], dim=2).flatten(1)[:, :width]


class RelativeAttention(nn.Module):
    """Self-attention among the tokens of one epoch with relative positions (Transformer-XL, arXiv 1901.02860)."""

    def __init__(self, *, n_tokens: int, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.distance = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(n_heads, 1, width // n_heads))
        self.distance_bias = nn.Parameter(torch.zeros(n_heads, 1, width // n_heads))
        self.attention_weights = nn.Dropout(dropout)
        self.project = nn.Linear(width, width)
        self.sinusoids: Tensor
        self.distance_index: Tensor
        self.register_buffer("sinusoids", sinusoids(n_tokens, width), persistent=False)
        position = torch.arange(n_tokens)
        # Row i, column j: where the distance i − j stands in the table of sinusoids.
        self.register_buffer("distance_index", n_tokens - 1 - position[:, None] + position, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (epoch, token, width), same shape as `x`."""
        query, key, value = (split_heads(layer(x), self.n_heads) for layer in (self.query, self.key, self.value))
        distance = split_heads(self.distance(self.sinusoids)[None], self.n_heads)
        by_content = (query + self.content_bias) @ key.transpose(-2, -1)
        by_distance = (query + self.distance_bias) @ distance.transpose(-2, -1)
        by_distance = by_distance.gather(-1, self.distance_index.expand_as(by_content))
        weights = ((by_content + by_distance) / math.sqrt(query.shape[-1])).softmax(dim=-1)
        return self.project(merge_heads(self.attention_weights(weights) @ value))  # type: ignore[no-any-return]


class ConvolutionModule(nn.Module):
    """The Conformer's convolution over tokens: gated pointwise, depthwise, batch norm, Swish, pointwise."""

    KERNEL = 7

    def __init__(self, *, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1),
            nn.GLU(dim=1),
            nn.Conv1d(width, width, self.KERNEL, padding=self.KERNEL // 2, groups=width, bias=False),
            nn.BatchNorm1d(width),
            nn.SiLU(),
            nn.Conv1d(width, width, 1),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (epoch, token, width), same shape as `x`."""
        return self.layers(self.norm(x).transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]


class ConformerBlock(nn.Module):
    """Half a feed-forward step, attention, convolution, half a feed-forward step, layer norm (arXiv 2005.08100)."""

    def __init__(self, *, n_tokens: int, width: int, n_heads: int, n_hidden: int, dropout: float) -> None:
        super().__init__()

        def feed_forward() -> nn.Sequential:
            return nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, n_hidden),
                nn.SiLU(),
                nn.Dropout(dropout),
                nn.Linear(n_hidden, width),
                nn.Dropout(dropout),
            )

        self.first_feed_forward = feed_forward()
        self.attention = nn.Sequential(
            nn.LayerNorm(width),
            RelativeAttention(n_tokens=n_tokens, width=width, n_heads=n_heads, dropout=dropout),
            nn.Dropout(dropout),
        )
        self.convolution = ConvolutionModule(width=width, dropout=dropout)
        self.last_feed_forward = feed_forward()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (epoch, token, width), same shape as `x`."""
        x = x + 0.5 * self.first_feed_forward(x)
        x = x + self.attention(x)
        x = x + self.convolution(x)
        return self.norm(x + 0.5 * self.last_feed_forward(x))  # type: ignore[no-any-return]


class Conformer(nn.Module):
    """Conformer blocks over the tokens of one epoch."""

    def __init__(
        self,
        *,
        n_features: int,
        n_frames: int,
        n_layers: int,
        n_heads: int,
        n_hidden: int,
        dropout: float,
        tokens: Tokens,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        n_tokens, width = (n_features, n_frames) if tokens == "channel" else (n_frames, n_features)
        self.blocks = nn.Sequential(
            *(
                ConformerBlock(n_tokens=n_tokens, width=width, n_heads=n_heads, n_hidden=n_hidden, dropout=dropout)
                for _ in range(n_layers)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (epoch, token, width) for (epoch, feature, frame)."""
        return self.blocks(x.transpose(1, 2) if self.tokens == "time" else x)  # type: ignore[no-any-return]
