"""What the labels of signals mean.

A label is cut into tokens, and each token is looked up as a whole in closed tables: "O2 Sat" is not an EEG although it
holds an O2. What is not in the tables is `OTHER`: a signal that is missed can be named by the user; one that is taken
by mistake spoils a night in silence. Electrodes are compared by one name: A1 is M1, T3 is T7, LOC is E1.
"""

import contextlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache


class ChannelKind(StrEnum):
    """What a signal measures."""

    EEG = "EEG"
    EOG = "EOG"
    EMG = "EMG"
    ECG = "ECG"
    MASTOID = "mastoid"
    OTHER = "other"


LINKED, COMMON, BIPOLAR = "linked", "common", "bipolar"


@dataclass(frozen=True)
class ParsedLabel:
    """What a label says.

    Parameters
    ----------
    kind
        What the signal measures.
    electrode
        Its canonical name: C4, Fpz, M1, E1, "chin 1"; None where the label names none.
    reference
        What was subtracted by the recorder: an electrode, `LINKED` mastoids, `BIPOLAR` (two electrodes of one muscle),
        `COMMON` (an electrode that the file does not name), or None where the label names none.
    site
        Of an EMG: "chin", "limb" (any other muscle), "unknown" (words that are not understood) or "" (none named).
    """

    kind: ChannelKind
    electrode: str | None = None
    reference: str | None = None
    site: str = ""

    @property
    def unreferenced(self) -> bool:
        return self.reference in (None, COMMON)

    @property
    def name(self) -> str | None:
        """The derivation in the field's words: C4-M1, C4-M1M2, C4; None where no electrode is named."""
        if self.electrode is None or self.unreferenced:
            return self.electrode
        return f"{self.electrode}-{'M1M2' if self.reference == LINKED else self.reference}"


# Tables: tokens in lower case, without accents.

_ROWS = ("fp", "af", "f", "fc", "ft", "c", "t", "tp", "cp", "p", "po", "o", "i")
# PO1 and PO2 are not in the 10-10 system, and PO2 is the pressure of oxygen.
_TEN_TEN = {row + place for row in _ROWS for place in ("z", *map(str, range(1, 11)))} - {"po1", "po2", "tz"}
_SYNONYMS = {"t3": "T7", "t4": "T8", "t5": "P7", "t6": "P8"}
_MASTOIDS = {"m1": "M1", "m2": "M2", "a1": "M1", "a2": "M2"}
_EYES = {"e1": "E1", "e2": "E2", "loc": "E1", "roc": "E2", "pg1": "PG1", "pg2": "PG2"}
_ELECTRODES = {name: name[:-1].upper().replace("FP", "Fp") + name[-1] for name in _TEN_TEN}
_ELECTRODES |= _SYNONYMS | _MASTOIDS | _EYES
_REFERENCES = dict.fromkeys(("cle", "ler", "le", "linked", "earlobes"), LINKED) | dict.fromkeys(
    ("ref", "reference", "avg", "av", "ave", "ar", "car", "org", "g2", "common"), COMMON
)

_KIND_WORDS = {"eeg", "eog", "emg", "ecg", "ekg"}
_HEART_WORDS = {"ecg", "ekg", "mlii"}
_EYE_WORDS = {"eog", "eye", "eyes", "auge", "augen", "oeil", "yeux", "oog", "ojo", "occhio"}
_CHIN_WORDS = {
    "chin", "menton", "mentonnier", "mentonniere", "mentum", "mental", "mentalis", "submental", "submentalis",
    "submentonnier", "subment", "kinn", "kin", "mento", "barbilla", "hage", "haka",
}  # fmt: skip
_LIMB_WORDS = {
    "leg", "legs", "tib", "tibia", "tibial", "tibialis", "tibant", "lat", "rat", "plm", "plms", "jambe", "jambes",
    "jambier", "bein", "beine", "been", "ben", "pierna", "gamba", "arm", "arms", "bras", "fds", "edc", "flexor",
    "extensor", "deltoid", "deltoide", "biceps", "gastrocnemius", "masseter", "temporalis", "intercostal", "intercost",
    "trapezius",
}  # fmt: skip
# Muscles only beside "EMG"; alone they are belts and sensors. "EMG-T" is the tibialis.
_TRUNK_WORDS = {"chest", "thorax", "abdomen", "diaphragm", "diaphragma", "neck", "nacken", "hand", "scalene", "ta", "t"}
_MASTOID_WORDS = {"mastoid", "mastoide", "mast"}
_LEFT = {"l", "li", "left", "links", "lks", "gauche", "g", "sin", "sx", "izq", "izquierdo", "sinistra", "venstre", "lt"}
_RIGHT = {"r", "re", "right", "rechts", "droit", "droite", "d", "dx", "der", "derecho", "destra", "rt"}
_DIRECTIONS = {"h", "v", "i", "hor", "horiz", "horizontal", "vert", "vertical"}
_NEUTRAL = {
    "psg", "pol", "poly", "hb", "ch", "chan", "channel", "kanal", "voie", "signal", "raw", "sec", "prim", "uv", "mv",
    "z", "ii", "iii", "sup", "inf", "upper", "lower", "bipolar", "bip", "new", "cal",
}  # fmt: skip
# Words that take away what the others promise: "ECG rate", "C3 (Imp)", "O2 Sat", "EMG snore".
_VETO = {
    "imp", "impedance", "impedanz", "impedancia", "rate", "hr", "bpm", "freq", "frequency", "frequenz", "frequence",
    "herzfrequenz", "sat", "sao2", "spo2", "saturation", "oxi", "oximetry", "temp", "temperature", "trig", "trigger",
    "dtrig", "event", "events", "marker", "annotation", "annotations", "status", "pulse", "puls", "pouls", "pleth",
    "snore", "snoring", "schnarch", "ronflement", "resp", "respiration", "atmung", "flow", "airflow", "fluss", "debit",
    "press", "pressure", "druck", "co2", "etco2", "aux", "dc", "imu", "acc", "accel", "quality", "position", "pos",
    "lage", "light", "licht", "battery", "snr", "gnd", "ground",
}  # fmt: skip
_NUMBERED = _KIND_WORDS | _EYE_WORDS | _CHIN_WORDS | _LIMB_WORDS | _MASTOID_WORDS | {"hb", "ch", "dc", "aux"}
_KNOWN = (
    _ELECTRODES.keys()
    | _REFERENCES.keys()
    | _HEART_WORDS
    | _NUMBERED
    | _TRUNK_WORDS
    | _LEFT
    | _RIGHT
    | _DIRECTIONS
    | _NEUTRAL
    | _VETO
)
# Nox recorders call the chin electrodes 1, 2 and F.
_NOX_CHIN = {"1-2", "1-f", "2-f"}
_NOT_VOLTAGES = {
    "ohm", "ohms", "kohm", "kohms", "ω", "kω", "%", "bpm", "1/min", "/min", "tr/min", "rpm", "cmh2o", "mbar", "mmhg",
    "kpa", "hpa", "pa", "bar", "l/s", "l/min", "lpm", "l", "ml", "degc", "°c", "deg c", "c", "degf", "°", "deg", "g",
    "g/s", "mg", "m/s2", "m/s^2", "hz", "lx", "lux", "db", "s", "sec", "ms", "h", "v/s", "us", "ns", "boolean", "bool",
    "bit", "a", "ma",
}  # fmt: skip


def channel_kind(label: str, unit: str = "") -> ChannelKind:
    """Return what a signal measures, from its label and its unit.

    Legs and other muscles are EMG too; `parse_label` tells their site.
    """
    return parse_label(label, unit).kind


def parse_label(label: str, unit: str = "") -> ParsedLabel:
    """Return the kind, electrode and reference that a label names; a unit that is no voltage makes it `OTHER`."""
    tokens = _tokens(label)
    kind = _kind(label, unit, tokens)
    electrodes = [_ELECTRODES[token] for token in tokens if token in _ELECTRODES]
    if kind == ChannelKind.EMG:
        return _parse_muscle(label, tokens)
    if kind == ChannelKind.EOG:
        return _parse_eye(tokens, electrodes)
    if kind not in (ChannelKind.EEG, ChannelKind.MASTOID):
        return ParsedLabel(kind)
    if not electrodes and kind == ChannelKind.MASTOID:
        electrodes = [f"M{_side(tokens)}"]
    # "T3/T7" is one electrode by two names.
    others = [electrode for electrode in electrodes if electrode != electrodes[0]]
    return ParsedLabel(kind, electrodes[0] if electrodes else None, _reference(tokens, others))


def is_opposite(electrode: str, reference: str) -> bool:
    """Whether a mastoid is on the other side than an electrode (odd numbers: left); true of both for the midline."""
    number = re.search(r"\d+$", electrode)
    return number is None or reference == ("M2" if int(number[0]) % 2 else "M1")


def plain(text: str) -> str:
    """Return a text in lower case, without accents; UTF-8 that was read as Latin-1 is mended."""
    with contextlib.suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    text = text.lower().replace("œ", "oe").replace("µ", "u").replace("μ", "u")
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).strip()


@cache
def _glued() -> tuple[re.Pattern[str], ...]:
    """Return the patterns of words written without a blank: c3a2, eegc3a2, leog, lefteye, emgchin1, eogl, chin1."""

    def any_of(words: Iterable[str]) -> str:
        return f"({'|'.join(sorted(words, key=len, reverse=True))})"

    kind, electrode, word = any_of(_KIND_WORDS), any_of(_ELECTRODES), any_of(_NUMBERED)
    second, place = any_of(_ELECTRODES.keys() | _REFERENCES.keys()), any_of(_LEFT | _RIGHT | _DIRECTIONS)
    return (
        re.compile(f"{kind}?{electrode}{second}"),
        re.compile(f"{kind}{electrode}"),
        re.compile(f"{place}?{word}{word}?{place}?([0-9]+)?"),
        re.compile(f"{kind}(.+)"),
    )


def _split(token: str) -> list[str]:
    """Cut a token that is in no table into tokens that are, where it can be."""
    if token in _KNOWN or token.isdigit():
        return [token]
    for pattern in _glued():
        if match := pattern.fullmatch(token):
            return [part for part in match.groups() if part]
    return [token]


def _tokens(label: str) -> list[str]:
    # "E-1" and "E 2" are the eye electrodes.
    text = re.sub(r"\be[-_ ]([12])\b", r"e\1", plain(label))
    return [part for token in re.findall(r"[a-z0-9]+", text) for part in _split(token)]


def _unknown(tokens: Iterable[str]) -> bool:
    return any(token not in _KNOWN and not token.isdigit() for token in tokens)


def _kind(label: str, unit: str, tokens: list[str]) -> ChannelKind:
    words = set(tokens)
    if not tokens or words & _VETO or plain(unit) in _NOT_VOLTAGES:
        return ChannelKind.OTHER
    electrodes = [token for token in tokens if token in _ELECTRODES]
    # A lone electrode beside words that are not understood ("Sensor T1") counts only with "EEG".
    trusted = bool(electrodes) and ("eeg" in words or not _unknown(tokens)) and tokens[0] not in _REFERENCES
    muscle = "emg" in words or bool(words & (_CHIN_WORDS | _LIMB_WORDS)) or plain(label) in _NOX_CHIN
    headband = tokens[0] == "hb" and len(tokens) > 1 and not _unknown(tokens)
    rules = (
        (bool(words & _HEART_WORDS), ChannelKind.ECG),
        (muscle, ChannelKind.EMG),
        (bool(words & _EYE_WORDS) or (trusted and electrodes[0] in _EYES), ChannelKind.EOG),
        (trusted and set(electrodes) <= _MASTOIDS.keys(), ChannelKind.MASTOID),
        (trusted, ChannelKind.EEG),
        (bool(words & _MASTOID_WORDS) and bool(_side(tokens)), ChannelKind.MASTOID),
        (headband or ("eeg" in words and tokens[0] not in _REFERENCES), ChannelKind.EEG),
    )
    return next((kind for applies, kind in rules if applies), ChannelKind.OTHER)


def _side(tokens: Iterable[str]) -> str:
    """Return "1" for the left, "2" for the right, "" where neither or both are named."""
    sides = {"1" if token in _LEFT else "2" for token in tokens if token in _LEFT | _RIGHT}
    return sides.pop() if len(sides) == 1 else ""


def _reference(tokens: list[str], others: list[str]) -> str | None:
    """Return the reference that a label names, given the electrodes after the first."""
    if {"M1", "M2"} <= set(others):
        return LINKED
    named = others or [_REFERENCES[token] for token in tokens if token in _REFERENCES]
    return named[0] if named else None


def _parse_eye(tokens: list[str], electrodes: list[str]) -> ParsedLabel:
    digits = [token for token in tokens if token.isdigit()]
    if electrodes and electrodes[0] in _EYES.values():
        electrode: str | None = electrodes[0]
    elif _side(tokens):
        electrode = f"E{_side(tokens)}"
    else:
        electrode = f"EOG{digits[0]}" if len(digits) == 1 else None
    return ParsedLabel(ChannelKind.EOG, electrode, _reference(tokens, [e for e in electrodes if e != electrode]))


def _parse_muscle(label: str, tokens: list[str]) -> ParsedLabel:
    words = set(tokens)
    if words & (_LIMB_WORDS | _TRUNK_WORDS):
        return ParsedLabel(ChannelKind.EMG, site="limb")
    if plain(label) in _NOX_CHIN:
        return ParsedLabel(ChannelKind.EMG, None, BIPOLAR, "chin")
    sided = bool(words & (_LEFT | _RIGHT))
    site = "chin" if words & _CHIN_WORDS else "unknown" if sided or _unknown(tokens) else ""
    places = {token for token in tokens if token.isdigit()}
    places |= {side for side, names in (("1", _LEFT), ("2", _RIGHT)) if words & names}
    if len(places) > 1:
        return ParsedLabel(ChannelKind.EMG, None, BIPOLAR, site)
    electrode = f"{site or 'EMG'} {places.pop()}" if places else None
    return ParsedLabel(ChannelKind.EMG, electrode, _reference(tokens, []), site)
