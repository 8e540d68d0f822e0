import os
import sys

import pytest

from mien.cli.engines import threads_a_worker


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_the_cores_that_may_be_used_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 4, 5, 6}, raising=False)

    assert [threads_a_worker(0, workers) for workers in (1, 2, 3, 8)] == [4, 2, 1, 1]
    assert threads_a_worker(7, 2) == 7
