"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

# The tests run on several processes already: threads of each would only stand in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data for local checks; tests that use it are skipped where it is absent."""
    folder = Path(os.environ.get("HYPNOGRAPH_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}")
    return folder
