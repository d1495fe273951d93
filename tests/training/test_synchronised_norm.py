"""Two processes normalise as one; the oracle is torch's batch norm on the joint batch."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hypnograph.models import create_model
from hypnograph.training.synchronised_norm import SynchronisedNorm, synchronise_norms

STEPS, SHARES = 3, ((5, 3), (1, 7), (8, 0))  # windows of the two processes in each step
NORMS: dict[str, tuple[type[nn.Module], tuple[int, ...], dict[str, Any]]] = {
    "1d": (nn.BatchNorm1d, (4, 9), {}),
    "1d without samples": (nn.BatchNorm1d, (4,), {"momentum": 0.01, "eps": 1e-3}),
    "2d": (nn.BatchNorm2d, (4, 9, 2), {"momentum": 0.3}),
    "plain mean over steps": (nn.BatchNorm1d, (4, 9), {"momentum": None}),
    "without scale": (nn.BatchNorm1d, (4, 9), {"affine": False, "momentum": None}),
}
every_norm = pytest.mark.parametrize("name", NORMS)

# Run by each process with its rank: steps of every norm on its share of the windows, results to a file.
PROCESS = """
import sys
import torch
from hypnograph.training.synchronised_norm import SynchronisedNorm
from tests.training.test_synchronised_norm import NORMS, SHARES, joint, norm_of, one_step

folder, rank = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
results = {}
for name in NORMS:
    norm = SynchronisedNorm(norm_of(name))
    for step, shares in enumerate(SHARES):
        mine = slice(0, shares[0]) if rank == 0 else slice(shares[0], 8)
        x, slope = (part[mine] for part in joint(name, step))
        results[name, step] = one_step(norm, x, slope)
half = norm_of("1d").float()
x, _ = joint("1d", 0)
share = slice(0, 5) if rank == 0 else slice(5, 8)
results["bfloat16"] = SynchronisedNorm(half)(x[share].to(torch.bfloat16)).detach(), half.running_var
torch.save(results, f"{folder}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


def norm_of(name: str) -> Any:
    """Return a norm whose scale and statistics are those of no fresh one."""
    kind, _, options = NORMS[name]
    torch.manual_seed(1)
    norm: Any = kind(4, **options).double()
    for values in (*norm.parameters(), norm.running_mean):
        values.data.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


def joint(name: str, step: int) -> tuple[Tensor, Tensor]:
    """Return the windows of all processes, far from 0, and the slope of some loss at each output."""
    shape = (8, *NORMS[name][1])
    generator = torch.Generator().manual_seed(step)
    x, slope = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return 3 * x + 20, slope


def one_step(norm: nn.Module, x: Tensor, slope: Tensor) -> dict[str, Tensor]:
    x = x.clone().requires_grad_()
    norm.zero_grad()
    y = norm(x)
    (y * slope).sum().backward()
    assert x.grad is not None
    found = {"output": y.detach(), "gradient": x.grad}
    found |= {f"gradient of {name}": weight.grad for name, weight in norm.named_parameters()}  # type: ignore[misc]
    return found | {name: buffer.clone() for name, buffer in norm.named_buffers()}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    """Return what each of two processes got."""
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-W", "error", "-c", PROCESS, str(folder)]
    root = Path(__file__).resolve().parents[2]
    files = [(folder / f"{rank}.txt").open("w") for rank in range(2)]
    running = [
        subprocess.Popen([*command, str(rank)], cwd=root, stdout=file, stderr=file) for rank, file in enumerate(files)
    ]
    try:
        codes = [process.wait(timeout=100) for process in running]
    finally:
        for process, file in zip(running, files, strict=True):
            process.kill()
            process.wait()
            file.close()
    assert codes == [0, 0], "".join((folder / f"{rank}.txt").read_text() for rank in range(2))
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


class TestTwoProcesses:
    @every_norm
    def test_outputs_gradients_and_statistics_are_those_of_one(self, name: str, results: list[dict[Any, Any]]) -> None:
        norm = norm_of(name)
        for step in range(STEPS):
            expected = one_step(norm, *joint(name, step))
            first, second = (of_rank[name, step] for of_rank in results)
            assert first.keys() == expected.keys()
            for what, value in expected.items():
                if what in ("output", "gradient"):
                    found = torch.cat([first[what], second[what]])
                elif what.startswith("gradient of"):  # what the processes add up
                    found = first[what] + second[what]
                else:
                    assert torch.equal(first[what], second[what])
                    found = first[what]
                torch.testing.assert_close(found, value, msg=lambda text, what=what: f"{what}: {text}")

    def test_half_precision_is_summed_in_single(self, results: list[dict[Any, Any]]) -> None:
        norm = norm_of("1d").float()
        x = joint("1d", 0)[0].to(torch.bfloat16)
        expected = norm(x)
        outputs = [of_rank["bfloat16"][0] for of_rank in results]
        assert {output.dtype for output in outputs} == {torch.bfloat16}
        torch.testing.assert_close(torch.cat(outputs), expected.detach(), atol=0.05, rtol=0.01)
        torch.testing.assert_close(results[0]["bfloat16"][1], norm.running_var, rtol=1e-4, atol=0)


class TestEvaluation:
    @every_norm
    def test_it_is_torch_s_and_needs_no_other_process(self, name: str) -> None:
        norm = norm_of(name).eval()
        ours, x = SynchronisedNorm(norm), joint(name, 0)[0]
        assert not ours.training
        torch.testing.assert_close(ours(x), norm(x))
        half = norm.float()(x.bfloat16())
        torch.testing.assert_close(SynchronisedNorm(norm)(x.bfloat16()), half, atol=0.05, rtol=0.01)


class TestReplacement:
    @pytest.mark.parametrize("name", ["usleep", "utime", "deepsleepnet", "seqsleepnet", "attnsleep"])
    def test_every_norm_of_a_network_is_replaced_and_its_weights_keep_their_names(self, name: str) -> None:
        torch.manual_seed(0)
        model = create_model(name, preset="small")
        before = copy.deepcopy(model.state_dict())
        weights = {name: id(weight) for name, weight in model.named_parameters()}
        synchronise_norms(model)
        assert not any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in model.modules())
        assert any(isinstance(module, SynchronisedNorm) for module in model.modules())
        after = model.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[name], before[name]) for name in before)
        assert {name: id(weight) for name, weight in model.named_parameters()} == weights
