"""Sleep stages, the schemes that merge them, and the names that people write for them.

Conventions
-----------
A stage is one of W, N1, N2, N3, REM (AASM manual, 2007 and later). Rechtschaffen and Kales' S3 and S4 are N3. Movement
time, artefact, '?' and everything else that is not a stage is UNSCORED. The field has at least five incompatible
integer codes for stages, so integers never cross a module without their scheme, and a name is matched as a whole
against a closed vocabulary: "Unscored" must not become REM because it contains an R.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        if len(self.from_aasm) != 5 or set(self.from_aasm) != set(range(len(self.labels))):
            raise HypnographError(
                f"scheme {self.name!r}: from_aasm {self.from_aasm} must give each of W, N1, N2, N3, REM an index "
                f"and use every index of its {len(self.labels)} labels"
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

# Names are compared after `_normalise`: case, accents, a leading "Sleep stage" and a trailing "sleep" do not matter.
_NAMES: dict[Stage, tuple[str, ...]] = {
    Stage.W: (
        *("w", "wk", "wake", "awake", "wakefulness", "s0", "n0"),
        *(
            "wach",
            "wachheit",
            "éveil",
            "veille",
            "vigilia",
            "veglia",
            "wakker",
            "waak",
            "vaken",
            "vågen",
            "vaka",
            "valve",
        ),
    ),
    Stage.N1: ("n1", "s1", "1", "nrem1", "non-rem 1"),
    Stage.N2: ("n2", "s2", "2", "nrem2", "non-rem 2"),
    Stage.N3: (
        *("n3", "s3", "3", "nrem3", "non-rem 3", "sws", "n3/n4"),
        *("n4", "s4", "4", "nrem4", "non-rem 4"),
    ),
    Stage.REM: ("r", "rem", "paradoxal", "sp", "mor"),
    Stage.UNSCORED: (
        *("?", "unscored", "unknown", "unsure", "undefined", "uns", "nr", "ns", "na", "n/a", "nan", "none", "-1"),
        *("not scored", "no stage", "invalid", "other", "artifact", "artefact", "art"),
        *("mt", "m", "mvt", "move", "moving", "movement", "movement time", "bewegung", "bewegungszeit"),
    ),
}

# The code of the hypnograms of EDF's makers, NSRR and Compumedics: R&K stages in order, then REM. 6 is movement time.
NSRR_CODES: Mapping[int, Stage] = {
    **{0: Stage.W, 1: Stage.N1, 2: Stage.N2, 3: Stage.N3, 4: Stage.N3, 5: Stage.REM},
    **dict.fromkeys((-2, -1, 6, 7, 8, 9), Stage.UNSCORED),
}

_PREFIX = re.compile(
    r"^(?:sleep[ -]*)?(?:stage|stade|stadium|schlafstadium|sleep)"
    # "stage 2", "stage: 2", "stage-2", "stage - 2" and "stage2", but "stage -1" is −1
    r"(?:[:-] ?| (?:: ?|- )?|(?=\d$))(?=.)"
)


def _normalise(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.strip().lower())
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    collapsed = re.sub(r"[\s_]+", " ", plain)
    short = re.sub(r"(?<=.) sleep$", "", _PREFIX.sub("", collapsed))
    # "NREM 1", "N-2": the digit joins its letter; a minus sign alone is a sign.
    return re.sub(r"(?<=[a-z])[ -]+(?=\d$)", "", short)


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
        If the name is not in the vocabulary.
    """
    stage = try_stage_from_name(name, stage_map)
    if stage is None:
        raise _unknown([name])
    return stage


def _unknown(names: Sequence[str]) -> UnknownStageError:
    shown = ", ".join(repr(name[:60]) for name in names[:12]) + (" …" if len(names) > 12 else "")
    return UnknownStageError(
        f"unknown stage name{'s' * (len(names) > 1)} {shown}. Known are W, N1, N2, N3, REM, S1 to S4, 'Sleep stage 2', "
        f"'Movement time', ? and the like, in several languages. Say what it means with --stage-map "
        f"'{names[0][:60]}=STAGE' (or stage_map=…), a STAGE being W, N1, N2, N3, REM or UNSCORED"
    )


def try_stage_from_name(name: str, stage_map: Mapping[str, Stage] | None = None) -> Stage | None:
    """Return the stage that a name stands for, or None where it is no stage name (an event, a comment)."""
    key = _normalise(name)
    added = {_normalise(text): Stage(stage) for text, stage in (stage_map or {}).items()}
    return added.get(key, _VOCABULARY.get(key))


def stages_from_names(
    names: Sequence[str], stage_map: Mapping[str, Stage] | None = None
) -> tuple[NDArray[np.int8], StageScheme]:
    """Return the stages that names stand for, and the scheme that they are of.

    The scheme is AASM wherever all names are AASM (or R&K) stages. Where they are not, but all are labels of a coarser
    scheme ("W", "light", "deep", "REM"), it is that one.

    Returns
    -------
    NDArray[np.int8], shape (n_names,)
        Indices into the labels of the scheme; −1 is unscored.
    StageScheme

    Raises
    ------
    UnknownStageError
        If names are not in the vocabulary; the message has them all.
    """
    distinct = dict.fromkeys(names)
    for scheme in SCHEMES.values():
        table = {name: _index_in(scheme, name, stage_map) for name in distinct}
        if None not in table.values():
            return np.array([table[name] for name in names], dtype=np.int8), scheme
    if unknown := [name for name in distinct if try_stage_from_name(name, stage_map) is None]:
        raise _unknown(unknown)
    raise UnknownStageError(f"the stage names {', '.join(distinct)} are of different schemes")


def _index_in(scheme: StageScheme, name: str, stage_map: Mapping[str, Stage] | None) -> int | None:
    """Return the index of a named stage in a scheme; None where the name is no stage of it."""
    stage = try_stage_from_name(name, stage_map)
    if stage is None:
        labels = [_normalise(label) for label in scheme.labels]
        return labels.index(_normalise(name)) if _normalise(name) in labels else None
    if stage is Stage.UNSCORED:
        return -1
    # Only W and REM are called the same in each scheme: N2 beside "light" is a mixture, and an error.
    merged = scheme.from_aasm[stage]
    return merged if scheme is AASM_5 or scheme.from_aasm.count(merged) == 1 else None


def stages_from_codes(codes: ArrayLike, stage_map: Mapping[str, Stage] | None = None) -> NDArray[np.int8]:
    """Return the AASM stages that bare integers stand for, where a file does not say which code it uses.

    The field has five codes. The rule here:

    1. a code that `stage_map` names (``--stage-map 5=UNSCORED``) is that stage, and is set aside;
    2. −2, −1, 6, 7, 8 and 9 are UNSCORED in every code that has them;
    3. where a 5 occurs among the rest, the code is that of R&K, NSRR and ISRUC: 0 W, 1 N1, 2 N2, 3 and 4 N3, 5 REM;
    4. otherwise it is that of AASM, YASA and U-Time: 0 W, 1 N1, 2 N2, 3 N3, 4 REM.

    An R&K night without any REM, and a file of U-Time in which 5 is "unknown", are read wrongly by this rule: say
    ``--stage-map 4=N3`` or ``--stage-map 5=UNSCORED``.

    Parameters
    ----------
    codes : ArrayLike
        Integers, shape (n_epochs,).
    stage_map
        The user's additions; keys that are integers count.

    Returns
    -------
    NDArray[np.int8], shape (n_epochs,)
        Indices into the labels of `AASM_5`; −1 is unscored.

    Raises
    ------
    UnknownStageError
        If a code is none of these.
    """
    given = np.asarray(codes)
    added = {int(key): stage for key, stage in (stage_map or {}).items() if re.fullmatch(r"\s*-?\d{1,9}\s*", key)}
    present = {int(code) for code in np.unique(given)} - set(added)
    aasm = NSRR_CODES if 5 in present else {**NSRR_CODES, Stage.REM.value: Stage.REM}
    table: dict[int, Stage] = {**aasm, **added}
    unknown = sorted(present - set(table))
    if unknown:
        raise UnknownStageError(
            f"unknown stage code {unknown[0]}. Known are 0 W, 1 N1, 2 N2, 3 N3, 4 REM (where a 5 occurs: 4 N3, 5 REM), "
            "-2, -1 and 6 to 9 unscored. Add it with --stage-map 'CODE=STAGE' (or stage_map=…)"
        )
    stages = np.full(given.shape, Stage.UNSCORED, dtype=np.int8)
    for code, stage in table.items():
        stages[given == code] = stage
    return stages


def parse_stage_map(pairs: Sequence[str]) -> dict[str, Stage]:
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
