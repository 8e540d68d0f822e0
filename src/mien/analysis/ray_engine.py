"""Pictures and clips read on a Ray cluster by Ray Data, into a folder of Parquet.

The jobs and what does each are those of one machine (:mod:`mien.analysis.picture_jobs`,
:mod:`mien.analysis.video.clips`), so the rows are the same. Every machine of the cluster needs
mien, and reaches the files and the folder under the same paths. What a killed worker had in hand
is done again by another; Ray would do so for ever, so a job that worker after worker dies over is
given up and told.
"""

import json
import logging
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
from ray.exceptions import RayError

from mien.analysis.arrow_tables import arrow_schema, arrow_table
from mien.analysis.picture_jobs import PictureJob, PictureOptions, read_job
from mien.analysis.writers import picture_columns, write_errors_named
from mien.cache import atomic_write
from mien.errors import ServiceError
from mien.machine import usable_cores

if TYPE_CHECKING:
    from mien.analysis.video.clips import ClipJob, ClipOutcome

#: The column in which a job tells what is no row; what a part's file leaves out.
_NOTE: Final = "note"
#: Rows that a part has at least, as long as there are so many.
_PART_ROWS: Final = 10_000
#: Jobs are handed out in so many bundles a worker: the more, the less is done again after a
#: crash, and the more evenly they are shared out.
_BUNDLES_PER_WORKER: Final = 32
#: So many workers die over a job before it is given up.
_DEATHS: Final = 3
#: Workers in a row that may die while they start, before the cluster is held to be unfit.
_START_DEATHS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where to read.

    Attributes:
        address: The cluster's ``HOST:PORT``, or ``auto`` for the one that this machine belongs to;
            None for a cluster of this machine alone, started for the call.
        workers: Processes that read; None for as many as the cluster has cores for.
        shows_progress: Draw on standard error how far it is.
    """

    address: str | None = None
    workers: int | None = None
    shows_progress: bool = False


def read_pictures_on_ray(
    jobs: Sequence[PictureJob],
    options: PictureOptions,
    folder: Path,
    *,
    classes: Sequence[str],
    cluster: Cluster,
) -> list[str]:
    """Read pictures into a folder of Parquet, with the columns of a local table.

    Args:
        jobs: Which pictures; at least one job.
        options: How.
        folder: Where the parts go, which is empty or not there.
        classes: The names of the expressions.
        cluster: Where to read.

    Returns:
        A line for each picture that could not be read.

    Raises:
        MediaError: The folder cannot be written.
        ServiceError: The cluster cannot be reached, or fails.
    """
    schema = arrow_schema(picture_columns(classes))
    return _map(jobs, _PictureReader, options, _Parts(folder, schema), cluster)


def read_clips_on_ray(
    jobs: "Sequence[ClipJob]", folder: Path, *, classes: Sequence[str], cluster: Cluster
) -> "list[ClipOutcome]":
    """Read clips into a folder of Parquet, with the columns of a local table.

    Args:
        jobs: The clips, at least one, all with the same options; their tables are not written.
        folder: Where the parts go, which is empty or not there.
        classes: The names of the expressions.
        cluster: Where to read.

    Returns:
        What became of each clip.

    Raises:
        MediaError: The folder cannot be written.
        ServiceError: The cluster cannot be reached, or fails.
    """
    from mien.analysis.video.clips import ClipOutcome  # noqa: PLC0415 - comes with PyAV
    from mien.analysis.video.results import record_columns  # noqa: PLC0415

    schema = arrow_schema(record_columns(classes))
    notes = _map(jobs, _ClipReader, jobs[0].options, _Parts(folder, schema), cluster)
    return [ClipOutcome(**{**note, "remarks": tuple(note["remarks"])}) for note in notes]


def _map(
    jobs: Sequence[Any],
    reader: type[Any],
    options: Any,
    parts: "_Parts",
    cluster: Cluster,
) -> list[Any]:
    """Do jobs on the cluster, and return what they tell beside their rows."""
    with _connected(cluster), _errors_explained(), parts.deaths.counted():
        # One thread a worker where none is named: the cluster shares its cores by workers.
        threads = options.threads or 1
        workers = _worker_count(cluster, threads, len(jobs))
        items = [{"job": pickle.dumps(job), "number": i} for i, job in enumerate(jobs)]
        dataset = ray.data.from_items(
            items, override_num_blocks=min(len(items), workers * _BUNDLES_PER_WORKER)
        )
        _configure(dataset.context, cluster)
        dataset.map_batches(
            reader,
            fn_constructor_args=(replace(options, threads=threads), Path.cwd(), parts),
            batch_size=1,
            batch_format="pyarrow",
            concurrency=workers,
            num_cpus=threads,
        ).write_datasink(
            parts,
            # Readers may hold every core, and a part is written in no time.
            ray_remote_args={"num_cpus": 0},
        )
    return [json.loads(note) for note in parts.notes]


def _worker_count(cluster: Cluster, threads: int, jobs: int) -> int:
    """Return how many workers there are cores and jobs for, at most as many as are wanted."""
    room = max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
    return min(room, jobs, cluster.workers or room)


def _configure(context: ray.data.DataContext, cluster: Cluster) -> None:
    context.enable_progress_bars = cluster.shows_progress
    # The rows in the order of the files, as in a local table.
    context.execution_options.preserve_order = True
    # A clip of hours gives nothing for as long as it is read.
    context.execution_no_progress_timeout_s = -1
    context.max_consecutive_actor_init_deaths = _START_DEATHS


@contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    """Be connected to the cluster; where the caller is connected already, to that one."""
    if ray.is_initialized():
        yield
        return
    # What is read here is nobody else's business; Ray tells its makers of each cluster otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    started: dict[str, Any] = {"address": cluster.address}
    if cluster.address is None:
        cores = max(usable_cores(), cluster.workers or 1)
        started = {"address": "local", "num_cpus": cores, "include_dashboard": False}
    try:
        ray.init(**started, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        where = cluster.address or "of this machine"
        raise ServiceError(f"the Ray cluster {where}: {_first_line(error)}") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _errors_explained() -> Iterator[None]:
    try:
        yield
    except RayError as error:
        raise ServiceError(f"the Ray cluster could not go on: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    """Return what went wrong, without the traceback of another process before it."""
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return lines[0]


class _Reader:
    """Does jobs in one worker, with what it opened once."""

    def __init__(self, options: Any, folder: Path, parts: "_Parts") -> None:
        # What is named relatively is so to where the caller is.
        with suppress(OSError):
            os.chdir(folder)
        self._options = options
        self._analyzer = options.open_analyzer()
        self._schema = parts.schema
        self._deaths = parts.deaths
        self._note = pa.field(_NOTE, pa.string())

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        for row in batch.to_pylist():
            job, notes = pickle.loads(row["job"]), list[Any]()
            with self._deaths.told_by(row["number"]) as deaths:
                if deaths < _DEATHS:
                    for rows in self._read(job, notes):
                        yield rows.append_column(self._note, pa.nulls(len(rows), pa.string()))
                else:
                    notes.append(self._give_up(job, f"given up: {deaths} workers died over it"))
            lines = [{_NOTE: json.dumps(note)} for note in notes]
            yield pa.Table.from_pylist(lines, self._schema.append(self._note))

    def _read(self, job: Any, notes: list[Any]) -> Iterator[pa.Table]:
        """Yield the rows of a job, and append what else there is to tell, as JSON types."""
        raise NotImplementedError

    def _give_up(self, job: Any, why: str) -> Any:
        """Return what there is to tell of a job that is not done, as JSON types."""
        raise NotImplementedError


class _PictureReader(_Reader):
    def _read(self, job: PictureJob, notes: list[Any]) -> Iterator[pa.Table]:
        read = read_job(job, self._analyzer, whole_image=self._options.whole_image)
        notes.extend(read.failures)
        rows = [row for result in read.results for row in result.to_records()]
        yield arrow_table(rows, self._schema)

    def _give_up(self, job: PictureJob, why: str) -> str:
        names = [name for name, _ in job.pictures()]
        return f"{' … '.join(dict.fromkeys((names[0], names[-1])))}: {why}"


class _ClipReader(_Reader):
    def _read(self, job: "ClipJob", notes: list[Any]) -> Iterator[pa.Table]:
        from mien.analysis.video.parallel import try_clip  # noqa: PLC0415

        with tempfile.TemporaryDirectory(prefix="mien-") as folder:
            table = Path(folder) / "rows.parquet"
            outcome = try_clip(replace(job, table=table, options=self._options), self._analyzer)
            notes.append(asdict(outcome))
            if table.exists():
                with pq.ParquetFile(table) as rows:
                    for batch in rows.iter_batches():
                        yield pa.Table.from_batches([batch])

    def _give_up(self, job: "ClipJob", why: str) -> dict[str, Any]:
        from mien.analysis.video.clips import ClipOutcome  # noqa: PLC0415

        return asdict(ClipOutcome(source=job.source, error=f"{job.source}: {why}"))


@dataclass(frozen=True, slots=True)
class _Deaths:
    """How many workers died over each job, told by files in a folder that all of them reach.

    Attributes:
        folder: Where; there as long as they are counted.
    """

    folder: Path

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Have the folder for as long as jobs are done."""
        with write_errors_named(self.folder):
            self.folder.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def told_by(self, job: int) -> Iterator[int]:
        """Do a job: give how many died over it, and count as dead who does not come out again."""
        file = self.folder / str(job)
        with file.open("ab") as begun:
            deaths = begun.tell()
            begun.write(b"x")
        yield deaths
        file.unlink(missing_ok=True)


class _Parts(ray.data.Datasink[list[str]]):  # type: ignore[misc] # Ray is not followed
    """Writes rows to the parts of a folder, and hands notes back to the caller.

    A part has the name of its task's number: done again after a crash, it takes its own place.

    Attributes:
        schema: The columns of the parts.
        deaths: Which jobs workers died over.
        notes: What was handed back, as JSON, once all is written.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder.absolute()
        self.schema = schema
        self.deaths = _Deaths(self._folder / ".under-way")
        self.notes: list[str] = []
        with write_errors_named(folder):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def min_rows_per_write(self) -> int:
        return _PART_ROWS

    def write(self, blocks: Iterable[pa.Table], ctx: Any) -> list[str]:
        filled = [block for block in blocks if block.num_rows]
        if not filled:
            return []
        table = pa.concat_tables(filled)
        rows = table.filter(table[_NOTE].is_null())
        if rows.num_rows:
            self._write_part(ctx.task_idx, rows.select(self.schema.names).cast(self.schema))
        return [str(note) for note in table[_NOTE].drop_null().to_pylist()]

    def on_write_complete(self, write_result: Any) -> None:
        self.notes = [note for notes in write_result.write_returns for note in notes or ()]
        if not any(self._folder.glob("*.parquet")):
            # A table without a row still has its columns.
            self._write_part(0, self.schema.empty_table())

    def _write_part(self, number: int, rows: pa.Table) -> None:
        with atomic_write(self._folder / f"part-{number:05d}.parquet") as temporary:
            pq.write_table(rows, temporary)
