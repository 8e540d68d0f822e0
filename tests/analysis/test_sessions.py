import os
import subprocess
import sys

import pytest

from mien.analysis.sessions import open_session

#: Opens a model in a process of one core, and prints the cores of each of its threads.
ON_ONE_CORE = """
import os
from pathlib import Path

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from mien.metadata import DEFAULT_MODEL
from mien.analysis.sessions import open_session

session = open_session(DEFAULT_MODEL)
for task in Path("/proc/self/task").iterdir():
    lines = (task / "status").read_text().splitlines()
    print(*(line.split()[1] for line in lines if line.startswith("Cpus_allowed_list")))
"""


@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) == 1, reason="asks Linux, of two cores"
)
def test_a_session_stays_on_the_cores_it_may_use() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_ONE_CORE], check=True, capture_output=True, text=True
    )

    assert set(done.stdout.split()) == {str(min(os.sched_getaffinity(0)))}
    assert done.stderr == ""


def test_a_negative_number_of_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="0, for all cores, or more, got -1"):
        open_session(b"", threads=-1)
