"""The files of a comparison: tables as Markdown, csv and JSON, and figures."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hypnograph.benchmark.figures import draw_confusions, draw_metrics, draw_subjects
from hypnograph.benchmark.paired_tests import FEWEST_SUBJECTS, PairedTest
from hypnograph.evaluation.agreement import METRIC_LABELS
from hypnograph.whole_file import whole_file

if TYPE_CHECKING:
    from hypnograph.benchmark.comparison import Comparison
    from hypnograph.published_results import PublishedResult

FIGURES: Final = {"metrics.png": draw_metrics, "subjects.png": draw_subjects, "confusion.png": draw_confusions}
PUBLISHED_TITLE: Final = "Published (other splits, other preparation: not a paired comparison)"
_OVERALL: Final = ("accuracy", "macro_f1", "cohen_kappa")
_SHOWN_NIGHTS: Final = 10


def write(comparison: "Comparison", out: Path) -> None:
    """Write all files, each whole or not at all; those of an earlier run are replaced."""
    with whole_file(out / "comparison.json") as path:
        text = json.dumps(comparison.as_dict(), indent=1, allow_nan=False, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
    with whole_file(out / "comparison.csv") as path:
        comparison.to_frame().to_csv(path)
    with whole_file(out / "nights.csv") as path:
        comparison.nights_frame().to_csv(path)
    for name, draw in FIGURES.items():
        with whole_file(out / name) as path:
            draw(comparison).savefig(path, dpi=150)
    with whole_file(out / "comparison.md") as path:
        pictures = "\n".join(f"![{name.removesuffix('.png')}]({name})" for name in FIGURES)
        path.write_text(f"{comparison.table_markdown()}\n## Figures\n\n{pictures}\n", encoding="utf-8")


def markdown(comparison: "Comparison") -> str:
    """Return all tables and notes of a comparison as Markdown."""
    scorer = "the first scorer" if comparison.reference == "first" else "the majority of the scorers"
    counted = (comparison.n_nights, "night"), (comparison.n_subjects, "subject")
    whose = " of ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in counted)
    facts = (
        f"{whose}, {comparison.n_epochs:,} epochs; reference: {scorer}; {comparison.protocol}. All stagers are judged "
        "on the same epochs. In brackets: 95 % interval, bootstrap over subjects (two or more)."
    )
    parts = [
        f"# {comparison.title}\n\n{facts}",
        f"## Pooled over all epochs\n\n{_pooled(comparison)}",
        f"## F1 of each stage, pooled\n\n{_stages(comparison)}",
        f"## Per night: mean (95 % interval of the mean) ± standard deviation\n\n{_per_night(comparison)}",
    ]
    if comparison.tests:
        parts.append(f"## Differences within subjects\n\n{_tests(comparison.tests)}")
    parts.append(f"## What it costs\n\n{_costs(comparison)}")
    if notes := _notes(comparison):
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in notes))
    if comparison.published:
        parts.append(f"## {PUBLISHED_TITLE}\n\n{_published(comparison.published)}")
    return "\n\n".join(parts) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _estimate(value: float, low: float, high: float) -> str:
    return _number(value) + ("" if math.isnan(low) else f" ({low:.3f} to {high:.3f})")


def _pooled(comparison: "Comparison") -> str:
    rows = [
        [_marked(one.name, one.warnings), *(_estimate(*one.evaluation.pooled_estimates[name]) for name in _OVERALL)]
        for one in comparison.stagers
    ]
    return _table(["stager", *(METRIC_LABELS[name] for name in _OVERALL)], rows)


def _marked(name: str, warnings: Sequence[str]) -> str:
    seen = [warning.partition(":")[0] for warning in warnings if warning.startswith("may have seen")]
    return f"{name} ({seen[0]})" if seen else name


def _stages(comparison: "Comparison") -> str:
    labels = comparison.scheme.labels
    rows = [
        [one.name, *(_estimate(*one.evaluation.pooled_estimates[f"f1_{label}"]) for label in labels)]
        for one in comparison.stagers
    ]
    return _table(["stager", *labels], rows)


def _per_night(comparison: "Comparison") -> str:
    rows = []
    for one in comparison.stagers:
        spreads = [one.evaluation.per_night[name] for name in _OVERALL]
        cells = (f"{_estimate(spread.mean, spread.low, spread.high)} ± {_number(spread.sd)}" for spread in spreads)
        rows.append([one.name, *cells])
    return _table(["stager", *(METRIC_LABELS[name] for name in _OVERALL)], rows)


def _tests(tests: Sequence[PairedTest]) -> str:
    rows = [
        [
            f"{test.first} − {test.second}",
            METRIC_LABELS[test.metric],
            _signed(test),
            str(test.n_subjects),
            _p(test.p),
            _p(test.p_holm),
        ]
        for test in tests
    ]
    said = "Each subject counts once, by the mean over its nights. Wilcoxon's signed-rank test, Holm's correction."
    if fewest := [test.n_subjects for test in tests if test.p is None]:
        said += (
            f" No test is possible with {min(fewest)} subject{'s' * (min(fewest) != 1)}: {FEWEST_SUBJECTS} are needed."
        )
    header = ["pair", "metric", "mean difference", "subjects", "p", "p, corrected"]
    return f"{said}\n\n{_table(header, rows)}"


def _signed(test: PairedTest) -> str:
    if math.isnan(test.difference):
        return "–"
    interval = "" if math.isnan(test.low) else f" ({test.low:+.3f} to {test.high:+.3f})"
    return f"{test.difference:+.3f}{interval}"


def _p(p: float | None) -> str:
    if p is None:
        return "no test"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _costs(comparison: "Comparison") -> str:
    rows = []
    for one in comparison.stagers:
        cost = one.cost
        numbers = [
            "–" if cost.training_s is None else _duration(cost.training_s),
            "–" if cost.night_s is None else f"{_short(cost.night_s)} s",
            "–" if cost.n_parameters is None else f"{cost.n_parameters:,}",
            "–" if cost.weights_mb is None else _short(cost.weights_mb),
        ]
        rows.append([one.name, one.description, *numbers])
    header = ["stager", "what it is", "training, all folds", "file to stages, one night", "parameters", "MB of weights"]
    computers = dict.fromkeys(one.cost.computer for one in comparison.stagers if one.cost.computer)
    staged_on = f"\n\nSeconds of a night were measured on: {'; '.join(computers)}." if computers else ""
    return _table(header, rows) + staged_on


def _short(value: float) -> str:
    """Return a number with two digits that count, or all before the point."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _notes(comparison: "Comparison") -> list[str]:
    notes = [f"{one.name}: {warning}" for one in comparison.stagers for warning in one.warnings]
    notes += [
        f"{one.name} did not stage {one.n_unstaged:,} scored epochs (outside what it sees, or of unusable signal); "
        "nobody is judged on them"
        for one in comparison.stagers
        if one.n_unstaged
    ]
    notes += [f"{name} is not compared: {why}" for name, why in comparison.left_out.items()]
    if comparison.lost:
        many = len(comparison.lost)
        notes.append(f"{many} night{'s are' if many > 1 else ' is'} not judged, for any stager:")
        notes += [f"{key}: {why}" for key, why in list(comparison.lost.items())[:_SHOWN_NIGHTS]]
        if many > _SHOWN_NIGHTS:
            notes.append(f"… and {many - _SHOWN_NIGHTS} more (comparison.json has all)")
    # Of the reference, and so the same for all.
    common = set.intersection(*(set(one.evaluation.notes) for one in comparison.stagers))
    notes += [note for note in comparison.stagers[0].evaluation.notes if note in common]
    own = [(one.name, note) for one in comparison.stagers for note in one.evaluation.notes if note not in common]
    return notes + [f"{name}: {note}" for name, note in own]


def _published(results: Sequence["PublishedResult"]) -> str:
    rows = [
        [
            one.system,
            ", ".join(one.datasets),
            one.channel,
            one.protocol,
            "–" if one.n_epochs is None else f"{one.n_epochs:,}",
            *(cell for value in (one.accuracy, one.macro_f1, one.kappa) for cell in _printed(value)),
            *_printed(*(one.f1 or [None] * 5)),
            one.origin + (f"; {one.note}" if one.note else ""),
            one.source,
        ]
        for one in results
    ]
    stages = ["W", "N1", "N2", "N3", "REM"]
    header = ["system", "dataset", "channels", "test", "epochs", "accuracy", "macro F1", "Cohen's kappa", *stages]
    return _table([*header, "how sure", "source"], rows)


def _printed(*values: float | None) -> list[str]:
    """Return numbers of one kind with the decimals that were printed, two at least."""
    written = [f"{value:.4f}".rstrip("0").partition(".")[2] for value in values if value is not None]
    decimals = max([2, *map(len, written)])
    return ["–" if value is None else f"{value:.{decimals}f}" for value in values]
