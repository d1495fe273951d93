"""Train a language model of sleep stages: on unshifted labels, unscored epochs masked, nights never joined."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from hypnograph.errors import HypnographError
from hypnograph.sequences.language_model import Config, StageLanguageModel
from hypnograph.sequences.memory import LAYERS, WIDEST, MemoryModel, summaries, weight_shapes
from hypnograph.sequences.next_stage import filled
from hypnograph.sequences.next_stage_corpus import TrainingNight
from hypnograph.sequences.recurrent import RecurrentModel
from hypnograph.stages import AASM_5, StageScheme
from hypnograph.training.stage_gpt import StageGPT

Show = Callable[[str], None]
MASKED = -100
"""The target of an epoch that nobody scored; cross-entropy passes it over."""
NIGHTS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """How the network on a fixed memory is trained.

    Parameters
    ----------
    members
        Networks whose probabilities are averaged.
    hidden
        Width of each.
    passes, batch
        Times through all epochs; epochs for each step.
    learning_rate, weight_decay
        Of AdamW; the rate falls to 0 as half a cosine.
    dropout, input_dropout
        Of hidden values and of the summaries.
    """

    members: int = 3
    hidden: int = 96
    passes: int = 6
    batch: int = 1024
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    dropout: float = 0.2
    input_dropout: float = 0.1


@dataclass(frozen=True, kw_only=True)
class GPTOptions:
    """How the transformer is trained; sizes as in `language_model.Config`."""

    positions: int = 60
    width: int = 48
    layers: int = 3
    heads: int = 6
    dropout: float = 0.1
    passes: int = 30
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 5e-4


@dataclass(frozen=True, kw_only=True)
class RecurrentOptions:
    """How the recurrent network (GRU) is trained; a window is `window` epochs from a place drawn in a night."""

    hidden: int = 48
    window: int = 240
    dropout: float = 0.1
    passes: int = 20
    batch: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.01


Options = MemoryOptions | GPTOptions | RecurrentOptions
OPTIONS: dict[str, type[Options]] = {"memory": MemoryOptions, "gpt": GPTOptions, "recurrent": RecurrentOptions}


def train_language_model(
    nights: Sequence[TrainingNight],
    *,
    kind: str = "memory",
    options: Mapping[str, Any] | None = None,
    seed: int = 1,
    scheme: StageScheme = AASM_5,
    show: Show | None = None,
) -> MemoryModel | StageLanguageModel | RecurrentModel:
    """Train a language model of sleep stages on a processor.

    Parameters
    ----------
    nights
        What to learn from; what is held out is not given.
    kind
        ``"memory"`` (`MemoryModel`), ``"gpt"`` (`StageLanguageModel`) or ``"recurrent"`` (`RecurrentModel`).
    options
        By the names of `MemoryOptions`, `GPTOptions` or `RecurrentOptions`.
    seed
        The same seed and nights give the same weights on the same machine.
    scheme
        Of the nights' stages.
    show
        Is told of the progress.

    Raises
    ------
    HypnographError
        If the kind or an option is not known, or no epoch can be learned from.
    """
    if kind not in OPTIONS:
        raise HypnographError(f"kind {kind!r} is not one of {', '.join(OPTIONS)}")
    chosen = _options(OPTIONS[kind], options or {})
    if not any((night.stages[1:] >= 0).any() for night in nights):
        raise HypnographError(f"{len(nights)} nights without a scored epoch after the first: nothing to learn from")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        tell = show or (lambda _: None)
        if isinstance(chosen, MemoryOptions):
            return _train_memory(nights, chosen, scheme, rng, tell)
        if isinstance(chosen, GPTOptions):
            return _train_gpt(nights, chosen, scheme, rng, tell)
        return _train_recurrent(nights, chosen, scheme, rng, tell)


def _options(kind: type[Options], given: Mapping[str, Any]) -> Options:
    known = [field.name for field in fields(kind)]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise HypnographError(f"{unknown[0]!r} is no option; those of this kind are {', '.join(known)}")
    options = kind(**given)
    for name in known:
        value = getattr(options, name)
        if "dropout" in name or name == "weight_decay":
            if not 0 <= value < 1:
                raise HypnographError(f"{name} is {value}; it must be at least 0 and below 1")
        elif value <= 0:
            raise HypnographError(f"{name} is {value}; it must be more than 0")
    return options


class _Course(NamedTuple):
    """What is learned from: the batches of each pass, and how many steps all passes have."""

    passes: Iterable[Sequence[Any]]
    n_steps: int


def _descend(
    network: nn.Module, options: Options, course: _Course, loss_of: Callable[[Any], Tensor], show: Show
) -> None:
    """Follow AdamW through all passes: a short warm-up, then half a cosine to 0; gradients are clipped to norm 1."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98))
    step, warm_up = 0, min(100, course.n_steps // 10 + 1)
    for number, batches in enumerate(course.passes, start=1):
        total = 0.0
        for batch in batches:
            step += 1
            share = min(1.0, step / warm_up) * (1 + math.cos(math.pi * min(1.0, step / course.n_steps))) / 2
            for group in optimiser.param_groups:
                group["lr"] = options.learning_rate * share
            loss = loss_of(batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            total += loss.item()
        show(f"pass {number} of {options.passes}: {total / len(batches):.4f} nats an epoch while training")


def _split(rows: NDArray[np.intp], batch: int) -> list[Tensor]:
    return [torch.from_numpy(rows[first : first + batch]) for first in range(0, len(rows), batch)]


# On a fixed memory ----------------------------------------------------------------------------------------------------


class _Members(nn.Module):
    """Some networks that are trained side by side; each drops other values."""

    def __init__(self, options: MemoryOptions, n_stages: int) -> None:
        super().__init__()
        self.dropout, self.input_dropout = nn.Dropout(options.dropout), nn.Dropout(options.input_dropout)
        shapes = weight_shapes(n_stages, options.members, options.hidden)
        self.values = nn.ParameterDict()
        for layer in LAYERS:
            bound = shapes[f"{layer}.weight"][1] ** -0.5
            for name in (f"{layer}.weight", f"{layer}.bias"):
                self.values[name.replace(".", "_")] = nn.Parameter(torch.empty(shapes[name]).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (member, example, stage), of standardised summaries, shape (example, summary)."""
        members = self.values["first_weight"].shape[0]
        x = self.input_dropout(x.expand(members, *x.shape))
        for layer in LAYERS[:-1]:
            x = self.dropout(F.relu(torch.baddbmm(self.values[f"{layer}_bias"], x, self.values[f"{layer}_weight"])))
        return torch.baddbmm(self.values["output_bias"], x, self.values["output_weight"])

    def to_numpy(self) -> dict[str, NDArray[np.float32]]:
        return {name.replace("_", "."): value.detach().numpy().copy() for name, value in self.values.items()}


def _train_memory(
    nights: Sequence[TrainingNight], options: MemoryOptions, scheme: StageScheme, rng: np.random.Generator, show: Show
) -> MemoryModel:
    inputs, targets = _examples(nights, scheme.n_stages)
    mean, deviation = inputs.mean(dim=0), inputs.std(dim=0, correction=0) + 1e-3
    inputs = inputs.sub_(mean).div_(deviation).clamp_(-WIDEST, WIDEST)
    network = _Members(options, scheme.n_stages)
    n_batches = math.ceil(len(inputs) / options.batch)

    def loss_of(rows: Tensor) -> Tensor:
        logits = network(inputs[rows])
        return F.cross_entropy(logits.flatten(0, 1), targets[rows].repeat(options.members))

    passes = (_split(rng.permutation(len(inputs)), options.batch) for _ in range(options.passes))
    _descend(network, options, _Course(passes, n_batches * options.passes), loss_of, show)
    weights = {"mean": mean.numpy(), "deviation": deviation.numpy(), **network.to_numpy()}
    return MemoryModel(weights=weights, scheme=scheme, name="memory")


def _examples(nights: Sequence[TrainingNight], n_stages: int) -> tuple[Tensor, Tensor]:
    """Return the summary after each epoch whose next stage is known, and that stage."""
    inputs, targets = [], []
    by_length = sorted((night.stages for night in nights if len(night.stages) > 1), key=len)
    for first in range(0, len(by_length), NIGHTS_AT_ONCE):
        some = by_length[first : first + NIGHTS_AT_ONCE]
        padded = np.full((len(some), len(some[-1])), -1, dtype=np.int8)
        for row, stages in zip(padded, some, strict=True):
            row[: len(stages)] = stages
        known = padded[:, 1:] >= 0
        inputs.append(torch.from_numpy(summaries(padded[:, :-1], n_stages)[known]))
        targets.append(torch.from_numpy(padded[:, 1:][known].astype(np.int64)))
    return torch.cat(inputs), torch.cat(targets)


# On windows of stages -------------------------------------------------------------------------------------------------


def _train_gpt(
    nights: Sequence[TrainingNight], options: GPTOptions, scheme: StageScheme, rng: np.random.Generator, show: Show
) -> StageLanguageModel:
    sizes = {name: getattr(options, name) for name in ("positions", "width", "layers", "heads")}
    config = Config(tokens=scheme.n_stages + 1, **sizes)
    network = StageGPT(config, dropout=options.dropout)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        tokens, targets = batch
        return F.cross_entropy(network.logits(network(tokens)).flatten(0, 1), targets.flatten(), ignore_index=MASKED)

    windows = _Windows.of(nights, config.positions, scheme)
    _descend(network, options, windows.course(options.passes, options.batch, rng), loss_of, show)
    return StageLanguageModel(
        config=config, weights=network.to_numpy(), context=config.positions, scheme=scheme, name="gpt"
    )


def _train_recurrent(
    nights: Sequence[TrainingNight], options: RecurrentOptions, scheme: StageScheme, rng: np.random.Generator,
    show: Show,
) -> RecurrentModel:  # fmt: skip
    n_stages = scheme.n_stages
    gru = nn.GRU(n_stages + 1, options.hidden, batch_first=True)
    output, dropout = nn.Linear(options.hidden, n_stages), nn.Dropout(options.dropout)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        tokens, targets = batch
        logits: Tensor = output(dropout(gru(F.one_hot(tokens, n_stages + 1).float())[0]))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=MASKED)

    modules = nn.ModuleList([gru, output])
    windows = _Windows.of(nights, options.window, scheme)
    _descend(modules, options, windows.course(options.passes, options.batch, rng), loss_of, show)
    theirs = dict(gru.named_parameters()) | {f"output.{name}": value for name, value in output.named_parameters()}
    names = {
        "input.weight": "weight_ih_l0", "input.bias": "bias_ih_l0", "state.weight": "weight_hh_l0",
        "state.bias": "bias_hh_l0", "output.weight": "output.weight", "output.bias": "output.bias",
    }  # fmt: skip
    weights = {ours: theirs[name].detach().numpy().T.copy() for ours, name in names.items()}
    return RecurrentModel(weights=weights, scheme=scheme, name="recurrent")


class _Windows(NamedTuple):
    """Nights to cut windows of `length` epochs from: what the network reads, and what was scored."""

    read: list[NDArray[np.intp]]
    scored: list[NDArray[np.int8]]
    length: int
    padding: int

    @classmethod
    def of(cls, nights: Sequence[TrainingNight], length: int, scheme: StageScheme) -> Self:
        scored = [night.stages for night in nights if (night.stages[1:] >= 0).any()]
        return cls([filled(stages, scheme) for stages in scored], scored, length, scheme.n_stages)

    def course(self, n_passes: int, batch: int, rng: np.random.Generator) -> _Course:
        n_steps = n_passes * len(self.batches(batch, np.random.default_rng(0)))
        return _Course((self.batches(batch, rng) for _ in range(n_passes)), n_steps)

    def batches(self, batch: int, rng: np.random.Generator) -> list[tuple[Tensor, Tensor]]:
        """Return batches of one pass: tokens and targets, shape (window, `length`).

        Each night is cut once into windows that touch, the first of a length that is drawn: every epoch is a target
        once. What is behind the end of a window is padding without a target.
        """
        cuts = self._cuts(rng)
        tokens = torch.full((len(cuts), self.length), self.padding)
        targets = torch.full((len(cuts), self.length), MASKED)
        for row, (night, first, past) in enumerate(cuts):
            tokens[row, : past - first] = torch.from_numpy(self.read[night][first:past])
            following = self.scored[night][first + 1 : past + 1].astype(np.int64)
            targets[row, : past - first] = torch.from_numpy(np.where(following < 0, MASKED, following))
        pairs = [(tokens[rows], targets[rows]) for rows in _split(rng.permutation(len(cuts)), batch)]
        return [pair for pair in pairs if (pair[1] != MASKED).any()]

    def _cuts(self, rng: np.random.Generator) -> list[tuple[int, int, int]]:
        """Return night, first epoch and past the last one of each window."""
        return [
            (night, max(0, first), min(first + self.length, len(stages) - 1))
            for night, stages in enumerate(self.read)
            for first in range(int(rng.integers(1 - self.length, 1)), len(stages) - 1, self.length)
        ]
