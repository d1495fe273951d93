"""A network with what is needed to use it: arrays in, logits out, by PyTorch or by ONNX Runtime.

Neither library is imported before a network of its kind is made: what is staged from an ONNX file needs no torch.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError
from hypnograph.model_info import ModelInfo
from hypnograph.windows import pieces, stitch, window_starts

if TYPE_CHECKING:
    import torch
    from torch import nn

Floats = NDArray[np.float32]

METADATA_KEY = "hypnograph"
"""Of the property of an ONNX file that holds its `ModelInfo`."""


class Network(Protocol):
    """A network that is ready to run.

    `epochs_at_once` is how many epochs it is given unless told otherwise: U-Sleep then stays under 500 MB.
    """

    epochs_at_once: int

    @property
    def info(self) -> ModelInfo: ...

    @property
    def sha256(self) -> str:
        """Hash of the file of the weights; empty if they come from no file."""
        ...

    def run(self, signals: Floats, state: Floats | None = None) -> tuple[Floats, Floats | None]:
        """Return the logits of windows, and the state to give with what follows.

        Parameters
        ----------
        signals : float32 array, shape (window, context, channel, sample)
            Prepared as ``info.input`` says.
        state
            As returned for what came before, where the network carries one; None at the start of a night.

        Returns
        -------
        float32 array, shape (window, context, stage) or (window, context, sub_epoch, stage)
        state
            None where the network carries none.
        """
        ...


class TorchNetwork:
    """A torch module as a network; it is put into evaluation mode.

    Parameters
    ----------
    model
        (window, context, channel, sample) → logits.
    info
        What there is to know about it.
    sha256
        Hash of its weights' file.
    """

    epochs_at_once = 64

    def __init__(self, model: "nn.Module", info: ModelInfo, *, sha256: str = "") -> None:
        self.model = model.eval()
        self.info = info
        self.sha256 = sha256

    @property
    def device(self) -> "torch.device":
        """Where its weights are; the CPU if it has none."""
        import torch

        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def run(self, signals: Floats, state: Floats | None = None) -> tuple[Floats, Floats | None]:
        """See `Network.run`."""
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(signals, dtype=np.float32))
            x = x.to(self.device)
            if not self.info.carries_state:
                return self.model(x).float().cpu().numpy(), None
            before = None if state is None else torch.from_numpy(state).to(x.device)
            run: Any = self.model.run
            logits, after = run(x, before)
            return logits.float().cpu().numpy(), after.float().cpu().numpy()


class OnnxNetwork:
    """A network in an ONNX file that `hypnograph export` wrote.

    Parameters
    ----------
    path
        The file.
    threads
        Of ONNX Runtime; None: one for each core.

    Raises
    ------
    HypnographError
        If the file is no ONNX file, or was not written by hypnograph.
    """

    epochs_at_once = 160

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        # Memory for the largest piece is kept between pieces otherwise, and grows by powers of two.
        options.enable_cpu_mem_arena = False
        content = Path(path).read_bytes()
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common class
            raise HypnographError(f"{path} is no ONNX file that can be run: {' '.join(str(error).split())}") from None
        metadata = self.session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise HypnographError(
                f"{path} does not say what its network takes: write it with `hypnograph export CHECKPOINT {path}`"
            )
        self.info = ModelInfo.from_json(metadata[METADATA_KEY])
        self.sha256 = _sha256(content)
        self._state_shape: list[Any] = next((i.shape for i in self.session.get_inputs() if i.name == "state"), [])

    def run(self, signals: Floats, state: Floats | None = None) -> tuple[Floats, Floats | None]:
        """See `Network.run`."""
        inputs = {"signals": np.ascontiguousarray(signals, dtype=np.float32)}
        if self._state_shape:
            shape = [size if isinstance(size, int) else len(signals) for size in self._state_shape]
            inputs["state"] = np.zeros(shape, dtype=np.float32) if state is None else state
        logits, *after = self.session.run(None, inputs)
        return logits, after[0] if after else None


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


# A night -------------------------------------------------------------------------------------------------------------


def night_logits(
    network: Network, epochs: Floats, *, epochs_at_once: int | None = None, stride: int | None = None
) -> NDArray[np.float64]:
    """Return the logits of each epoch of a night.

    Networks that look at a window of fixed length stage overlapping windows, which are stitched. The night of all
    others is cut so that the result is that of the whole night in one pass: with margins of the network's reach, or
    with its state carried on. Only where the reach is not known is the whole night passed at once.

    Parameters
    ----------
    network
        What to run.
    epochs : float32 array, shape (n_epochs, channel, sample)
        The night, prepared as ``network.info.input`` says.
    epochs_at_once
        How many epochs are given at once: this bounds the memory. None: the network's own number.
    stride
        Epochs from one window to the next; None: half a window.

    Returns
    -------
    float64 array, shape (n_epochs, stage) or (n_epochs, sub_epoch, stage)
    """
    info, context = network.info, network.info.input.context
    epochs_at_once = epochs_at_once or network.epochs_at_once
    if info.carries_state:
        return np.concatenate(list(_carried(network, epochs, epochs_at_once))).astype(np.float64)
    if info.reach is not None:
        # Margins may need more than was asked for: exactness comes first.
        least = -(-info.reach // info.grid) * info.grid + info.reach + info.grid
        cuts = pieces(len(epochs), most=max(epochs_at_once, least), reach=info.reach, grid=info.grid)
        parts = [network.run(epochs[None, c.first : c.past])[0][0] for c in cuts]
        kept = [part[c.keep_first - c.first : c.keep_past - c.first] for part, c in zip(parts, cuts, strict=True)]
        return np.concatenate(kept).astype(np.float64)
    if context is None:
        return np.asarray(network.run(epochs[None])[0][0], dtype=np.float64)
    starts = window_starts(len(epochs), context, stride or max(1, context // 2))
    context = min(context, len(epochs))
    return stitch(_windows(network, epochs, starts, context, epochs_at_once), starts, len(epochs))


def _carried(network: Network, epochs: Floats, epochs_at_once: int) -> Iterator[Floats]:
    state = None
    for first in range(0, len(epochs), epochs_at_once):
        logits, state = network.run(epochs[None, first : first + epochs_at_once], state)
        yield logits[0]


def _windows(network: Network, epochs: Floats, starts: Iterable[int], context: int, epochs_at_once: int) -> Floats:
    """Return the logits of windows, as many at once as the limit allows."""
    starts = list(starts)
    at_once = max(1, epochs_at_once // context)
    batches = [starts[first : first + at_once] for first in range(0, len(starts), at_once)]
    return np.concatenate(
        [network.run(np.stack([epochs[start : start + context] for start in batch]))[0] for batch in batches]
    )
