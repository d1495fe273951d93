"""What is freed is kept while it is asked for, and then given back; the operating system's counts are the oracle."""

import subprocess
import sys

import pytest

# In a process of its own: pages that the system gives anew for 48 MB that are taken ten times, and the memory after.
PROCESS = """
import resource
from hypnograph.training.freed_memory import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        b"x" * 48_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6

usual = faults()
with freed_memory_kept() as possible:
    b"x" * 48_000_000
    kept, during = faults(), resident_mb()
print(possible, usual, kept, faults(), during - resident_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is on Linux")
def test_freed_memory_is_kept_and_given_back() -> None:
    run = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True)
    possible, usual, kept, after, given_back_mb = run.stdout.split()
    if possible != "True":
        pytest.skip("this is not glibc")
    assert int(usual) > 50_000  # 48 MB are 11,719 pages of 4 kB
    assert int(kept) < 100
    assert int(after) > 50_000
    assert float(given_back_mb) > 40
