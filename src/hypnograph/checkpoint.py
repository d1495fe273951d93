"""Weights and what is needed to use them: a folder that a program can read and a person, too.

A checkpoint is a folder: ``model.safetensors`` (the weights), ``model.json`` (`ModelInfo`) and ``README.md`` (the model
card: generated, except for what a person wrote below its last generated line). There are no pickles and no paths of
classes in it: reading one runs no code.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.model_info import CARD, INFO, WEIGHTS, ModelInfo
from hypnograph.network import METADATA_KEY, Network, OnnxNetwork, TorchNetwork
from hypnograph.whole_file import check_output, whole_file

if TYPE_CHECKING:
    from torch import nn

WRITTEN_BY_HAND = "<!-- What is written below this line is kept when the card is written again. -->"


def save(model: "nn.Module", folder: str | Path, *, overwrite: bool = False, **fields: Any) -> Path:
    """Write a network of ours as a checkpoint.

    Parameters
    ----------
    model
        Made by `hypnograph.create_model` or read by `load`.
    folder
        Is made if need be. Each file in it is written whole or not at all, the weights last.
    overwrite
        Replace a checkpoint that exists; what a person wrote in its card is kept.
    fields
        What is known beside the network itself: ``name``, ``data``, ``split_sha256``, ``metrics``, ``licence``,
        ``source``, ``notes``, ``input``; see `ModelInfo`.

    Raises
    ------
    HypnographError
        If the folder holds a checkpoint and `overwrite` is False, or the network is not one of ours.
    """
    from importlib.metadata import version

    from safetensors.torch import save_file

    from hypnograph.models import count_parameters, describe

    folder = Path(folder)
    info = describe(model, **{"version": version("hypnograph")} | fields)
    for name in (WEIGHTS, INFO):
        check_output(folder / name, overwrite=overwrite)
    with whole_file(folder / INFO) as path:
        path.write_text(info.to_json() + "\n", encoding="utf-8")
    write_card(folder, info, n_parameters=count_parameters(model))
    with whole_file(folder / WEIGHTS) as path:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return folder


def load(source: str | Path, *, resolution_s: float | None = None, threads: int | None = None) -> Network:
    """Load a network from its files; `hypnograph.load` takes names, too.

    Parameters
    ----------
    source
        Folder of a checkpoint or of a training (needs PyTorch), or an ONNX file that `hypnograph export` wrote (does
        not). Of a training its best checkpoint is loaded, the last one where none was judged.
    resolution_s
        Seconds for each output, where the network can be asked for other than an epoch's.
    threads
        Of ONNX Runtime; None: one for each core.

    Raises
    ------
    UnreadableFileError
        If there is no checkpoint, or it is damaged.
    HypnographError
        If the network has no such resolution, or PyTorch is needed and not installed.
    """
    source = Path(source)
    if source.is_dir():
        return _load_folder(_checkpoint_of(source), resolution_s)
    if not source.is_file():
        raise UnreadableFileError(f"{source}: no such checkpoint; `hypnograph models` lists what there is")
    network = OnnxNetwork(source, threads=threads)
    if resolution_s is not None and not network.info.gives(resolution_s):
        raise HypnographError(
            f"{source} gives one stage each {network.info.resolution_s:g} s; for {resolution_s:g} s write it again: "
            f"hypnograph export CHECKPOINT {source.name} --resolution {resolution_s:g}"
        )
    return network


def _checkpoint_of(folder: Path) -> Path:
    """Return the folder itself, if it is a checkpoint; else that of the training whose folder it is."""
    return next((place for place in (folder, folder / "best", folder / "last") if (place / INFO).is_file()), folder)


def read_info(folder: str | Path) -> ModelInfo:
    """Read what a checkpoint's folder says of itself; needs no torch."""
    path = Path(folder) / INFO
    try:
        return ModelInfo.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFileError(f"{folder} is no checkpoint: {path.name} cannot be read ({error})") from error


def _load_folder(folder: Path, resolution_s: float | None) -> TorchNetwork:
    from hypnograph.models import create_model

    info = at_resolution(read_info(folder), resolution_s)
    if not info.architecture:
        raise HypnographError(f"{folder}: its network is none of our architectures; load its ONNX file instead")
    from safetensors import SafetensorError
    from safetensors.torch import load as tensors_of

    model = create_model(info.architecture, **info.config)
    try:
        content = (folder / WEIGHTS).read_bytes()
        model.load_state_dict(tensors_of(content))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UnreadableFileError(f"{folder / WEIGHTS}: not the weights of {info.architecture}: {error}") from error
    return TorchNetwork(model, info, sha256=hashlib.sha256(content).hexdigest())


def at_resolution(info: ModelInfo, resolution_s: float | None) -> ModelInfo:
    """Return the description of the same network with another number of outputs for each epoch.

    Raises
    ------
    HypnographError
        If the network gives one output for each epoch only, or an epoch has no whole number of such outputs.
    """
    if resolution_s is None or info.gives(resolution_s):
        return info
    if "sub_epochs" not in info.config:
        raise HypnographError(f"{info.title} gives one stage each {info.input.epoch_s:g} s, no other resolution")
    sub_epochs = round(info.input.epoch_s / resolution_s) if resolution_s > 0 else 0
    if sub_epochs < 1 or abs(sub_epochs * resolution_s - info.input.epoch_s) > 1e-6:
        raise HypnographError(
            f"a resolution of {resolution_s:g} s does not divide an epoch of {info.input.epoch_s:g} s"
        )
    return replace(info, sub_epochs=sub_epochs, config={**info.config, "sub_epochs": sub_epochs})


def export(
    source: str | Path | Network, path: str | Path, *, resolution_s: float | None = None, overwrite: bool = False
) -> Path:
    """Write a checkpoint as one ONNX file with its description inside; staging with it needs no torch.

    Parameters
    ----------
    source
        Folder of a checkpoint, or a network that `load` returned.
    path
        The file to write.
    resolution_s
        Seconds for each output, where the network can be asked for other than an epoch's; it is fixed in the file. Of
        a network that is loaded, it is fixed already.
    overwrite
        Replace a file that exists.

    Raises
    ------
    HypnographError
        If `path` exists and `overwrite` is False, or the graph that was written does not give the network's logits.
    """
    from hypnograph.onnx_export import export_graph

    check_output(path, overwrite=overwrite)
    network = load(source, resolution_s=resolution_s) if isinstance(source, (str, Path)) else source
    if not isinstance(network, TorchNetwork):
        raise HypnographError("this network is an ONNX file already")
    export_graph(network.model, Path(path), metadata={METADATA_KEY: network.info.to_json()})
    return Path(path)


# The model card ------------------------------------------------------------------------------------------------------


def write_card(folder: Path, info: ModelInfo, *, n_parameters: int) -> None:
    """Write the model card; what a person wrote at its end is kept."""
    path = folder / CARD
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if before and WRITTEN_BY_HAND not in before:
        return  # a person's own card
    kept = before.partition(WRITTEN_BY_HAND)[2] or "\n"
    with whole_file(path) as temporary:
        temporary.write_text(_card(info, n_parameters) + WRITTEN_BY_HAND + kept, encoding="utf-8")


def _card(info: ModelInfo, n_parameters: int) -> str:
    spec = info.input
    band = f", {spec.band_hz[0]:g} to {spec.band_hz[1]:g} Hz" if spec.band_hz else ""
    facts = {
        "Architecture": f"{info.architecture}, {n_parameters:,} parameters",
        "Input": f"{', '.join(spec.kinds)} at {spec.sample_rate:g} Hz{band}; scaling: {spec.scaling}",
        "Stages": f"{', '.join(info.scheme.labels)}, one each {info.resolution_s:g} s",
        "Training data": info.data or "not stated",
        "Split": f"SHA-256 {info.split_sha256}" if info.split_sha256 else "not stated",
        "Licence of the weights": info.licence or "not stated",
        "Source": info.source or "not stated",
        "Written by": f"hypnograph {info.version}",
    }
    rows = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    numbers = "".join(f"| {name} | {value} |\n" for name, value in info.metrics.items())
    results = f"| result | value |\n|---|---|\n{numbers}" if numbers else "None were given.\n"
    return (
        f"# {info.title}\n\nFor research. A person checks a staging before it is used.\n\n"
        f"| | |\n|---|---|\n{rows}\n## Results\n\n{results}\n" + (f"## Notes\n\n{info.notes}\n\n" if info.notes else "")
    )
