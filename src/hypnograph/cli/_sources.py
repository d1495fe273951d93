"""Options that several commands share: which channels, and which files of a folder of one's own are what."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypnograph.cli import comma_list

if TYPE_CHECKING:
    from hypnograph.channel_labels import ChannelKind
    from hypnograph.datasets import Night, Problem

OF_FOLDER = ("psg", "scoring", "subject", "id")
"""The options of `folder_options`."""
_KINDS = ("eeg", "eog", "emg", "ecg")


def folder_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of the dataset ``folder``."""
    options = [
        click.option("--psg", metavar="PATTERN", help="Which files are recordings (dataset 'folder')."),
        click.option("--scoring", metavar="PATTERN", help="Which files are scorings (dataset 'folder')."),
        click.option("--subject", metavar="REGEX", help="Finds the subject in a path (dataset 'folder')."),
        click.option("--id", metavar="REGEX", help="Finds the night's id in a path (dataset 'folder')."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def channel_kinds(words: str) -> "tuple[ChannelKind, ...]":
    """Return the kinds of an option such as ``EEG,EOG``."""
    from hypnograph.channel_labels import ChannelKind

    return tuple(ChannelKind(kind.upper()) for kind in comma_list(words, _KINDS, at_least_one=True))


def misplaced(sources: Sequence[tuple[str, Path]], patterns: Mapping[str, str]) -> str:
    """Return what is wrong where patterns are given and no source is a ``folder``; empty if nothing is."""
    if not patterns or any(name == "folder" for name, _ in sources):
        return ""
    return f"--{next(iter(patterns))} is used together with the dataset 'folder'"


def found_in(sources: Sequence[tuple[str, Path]], patterns: Mapping[str, str]) -> "Iterator[Night | Problem]":
    """Yield the nights and problems of (dataset, folder) pairs; the patterns are for ``folder``."""
    from hypnograph.datasets import scan

    for name, folder in sources:
        yield from scan(name, folder, **(patterns if name == "folder" else {}))
