"""Sleep stages, the schemes that merge them, and the names that people write for them.

Conventions
-----------
A stage is one of W, N1, N2, N3, REM (AASM manual, 2007 and later). Rechtschaffen and Kales' S3 and S4 are N3. Movement
time, artefact, '?' and everything else that is not a stage is UNSCORED. The field has at least five incompatible
integer codes for stages, so integers never cross a module without their scheme, and a name is matched as a whole
against a closed vocabulary: "Unscored" must not become REM because it contains an R.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError, UnknownStageError


class Stage(IntEnum):
    """An AASM sleep stage. The value is its index in `AASM_5`."""

    UNSCORED = -1
    W = 0
    N1 = 1
    N2 = 2
    N3 = 3
    REM = 4


@dataclass(frozen=True)
class StageScheme:
    """The stages in use and how the five AASM stages merge into them.

    Parameters
    ----------
    name
        What the scheme is called on the command line, e.g. ``"W-NREM-REM"``.
    labels
        The stages of the scheme, in order; a stage is its index here, −1 is unscored.
    from_aasm
        For each of W, N1, N2, N3, REM the index in `labels` that it becomes.
    """

    name: str
    labels: tuple[str, ...]
    from_aasm: tuple[int, int, int, int, int]

    def __post_init__(self) -> None:
        if set(self.from_aasm) != set(range(len(self.labels))):
            raise HypnographError(
                f"scheme {self.name!r}: from_aasm {self.from_aasm} must use every index of its "
                f"{len(self.labels)} labels, and no other"
            )

    @property
    def n_stages(self) -> int:
        return len(self.labels)

    def label(self, stage: int) -> str:
        """Return the name of a stage of this scheme; −1 is ``"UNSCORED"``."""
        return "UNSCORED" if stage == Stage.UNSCORED else self.labels[stage]

    def mapping_to(self, other: "StageScheme") -> NDArray[np.int8]:
        """Return for each stage of this scheme its stage in `other`, a coarser scheme.

        Returns
        -------
        NDArray[np.int8], shape (n_stages,)

        Raises
        ------
        HypnographError
            If a stage of this scheme would have to be split.
        """
        mapping = np.full(self.n_stages, -1, dtype=np.int8)
        for mine, theirs in zip(self.from_aasm, other.from_aasm, strict=True):
            if mapping[mine] not in (-1, theirs):
                raise HypnographError(
                    f"{self.label(mine)} of scheme {self.name} is more than one stage of {other.name}"
                )
            mapping[mine] = theirs
        return mapping


AASM_5 = StageScheme("AASM", ("W", "N1", "N2", "N3", "REM"), (0, 1, 2, 3, 4))
W_LIGHT_DEEP_REM = StageScheme("W-light-deep-REM", ("W", "light", "deep", "REM"), (0, 1, 1, 2, 3))
W_NREM_REM = StageScheme("W-NREM-REM", ("W", "NREM", "REM"), (0, 1, 1, 1, 2))
W_SLEEP = StageScheme("W-sleep", ("W", "sleep"), (0, 1, 1, 1, 1))
SCHEMES = {scheme.name: scheme for scheme in (AASM_5, W_LIGHT_DEEP_REM, W_NREM_REM, W_SLEEP)}

# Names are compared after `_normalise`: case, accents of the prefix and punctuation do not matter, whole names do.
_PREFIXES = r"(?:sleep[ _-]*)?(?:stage|stade|stadium|schlafstadium|sleep)"
_NAMES: dict[Stage, tuple[str, ...]] = {
    Stage.W: ("w", "wk", "wake", "awake", "wakefulness", "s0", "n0", "wach", "éveil", "eveil", "veille", "vigilia", "stage w"),
    Stage.N1: ("n1", "s1", "1", "nrem1", "nrem 1", "non-rem 1", "stage 1"),
    Stage.N2: ("n2", "s2", "2", "nrem2", "nrem 2", "non-rem 2"),
    Stage.N3: ("n3", "s3", "3", "s4", "4", "n4", "nrem3", "nrem 3", "nrem4", "nrem 4", "non-rem 3", "sws", "n3/n4"),
    Stage.REM: ("r", "rem", "rem sleep", "paradoxal", "sp"),
    Stage.UNSCORED: (
        "?", "unscored", "unknown", "unsure", "undefined", "uns", "nr", "ns", "na", "n/a", "nan", "none", "not scored",
        "no stage", "mt", "m", "mvt", "move", "moving", "movement", "movement time", "artifact", "artefact", "art",
        "invalid", "other", "-1", "bewegung",
    ),
}  # fmt: skip


def _normalise(name: str) -> str:
    collapsed = re.sub(r"[\s_]+", " ", name.strip().lower())
    without_prefix = re.sub(rf"^{_PREFIXES}[ :-]+(?=.)", "", collapsed)
    return re.sub(r"\s*-\s*(?=\d$)", "", without_prefix) or collapsed


_VOCABULARY = {_normalise(name): stage for stage, names in _NAMES.items() for name in names}


def stage_from_name(name: str, stage_map: Mapping[str, Stage] | None = None) -> Stage:
    """Return the stage that a name stands for.

    The name is matched as a whole, without regard to case or a leading "Sleep stage"; never by substring. A bare 0 or 5
    is refused: formats disagree on them, so a reader that knows its format's integers maps them itself.

    Parameters
    ----------
    name
        As written in a file: "W", "Sleep stage N2", "REM", "Movement time", "?" ….
    stage_map
        The user's additions, tried first; compared in the same way.

    Raises
    ------
    UnknownStageError
        If the name is not in the vocabulary; the message lists what is known.
    """
    stage = try_stage_from_name(name, stage_map)
    if stage is None:
        known = "; ".join(f"{stage.name}: {', '.join(names)}" for stage, names in _NAMES.items())
        raise UnknownStageError(
            f"unknown stage name {name[:60]!r}. Known are {known}. Add it with --stage-map 'NAME=STAGE' (or stage_map=…)"
        )
    return stage


def try_stage_from_name(name: str, stage_map: Mapping[str, Stage] | None = None) -> Stage | None:
    """Return the stage that a name stands for, or None where it is no stage name (an event, a comment)."""
    key = _normalise(name)
    if stage_map:
        added = {_normalise(text): Stage(stage) for text, stage in stage_map.items()}
        if key in added:
            return added[key]
    return _VOCABULARY.get(key)


def parse_stage_map(pairs: list[str] | tuple[str, ...]) -> dict[str, Stage]:
    """Parse ``NAME=STAGE`` pairs, as given to ``--stage-map``.

    Raises
    ------
    UnknownStageError
        If a pair has no ``=`` or its right side is not W, N1, N2, N3, REM or UNSCORED.
    """
    stage_map = {}
    for pair in pairs:
        name, separator, stage = pair.rpartition("=")
        if not separator or not name or stage.strip().upper() not in Stage.__members__:
            allowed = ", ".join(Stage.__members__)
            raise UnknownStageError(f"--stage-map {pair!r}: expected NAME=STAGE with STAGE one of {allowed}")
        stage_map[name] = Stage[stage.strip().upper()]
    return stage_map
