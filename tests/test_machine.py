import os

import numpy as np

from mien.machine import peak_memory_mb, processor_name, usable_cores


def test_the_machine_is_known() -> None:
    assert processor_name()
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_the_peak_grows_with_what_is_held_and_stays() -> None:
    before = peak_memory_mb()
    ballast = np.ones(2 * round(before) * 10**6, np.uint8)

    held = peak_memory_mb()
    assert held > before + 0.5 * ballast.nbytes / 1e6
    del ballast
    assert peak_memory_mb() > 0.95 * held
