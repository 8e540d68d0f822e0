"""Many clips read at the same time, each by one of several processes."""

import functools
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Final

from mien.analysis.video.clips import (
    ClipJob,
    ClipOutcome,
    ReadingOptions,
    ReadingStoppedError,
    read_clip,
)
from mien.errors import MediaError

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer

#: Seconds between two looks at whether to stop.
_PATIENCE_S: Final = 0.2


def read_clips(
    jobs: Sequence[ClipJob],
    *,
    workers: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
    on_frame: Callable[[ClipJob, float], None] = lambda _job, _time_s: None,
) -> Iterator[ClipOutcome]:
    """Read clips into their tables; the tables are the same for any number of workers.

    A clip that cannot be read gives an outcome with an error, and the others go on.

    Args:
        jobs: The clips, at least one, all with the same options.
        workers: Processes that read; with 1 all is done in this one.
        should_stop: Asked every now and then.
        on_frame: Told of each frame in this process; of none with more workers.

    Yields:
        An outcome a clip, as they are done.

    Raises:
        ReadingStoppedError: The reading was stopped; each clip's rows so far are kept.
        ModelError: The model cannot be used.
        MediaError: A process that read was killed.
        MissingExtraError: A package of the extra ``video`` is not installed.
    """
    if workers > 1 and len(jobs) > 1:
        yield from _read_in_processes(jobs, min(workers, len(jobs)), should_stop)
        return
    analyzer = jobs[0].options.open_analyzer()
    for job in jobs:
        told = functools.partial(on_frame, job)
        yield _outcome(job, analyzer, should_stop=should_stop, on_frame=told)


def _read_in_processes(
    jobs: Sequence[ClipJob], workers: int, should_stop: Callable[[], bool]
) -> Iterator[ClipOutcome]:
    # Fresh processes: forked ones would share ONNX Runtime's and FFmpeg's threads.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    stopped: ReadingStoppedError | None = None
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_Worker.open, initargs=(jobs[0].options, stop)
    ) as pool:
        waiting: set[Future[ClipOutcome]] = {pool.submit(_Worker.read, job) for job in jobs}
        try:
            while waiting:
                done, waiting = wait(waiting, _PATIENCE_S, return_when=FIRST_COMPLETED)
                if should_stop() and not stop.is_set():
                    stop.set()
                for future in done:
                    try:
                        yield future.result()
                    except ReadingStoppedError as error:
                        stopped = error
        except BrokenProcessPool as error:
            raise MediaError(
                "a worker was killed, perhaps for want of memory: try fewer --workers"
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    if stopped is not None:
        raise stopped


class _Worker:
    """What a process that reads clips has open."""

    _options: ReadingOptions
    _stop: Any
    _opened: "Analyzer | None" = None

    @classmethod
    def open(cls, options: ReadingOptions, stop: Any) -> None:
        # Ctrl-C goes to every process of the terminal; the parent tells the workers in its time.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        cls._options, cls._stop = options, stop

    @classmethod
    def read(cls, job: ClipJob) -> ClipOutcome:
        # Opened here, where an error is the job's; in `open` it would break the pool.
        if cls._opened is None:
            cls._opened = cls._options.open_analyzer()
        return _outcome(job, cls._opened, should_stop=cls._must_stop)

    @classmethod
    def _must_stop(cls) -> bool:
        parent = multiprocessing.parent_process()
        return cls._stop.is_set() or (parent is not None and not parent.is_alive())


def _outcome(job: ClipJob, analyzer: "Analyzer", **told: Callable[..., Any]) -> ClipOutcome:
    try:
        return read_clip(job, analyzer, **told)
    except MediaError as error:
        return ClipOutcome(source=job.source, error=str(error))
