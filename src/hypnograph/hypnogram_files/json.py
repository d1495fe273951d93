"""hypnograph's own JSON: a hypnogram and its hypnodensity, without loss."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from hypnograph.errors import HypnographError, UnreadableFileError
from hypnograph.hypnogram import Hypnodensity, Hypnogram
from hypnograph.hypnogram_files import decode, read_bytes
from hypnograph.scored_events import hypnogram_of_list
from hypnograph.stages import AASM_5, Stage, StageScheme

NAME = "hypnograph JSON"
SUFFIXES = (".json",)

_FORMAT, _VERSION = "hypnograph", 1


def recognises(path: Path, head: bytes) -> bool:
    """Whether the text is an object that says it is a hypnogram of ours."""
    text = "".join(decode(head).split())
    return text.startswith("{") and f'"format":"{_FORMAT}"' in text


def read(path: Path, stage_map: Mapping[str, Stage] | None, recording_start: datetime | None) -> Hypnogram:
    """Read the hypnogram; `recording_start` counts only where the file has no start."""
    content = _content(path)
    try:
        start = content["start"]
        fields: dict[str, Any] = {
            "epoch_s": float(content["epoch_s"]),
            "start": recording_start if start is None else datetime.fromisoformat(start),
            "scorer": str(content["scorer"]),
            **{key: None if content[key] is None else float(content[key]) for key in ("lights_off_s", "lights_on_s")},
        }
        scheme = _scheme(content["scheme"])
        names = [str(name) for name in content["stages"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableFileError(f"damaged or incomplete: {error!r}") from error
    # Checks the size before anything is made of it.
    limits = hypnogram_of_list(["?"] * len(names), None, None, fields["epoch_s"])
    if scheme == AASM_5 and stage_map:
        return Hypnogram(hypnogram_of_list(names, stage_map, None, limits.epoch_s).stages, **fields)
    return Hypnogram.from_names(names, scheme=scheme, **fields)


def read_hypnodensity(path: Path) -> Hypnodensity | None:
    """Read the probabilities; None where the file has none."""
    content = _content(path)
    density = content.get("hypnodensity")
    if density is None:
        return None
    try:
        scheme, start = _scheme(density["scheme"]), content["start"]
        unknown = [None] * scheme.n_stages
        rows = np.array([unknown if row is None else row for row in density["probabilities"]], dtype=np.float64)
        return Hypnodensity(
            rows.reshape(-1, scheme.n_stages),
            epoch_s=float(content["epoch_s"]),
            start=None if start is None else datetime.fromisoformat(start),
            scheme=scheme,
            scorer=str(density["scorer"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableFileError(f"damaged or incomplete: {error!r}") from error


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(decode(read_bytes(path)))
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(f"not well-formed JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise UnreadableFileError("not a hypnogram of hypnograph")
    if content.get("version") != _VERSION:
        raise UnreadableFileError(f"version {content.get('version')!r} of the format; this hypnograph reads {_VERSION}")
    return content


def _scheme(content: dict[str, Any]) -> StageScheme:
    return StageScheme(content["name"], tuple(content["labels"]), tuple(content["from_aasm"]))


def write(path: Path, hypnogram: Hypnogram, hypnodensity: Hypnodensity | None) -> None:
    """Write everything; nothing is lost. An epoch of which nothing is known has null for its probabilities."""
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "scorer": hypnogram.scorer,
        "start": None if hypnogram.start is None else hypnogram.start.isoformat(),
        "epoch_s": hypnogram.epoch_s,
        "lights_off_s": hypnogram.lights_off_s,
        "lights_on_s": hypnogram.lights_on_s,
        "scheme": _scheme_content(hypnogram.scheme),
        "stages": hypnogram.names,
    }
    if hypnodensity is not None:
        rows = hypnodensity.probabilities.tolist()
        known = hypnodensity.known
        content["hypnodensity"] = {
            "scorer": hypnodensity.scorer,
            "scheme": _scheme_content(hypnodensity.scheme),
            "probabilities": [row if is_known else None for row, is_known in zip(rows, known, strict=True)],
        }
    try:
        path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    except ValueError as error:
        raise HypnographError(f"a lights time is not a number: {error}") from error


def _scheme_content(scheme: StageScheme) -> dict[str, Any]:
    return {"name": scheme.name, "labels": scheme.labels, "from_aasm": scheme.from_aasm}
