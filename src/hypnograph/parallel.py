"""The same work on many things: one after the other, in processes of this computer, or on a Dask cluster."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from hypnograph.errors import HypnographError

T = TypeVar("T")
R = TypeVar("R")


def on_each(
    work: Callable[[T], R], things: Iterable[T], *, jobs: int = 1, cluster: str | None = None, in_order: bool = False
) -> Generator[R]:
    """Yield what some work gives for each thing, as it is ready.

    Parameters
    ----------
    work
        To do; with several processes it is sent to them.
    things
        What it is done on.
    jobs
        Processes on this computer; 1: this one.
    cluster
        Address of a Dask scheduler (extra ``cluster``); replaces `jobs`.
    in_order
        Yield in the order of the things, not of being ready.

    Raises
    ------
    HypnographError
        If a cluster is given and Dask is not installed.
    """
    if cluster is None and jobs == 1:
        yield from map(work, things)
        return
    import joblib

    with _backend(cluster):
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator" if in_order else "generator_unordered")
        yield from parallel(joblib.delayed(work)(thing) for thing in things)


@contextmanager
def _backend(cluster: str | None) -> Iterator[None]:
    """Let joblib's calls go to a Dask scheduler, where one is given."""
    if cluster is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise HypnographError("--cluster needs Dask: pip install 'hypnograph[cluster]'") from None
    import joblib

    with Client(cluster), joblib.parallel_config("dask"):
        yield
