import os
import subprocess
import sys

from mien.machine import processor_name, usable_cores

#: Prints the peak before a hundred MB are held, while they are, and after.
HOLD = """
from mien.machine import peak_memory_mb
before = peak_memory_mb()
ballast = b"x" * 100_000_000
held = peak_memory_mb()
del ballast
print(before, held, peak_memory_mb())
"""


def test_the_machine_is_known() -> None:
    assert processor_name()
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_the_peak_grows_with_what_is_held_and_stays() -> None:
    done = subprocess.run([sys.executable, "-c", HOLD], check=True, capture_output=True, text=True)

    before, held, after = map(float, done.stdout.split())
    assert 90 < held - before < 150
    assert after > 0.95 * held
