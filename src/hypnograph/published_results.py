"""Published results of the systems that we reproduce, each with its dataset, its protocol and where it was read.

They stand beside numbers of our own, never among them: other splits, other preparation, often another count of epochs.
Sleep-EDF-20 is our ``sleep-edf-20``, Sleep-EDF-78 (its 153 nights) our ``sleep-edf-sc``. U-Time's accuracy and kappa
follow from its confusion matrices.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

Origin = Literal["published", "published, third party", "recalled, consistent", "recalled"]
"""How sure a number is: read in the authors' publication or repository; read in somebody else's; remembered, and in
agreement with itself (the mean of the F1 is the macro F1); remembered: check it before you quote it."""

_DEEPSLEEPNET: Final = "10.1109/TNSRE.2017.2721116"
_TINYSLEEPNET: Final = "10.1109/EMBC44109.2020.9176741"
_SEQSLEEPNET: Final = "10.1109/TNSRE.2019.2896659"
_ATTNSLEEP: Final = "10.1109/TNSRE.2021.3076234"
_UTIME: Final = "10.48550/arXiv.1910.11162"
_USLEEP: Final = "10.1038/s41746-021-00440-5"
_YASA: Final = "10.7554/eLife.70092"
_ANYSLEEP: Final = "github.com/dslaborg/AnySleep"
_SLEEPYLAND: Final = "SLEEPYLAND (MIT, no DOI recorded)"
_MSP: Final = "github.com/v-nhandt21/MSPSleepStageClassification"
_RERUN: Final = "issue 12 of TinySleepNet's repository"

_MASS: Final = ("mass-ss1", "mass-ss2", "mass-ss3", "mass-ss4", "mass-ss5")


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """One row of a published table; None where it is not stated.

    Parameters
    ----------
    system
        Its name.
    datasets
        Our names; several were pooled.
    channel, protocol
        What it took; how it was tested.
    n_epochs
        Scored epochs in the test.
    accuracy, macro_f1, kappa
        From 0 to 1.
    f1
        Of W, N1, N2, N3 and REM.
    origin
        How sure the numbers are, see `Origin`.
    source
        DOI or address of where they are stated.
    note
        What a reader should know.
    """

    system: str
    datasets: tuple[str, ...]
    channel: str
    protocol: str
    n_epochs: int | None = None
    accuracy: float | None = None
    macro_f1: float | None = None
    kappa: float | None = None
    f1: tuple[float, float, float, float, float] | None = None
    origin: Origin = "published"
    source: str = ""
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def published_for(datasets: str | Iterable[str]) -> tuple[PublishedResult, ...]:
    """Return the published results on a dataset; on several, also those on some of them together.

    Parameters
    ----------
    datasets
        Names of ours, e.g. ``"sleep-edf-20"``. A dataset of which nothing is published has no results.
    """
    known = {datasets} if isinstance(datasets, str) else set(datasets)
    return tuple(result for result in PUBLISHED if known.issuperset(result.datasets))


def _row(
    system: str,
    datasets: str | tuple[str, ...],
    channel: str,
    protocol: str,
    numbers: str,
    *,
    source: str,
    n: int | None = None,
    origin: Origin = "published",
    note: str = "",
) -> PublishedResult:
    """Make a row of percentages ``"accuracy macro_f1 kappa W N1 N2 N3 REM"``, "-" where not stated."""
    values = [None if word == "-" else round(float(word) / 100, 6) for word in numbers.split()]
    accuracy, macro_f1, kappa, *by_stage = values
    f1 = [value for value in by_stage if value is not None]
    return PublishedResult(
        system=system,
        datasets=(datasets,) if isinstance(datasets, str) else datasets,
        channel=channel,
        protocol=protocol,
        n_epochs=n,
        accuracy=accuracy,
        macro_f1=macro_f1,
        kappa=kappa,
        f1=(f1[0], f1[1], f1[2], f1[3], f1[4]) if f1 else None,
        origin=origin,
        source=source,
        note=note,
    )


# fmt: off
def _deepsleepnet() -> list[PublishedResult]:
    return [
        _row("DeepSleepNet", "sleep-edf-20", "Fpz-Cz", "20 folds", "82.0 76.9 76 84.7 46.6 85.9 84.8 82.4",
             source=_DEEPSLEEPNET, n=41_950, note="the last epochs of each night, all W, are left out"),
        _row("DeepSleepNet", "sleep-edf-20", "Pz-Oz", "20 folds", "79.8 73.1 72 88.1 37.0 82.7 77.3 80.3",
             source=_DEEPSLEEPNET, origin="recalled, consistent"),
        _row("DeepSleepNet", "mass-ss3", "F4-EOG (left)", "31 folds", "86.25 81.66 79.7 87.3 59.8 90.3 81.5 89.3",
             source=_DEEPSLEEPNET, n=58_600, origin="recalled, consistent"),
        _row("Tsinalis 2016", "sleep-edf-20", "not stated there", "as DeepSleepNet's authors list it", "78.9 73.7 -",
             source=_DEEPSLEEPNET, origin="published, third party"),
        _row("Dong 2016", "mass-ss3", "not stated there", "as DeepSleepNet's authors list it", "85.9 80.5 -",
             source=_DEEPSLEEPNET, origin="published, third party"),
    ]


def _tinysleepnet() -> list[PublishedResult]:
    def own(name: str, channel: str, folds: int, n: int, numbers: str) -> PublishedResult:
        return _row("TinySleepNet", name, channel, f"{folds} folds", numbers, source=_TINYSLEEPNET, n=n)

    def beside(system: str, name: str, channel: str, numbers: str, note: str = "") -> PublishedResult:
        return _row(system, name, channel, "as TinySleepNet's authors list it", numbers, source=_TINYSLEEPNET,
                    origin="published, third party", note=note)

    left = "F4-EOG (left)"
    return [
        own("sleep-edf-20", "Fpz-Cz", 20, 44_220, "85.4 80.5 80 90.1 51.4 88.5 88.3 84.3"),
        own("sleep-edf-sc", "Fpz-Cz", 10, 199_352, "83.1 78.1 77 92.8 51.0 85.3 81.1 80.3"),
        own("mass-ss1", left, 27, 51_293, "83.1 79.3 76 90.0 60.6 87.4 73.2 85.1"),
        own("mass-ss2", left, 19, 26_711, "82.6 75.5 75 76.6 48.2 87.8 80.5 84.3"),
        own("mass-ss3", left, 31, 59_317, "87.5 83.2 82 87.3 62.7 91.8 85.5 88.6"),
        own("mass-ss4", "C4-EOG (left)", 20, 55_310, "84.0 78.0 77 79.8 50.2 88.9 82.4 88.5"),
        own("mass-ss5", left, 26, 36_409, "86.6 80.9 81 85.5 55.0 89.9 86.6 87.7"),
        beside("IITNet", "sleep-edf-20", "Fpz-Cz", "84.0 77.7 78 87.9 44.7 88.0 85.7 82.1"),
        beside("SeqSleepNet+", "sleep-edf-20", "Fpz-Cz", "85.2 79.6 79", "fine-tuned from another dataset"),
        beside("SleepEEGNet", "sleep-edf-20", "Fpz-Cz", "84.3 79.7 79 89.2 52.2 86.8 85.1 85.0"),
        beside("SleepEEGNet", "sleep-edf-sc", "Fpz-Cz", "80.0 73.6 73 91.7 44.1 82.5 73.5 76.1"),
        beside("IITNet", "mass-ss3", left, "86.6 80.8 80"),
        _row("TinySleepNet, rerun", "sleep-edf-sc", "Fpz-Cz", "10 folds", "82.3 76.4 - 92.3 47.3 84.3 79.7 78.4",
             source=_RERUN, origin="published, third party", note="by a user of the official code"),
    ]


def _seqsleepnet() -> list[PublishedResult]:
    def on_mass(system: str, numbers: str, origin: Origin) -> PublishedResult:
        return _row(system, _MASS, "EEG, EOG, EMG", "20 folds of 200 subjects", numbers, source=_SEQSLEEPNET,
                    origin=origin)

    return [
        on_mass("SeqSleepNet", "87.1 83.3 81.5", "published"),
        on_mass("E2E-DeepSleepNet", "86.4 82.2 80.5", "recalled"),
        on_mass("Multitask E2E-ARNN", "83.8 - -", "recalled"),
        on_mass("E2E-ARNN", "83.6 78.4 76.6", "recalled"),
    ]


def _attnsleep() -> list[PublishedResult]:
    def own(name: str, channel: str, n: int, numbers: str, origin: Origin) -> PublishedResult:
        return _row("AttnSleep", name, channel, "20 folds", numbers, source=_ATTNSLEEP, n=n, origin=origin,
                    note="of each fold the pass that is best on its test part")

    def beside(system: str, name: str, channel: str, numbers: str) -> PublishedResult:
        return _row(system, name, channel, "as AttnSleep's authors list it", numbers, source=_ATTNSLEEP,
                    origin="recalled, consistent")

    def variant(system: str, numbers: str) -> PublishedResult:
        return _row(system, "sleep-edf-20", "Fpz-Cz", "20 folds", numbers, source=_MSP,
                    note="by the author of the variants")

    edf, shhs = "Fpz-Cz", "C4-A1 (the code reads C3-A2)"
    return [
        own("sleep-edf-20", edf, 42_308, "84.4 78.1 79 89.7 42.6 88.8 90.2 79.0", "published"),
        own("sleep-edf-sc", edf, 195_479, "81.3 75.1 74 92.0 42.0 85.0 82.1 74.2", "recalled, consistent"),
        own("shhs1-attnsleep", shhs, 324_854, "84.2 75.3 78 86.7 33.2 87.1 87.1 82.1", "recalled, consistent"),
        beside("DeepSleepNet", "sleep-edf-20", edf, "81.9 76.6 76 86.7 45.5 85.1 83.3 82.6"),
        beside("SleepEEGNet", "sleep-edf-20", edf, "81.5 76.6 75 89.4 44.4 84.7 84.6 79.6"),
        beside("ResnetLSTM", "sleep-edf-20", edf, "82.5 73.7 76 86.5 28.4 87.7 89.8 76.2"),
        beside("MultitaskCNN", "sleep-edf-20", edf, "83.1 75.0 77 87.9 33.5 87.5 85.8 80.3"),
        beside("DeepSleepNet", "sleep-edf-sc", edf, "77.8 71.8 70"),
        beside("SleepEEGNet", "sleep-edf-sc", edf, "74.2 69.6 66"),
        beside("ResnetLSTM", "sleep-edf-sc", edf, "78.9 71.4 71"),
        beside("MultitaskCNN", "sleep-edf-sc", edf, "79.6 72.8 72"),
        beside("DeepSleepNet", "shhs1-attnsleep", shhs, "81.0 73.9 73"),
        beside("SleepEEGNet", "shhs1-attnsleep", shhs, "73.9 68.4 65"),
        beside("ResnetLSTM", "shhs1-attnsleep", shhs, "83.3 69.4 76"),
        beside("MultitaskCNN", "shhs1-attnsleep", shhs, "81.4 71.2 74"),
        variant("AttnSleep, rerun", "84 79 -"),
        variant("AttnSleep with Conformer", "83 78 -"),
        variant("AttnSleep with multi-scale multi-period CRNN", "84.23 78.98 -"),
    ]


def _utime() -> list[PublishedResult]:
    def alone(name: str, channel: str, folds: int, n: int, numbers: str) -> PublishedResult:
        return _row("U-Time", name, channel, f"{folds} folds", numbers, source=_UTIME, n=n)

    def more(name: str, channel: str, folds: int, numbers: str) -> PublishedResult:
        return _row("U-Time", name, channel, f"{folds} folds", numbers, source=_UTIME)

    return [
        alone("sleep-edf-20", "Fpz-Cz", 20, 42_269, "83.2 79 77.0 87 52 86 84 84"),
        alone("sleep-edf-sc", "Fpz-Cz", 10, 195_334, "81.3 76 74.5 92 51 84 75 80"),
        alone("physionet-2018", "C3-A2", 5, 892_200, "78.8 77 71.4 83 59 83 79 84"),
        alone("dcsm", "C3-A2", 5, 578_939, "90.4 79 83.4 97 49 84 83 82"),
        alone("isruc-sg1", "C3-A2", 10, 89_312, "78.8 77 72.7 87 55 79 87 78"),
        alone("cap", "C4-A1 or C3-A2", 5, 101_919, "75.2 68 66.8 78 29 76 80 76"),
        alone("ucddb", "C3-A2", 25, 20_774, "73.5 73 65.8 75 51 79 86 73"),
        more("sleep-edf-sc", "EEG, EOG, EMG", 10, "- 76 - 92 51 82 72 84"),
        more("physionet-2018", "2 EEG, EMG", 5, "- 77 -"),
        more("dcsm", "EEG, EOG", 5, "- 80 - 97 51 83 83 86"),
        more("isruc-sg1", "EEG, EOG", 10, "- 78 - 88 55 79 87 83"),
        _row("second human scorer", "isruc-sg1", "all", "against the first", "- 80 - 92 54 80 85 90", source=_UTIME),
    ]


def _usleep() -> list[PublishedResult]:
    # Dataset, nights in the test, macro F1 as published, macro F1 of AnySleep's training.
    table = """
        abc 20 77 76, ccshs 78 85 86, cfs 92 82 82, chat 128 85 84, dcsm 39 81 81, hpap 36 78 77, mesa 100 79 78,
        mros 134 77 76, physionet-2018 100 79 79, sleep-edf-sc 23 79 80, sleep-edf-st 8 76 77, shhs 140 80 79,
        sof 68 78 78, dod-h 25 82 81, dod-o 55 79 79, isruc-sg1 100 77 77, isruc-sg2 16 76 74, isruc-sg3 10 77 77,
        mass-ss1 53 73 72, mass-ss3 62 80 78, ucddb 25 73 74"""
    unsure = ("isruc-sg1", "isruc-sg2", "isruc-sg3", "mass-ss1", "mass-ss3", "ucddb")
    unseen = ("dod-h", "dod-o", *unsure)
    rows = []
    for name, nights, first, again in (line.split() for line in table.split(",")):
        protocol = f"{nights} nights, " + ("dataset not in training" if name in unseen else "held out")
        third: Origin = "published, third party"
        rows.append(_row("U-Sleep", name, "EEG, EOG", protocol, f"- {first} -", source=_USLEEP,
                         origin="recalled" if name in unsure else third))
        rows.append(_row("U-Sleep, trained by AnySleep's authors", name, "EEG, EOG", protocol, f"- {again} -",
                         source=_ANYSLEEP, origin=third))
    return rows


def _on_dod() -> list[PublishedResult]:
    def row(system: str, name: str, numbers: str, source: str, note: str = "") -> PublishedResult:
        return _row(system, name, "all", "dataset not in training", numbers, source=source,
                    origin="published, third party", note=note)

    medians = "medians over nights, by YASA's authors; against the consensus of five scorers"
    return [
        row("U-Sleep, rerun", "dod-h", "89.0 82.7 - 90.5 61.8 89.1 84.6 94.4", _YASA, medians),
        row("U-Sleep, rerun", "dod-o", "86.7 78.7 - 91.0 50.2 87.3 79.5 93.9", _YASA, medians),
        row("YASA", "dod-h", "- 78.5 -", _YASA, medians),
        row("YASA", "dod-o", "- 74.0 -", _YASA, medians),
        row("SOMNUS", "dod-h", "- 85.2 -", _SLEEPYLAND, "ensemble"),
        row("SOMNUS", "dod-o", "- 80.2 -", _SLEEPYLAND, "ensemble"),
        row("U-Sleep, trained by SLEEPYLAND's authors", "dod-h", "- 79.8 -", _SLEEPYLAND, "mean over nights"),
        row("U-Sleep, trained by SLEEPYLAND's authors", "dod-o", "- 77.5 -", _SLEEPYLAND, "mean over nights"),
    ]
# fmt: on


PUBLISHED: Final[tuple[PublishedResult, ...]] = (
    *_deepsleepnet(),
    *_tinysleepnet(),
    *_seqsleepnet(),
    *_attnsleep(),
    *_utime(),
    *_usleep(),
    *_on_dod(),
)
"""All of them."""

ORIGINS: Final[tuple[str, ...]] = get_args(Origin)
"""From the surest to the least sure."""
