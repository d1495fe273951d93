"""U-Sleep over 8 h of two channels on this CPU, beside braindecode's: seconds, memory, and the same logits.

Run: .venv/bin/python benchmarks/usleep_speed.py [--hours 8] [--rounds 3] [--threads 0]

Each contestant runs in a process of its own, the contestants take turns, and the smallest time of the rounds counts.
Timed is the forward pass alone (wall and CPU seconds), after one warm pass over an hour; peak memory is that of the
whole process. braindecode's `USleep` passes the night in one shot; ours as `hypnograph stage` runs it, in pieces.
"file" is `hypnograph.stage` of an EDF file of that night (256 Hz, simulated) by the ONNX file, and the network's share.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CONTESTANTS = ("braindecode, one shot", "hypnograph, torch", "hypnograph, ONNX Runtime", "hypnograph, file by ONNX")


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def night(n_epochs: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n_epochs, 2, 3840)).astype(np.float32)


def pretend_torchaudio() -> None:
    """Let braindecode be imported without torchaudio, which has no build that fits; U-Sleep uses none of it."""
    audio = types.ModuleType("torchaudio")
    audio.__path__ = []
    names = {"functional": ("fftconvolve", "filtfilt", "lfilter"), "transforms": ("Resample", "Spectrogram")}
    for part, members in names.items():
        module = types.ModuleType(f"torchaudio.{part}")
        for member in members:
            setattr(module, member, type(member, (), {}))
        setattr(audio, part, module)
        sys.modules[f"torchaudio.{part}"] = module
    sys.modules["torchaudio"] = audio


def braindecode(n_epochs: int, threads: int) -> dict[str, float]:
    """Time braindecode's network on the night in one pass; what it imports of torchaudio is not used here."""
    import warnings

    warnings.simplefilter("ignore")
    pretend_torchaudio()
    import torch
    from braindecode.models import USleep

    torch.set_num_threads(threads or torch.get_num_threads())
    model = USleep(
        n_chans=2, sfreq=128, depth=12, n_outputs=5, input_window_seconds=30, with_skip_connection=True
    ).eval()
    x = torch.from_numpy(night(n_epochs).transpose(1, 0, 2).reshape(1, 2, -1).copy())
    with torch.inference_mode():
        model(x[..., : 120 * 3840])
        _, wall, cpu = timed(lambda: model(x))
    return {"wall_s": wall, "cpu_s": cpu}


def ours(folder: Path, n_epochs: int, threads: int, *, onnx: bool) -> dict[str, float]:
    import hypnograph
    from hypnograph.network import night_logits

    if not onnx:
        import torch

        torch.set_num_threads(threads or torch.get_num_threads())
    network = hypnograph.load(folder / "model.onnx" if onnx else folder / "checkpoint", threads=threads or None)
    epochs = night(n_epochs)
    night_logits(network, epochs[:120])
    logits, wall, cpu = timed(lambda: night_logits(network, epochs))
    np.save(folder / f"logits-{'onnx' if onnx else 'torch'}.npy", logits)
    return {"wall_s": wall, "cpu_s": cpu}


def file(folder: Path) -> dict[str, float]:
    import hypnograph

    staging, wall, cpu = timed(
        lambda: hypnograph.stage(folder / "night.edf", model=folder / "model.onnx", eeg="C4-M1", eog="E1-M2")
    )
    return {"wall_s": wall, "cpu_s": cpu, "network_s": staging.timings_s["network"]}


def child(contestant: int, folder: Path, n_epochs: int, threads: int) -> None:
    calls = (
        lambda: braindecode(n_epochs, threads),
        lambda: ours(folder, n_epochs, threads, onnx=False),
        lambda: ours(folder, n_epochs, threads, onnx=True),
        lambda: file(folder),
    )
    result = calls[contestant]()
    print(json.dumps(result | {"peak_mb": peak_mb()}))


def peak_mb() -> float:
    """Return the peak memory of this process since it began; `getrusage` would count its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3


def prepare(folder: Path, n_epochs: int) -> None:
    """Write a checkpoint with fresh weights and lively statistics, its ONNX file, one-shot logits, and a night."""
    import torch

    import hypnograph
    from hypnograph.signal_files.edf.writing import write

    torch.manual_seed(0)
    model = hypnograph.create_model("usleep")
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    hypnograph.save(model, folder / "checkpoint")
    hypnograph.export(folder / "checkpoint", folder / "model.onnx")
    with torch.inference_mode():
        np.save(folder / "one-shot.npy", model.eval()(torch.from_numpy(night(n_epochs)[None]))[0].numpy())
    stages = np.resize(hypnograph.simulate_hypnogram(seed=1).stages, n_epochs)
    write(
        hypnograph.simulate_recording(hypnograph.Hypnogram(stages), seed=1, derivations=("C4-M1", "E1-M2")),
        folder / "night.edf",
    )


def machine(threads: int) -> str:
    """Measure what the machine can do: multiplications of matrices, and copying of memory."""
    import torch

    torch.set_num_threads(threads or torch.get_num_threads())
    a, big = torch.randn(2048, 2048), torch.randn(1 << 26)
    multiply = min(timed(lambda: a @ a)[1] for _ in range(5))
    target = torch.empty_like(big)
    copy = min(timed(lambda: target.copy_(big))[1] for _ in range(5))
    return (
        f"{torch.get_num_threads()} threads: {2 * 2048**3 / multiply / 1e9:.0f} GFLOP/s in matrix products, "
        f"{2 * big.numel() * 4 / copy / 1e9:.1f} GB/s in copying"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    n_epochs = round(options.hours * 120)
    if options.child:
        child(int(options.child[0]), Path(options.child[1]), n_epochs, options.threads)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, n_epochs)
        print(machine(options.threads))
        print(f"load at the start: {os.getloadavg()[0]:.1f}; {n_epochs} epochs, two channels at 128 Hz\n")
        found: list[list[dict[str, float]]] = [[] for _ in CONTESTANTS]
        for _ in range(options.rounds):
            for place in range(len(CONTESTANTS)):
                command = [sys.executable, __file__, "--hours", str(options.hours), "--threads", str(options.threads)]
                run = subprocess.run(
                    [*command, "--child", str(place), name], capture_output=True, text=True, check=True
                )
                found[place].append(json.loads(run.stdout.splitlines()[-1]))
        report(found)
        one_shot = np.load(folder / "one-shot.npy")
        for kind in ("torch", "onnx"):
            difference = np.abs(np.load(folder / f"logits-{kind}.npy") - one_shot).max()
            print(f"largest difference of a logit, {kind} in pieces from torch in one shot: {difference:.1e}")


def report(found: list[list[dict[str, float]]]) -> None:
    best = [{key: min(run[key] for run in runs) for key in runs[0]} for runs in found]
    print("| | wall s | CPU s | peak MB | times faster (wall) | (CPU) |\n|---|---|---|---|---|---|")
    for name, row in zip(CONTESTANTS, best, strict=True):
        wall, cpu = best[0]["wall_s"] / row["wall_s"], best[0]["cpu_s"] / row["cpu_s"]
        print(f"| {name} | {row['wall_s']:.2f} | {row['cpu_s']:.2f} | {row['peak_mb']:.0f} | {wall:.1f} | {cpu:.1f} |")
    print(f"\nfile to stages: {best[3]['wall_s'] / best[3]['network_s']:.2f} times the network's own time")


if __name__ == "__main__":
    main()
