"""Many pictures read in jobs of a few: by this process, by several, or by a cluster.

Whoever does them, the jobs are the same, and so are the results.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

from mien.analysis.media import Picture, find_pictures, read_picture
from mien.analysis.options import AnalyzerOptions
from mien.analysis.picture_tables import is_table, plan_rows
from mien.analysis.processes import StopAsked, WorkStoppedError, map_in_processes
from mien.errors import MediaError
from mien.results import FrameResult

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer, FramedPicture

#: Pictures of one job: enough to fill the classifier's batch, few enough to share out evenly.
_FILES: Final = 32
#: Jobs a process that are given out ahead of the results taken.
_AHEAD: Final = 3


class PictureJob(Protocol):
    """Some pictures that are read together."""

    @property
    def count(self) -> int:
        """How many they are."""
        ...

    def pictures(self) -> Iterator[tuple[str, str | bytes]]:
        """Yield each picture's name, and its path or the bytes of its file.

        Raises:
            MediaError: What holds the pictures cannot be read on.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFiles:
    """Some picture files.

    Attributes:
        paths: The files as they were named.
    """

    paths: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.paths)

    def pictures(self) -> Iterator[tuple[str, str]]:
        """Yield each path, as a name and as a path."""
        return ((path, path) for path in self.paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOptions(AnalyzerOptions):
    """How pictures are read, beside how the analyzer is opened.

    Attributes:
        whole_image: The pictures are face crops already.
    """

    whole_image: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesRead:
    """What became of a job.

    Attributes:
        results: One for each picture that could be read, in order.
        failures: A line for each of the others, that names it and says why.
    """

    results: tuple[FrameResult, ...]
    failures: tuple[str, ...]


def plan_pictures(sources: Iterable[str]) -> list[PictureJob]:
    """Return the jobs of reading files, folders, patterns and Parquet tables of pictures.

    Tables (``faces.parquet``, ``"faces/*.parquet"``) come after the others; see
    :mod:`mien.analysis.picture_tables`.

    Raises:
        MediaError: A source does not exist, or holds no picture.
        MissingExtraError: A table is named, and pyarrow is not installed.
    """
    sources = list(sources)
    files = find_pictures(source for source in sources if not is_table(source))
    jobs: list[PictureJob] = [PictureFiles(paths=paths) for paths in _in_groups(files)]
    tables = [source for source in sources if is_table(source)]
    if tables:
        jobs.extend(plan_rows(tables))
    if not jobs:
        raise MediaError(f"{', '.join(tables)}: no row, and so no picture")
    return jobs


def read_pictures(
    jobs: Sequence[PictureJob],
    options: PictureOptions,
    *,
    workers: int = 1,
    analyzer: "Analyzer | None" = None,
) -> Iterator[PicturesRead]:
    """Read pictures; the results and their order are the same for any number of workers.

    Args:
        jobs: Which pictures.
        options: How.
        workers: Processes that read; with 1 all is done in this one.
        analyzer: What reads in this process, where it is open already.

    Yields:
        The outcome of each job, in order, while others are done.

    Raises:
        ModelError: The model cannot be used.
        MediaError: A process that read was killed.
    """
    workers = min(workers, len(jobs))
    if workers > 1:
        yield from map_in_processes(
            functools.partial(_open_reader, options),
            jobs,
            workers=workers,
            in_order=True,
            ahead=_AHEAD * workers,
        )
        return
    analyzer = analyzer or options.open_analyzer()
    for job in jobs:
        yield read_job(job, analyzer, whole_image=options.whole_image)


def read_job(
    job: PictureJob,
    analyzer: "Analyzer",
    *,
    whole_image: bool,
    should_stop: StopAsked = lambda: False,
) -> PicturesRead:
    """Read the pictures of one job.

    Raises:
        WorkStoppedError: It was stopped.
    """
    framed: list[FramedPicture] = []
    failures: list[str] = []
    for picture in _read_each(job):
        if should_stop():
            raise WorkStoppedError
        if isinstance(picture, str):
            failures.append(picture)
        else:
            framed.append(analyzer.frame(picture, whole_image=whole_image))
    return PicturesRead(results=tuple(analyzer.read(framed)), failures=tuple(failures))


def _read_each(job: PictureJob) -> Iterator[Picture | str]:
    """Yield each picture, or a line that says why it cannot be read."""
    try:
        for name, source in job.pictures():
            try:
                yield read_picture(source, name=name)
            except MediaError as error:
                yield str(error)
    except MediaError as error:
        yield str(error)


def _open_reader(options: PictureOptions) -> Callable[[PictureJob, StopAsked], PicturesRead]:
    analyzer = options.open_analyzer()
    return lambda job, should_stop: read_job(
        job, analyzer, whole_image=options.whole_image, should_stop=should_stop
    )


def _in_groups(files: Iterable[str]) -> Iterator[tuple[str, ...]]:
    files = iter(files)
    while group := tuple(islice(files, _FILES)):
        yield group
