"""Options that several commands share: which channels, and what the files of one's own data are and say."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.cli import comma_list

if TYPE_CHECKING:
    from hypnograph.channel_labels import ChannelKind
    from hypnograph.datasets import Night, Problem

_OF_DATA = ("psg", "scoring", "subject", "id", "people", "stage_map", "scoring_epoch")
_KINDS = ("eeg", "eog", "emg", "ecg")


def data_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of the datasets that are one's own."""
    options = [
        click.option("--psg", metavar="PATTERN", help="Which files are recordings (dataset 'folder')."),
        click.option("--scoring", metavar="PATTERN", help="Which files are scorings (dataset 'folder')."),
        click.option("--subject", metavar="REGEX", help="Finds the subject in a path (dataset 'folder')."),
        click.option("--id", metavar="REGEX", help="Finds the night's id in a path (dataset 'folder')."),
        click.option("--people", metavar="FILE", help="Table of subject, family, disorder (dataset 'folder')."),
        click.option(
            "--stage-map",
            multiple=True,
            metavar="NAME=STAGE",
            help="A stage name of your files, e.g. 'Deep=N3' (datasets 'folder' and 'bids').",
        ),
        click.option(
            "--scoring-epoch",
            metavar="SECONDS",
            help="Length of an epoch in scorings that are only a list of stages (dataset 'folder').  [30]",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def derivation_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command options for the derivations of each kind."""
    for kind in reversed(_KINDS):
        described = (
            f"{kind.upper()} derivation to take, e.g. C4-M1, where a night has it; may be repeated.  [the dataset's]"
        )
        function = click.option(f"--{kind}", multiple=True, metavar="NAME", help=described)(function)
    return function


def derivations_of(options: dict[str, Any]) -> "dict[ChannelKind, tuple[str, ...]]":
    """Take the options of `derivation_options` out of all that a command was given; return the names by kind."""
    from hypnograph.channel_labels import ChannelKind

    return {ChannelKind(kind.upper()): names for kind in _KINDS if (names := options.pop(kind))}


def channel_kinds(words: str) -> "tuple[ChannelKind, ...]":
    """Return the kinds of an option such as ``EEG,EOG``."""
    from hypnograph.channel_labels import ChannelKind

    return tuple(ChannelKind(kind.upper()) for kind in comma_list(words, _KINDS, at_least_one=True))


def taken_from(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `data_options` out of all that a command was given; return those that say something."""
    return {name: value for name in _OF_DATA if (value := options.pop(name))}


def misplaced(sources: Sequence[tuple[str, Path]], given: Mapping[str, Any]) -> str:
    """Return what is wrong where an option is given that no source takes; empty if nothing is."""
    from hypnograph.datasets import scan_options

    taken = {option for name, _ in sources for option in scan_options(name)}
    if loose := [option for option in given if option not in taken]:
        return f"--{loose[0].replace('_', '-')} is used together with the dataset 'folder'"
    return ""


def found_in(sources: Sequence[tuple[str, Path]], given: Mapping[str, Any]) -> "Iterator[Night | Problem]":
    """Yield the nights and problems of (dataset, folder) pairs; each dataset gets the options that it takes."""
    from hypnograph.datasets import scan_known

    for name, folder in sources:
        yield from scan_known(name, folder, given)
