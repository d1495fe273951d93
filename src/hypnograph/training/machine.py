"""Where and how a recipe is run: devices, processes, threads, and how nights are kept at hand."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hypnograph.errors import HypnographError
from hypnograph.training.balanced_sampling import Pool
from hypnograph.training.keeping import Keeping

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PRECISIONS: Final = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how a recipe is run.

    What is trained does not depend on it but for rounding, the draws of dropout in several processes, and batch norms
    where a step is computed in parts.

    Parameters
    ----------
    keeping, pool, cache
        How nights are kept at hand, see `hypnograph.training.keeping`; a pool limits the sampler, too.
    workers
        Threads that load.
    accelerator, devices, nodes, precision
        Of lightning-fabric: ``"auto"``, ``"cpu"``, ``"cuda"``; how many (``"auto"``: all); machines; ``"32-true"``,
        ``"bf16-mixed"`` or ``"16-mixed"``. Under ``torchrun`` and SLURM the processes there are used.
    accumulate
        Parts of a step that are computed one after the other, where its windows do not fit in memory together.
    compile
        Compile the network (`torch.compile`).
    most_steps
        Steps in a pass at most, to try a recipe; None: all.
    most_minutes
        A phase stops after the pass in which so many minutes are over, and the training can be resumed; None: never.
    """

    keeping: Keeping = "stream"
    pool: Pool | None = None
    cache: Path | None = None
    workers: int = 2
    accelerator: str = "auto"
    devices: int | str = 1
    nodes: int = 1
    precision: str = "32-true"
    accumulate: int = 1
    compile: bool = False
    most_steps: int | None = None
    most_minutes: float | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise HypnographError(f"precision is {self.precision!r}; choose from {', '.join(PRECISIONS)}")


def create_fabric(machine: Machine) -> "Fabric":
    """Return lightning-fabric's view of the devices, launched."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about loggers and devices that nobody asked for
        from lightning_fabric import Fabric

        many = machine.devices not in (1, "1") or machine.nodes > 1 or _launched()
        fabric = Fabric(
            accelerator=machine.accelerator,
            devices=_devices_here() if machine.devices in (1, "1") and _launched() else machine.devices,
            num_nodes=machine.nodes,
            strategy="ddp" if many else "auto",
            precision=machine.precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    return fabric


def _devices_here() -> int | str:
    """Return how many devices the processes that were started on this machine have."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if "LOCAL_WORLD_SIZE" in os.environ else "auto"


def _launched() -> bool:
    """Tell whether `torchrun` or SLURM started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1
