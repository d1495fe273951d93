"""Networks that read disorders from a whole night of stages: SleepGPT's hierarchical transformer, and two smaller ones.

Paper: T. Yu et al., SleepGPT, medRxiv 2024, DOI 10.1101/2024.10.26.24316166. The night is cut into stretches of 60
epochs. The trunk of a stage language model reads each stretch (`StageGPT`, 88,080 parameters); its state at the last
epoch of the stretch stands for it. A transformer over the stretches looks back at all of them from one learned token;
how much it attends to each stretch says where in the night the answer came from.

321,650 parameters: 88,080 in the trunk, 96 in the norm after it, 9,408 in the step from 48 to 192 values, 192 in the
learned token, 223,104 in the transformer, 384 in its norm, 386 in the answer.

Differs from the official code
------------------------------
- Padding is masked. There the mask is a float, which adds 1 to the scores of what is there instead of hiding what is
  not. ``parity=True`` does that.
- The residual is that of a pre-norm transformer, x + f(norm(x)). There it starts from the normalised values,
  norm(x) + f(norm(x)). ``parity=True`` does that, too.
- The LSTM's answer comes from its last state of each direction within the night. There it is its output at the last
  stretch of the longest night of the batch, padding or not: ``parity=True``.
- An unscored epoch is read as the last stage before it; there it was deleted, so that time broke.
- Both answers weigh the same in training, whatever the numbers of people are (`Schedule.balanced`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from hypnograph.errors import HypnographError
from hypnograph.sequences.next_stage import filled
from hypnograph.stages import AASM_5
from hypnograph.training.stage_gpt import StageGPT

WIDTH, HEADS, HIDDEN = 192, 6, 192
BAG_WIDTH = 64


class Nights(NamedTuple):
    """Nights of several lengths in one batch, cut into stretches and padded at their ends."""

    tokens: Tensor
    """Integers, shape (night, stretch, epoch)."""
    scored: Tensor
    """True where there is an epoch of the night, same shape."""


class Verdict(NamedTuple):
    """What a network says of a batch of nights."""

    logits: Tensor
    """Shape (night, 2): healthy, disorder."""
    attention: Tensor | None = None
    """Shape (night, stretch): how much of the answer's attention each stretch got, 0 for padding; sums to at most 1."""


def collate(nights: Sequence[NDArray[np.integer]], *, stretch: int = 60) -> Nights:
    """Return nights as one batch.

    Parameters
    ----------
    nights
        Stages of each night, shape (n_epochs,): 0 W, 1 N1, 2 N2, 3 N3, 4 REM, −1 unscored.
    stretch
        Epochs that the trunk reads at once.
    """
    n = stretch * math.ceil(max(len(night) for night in nights) / stretch)
    tokens = torch.full((len(nights), n), AASM_5.n_stages)  # the token after the stages pads
    for row, night in zip(tokens, nights, strict=True):
        row[: len(night)] = torch.from_numpy(filled(night, AASM_5))
    tokens = tokens.view(len(nights), -1, stretch)
    return Nights(tokens, tokens < AASM_5.n_stages)


class HierarchicalTransformer(nn.Module):
    """A language model reads stretches, a transformer reads what it made of them.

    Parameters
    ----------
    trunk
        The language model; it becomes part of this network.
    parity
        Mask and residual as in the official code; see the top of this file.
    """

    def __init__(self, trunk: StageGPT, *, parity: bool = False) -> None:
        super().__init__()
        self.parity, self.trunk = parity, trunk
        self.stretch_norm = nn.LayerNorm(trunk.config.width)
        self.widen = nn.Linear(trunk.config.width, WIDTH)
        self.answer_token = nn.Parameter(torch.zeros(WIDTH))
        self.encoder = _EncoderLayer(parity=parity)
        self.night_norm = nn.LayerNorm(WIDTH)
        self.answer = nn.Linear(WIDTH, 2)

    def forward(self, nights: Nights) -> Verdict:
        """Return logits and attention of a batch of nights."""
        return self.judge(self.states(nights), nights.scored.any(-1))

    def states(self, nights: Nights) -> Tensor:
        """Return what the trunk made of each stretch, shape (night, stretch, width)."""
        return stretch_states(self.trunk, nights, padding_too=self.parity)

    def judge(self, states: Tensor, there: Tensor) -> Verdict:
        """Return the verdict on stretches that the trunk has read; `there` is False where a stretch is padding."""
        x = self.widen(self.stretch_norm(states))
        x = x + sinusoids(x.shape[1], WIDTH).to(x)
        x = torch.cat([self.answer_token.expand(len(x), 1, WIDTH), x], dim=1)
        x, attention = self.encoder(x, F.pad(there, (1, 0), value=True))
        return Verdict(self.answer(self.night_norm(x[:, 0])), attention[:, 1:])


class StretchLSTM(nn.Module):
    """A language model reads stretches, an LSTM in both directions reads what it made of them."""

    def __init__(self, trunk: StageGPT, *, parity: bool = False) -> None:
        super().__init__()
        self.parity, self.trunk = parity, trunk
        self.stretch_norm = nn.LayerNorm(trunk.config.width)
        self.lstm = nn.LSTM(trunk.config.width, WIDTH, batch_first=True, bidirectional=True)
        self.answer = nn.Linear(2 * WIDTH, 2)

    def forward(self, nights: Nights) -> Verdict:
        """Return logits of a batch of nights."""
        return self.judge(self.states(nights), nights.scored.any(-1))

    def states(self, nights: Nights) -> Tensor:
        """Return what the trunk made of each stretch, shape (night, stretch, width)."""
        return stretch_states(self.trunk, nights, padding_too=self.parity)

    def judge(self, states: Tensor, there: Tensor) -> Verdict:
        """Return the verdict on stretches that the trunk has read."""
        x = self.stretch_norm(states)
        if self.parity:
            return Verdict(self.answer(self.lstm(x)[0][:, -1]))
        packed = nn.utils.rnn.pack_padded_sequence(x, there.sum(-1).cpu(), batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)  # (direction, night, width)
        return Verdict(self.answer(torch.cat([last[0], last[1]], dim=-1)))


class BagOfStages(nn.Module):
    """The mean of learned vectors of the stages: it knows how much of each stage there was, and no order."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.EmbeddingBag(AASM_5.n_stages, BAG_WIDTH, mode="mean")
        self.answer = nn.Linear(BAG_WIDTH, 2)

    def forward(self, nights: Nights) -> Verdict:
        """Return logits of a batch of nights."""
        lengths = nights.scored.flatten(1).sum(-1)
        starts = F.pad(lengths.cumsum(0)[:-1], (1, 0))
        return Verdict(self.answer(self.stages(nights.tokens[nights.scored], starts)))


Network = HierarchicalTransformer | StretchLSTM | BagOfStages


def stretch_states(trunk: StageGPT, nights: Nights, *, padding_too: bool = False) -> Tensor:
    """Return the trunk's hidden values at the last epoch of each stretch, shape (night, stretch, width).

    Zeros for a stretch that is all padding; with `padding_too` what the trunk makes of the padding, as officially.
    """
    there = nights.scored.any(-1)
    read = torch.ones_like(there) if padding_too else there
    last = (nights.scored.sum(-1) - 1)[read]  # −1 for padding: its last token, as the official code has it
    hidden: Tensor = trunk(nights.tokens[read])
    states = hidden.new_zeros(*there.shape, hidden.shape[-1])
    states[read] = hidden[torch.arange(len(hidden)), last]
    return states


def sinusoids(n: int, width: int) -> Tensor:
    """Return the fixed positions of Vaswani et al. 2017 (arXiv 1706.03762), shape (n, width): sines, then cosines."""
    rates = torch.exp(-math.log(10_000) * torch.arange(0, width, 2) / width)
    angles = torch.arange(n)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class _EncoderLayer(nn.Module):
    """One layer of a pre-norm transformer; also returns what the first place attends to, mean of the heads."""

    def __init__(self, *, parity: bool) -> None:
        super().__init__()
        self.parity = parity
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH))

    def forward(self, x: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        mask = there.to(x.dtype) if self.parity else ~there
        normed = self.attention_norm(x)
        mixed, weights = self.attention(normed, normed, normed, key_padding_mask=mask)
        x = (normed if self.parity else x) + mixed
        normed = self.feed_forward_norm(x)
        return (normed if self.parity else x) + self.feed_forward(normed), weights[:, 0]


# Training ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a network is trained; the defaults are the official ones but for `balanced`.

    Parameters
    ----------
    passes
        Through the training nights.
    learning_rate, least_learning_rate, warm_up
        From 0 to the first over so many passes, then along half a cosine to the second.
    batch
        Nights in each step.
    weight_decay
        Of matrices; norms and biases have none.
    gamma, alpha
        Of the focal loss alpha · (1 − p)^gamma · −log p (Lin et al. 2017, arXiv 1708.02002).
    frozen
        Leave the trunk as it is, and read each night once.
    balanced
        Healthy and ill weigh the same in sum.
    """

    passes: int = 100
    learning_rate: float = 5e-5
    least_learning_rate: float = 1e-8
    warm_up: int = 10
    batch: int = 16
    weight_decay: float = 5e-4
    gamma: float = 2.0
    alpha: float = 2.0
    frozen: bool = False
    balanced: bool = True

    def rate(self, done: float) -> float:
        """Return the learning rate after so many passes."""
        if done < self.warm_up:
            return max(self.least_learning_rate, self.learning_rate * done / self.warm_up)
        part = (done - self.warm_up) / max(1, self.passes - self.warm_up)
        span = self.learning_rate - self.least_learning_rate
        return self.least_learning_rate + span * (1 + math.cos(math.pi * min(1.0, part))) / 2


FROZEN_SCHEDULE = Schedule(passes=60, learning_rate=5e-4, warm_up=5, frozen=True)
"""The nights are few and the trunk reads them once: ten times the rate, so that fewer passes are enough."""
SHORT_SCHEDULE = Schedule(passes=6, learning_rate=5e-4, warm_up=1)
"""For a processor, where a pass takes seconds: fewer passes at ten times the rate."""
BAG_SCHEDULE = Schedule(passes=60, learning_rate=5e-3, warm_up=5)


def train(
    network: Network,
    nights: Sequence[NDArray[np.integer]],
    ill: NDArray[np.bool_],
    schedule: Schedule | None = None,
    *,
    seed: int = 0,
) -> None:
    """Train a network in place.

    Parameters
    ----------
    network
        To begin from; its dropout works while it is trained.
    nights
        Stages of each night.
    ill : bool array, shape (n_nights,)
        Whose nights are of people with the disorder.
    schedule
        None: the official one.
    seed
        Of the order of the nights and of dropout.

    Raises
    ------
    HypnographError
        If all nights have the same answer.
    """
    schedule = Schedule() if schedule is None else schedule
    if len(nights) != len(ill) or len(set(ill.tolist())) < 2:
        raise HypnographError(f"{len(nights)} nights, {int(np.sum(ill))} of them ill; training needs nights of both")
    answers = torch.from_numpy(ill.astype(np.int64))
    share = len(ill) / (2 * torch.bincount(answers, minlength=2)) if schedule.balanced else torch.ones(2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = _judge(network, nights, frozen=schedule.frozen)
        optimiser = _optimiser(network, schedule)
        n_steps = math.ceil(len(nights) / schedule.batch)
        for step, chosen in enumerate(_batches(len(nights), schedule)):
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate(step / n_steps)
            loss = focal_loss(judge(chosen).logits, answers[chosen], schedule, share)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    network.eval()


def focal_loss(logits: Tensor, answers: Tensor, schedule: Schedule, share: Tensor) -> Tensor:
    """Return the mean over nights of alpha · (1 − p)^gamma · −log p, each night weighed by its answer's share."""
    log_p = logits.log_softmax(-1).gather(1, answers[:, None])[:, 0]
    losses = schedule.alpha * (1 - log_p.exp()) ** schedule.gamma * -log_p
    return (share[answers] * losses).mean()


def predict(network: Network, nights: Sequence[NDArray[np.integer]]) -> NDArray[np.float64]:
    """Return the log odds of a disorder for each night, shape (n_nights,)."""
    network.eval()
    with torch.no_grad():
        found = [network(collate([night])).logits[0] for night in nights]
    return np.array([float(logits[1] - logits[0]) for logits in found])


def where_in_the_night(network: HierarchicalTransformer, night: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return how much the answer attends to each stretch of one night, shape (n_stretches,)."""
    network.eval()
    with torch.no_grad():
        attention = network(collate([night])).attention
    return np.asarray(attention[0].double().numpy())


def _judge(network: Network, nights: Sequence[NDArray[np.integer]], *, frozen: bool) -> Callable[[Tensor], Verdict]:
    """Return what judges some of the nights, by their numbers; a frozen trunk reads all of them once, now."""
    network.train()
    whole = collate(nights)
    if not frozen or isinstance(network, BagOfStages):
        return lambda chosen: network(_some(whole, chosen))
    with torch.no_grad():
        states = stretch_states(network.trunk.eval(), whole, padding_too=network.parity)
    there = whole.scored.any(-1)
    return lambda chosen: network.judge(states[chosen], there[chosen])


def _some(nights: Nights, chosen: Tensor) -> Nights:
    """Return some of the nights, without the stretches that are padding in all of them."""
    tokens, scored = nights.tokens[chosen], nights.scored[chosen]
    n = int(scored.any(-1).sum(-1).max())
    return Nights(tokens[:, :n], scored[:, :n])


def _batches(n_nights: int, schedule: Schedule) -> Iterator[Tensor]:
    for _ in range(schedule.passes):
        yield from torch.split(torch.randperm(n_nights), schedule.batch)


def _optimiser(network: Network, schedule: Schedule) -> torch.optim.Optimizer:
    # A frozen trunk gets no gradient, and AdamW leaves alone what has none.
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": schedule.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.95))
