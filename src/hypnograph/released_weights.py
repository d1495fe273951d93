"""Published weights by name: what there is, fetching it whole and checked, and finding it again on this computer.

A file is fetched from its authors' repository at a fixed commit, compared with the size and the SHA-256 of the table
below, and only then read and converted to a checkpoint of ours (`hypnograph.checkpoint`). What is fetched are pickles;
only tensors are read from them. Nothing is sent but a GET of the address.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from hypnograph import checkpoint
from hypnograph.cache import cache_folder
from hypnograph.download import Progress, check_file, download
from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.model_info import CARD, INFO, WEIGHTS
from hypnograph.network import Network
from hypnograph.whole_file import check_output

Family = Literal["usleep", "sleepgpt-tinysleepnet", "stage-gpt"]
State = Literal["built in", "installed", "cached", "fetchable"]
Kind = Literal["stager", "network", "language model"]

SHIPPED = Path(__file__).with_name("weights")
"""Weights that come with the package, if any do."""


# What was published --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ReleasedWeights:
    """One file of weights that its authors published.

    Parameters
    ----------
    name
        As given to `fetch`.
    url
        Where it is, at a fixed commit.
    size, sha256
        Of the file, in bytes and as hexadecimal digits.
    family
        How it is laid out: by whom it is read.
    data, licence, source, metrics, notes
        See `hypnograph.model_info.ModelInfo`. Metrics are as published, or measured in our LOG; none: none are known.
    """

    name: str
    url: str
    size: int
    sha256: str
    family: Family
    data: str
    licence: str
    source: str
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    notes: str = ""

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def kind(self) -> Kind:
        return "language model" if self.family == "stage-gpt" else "network"


def _anysleep(run: int, sha256: str) -> ReleasedWeights:
    commit, path = "850a3d150c2f66dd6058ef9e511f13b18204beb3", f"models/usleep-run{run}.pth"
    return ReleasedWeights(
        name=f"usleep-anysleep-{run}",
        # The files are in Git LFS, which this address serves.
        url=f"https://media.githubusercontent.com/media/dslaborg/AnySleep/{commit}/{path}",
        size=12_551_209,
        sha256=sha256,
        family="usleep",
        data="18,038 nights, 13 datasets (U-Sleep's split)",
        licence="MIT",
        source=f"{path} of github.com/dslaborg/AnySleep at commit {commit}, arXiv:2512.14461",
        metrics={"mean F1, same datasets, 966 nights": 0.799, "8 other datasets, 346 nights": 0.768},
        notes=(
            "U-Sleep, trained anew by AnySleep's authors on U-Sleep's training nights of ABC, CCSHS, CFS, CHAT, DCSM, "
            "HPAP, MESA, MrOS, PHYS, Sleep-EDF SC and ST, SHHS and SOF. EEG comes first, EOG second. The results are "
            "those that they report for this training, not for each of its three runs.\n\n"
            "Most of these datasets are from the NSRR, whose data use agreements may limit commercial use."
        ),
    )


def _sleepgpt(**fields: Any) -> ReleasedWeights:
    commit, path = "c9dff7afa1d2920c354663f52d93f9ab3b929c27", fields.pop("path")
    return ReleasedWeights(
        # This address leads to the file, be it in Git LFS or not.
        url=f"https://github.com/yuty2009/sleepgpt/raw/{commit}/{path}",
        licence="Apache-2.0",
        source=f"{path} of github.com/yuty2009/sleepgpt at commit {commit}, doi 10.1101/2024.10.26.24316166",
        **fields,
    )


def _stage_gpt(context: int, size: int, sha256: str, log_loss: float, accuracy: str) -> ReleasedWeights:
    return _sleepgpt(
        name=f"slm-shhs-{context}",
        path=f"output/gpt_shhs_pretrained/{context}_48_3_6.pth.tar",
        size=size,
        sha256=sha256,
        family="stage-gpt",
        data="5,793 nights of SHHS visit 1",
        metrics={"accuracy 2 epochs ahead, 108 CAP nights": accuracy, "log loss": log_loss},
    )


RELEASED: Mapping[str, ReleasedWeights] = {
    entry.name: entry
    for entry in (
        _anysleep(1, "eb88c447b543918f2e16a2ce3f4d40e9ae975b07b34f4709568d3a66ff2287ee"),
        _anysleep(2, "bb764d9edcbe66e81b3286e1bb629267f369cfbe89690148ed3bf1b9a8fdb0af"),
        _anysleep(3, "7a8d55940e61da3c6c1b12689647eed105724ea6cf2246ec2aef465db168aa8e"),
        _sleepgpt(
            name="tinysleepnet-sleepgpt",
            path="output/tinysleepnet_pretrained/best.pth.tar",
            size=1_653_427,
            sha256="936d52f45cda4d6cbee41687c00ae767d2161294b1ccad26066eb7fb51e990c1",
            family="sleepgpt-tinysleepnet",
            data="Sleep-EDF, Fpz-Cz",
            notes=(
                "One EEG derivation in µV, from 0.4 to 30 Hz as the authors' staging script filters it. Which nights it"
                " was trained on is not published: results on Sleep-EDF say nothing."
            ),
        ),
        _stage_gpt(60, 1_119_245, "a40016cc9c448abc59f8123ed78ba9b995f6080aac7fae0853fb41e6960bc0b1", 0.410, "89.0 %"),
        _stage_gpt(90, 1_149_965, "d50a1e7a6cdfb07507e675caa0a5383d46558ffc2d09ce05d3dfeef83b0124e9", 0.387, "89.5 %"),
    )
}


# What there is on this computer --------------------------------------------------------------------------------------


def weights_folder() -> Path:
    """Return the folder of the cached weights; a checkpoint or an ONNX file that is put there is found by its name."""
    return cache_folder() / "weights"


def locate(name: str) -> Path | None:
    """Return where weights of this name lie on this computer; None if no such name is known.

    Parameters
    ----------
    name
        Of fetched or shipped weights, or of a checkpoint or an ONNX file in `weights_folder`.

    Raises
    ------
    HypnographError
        If they are published weights that have not been fetched.
    """
    found = _found(name)
    if found is None and name in RELEASED:
        raise HypnographError(f"{name} is not on this computer yet: hypnograph models fetch {name}")
    return found


def load(source: str | Path, *, resolution_s: float | None = None, threads: int | None = None) -> Network:
    """Load a network that is ready to stage.

    Parameters
    ----------
    source
        Folder of a checkpoint (needs PyTorch), an ONNX file that `hypnograph export` wrote (does not), or a name that
        `hypnograph models` lists.
    resolution_s, threads
        See `hypnograph.checkpoint.load`.

    Raises
    ------
    UnreadableFileError
        If there is no such checkpoint, or it is damaged.
    HypnographError
        If the weights were not fetched, the network has no such resolution, or PyTorch is needed and not installed.
    """
    path = Path(source)
    found = path if path.exists() else locate(str(source)) or path
    return checkpoint.load(found, resolution_s=resolution_s, threads=threads)


def _found(name: str) -> Path | None:
    return (_models_in(SHIPPED) | _models_in(weights_folder())).get(name)


def _models_in(folder: Path) -> dict[str, Path]:
    """Return the checkpoints and ONNX files of a folder by name; of one name, the checkpoint."""
    if not folder.is_dir():
        return {}
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    files = {path.stem: path for path in paths if path.suffix == ".onnx"}
    return files | {path.name: path for path in paths if (path / INFO).is_file() and (path / WEIGHTS).is_file()}


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """One line of the list of models.

    Parameters
    ----------
    name
        As given to ``--model`` (to ``--stager``, if it is a stager).
    state
        ``"built in"``, ``"installed"`` (with the package), ``"cached"`` (on this computer) or ``"fetchable"``.
    kind
        ``"stager"``, ``"network"`` or ``"language model"``.
    size
        In bytes: of its files, or of what would be fetched.
    licence, data, metrics, source
        As far as they are stated.
    path
        Where it lies; None if it is not here.
    """

    name: str
    state: State
    kind: Kind
    size: int
    licence: str = ""
    data: str = ""
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    source: str = ""
    path: Path | None = None


def list_models() -> list[ListedModel]:
    """Return all that can stage a night, or help to: built in, installed, cached, and what can be fetched."""
    shipped, cached = _models_in(SHIPPED), _models_in(weights_folder())
    here = [_listed(name, path, "installed") for name, path in shipped.items() if name not in cached]
    here += [_listed(name, path, "cached") for name, path in cached.items()]
    missing = [entry for name, entry in RELEASED.items() if name not in shipped | cached]
    return _built_in() + here + [_fetchable(entry) for entry in missing]


def _built_in() -> list[ListedModel]:
    """Return the stagers on YASA's classifiers, if these are installed; the package is not imported."""
    spec = find_spec("yasa")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent / "classifiers"
    files = [] if folder is None else sorted(folder.glob("*.joblib"))
    if not files:
        return []
    listed = ListedModel(
        name="yasa",
        state="built in",
        kind="stager",
        size=sum(file.stat().st_size for file in files),
        licence="BSD-3-Clause",
        data="NSRR nights; stages by the best derivations",
        metrics={"median accuracy, 585 held-out nights": "87.5 %"},
        source="Vallat and Walker 2021, doi 10.7554/eLife.70092",
        path=folder,
    )
    vote = replace(listed, name="ensemble", data="as yasa; all derivations vote; the default", metrics={})
    return [listed, vote]


def _fetchable(entry: ReleasedWeights) -> ListedModel:
    names = ("name", "size", "licence", "data", "metrics", "source")
    return ListedModel(state="fetchable", kind=entry.kind, **{name: getattr(entry, name) for name in names})


def _listed(name: str, path: Path, state: State) -> ListedModel:
    """Return what a checkpoint or an ONNX file says of itself; one that cannot be read does not hide the others."""
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    try:
        stated = _stated(path)
    except (HypnographError, OSError) as error:
        stated = {"data": f"cannot be read: {error}"}
    # Language models keep no results in their files.
    metrics = stated.get("metrics") or (RELEASED[name].metrics if name in RELEASED else {})
    return ListedModel(
        name=name,
        state=state,
        kind="language model" if stated.get("architecture") == "stage-gpt" else "network",
        size=sum(file.stat().st_size for file in files),
        metrics=metrics,
        path=path,
        **{key: str(stated.get(key, "")) for key in ("licence", "data", "source")},
    )


def _stated(path: Path) -> Mapping[str, Any]:
    if path.is_file():
        from hypnograph.network import OnnxNetwork

        return vars(OnnxNetwork(path).info)
    try:
        stated = json.loads((path / INFO).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableFileError(f"{path / INFO}: {error}") from error
    if not isinstance(stated, dict):
        raise UnreadableFileError(f"{path / INFO} is not the description of a model")
    return stated


# Fetching ------------------------------------------------------------------------------------------------------------


def fetch(
    name: str,
    *,
    progress: Progress | None = None,
    from_file: str | Path | None = None,
    url: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Return the checkpoint of published weights; what is not on this computer is fetched, checked and converted.

    A file of the published name in ``downloads/`` of `cache_folder` is used instead of the network. So a computer
    without network can be given one.

    Parameters
    ----------
    name
        One of `RELEASED`.
    progress
        Is told how many bytes are there, of how many.
    from_file
        The published file on this computer, instead of the network; it is not changed.
    url
        Another address of the same file, e.g. of a mirror.
    overwrite
        Convert again what is there; what a person wrote in the card of a network is kept.

    Returns
    -------
    Path
        Folder of the checkpoint. It appears whole or not at all.

    Raises
    ------
    HypnographError
        If there are no such weights, the file cannot be had or is not the published one, or PyTorch, which is needed to
        read it, is not installed.
    """
    if name not in RELEASED:
        raise HypnographError(f"no published weights {name!r}. There are: {', '.join(RELEASED)}")
    entry, folder, present = RELEASED[name], weights_folder() / name, _found(name)
    if present is not None and not overwrite:
        return present
    check_output(folder, overwrite=overwrite)
    if find_spec("torch") is None:
        raise HypnographError(f"to read {name} as published, PyTorch is needed: pip install 'hypnograph[train]'")
    if from_file is not None:
        file = Path(from_file)
        check_file(file, entry.name, entry.size, entry.sha256)
    else:
        file = _file_at_hand(entry, url or entry.url, progress)
    _convert_whole(file, entry, folder)
    return folder


def _file_at_hand(entry: ReleasedWeights, url: str, progress: Progress | None) -> Path:
    """Return the published file, checked: as it lies in the folder of downloads, else from the network."""
    file = cache_folder() / "downloads" / entry.file_name
    if file.exists():
        try:
            check_file(file, entry.name, entry.size, entry.sha256)
        except UnreadableFileError as error:
            # Only a person can have put it there: what we fetch is checked before it gets this name.
            raise UnreadableFileError(f"{error}. Put the right file in its place, or remove it") from None
        return file
    partial = file.with_name(f"{file.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    _receive(url, partial, entry, progress)
    try:
        check_file(partial, entry.name, entry.size, entry.sha256)
    except UnreadableFileError as error:
        partial.unlink()
        raise UnreadableFileError(f"{error}. It was removed; {url} may have changed") from None
    os.replace(partial, file)
    return file


def _receive(url: str, partial: Path, entry: ReleasedWeights, progress: Progress | None) -> None:
    if problem := download(url, partial, entry.size, progress=progress):
        raise HypnographError(f"{entry.name}: {problem}. {_advice(url, partial, entry)}")


def _advice(url: str, partial: Path, entry: ReleasedWeights) -> str:
    done = partial.stat().st_size if partial.exists() else 0
    again = f"{done:,} of {entry.size:,} bytes are here, and the same command goes on from there. " if done else ""
    return (
        f"{again}Without network: copy {url} (SHA-256 {entry.sha256}) to {partial.with_suffix('')} and run "
        f"`hypnograph models fetch {entry.name}` again, or name your copy with --from FILE"
    )


# Converting ----------------------------------------------------------------------------------------------------------


def _convert_whole(file: Path, entry: ReleasedWeights, folder: Path) -> None:
    """Convert beside the folder, then rename: the checkpoint is there whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        if entry.kind == "network" and (folder / CARD).is_file():
            shutil.copyfile(folder / CARD, new / CARD)  # its last part may be written by hand
        _convert(file, entry, new)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)


def _convert(file: Path, entry: ReleasedWeights, folder: Path) -> None:
    """Write the checkpoint of a file that has been checked."""
    tensors = _read_tensors(file)
    facts: dict[str, Any] = {"name": entry.name, "data": entry.data, "licence": entry.licence, "source": entry.source}
    if entry.family == "stage-gpt":
        from hypnograph.sequences.language_model import from_published

        weights = {name: tensor.numpy() for name, tensor in tensors["state_dict"].items()}
        replace(from_published(weights), **facts).save(folder)
        return
    from hypnograph.checkpoint import save
    from hypnograph.models import describe, sleepgpt_tinysleepnet, usleep

    read = usleep.from_anysleep if entry.family == "usleep" else sleepgpt_tinysleepnet.from_published
    model = read(tensors)
    spec = describe(model).input
    if entry.family == "usleep":
        spec = replace(spec, outliers="clip-resampled")  # in this order in AnySleep's own script
    save(model, folder, metrics=entry.metrics, notes=entry.notes, input=spec, **facts)


def _read_tensors(file: Path) -> dict[str, Any]:
    """Read a pickle of tensors; one that wants to run code is refused."""
    import pickle

    import torch

    try:
        tensors: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnreadableFileError(f"{file} holds more than weights, and was not read: {error}") from None
    return tensors
