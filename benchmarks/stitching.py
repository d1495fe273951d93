"""How should overlapping windows be joined? A small SeqSleepNet on simulated nights, trained here in some minutes.

Run: .venv/bin/python benchmarks/stitching.py [--nights 8] [--steps 400] [--seed 0]

The network looks at windows of 20 epochs and decides each epoch of each. On nights that it was not trained on, its
decisions are joined with different strides, weights over the places in a window, and means; kappa and negative
log-likelihood (nats an epoch) are against the hypnogram that was planted. All numbers are from simulated nights. The
training is as plain as can be: windows of even mix, Adam, no schedule; it is here for the comparison alone.
"""

import argparse

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

import hypnograph
from hypnograph.models import describe
from hypnograph.montage import ChannelKind, choose_derivations, read_derivation
from hypnograph.network import TorchNetwork
from hypnograph.simulate import simulate_hypnogram, simulate_recording
from hypnograph.windows import log_softmax, window_starts, window_weights

CONTEXT = 20


def places(context: int) -> dict[str, np.ndarray]:
    """Return the weights over the places in a window that are compared."""
    middle = np.abs(np.arange(context) - (context - 1) / 2)
    return {
        "even": np.ones(context),
        "triangle": (context + 1) / 2 - middle,
        "Hann": window_weights(context),
        "Hann to the fourth": window_weights(context) ** 4,
        "most central only": (middle == middle.min()) * 1.0 + 1e-9 * window_weights(context),
    }


def night(seed: int, spec: hypnograph.InputSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return a simulated night as epochs (n_epochs, 1, sample), and its planted stages."""
    planted = simulate_hypnogram(seed=seed)
    recording = simulate_recording(planted, seed=seed, sample_rate=128.0, derivations=("C4-M1",))
    derivation = choose_derivations(recording, kinds=(ChannelKind.EEG,)).eeg[0]
    derived = read_derivation(recording, derivation)
    epochs = spec.prepare(derived.amplitude_uv, derived.sample_rate)
    return epochs[:, None].astype(np.float32), planted.stages[: len(epochs)].astype(np.int64)


def train(nights: list[tuple[np.ndarray, np.ndarray]], steps: int, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = hypnograph.create_model("seqsleepnet", n_channels=1).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(steps):
        chosen = [nights[i] for i in rng.integers(len(nights), size=8)]
        starts = [rng.integers(len(stages) - CONTEXT + 1) for _, stages in chosen]
        x = np.stack([epochs[s : s + CONTEXT] for (epochs, _), s in zip(chosen, starts, strict=True)])
        y = np.stack([stages[s : s + CONTEXT] for (_, stages), s in zip(chosen, starts, strict=True)])
        loss = F.cross_entropy(model(torch.from_numpy(x)).flatten(0, 1), torch.from_numpy(y).flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def join(logits: np.ndarray, starts: list[int], n_epochs: int, weights: np.ndarray, mean: str) -> np.ndarray:
    """Return log-probabilities: the weighted mean of logarithms (a product) or of probabilities."""
    votes = log_softmax(logits) if mean == "product" else np.exp(log_softmax(logits))
    total, weight = np.zeros((n_epochs, votes.shape[-1])), np.zeros((n_epochs, 1))
    for start, window in zip(starts, votes, strict=True):
        total[start : start + CONTEXT] += weights[:, None] * window
        weight[start : start + CONTEXT] += weights[:, None]
    return log_softmax(total / weight) if mean == "product" else np.log(total / weight)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nights", type=int, default=8)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = hypnograph.create_model("seqsleepnet", n_channels=1)
    spec = describe(model).input
    made = [night(options.seed + 1000 + i, spec) for i in range(2 * options.nights)]
    model = train(made[: options.nights], options.steps, options.seed)
    network = TorchNetwork(model, describe(model))
    held_out = made[options.nights :]
    decided = [
        np.concatenate([network.run(epochs[None, s : s + CONTEXT])[0] for s in range(len(epochs) - CONTEXT + 1)])
        for epochs, _ in held_out
    ]
    truth = np.concatenate([stages for _, stages in held_out])
    print(f"\n{options.nights} held-out nights, {len(truth)} epochs, all simulated\n")
    print("| stride | weights | mean | kappa (simulated) | NLL (simulated) |\n|---|---|---|---|---|")
    for stride in (20, 10, 5, 2, 1):
        for shape, weights in places(CONTEXT).items():
            for mean in ("product", "sum"):
                if stride == 20 and (shape, mean) != ("even", "product"):
                    continue  # nothing overlaps
                joined = []
                for (_, stages), logits in zip(held_out, decided, strict=True):
                    starts = window_starts(len(stages), CONTEXT, stride)
                    joined.append(join(logits[starts], starts, len(stages), weights, mean))
                log_p = np.concatenate(joined)
                reference = hypnograph.Hypnogram(truth.astype(np.int8))
                kappa = hypnograph.agreement(
                    reference, hypnograph.Hypnogram(log_p.argmax(-1).astype(np.int8))
                ).cohen_kappa
                nll = -log_p[np.arange(len(truth)), truth].mean()
                print(f"| {stride} | {shape} | {mean} | {kappa:.4f} | {nll:.4f} |")


if __name__ == "__main__":
    main()
