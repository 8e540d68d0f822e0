"""Many clips read at the same time, each by one of several processes."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mien.analysis.processes import StopAsked, map_in_processes
from mien.analysis.video.clips import ClipJob, ClipOutcome, ReadingOptions, read_clip
from mien.errors import MediaError

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer


def read_clips(
    jobs: Sequence[ClipJob],
    *,
    workers: int = 1,
    should_stop: StopAsked = lambda: False,
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
        open_reader = functools.partial(_open_reader, jobs[0].options)
        yield from map_in_processes(
            open_reader, jobs, workers=min(workers, len(jobs)), should_stop=should_stop
        )
        return
    analyzer = jobs[0].options.open_analyzer()
    for job in jobs:
        told = functools.partial(on_frame, job)
        yield try_clip(job, analyzer, should_stop=should_stop, on_frame=told)


def try_clip(
    job: ClipJob,
    analyzer: "Analyzer",
    *,
    should_stop: StopAsked = lambda: False,
    on_frame: Callable[[float], None] = lambda _: None,
) -> ClipOutcome:
    """Read one clip as :func:`read_clip` does; where it cannot be read, the outcome says why.

    Raises:
        ReadingStoppedError: It was stopped.
        MissingExtraError: A package of the extra ``video`` is not installed.
    """
    try:
        return read_clip(job, analyzer, should_stop=should_stop, on_frame=on_frame)
    except MediaError as error:
        return ClipOutcome(source=job.source, error=str(error))


def _open_reader(options: ReadingOptions) -> Callable[[ClipJob, StopAsked], ClipOutcome]:
    analyzer = options.open_analyzer()
    return lambda job, should_stop: try_clip(job, analyzer, should_stop=should_stop)
