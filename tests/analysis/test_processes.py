import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from mien.analysis.processes import StopAsked, WorkStoppedError, map_in_processes
from mien.errors import MediaError

Work = Callable[[int, StopAsked], tuple[int, int]]


def open_sleeper() -> Work:
    """Opens what takes longer over the first job than over the others."""

    def work(job: int, must_stop: StopAsked) -> tuple[int, int]:
        time.sleep(0.3 if job == 0 else 0.0)
        return job, os.getpid()

    return work


def open_killed() -> Work:
    def work(job: int, must_stop: StopAsked) -> tuple[int, int]:
        if job == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return job, 0

    return work


def open_hung_up() -> Work:
    """Opens what loses its terminal at each job."""

    def work(job: int, must_stop: StopAsked) -> tuple[int, int]:
        os.kill(os.getpid(), signal.SIGHUP)
        return job, 0

    return work


def open_patient() -> Work:
    def work(job: int, must_stop: StopAsked) -> tuple[int, int]:
        while job and not must_stop():
            time.sleep(0.01)
        if job:
            raise WorkStoppedError
        return job, 0

    return work


def test_outcomes_come_in_order_from_several_processes_few_ahead() -> None:
    given: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(12):
            given.append(job)
            yield job

    outcomes = map_in_processes(open_sleeper, jobs(), workers=2, in_order=True, ahead=4)

    assert next(outcomes)[0] == 0
    assert len(given) <= 5
    rest = list(outcomes)
    assert [job for job, _ in rest] == list(range(1, 12))
    assert os.getpid() not in {pid for _, pid in rest}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_process_is_told() -> None:
    with pytest.raises(MediaError, match="a worker was killed"):
        list(map_in_processes(open_killed, range(4), workers=2, in_order=True))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_closed_terminal_kills_no_worker() -> None:
    outcomes = map_in_processes(open_hung_up, range(2), workers=1)

    assert sorted(outcomes) == [(0, 0), (1, 0)]


def test_what_is_done_is_kept_when_the_rest_is_stopped() -> None:
    done: list[int] = []

    outcomes = map_in_processes(open_patient, range(4), workers=2, should_stop=lambda: bool(done))

    done.append(next(outcomes)[0])
    with pytest.raises(WorkStoppedError):
        next(outcomes)

    assert done == [0]
