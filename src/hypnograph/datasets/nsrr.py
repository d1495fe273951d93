"""National Sleep Research Resource (NSRR): SHHS, MESA, MrOS, CFS, CCSHS, CHAT, ABC, HomePAP and SOF.

All studies lie alike: polysomnography/edfs/…/NAME.edf, and beside edfs the folders annotations-events-nsrr with
NAME-nsrr.xml and annotations-events-profusion with NAME-profusion.xml. Both hold the same scoring; the first is taken
where both are there. A name says study, visit and subject: shhs2-200078, chat-followup-300001. Of CFS, a family study,
the names do not say who is related: cfs-visit5-dataset-*.csv does (column "familyi"), and U-Time's names (-famID…).

An account at sleepdata.org is needed, so there is nothing to download from here.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hypnograph.channel_labels import ChannelKind
from hypnograph.datasets import Dataset, Night, Problem, Scoring, files_below, unmatched


class _Names(NamedTuple):
    """How the files of a study are named, and which of them are of the dataset; no visits or subjects: all."""

    pattern: str
    example: str
    visits: tuple[str, ...] = ()
    subjects: frozenset[str] = frozenset()


# The 329 sleepers of SHHS with an apnoea-hypopnoea index below 5 and good sleep, on whom AttnSleep
# (doi 10.1109/TNSRE.2021.3076234) and others were trained and tested.
_ATTNSLEEP = """
200010 200017 200039 200052 200097 200122 200139 200152 200166 200174 200178 200214 200215 200258 200319 200336
200348 200349 200383 200390 200408 200409 200437 200466 200467 200477 200496 200516 200536 200558 200569 200606
200631 200645 200665 200691 200701 200702 200725 200737 200741 200771 200780 200783 200785 200793 200805 200823
200834 200843 200853 200869 200870 200879 200884 200886 200895 200897 200902 200914 200920 200922 200924 200953
200964 200975 200983 201021 201023 201081 201087 201090 201102 201117 201118 201125 201153 201171 201180 201237
201243 201254 201270 201316 201329 201359 201371 201515 201552 201560 201566 201581 201586 201637 201706 201725
201748 201792 201839 201917 201946 201986 202003 202039 202054 202097 202108 202139 202160 202222 202240 202253
202257 202261 202267 202282 202293 202392 202409 202424 202516 202552 202589 202636 202650 202675 202694 202715
202723 202735 202738 202865 202907 202911 202940 202956 202983 202987 202996 203027 203040 203106 203137 203168
203171 203173 203180 203185 203203 203218 203233 203250 203254 203286 203312 203324 203350 203358 203380 203381
203389 203409 203410 203421 203433 203460 203478 203479 203514 203523 203533 203546 203547 203580 203614 203622
203651 203655 203687 203691 203699 203726 203734 203746 203791 203824 203845 203847 203850 203862 203870 203884
203889 203897 203901 203941 203965 203971 203997 204009 204027 204028 204041 204042 204047 204051 204062 204074
204083 204094 204103 204106 204107 204111 204115 204132 204134 204145 204148 204149 204165 204187 204189 204219
204230 204234 204282 204283 204294 204298 204299 204317 204318 204350 204351 204355 204401 204405 204431 204434
204453 204473 204486 204494 204500 204509 204519 204529 204543 204550 204553 204554 204576 204611 204641 204666
204684 204688 204706 204710 204714 204724 204731 204737 204741 204743 204745 204748 204751 204754 204775 204777
204781 204783 204785 204787 204796 204802 204811 204817 204818 204826 204830 204831 204836 204844 204846 204851
204865 204873 204879 204887 204890 204894 204905 204908 204911 204916 204927 204928 204934 204980 204985 205045
205049 205071 205083 205146 205148 205178 205207 205213 205238 205244 205245 205257 205380 205429 205451 205477
205502 205516 205582 205610 205676 205700 205741 205780 205789
"""

_SHHS = _Names(r"shhs(?P<visit>[12])-(?P<subject>\d{6})", "shhs1-200001")
_NAMES = {
    "abc": _Names(r"abc-(?P<visit>baseline|month09|month18)-(?P<subject>\d+)", "abc-baseline-900001"),
    "ccshs": _Names(r"ccshs-(?P<visit>trec)-(?P<subject>\d+)", "ccshs-trec-1800005"),
    "cfs": _Names(r"cfs-visit(?P<visit>5)-(?P<subject>\d+)(-famid(?P<family>\w+))?", "cfs-visit5-800002"),
    # The third is also called chat-baseline-nonrandomized-.
    "chat": _Names(
        r"chat-(baseline-(?=non))?(?P<visit>baseline|followup|nonrandomized)-(?P<subject>\d+)", "chat-baseline-300001"
    ),
    # The recordings at home have no EEG.
    "hpap": _Names(
        r"homepap-(?P<visit>lab-full|lab-split|home)-(?P<subject>\d+)",
        "homepap-lab-full-1600039",
        visits=("lab-full", "lab-split"),
    ),
    "mesa": _Names(r"mesa-sleep-(?P<subject>\d+)", "mesa-sleep-0001"),
    "mros": _Names(r"mros-visit(?P<visit>[12])-(?P<subject>[a-z]{2}\d+)", "mros-visit1-aa5665"),
    "shhs": _SHHS,
    "shhs1": _SHHS._replace(visits=("1",)),
    "shhs1-attnsleep": _SHHS._replace(example="shhs1-200010", visits=("1",), subjects=frozenset(_ATTNSLEEP.split())),
    "shhs2": _SHHS._replace(example="shhs2-200078", visits=("2",)),
    "sof": _Names(r"sof-visit-(?P<visit>8)-(?P<subject>\d+)", "sof-visit-8-07853"),
}

_Derivations = Mapping[ChannelKind, tuple[str, ...]]


def _eeg_eog(eeg: str, eog: str) -> _Derivations:
    return {ChannelKind.EEG: tuple(eeg.split()), ChannelKind.EOG: tuple(eog.split())}


# What U-Sleep sampled (doi 10.1038/s41746-021-00440-5). Earlobes are called mastoids, T3 and T4 are T7 and T8.
_CENTRAL = _eeg_eog("C3-M2 C4-M1", "E1-M2 E2-M1")
_SIX = "F3-M2 F4-M1 C3-M2 C4-M1 O1-M2 O2-M1"
_SHHS_SAMPLED = _eeg_eog("C4-M1 C3-M2", "E1-PG1 E2-PG1")
# Over the years the second EEG of SHHS was called by many names.
_SHHS_LABELS = {"EEG": "C4-M1", "EOG(L)": "E1-PG1", "EOG(R)": "E2-PG1"} | dict.fromkeys(
    ("EEG(sec)", "EEG (sec)", "EEG sec", "EEG_sec", "EEG2", "EEG 2", "EEG_2"), "C3-M2"
)
_MESA_LABELS = {"EEG1": "Fz-Cz", "EEG2": "Cz-Oz", "EEG3": "C4-M1", "EOG-L": "E1-Fpz", "EOG-R": "E2-Fpz"}


def _dataset(
    name: str, title: str, doi: str, derivations: _Derivations, labels: Mapping[str, str] | None = None
) -> Dataset:
    example = _NAMES[name].example
    page = example.partition("-")[0].rstrip("12")
    return Dataset(
        title=title,
        licence="on application to NSRR (sleepdata.org)",
        source=f"https://sleepdata.org/datasets/{page}",
        doi=f"10.25822/{doi}",
        layout=f"polysomnography/edfs/…/{example}.edf and annotations-events-nsrr/…/{example}-nsrr.xml",
        labels=labels or {},
        derivations=derivations,
    )


def _shhs(name: str, part: str) -> Dataset:
    of_it = _dataset(name, f"Sleep Heart Health Study, {part}", "ghy8-ks59", _SHHS_SAMPLED, _SHHS_LABELS)
    return replace(of_it, people="shhs")  # who came twice is one subject


DATASETS = {
    "abc": _dataset("abc", "Apnea, Bariatric surgery, and CPAP study", "nx52-bc11", _eeg_eog(_SIX, "E1-M2 E2-M1")),
    "ccshs": _dataset("ccshs", "Cleveland Children's Sleep and Health Study", "cg2n-4y91", _CENTRAL),
    "cfs": _dataset("cfs", "Cleveland Family Study", "jmyx-mz90", _CENTRAL),
    "chat": _dataset(
        "chat",
        "Childhood Adenotonsillectomy Trial",
        "d68d-8g03",
        _eeg_eog(f"{_SIX} T7-M2 T8-M1", "E1-M2 E2-M1"),
    ),
    "hpap": _dataset(
        "hpap",
        "Home Positive Airway Pressure, in the laboratory",
        "xmwv-yz91",
        _eeg_eog(_SIX, "E1-M2 E2-M1 E1 E2"),
    ),
    "mesa": _dataset(
        "mesa",
        "Multi-Ethnic Study of Atherosclerosis",
        "n7hq-c406",
        _eeg_eog("Fz-Cz Cz-Oz C4-M1", "E1-Fpz E2-Fpz"),
        _MESA_LABELS,
    ),
    "mros": _dataset("mros", "Outcomes of Sleep Disorders in Older Men (MrOS)", "kc27-0425", _CENTRAL),
    "shhs": _shhs("shhs", "both visits"),
    "shhs1": _shhs("shhs1", "visit 1"),
    "shhs1-attnsleep": _shhs("shhs1-attnsleep", "visit 1, the 329 subjects of AttnSleep"),
    "shhs2": _shhs("shhs2", "visit 2"),
    "sof": _dataset("sof", "Study of Osteoporotic Fractures", "e1cf-rx65", _CENTRAL),
}

_PSG, _NSRR, _PROFUSION = ".edf", "-nsrr.xml", "-profusion.xml"


def scan(name: str, folder: Path) -> Iterator[Night | Problem]:
    """Yield the nights of one study, or of one part of it; the other parts may lie in the same folder."""
    names = _NAMES[name]
    parts: dict[str, dict[str, str | None]] = {}
    found: dict[str, dict[str, Path]] = {_PSG: {}, _NSRR: {}, _PROFUSION: {}}
    for path in files_below(folder, tuple(found)):
        ending = next(ending for ending in found if path.name.lower().endswith(ending))
        key = path.name.lower().removesuffix(ending)
        match = re.fullmatch(names.pattern, key)
        if match is None:
            yield Problem(path, f"not a name of {name}, such as {names.example}.edf or {names.example}-nsrr.xml")
        elif _is_wanted(names, match.groupdict()):
            parts[key] = match.groupdict()
            first = found[ending].setdefault(key, path)
            if first is not path:
                yield Problem(path, f"a second file of {key}; {first.relative_to(folder)} is taken")
    psgs, scorings = found[_PSG], found[_PROFUSION] | found[_NSRR]
    families: dict[str, str] = {}
    if name == "cfs" and any(part["family"] is None for part in parts.values()):
        families, problems = _families(folder)
        yield from problems
    for key in sorted(psgs.keys() & scorings.keys()):
        part = parts[key]
        subject = part["subject"] or ""
        family = part.get("family") or families.get(subject, "")
        if families and not family:
            yield Problem(psgs[key], f"the table of families has no {subject}, so relatives may come apart")
        yield Night(
            dataset=name,
            id=key,
            subject=subject,
            psg=psgs[key],
            scorings=(Scoring("", scorings[key]),),
            family=family,
            visit=part.get("visit") or "",
        )
    yield from unmatched(psgs, scorings, "scoring (-nsrr.xml or -profusion.xml)")
    yield from unmatched(scorings, psgs, "recording (.edf)")


def _is_wanted(names: _Names, part: Mapping[str, str | None]) -> bool:
    right_visit = not names.visits or part["visit"] in names.visits
    return right_visit and (not names.subjects or part["subject"] in names.subjects)


def _families(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """Return the families of CFS by subject, and what is wrong with the table that says so."""
    tables = [p for p in files_below(folder, (".csv",)) if p.name.lower().startswith("cfs-visit5-dataset-")]
    if not tables:
        return {}, [
            Problem(folder, "families are not known, so relatives may come apart; put cfs-visit5-dataset-*.csv into it")
        ]
    with tables[-1].open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = list(csv.reader(file))
    header = [column.strip().lower() for column in rows[0]] if rows else []
    if not {"nsrrid", "familyi"} <= set(header):
        return {}, [Problem(tables[-1], "families are not known: the table has no columns nsrrid and familyi")]
    subject, family = header.index("nsrrid"), header.index("familyi")
    return {row[subject].strip(): row[family].strip() for row in rows[1:] if len(row) > max(subject, family)}, []
