"""Stagers side by side: trained or loaded, on the same splits of the same nights, judged on the same epochs.

A comparison is a folder. What is complete in it is not done again: a comparison that was interrupted, or that gets one
more stager, goes on. It says pooled and per-night agreement with intervals over subjects, paired tests over subjects,
what each stager costs, and what others have published on the same datasets.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hypnograph.benchmark.comparison import Comparison, Judged, gather, judge, seen
from hypnograph.benchmark.costs import cost_of
from hypnograph.benchmark.entrants import Entrant, find_entrants
from hypnograph.benchmark.paired_tests import PairedTest
from hypnograph.benchmark.preparing import check_nights, splits_of
from hypnograph.benchmark.references import read_references
from hypnograph.benchmark.staging import Work, stage_all
from hypnograph.benchmark.writing import write
from hypnograph.errors import HypnographError
from hypnograph.hypnogram import DEFAULT_EPOCH_S
from hypnograph.published_results import published_for

if TYPE_CHECKING:
    from hypnograph.channel_labels import ChannelKind
    from hypnograph.datasets import Night
    from hypnograph.training.machine import Machine
    from hypnograph.training.phase import Progress
    from hypnograph.training.splits import Split

__all__ = ["Comparison", "Judged", "PairedTest", "benchmark"]


def benchmark(
    nights: Iterable["Night"],
    stagers: Mapping[str, Any] | Sequence[Any],
    out: str | Path,
    *,
    folds: int | str | Path = 5,
    validation: float = 0.1,
    seed: int = 1,
    settings: Sequence[str] = (),
    reference: Literal["first", "majority"] = "first",
    derivations: "Mapping[ChannelKind, Sequence[str]] | None" = None,
    jobs: int = 1,
    machine: "Machine | None" = None,
    n_bootstrap: int = 2000,
    training: Callable[["Progress"], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Compare stagers on the same nights, and write tables and figures.

    Parameters
    ----------
    nights
        Of any datasets; those without a scoring are left out.
    stagers
        By name or in a sequence: recipes (trained in each fold), trained networks, stagers; see `find_entrants`.
    out
        Folder of the comparison; what is complete there is not done again.
    folds
        How many, ``"leave-one-out"``, the name of published folds, or a folder (a file) of splits.
    validation
        Fraction of all subjects by which each fold chooses its best pass.
    seed
        Of the folds and of the intervals.
    settings
        ``"KEY=VALUE"`` for all recipes.
    reference
        Where there are several scorers: the first, or what most of them say.
    derivations
        By kind, the names that networks are given where a night has them; None: those of the dataset, or all usable
        ones. Other stagers choose by themselves.
    jobs
        Nights and folds at a time.
    machine
        Where recipes are trained.
    n_bootstrap
        Draws of subjects for the intervals.
    training, say
        Are told how far a training is (with one job), and in words what is done.

    Returns
    -------
    Comparison

    Raises
    ------
    HypnographError
        If no night or no stager can be used, the stagers take epochs of several lengths, or the folder holds another
        comparison.
    """
    out, entrants = Path(out), find_entrants(stagers, settings)
    taken = {kind for entrant in entrants if entrant.spec is not None for kind in entrant.spec.kinds}
    if unused := sorted(set(derivations or {}) - taken):
        raise HypnographError(f"{unused[0]} derivations are named, and no network here takes {unused[0]}")
    references, unread = read_references(nights, _epoch_s(entrants), jobs)
    if not references:
        why = "; ".join(list(unread.values())[:3]) or "there are no nights"
        raise HypnographError(f"no night has a scoring that can be read: {why}")
    check_nights(references, out)
    splits: Sequence[Split] = ()
    if isinstance(folds, Path) or any(entrant.recipe for entrant in entrants):
        splits = splits_of(references, out, folds, validation=validation, seed=seed)
    # Where nobody is trained, all subjects test.
    tested = {subject for split in splits for subject in split.test} or {one.person for one in references}
    judged = [one for one in references if one.person in tested]
    work = Work(references, splits, tested, out, derivations or {}, jobs, machine, training, say)
    staged = stage_all(entrants, work)
    votes = gather(staged, judged, how=reference)
    evaluations, tests = judge(votes, n_bootstrap=n_bootstrap, seed=seed)
    kept = [one for one, _, _ in votes.nights.values()]
    people = {one.person for one in kept}
    datasets = tuple(sorted({one.night.dataset for one in kept}))
    comparison = Comparison(
        stagers=tuple(
            Judged(
                name=one.entrant.name,
                description=one.entrant.description,
                evaluation=evaluations[one.entrant.name],
                cost=cost_of(one, [reference.night for reference in kept], out),
                n_unstaged=votes.n_unstaged[one.entrant.name],
                warnings=seen(one, people),
            )
            for one in staged
            if one.entrant.name in votes.names
        ),
        tests=tests,
        datasets=datasets,
        reference=reference,
        protocol=_protocol(splits, entrants),
        n_simulated=sum(one.simulated for one in kept),
        lost=dict(sorted((unread | dict(votes.lost)).items())),
        left_out=votes.left_out,
        published=published_for(datasets),
    )
    write(comparison, out)
    return comparison


def _epoch_s(entrants: Sequence[Entrant]) -> float:
    """Return how long an epoch is for all stagers."""
    lengths = {entrant.name: entrant.spec.epoch_s for entrant in entrants if entrant.spec is not None}
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} {length:g} s" for name, length in lengths.items())
        raise HypnographError(f"the stagers take epochs of several lengths ({each}); compare those of one length")
    return next(iter(lengths.values()), DEFAULT_EPOCH_S)


def _protocol(splits: "Sequence[Split]", entrants: Sequence[Entrant]) -> str:
    if not any(entrant.recipe for entrant in entrants):
        return "no stager is trained here"
    rule = splits[0].rule.replace("fold 1 of", "fold N of")
    return f"{len(splits)} fold{'s' * (len(splits) != 1)} by subject ({rule}; seed {splits[0].seed})"
