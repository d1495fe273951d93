"""A network as one ONNX file, for any number of windows and any context; what is written is checked against torch."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hypnograph.errors import HypnographError
from hypnograph.model_info import ModelInfo
from hypnograph.models import carries_state
from hypnograph.network import METADATA_KEY
from hypnograph.whole_file import whole_file

TRACED = (2, 5)
"""Windows and context with which the graph is made: others than 1, and unlike each other."""

CHECKED = ((1, 1), (3, 7))
"""Windows and context with which it is checked."""

TOLERANCE = 1e-4
"""Largest difference of a logit from torch's; of the largest logit's size where that is above 1."""

Inputs = tuple[Tensor, ...]


def export_graph(model: nn.Module, path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write a network as one ONNX file: float32, in evaluation mode, weights inside.

    Its input is ``signals`` (window, context, channel, sample), its output ``logits``; windows and context may be any.
    A network of ours that carries a state from one part of a night to the next has a second input ``state``, zeros at
    the start of a night, and a second output ``next_state``.

    Parameters
    ----------
    model
        One of `hypnograph.models`, or any module with that input; it stays as it is.
    path
        The file; one that exists is replaced.
    metadata
        Texts by name, kept in the file; the ``hypnograph`` one, a `ModelInfo`, gives the input of a module that is
        not one of ours.

    Raises
    ------
    HypnographError
        If packages are missing, the network cannot be exported for any context, or the file does not give its logits.
    """
    _check_packages()
    graph = _without_training(model)
    shape = _epoch_shape(model, metadata)
    with whole_file(path) as temporary, torch.no_grad(), _silence():
        content = _graph(graph, _inputs(graph, shape, *TRACED), type(model).__name__, metadata)
        _check(graph, content, shape, type(model).__name__)
        temporary.write_bytes(content)


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise HypnographError(
            f"export needs the package {error.name!r}, which is not installed: pip install 'hypnograph[train]'"
        ) from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's remarks off the terminal; its errors are exceptions and not touched."""
    levels = {log: log.level for log in map(logging.getLogger, ("torch.onnx", "onnxscript", "onnx_ir"))}
    for log in levels:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)


# What is exported ----------------------------------------------------------------------------------------------------


class _WithState(nn.Module):
    """A causal network that is given its state and gives it back."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, signals: Tensor, state: Tensor) -> Inputs:
        logits, after = self.model.run(signals, state)
        return logits, after


def _without_training(model: nn.Module) -> nn.Module:
    """Return a copy of the network as it is exported."""
    plain = copy.deepcopy(model).to("cpu", torch.float32).eval()
    return _WithState(plain) if carries_state(model) else plain


def _epoch_shape(model: nn.Module, metadata: Mapping[str, str]) -> tuple[int, int]:
    """Return the channels and samples of an epoch."""
    if METADATA_KEY in metadata:
        spec = ModelInfo.from_json(metadata[METADATA_KEY]).input
        return len(spec.kinds), spec.epoch_samples
    config: Any = getattr(model, "config", None)
    try:
        return config.n_channels, round(config.sample_rate * config.epoch_s)
    except AttributeError:
        raise HypnographError(
            f"{type(model).__name__} does not say what it takes: give the JSON of its ModelInfo as {METADATA_KEY!r}"
        ) from None


def _inputs(graph: nn.Module, epoch_shape: tuple[int, int], n_windows: int, context: int) -> Inputs:
    """Return random signals, and a random state if the network takes one."""
    random = torch.Generator().manual_seed(0)
    shapes = [torch.Size((n_windows, context, *epoch_shape))]
    if isinstance(graph, _WithState):
        shapes.append(graph.model.initial_state(n_windows).shape)
    return tuple(torch.randn(shape, generator=random) for shape in shapes)


def _free_axes(graph: nn.Module) -> list[dict[int, str]]:
    """Return the axes of each input that may have any length, by name."""
    axes = [{0: "window", 1: "context"}]
    if isinstance(graph, _WithState):
        one, two = graph.model.initial_state(1).shape, graph.model.initial_state(2).shape
        axes.append({axis: "window" for axis in range(len(one)) if one[axis] != two[axis]})
    return axes


# The graph -----------------------------------------------------------------------------------------------------------


def _graph(graph: nn.Module, inputs: Inputs, name: str, metadata: Mapping[str, str]) -> bytes:
    """Return the content of the ONNX file."""
    axes = _free_axes(graph)
    dims = {free: torch.export.Dim(free) for free in ("window", "context")}
    shapes = tuple({axis: dims[free] for axis, free in each.items()} for each in axes)
    traced = copy.deepcopy(graph)
    for layer in traced.modules():
        if isinstance(layer, nn.LSTM | nn.GRU):
            layer.forward = _as_onnx(layer)  # type: ignore[method-assign]
    try:
        # Not left to `torch.onnx.export`: where a length is not free it would fix it without a word.
        program = torch.export.export(
            traced, inputs, dynamic_shapes=shapes, strict=False, prefer_deferred_runtime_asserts_over_guards=True
        )
        written = torch.onnx.export(
            program,
            input_names=["signals", "state"][: len(inputs)],
            output_names=["logits", "next_state"][: len(inputs)],
            dynamo=True,
            verbose=False,
        )
    except HypnographError:
        raise
    except Exception as error:  # the exporter's have no common class
        reason = " ".join(str(error).split())[:400]
        raise HypnographError(
            f"{name} cannot be exported for any number of windows and any context; its code must not depend on them, "
            f"e.g. by an if or a loop over epochs. The exporter says: {reason}"
        ) from error
    assert written is not None
    proto = written.model_proto
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    # The exporter's names of free lengths mean nothing; an output's axes are those of the input of its kind.
    del proto.graph.value_info[:]
    for values in (proto.graph.input, proto.graph.output):
        for value, free in zip(values, axes, strict=True):
            for axis, length in free.items():
                value.type.tensor_type.shape.dim[axis].dim_param = length
    content: bytes = proto.SerializeToString()
    return content


def _as_onnx(layer: nn.LSTM | nn.GRU) -> Callable[..., Any]:
    """Return ``layer.forward`` made of ONNX's own operator; torch's would be unrolled for the traced context."""
    if layer.proj_size:
        raise HypnographError("an LSTM with projections (proj_size) cannot be exported; make it without")
    is_lstm, n_directions = isinstance(layer, nn.LSTM), 1 + layer.bidirectional
    # torch orders the gates input, forget, cell, output and reset, update, new.
    order = (0, 3, 1, 2) if is_lstm else (1, 0, 2)
    options: dict[str, Any] = {"hidden_size": layer.hidden_size}
    options |= {"direction": "bidirectional"} if layer.bidirectional else {}
    options |= {} if is_lstm else {"linear_before_reset": 1}

    def stacked(kind: str, level: int) -> Tensor:
        """Return weights of both directions, shape (direction, gate × unit, …)."""
        found = [getattr(layer, f"{kind}_l{level}{end}").detach() for end in ("", "_reverse")[:n_directions]]
        return torch.stack([torch.cat([part.chunk(len(order))[gate] for gate in order]) for part in found])

    weights = []
    for level in range(layer.num_layers):
        arriving, recurrent = stacked("weight_ih", level), stacked("weight_hh", level)
        zeros = arriving.new_zeros(n_directions, 2 * len(order) * layer.hidden_size)
        bias = torch.cat([stacked("bias_ih", level), stacked("bias_hh", level)], dim=1) if layer.bias else zeros
        weights.append((arriving, recurrent, bias))

    def forward(x: Tensor, states: Any = None) -> tuple[Tensor, Any]:
        x = x.transpose(0, 1) if layer.batch_first else x
        n_epochs, n_windows = x.shape[:2]
        one_state = (n_directions, n_windows, layer.hidden_size)
        if states is None:
            zeros = x.new_zeros(layer.num_layers * n_directions, *one_state[1:])
            states = (zeros, zeros) if is_lstm else zeros
        starts = zip(*(each.split(n_directions) for each in (states if is_lstm else (states,))), strict=True)
        lasts = []
        for level, start in enumerate(starts):
            outputs, *last = torch.onnx.ops.symbolic_multi_out(
                layer.mode,
                (x, *weights[level], None, *start),
                options,
                dtypes=(x.dtype,) * (1 + len(start)),
                shapes=((n_epochs, n_directions, n_windows, layer.hidden_size), *[one_state] * len(start)),
            )
            x = outputs.transpose(1, 2).flatten(2)
            lasts.append(last)
        after = tuple(torch.cat(each) for each in zip(*lasts, strict=True))
        return x.transpose(0, 1) if layer.batch_first else x, after if is_lstm else after[0]

    return forward


# The check -----------------------------------------------------------------------------------------------------------


def _check(graph: nn.Module, content: bytes, epoch_shape: tuple[int, int], name: str) -> None:
    """Refuse a file that does not give the network's logits at other lengths than the traced ones."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for n_windows, context in CHECKED:
            inputs = _inputs(graph, epoch_shape, n_windows, context)
            expected = graph(*inputs)
            given = {node.name: x.numpy() for node, x in zip(session.get_inputs(), inputs, strict=True)}
            found = [torch.from_numpy(value) for value in session.run(None, given)]
            torch.testing.assert_close(
                found, [expected] if isinstance(expected, Tensor) else list(expected), rtol=TOLERANCE, atol=TOLERANCE
            )
    except HypnographError:
        raise
    except Exception as error:  # ONNX Runtime's have no common class
        reason = " ".join(str(error).split())[:400]
        raise HypnographError(
            f"{name} was not exported: for {n_windows} windows of {context} epochs, not the {TRACED[0]} of {TRACED[1]} "
            f"that it was traced with, ONNX Runtime does not give its logits. {reason}"
        ) from error
