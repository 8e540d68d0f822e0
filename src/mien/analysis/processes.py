"""Work shared out to processes of this machine: opened once each, stopped together."""

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, Final, TypeVar

from mien.errors import MediaError

#: Asked every now and then whether to stop.
StopAsked = Callable[[], bool]

_Job = TypeVar("_Job")
_Outcome = TypeVar("_Outcome")
#: Opens what a process needs, and returns what does one job with it.
OpenWorker = Callable[[], Callable[[_Job, StopAsked], _Outcome]]

#: Seconds between two looks at whether to stop.
_PATIENCE_S: Final = 0.2
#: Windows waits for no more processes at once.
_MOST_ON_WINDOWS: Final = 61


class WorkStoppedError(Exception):
    """A job was stopped, as it was asked to."""


def map_in_processes(
    open_worker: OpenWorker[_Job, _Outcome],
    jobs: Iterable[_Job],
    *,
    workers: int,
    should_stop: StopAsked = lambda: False,
    in_order: bool = False,
    ahead: int | None = None,
) -> Iterator[_Outcome]:
    """Do jobs in several processes.

    Args:
        open_worker: Called once in each process, before its first job. This and the jobs are
            pickled.
        jobs: What is to be done.
        workers: How many processes.
        should_stop: Asked every now and then; the jobs under way are then asked to stop.
        in_order: Yield the outcomes in the order of the jobs, not as they are done.
        ahead: How many jobs are given out whose outcomes are not yielded yet, which bounds memory;
            None for all.

    Yields:
        An outcome a job.

    Raises:
        WorkStoppedError: A job was stopped, after the outcomes of those that were done.
        MediaError: A process was killed.
    """
    if sys.platform == "win32":
        workers = min(workers, _MOST_ON_WINDOWS)
    # Fresh processes: forked ones would share ONNX Runtime's and FFmpeg's threads.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    stopped: WorkStoppedError | None = None
    left = iter(jobs)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_Worker.start, initargs=(open_worker, stop)
    ) as pool:

        def submit(job: _Job) -> Future[_Outcome]:
            return pool.submit(_Worker.do, job)

        waiting: deque[Future[_Outcome]] = deque(submit(job) for job in islice(left, ahead))
        try:
            while waiting:
                wait(islice(waiting, 1 if in_order else None), _PATIENCE_S, FIRST_COMPLETED)
                if should_stop() and not stop.is_set():
                    stop.set()
                for future in _take_done(waiting, in_order=in_order):
                    try:
                        outcome = future.result()
                    except WorkStoppedError as error:
                        stopped = error
                        continue
                    waiting.extend(submit(job) for job in islice(left, 1))
                    yield outcome
        except BrokenProcessPool as error:
            raise MediaError(
                "a worker was killed, perhaps for want of memory: try fewer --workers"
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    if stopped is not None:
        raise stopped


def _take_done(waiting: deque[Future[_Outcome]], *, in_order: bool) -> Iterator[Future[_Outcome]]:
    """Remove and yield what is done; in order, what is done before the first that is not."""
    for future in tuple(waiting):
        if future.done():
            waiting.remove(future)
            yield future
        elif in_order:
            return


class _Worker:
    """What a process has open."""

    _open: OpenWorker[Any, Any]
    _stop: Any
    _opened: Callable[[Any, StopAsked], Any] | None = None

    @classmethod
    def start(cls, open_worker: OpenWorker[Any, Any], stop: Any) -> None:
        # Ctrl-C, and SIGHUP of a terminal that is closed, go to every process of it; the parent
        # tells the workers in its time.
        for name in ("SIGINT", "SIGHUP"):
            if hasattr(signal, name):  # Windows has no SIGHUP
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        cls._open, cls._stop = open_worker, stop

    @classmethod
    def do(cls, job: Any) -> Any:
        # Opened here, where an error is the job's; in `start` it would break the pool.
        if cls._opened is None:
            cls._opened = cls._open()
        return cls._opened(job, cls._must_stop)

    @classmethod
    def _must_stop(cls) -> bool:
        parent = multiprocessing.parent_process()
        return cls._stop.is_set() or (parent is not None and not parent.is_alive())
