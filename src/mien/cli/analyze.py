"""``mien analyze``: read the expressions in pictures."""

import errno
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from mien.cli.console import plain_console
from mien.cli.engines import (
    EngineOption,
    RayAddressOption,
    ThreadsOption,
    check_local,
    check_ray,
    cluster_of,
    list_failures,
    pictures_on_ray,
    threads_a_worker,
)
from mien.cli.outputs import check_output
from mien.cli.signals import exit_on_signals
from mien.errors import MediaError
from mien.folders import as_disks_compare

if TYPE_CHECKING:
    from mien.analysis.picture_jobs import PictureJob, PictureOptions, PicturesRead
    from mien.analysis.writers import Writer
    from mien.results import Face, FrameResult

#: Exit code when all was done but some picture could not be read.
SOME_FAILED = 1

#: Square pictures of at most so many pixels a side may be the face crops of a data set.
_CROP_SIDE = 128

_BAR_WIDTH = 20
#: Columns from which on a terminal has room for the bars.
_WIDE = 110

ModelOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="An ONNX file of 'mien export'.")
]
MinFaceOption = Annotated[
    int | None, typer.Option(min=12, help="Smallest face to look for, in pixels.")
]
UncertainOption = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        min=0,
        max=1,
        help="Call a face uncertain where no expression is as probable; 0: never.",
        show_default="what the model says",
    ),
]
TtaOption = Annotated[
    Literal["flip"] | None,
    typer.Option(
        help="Average each face with its mirror image, for up to twice the time of reading it.",
        show_default="each face once",
    ),
]


def analyze(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Pictures, folders, Parquet tables of pictures, or patterns in quotes.",
        ),
    ],
    *,
    table: Annotated[bool, typer.Option("--table", help="Print the table.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV: a row for each face.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write FILE.json, FILE.csv or FILE.parquet."
        ),
    ] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write each picture there, with boxes and labels: NAME-mien.jpg."
        ),
    ] = None,
    whole_image: Annotated[
        bool, typer.Option("--whole-image", help="Each picture is a face crop already.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that read at the same time.",
            show_default="1; on a cluster, one a core",
        ),
    ] = None,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
    model: ModelOption = None,
    min_face: MinFaceOption = None,
    uncertain_below: UncertainOption = None,
    tta: TtaOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Read the expressions in pictures.

    Prints a table on a terminal and JSON elsewhere; with --output, the table or nothing. One of
    --table, --json and --csv makes it that, wherever it goes. The results are the same for any
    number of --workers, and on a cluster.

    Exits with 1 when some picture could not be read and the others were, 2 for a wrong call.

    Example: mien analyze photos/ --output faces.csv --annotate seen/
    """
    from mien.analysis.picture_jobs import PictureOptions, plan_pictures  # noqa: PLC0415
    from mien.analysis.picture_tables import PictureRows  # noqa: PLC0415
    from mien.analysis.writers import SUFFIXES, check_suffix  # noqa: PLC0415

    if table + json + csv > 1:
        raise typer.BadParameter("--table, --json and --csv: choose one")
    options = PictureOptions(
        model=model,
        min_face=min_face,
        uncertain_below=uncertain_below,
        tta=tta,
        threads=threads,
        whole_image=whole_image,
    )
    if engine == "ray":
        printed = {"--table": table, "--json": json, "--csv": csv}
        folder = check_ray(output, {**printed, "--annotate": annotate})
        jobs = plan_pictures(sources)
        _finish(pictures_on_ray(jobs, options, folder, cluster_of(ray_address, workers)), jobs)
        return
    check_local(ray_address)
    if output is not None:
        check_suffix(output)
    jobs = plan_pictures(sources)
    tables = {Path(job.path) for job in jobs if isinstance(job, PictureRows)}
    check_output(output, suffixes=SUFFIXES, sources=sorted(tables))
    if annotate is not None:
        _check_annotated(annotate, jobs)
    workers = min(workers or 1, len(jobs))
    options = replace(
        options, threads=threads_a_worker(threads, workers) if workers > 1 else threads
    )
    shown = ".csv" if csv else ".json" if json or output is None else None
    if table or (not (json or csv) and sys.stdout.isatty()):
        shown = "table"
    _analyze_here(jobs, options, workers, shown=shown, output=output, annotate=annotate)


def _analyze_here(
    jobs: "Sequence[PictureJob]",
    options: "PictureOptions",
    workers: int,
    *,
    shown: str | None,
    output: Path | None,
    annotate: Path | None,
) -> None:
    """Read pictures in processes of this machine, and write the results as they come.

    Args:
        jobs: Which pictures.
        options: How.
        workers: In how many processes.
        shown: What is printed: ``table``, or the format of a suffix; None for nothing.
        output: The file to write.
        annotate: The folder of annotated pictures.
    """
    from mien.analysis.picture_jobs import read_pictures  # noqa: PLC0415
    from mien.analysis.writers import make_writer, open_writer  # noqa: PLC0415

    analyzer = options.open_analyzer()
    failed: list[str] = []
    faceless_crops = 0
    total = sum(job.count for job in jobs)
    reads = read_pictures(jobs, options, workers=workers, analyzer=analyzer)
    try:
        with exit_on_signals(), ExitStack() as stack:
            writers: list[Writer] = []
            if shown == "table":
                writers.append(_Table())
            elif shown is not None:
                writers.append(make_writer(shown, sys.stdout, analyzer.classes))
            if annotate is not None:
                writers.append(_Annotator(annotate, jobs, on_error=failed.append))
            if output is not None:
                writers.append(stack.enter_context(open_writer(output, analyzer.classes)))
            for result in _with_progress(_results(reads, failed), total):
                faceless_crops += not result.faces and _may_be_crop(result.size_wh)
                for writer in writers:
                    writer.write(result)
            for writer in writers:
                writer.finish()
    except BaseException:
        list_failures(failed, total, "pictures")
        raise
    if faceless_crops:
        count = f"{faceless_crops} small square picture{'s' * (faceless_crops > 1)}"
        typer.echo(f"mien: no face found in {count}; of face crops: --whole-image", err=True)
    _finish(failed, jobs)


def _may_be_crop(size_wh: tuple[int, int]) -> bool:
    return size_wh[0] == size_wh[1] <= _CROP_SIDE


def _finish(failed: Sequence[str], jobs: "Sequence[PictureJob]") -> None:
    """List what could not be read.

    Raises:
        typer.Exit: There is some.
    """
    list_failures(failed, sum(job.count for job in jobs), "pictures")
    if failed:
        raise typer.Exit(SOME_FAILED)


def _results(reads: "Iterable[PicturesRead]", failed: list[str]) -> "Iterator[FrameResult]":
    """Yield the results of jobs, and gather what could not be read."""
    for read in reads:
        failed.extend(read.failures)
        yield from read.results


def _check_annotated(folder: Path, jobs: "Sequence[PictureJob]") -> None:
    from mien.analysis.picture_jobs import PictureFiles  # noqa: PLC0415

    if not all(isinstance(job, PictureFiles) for job in jobs):
        raise typer.BadParameter("--annotate draws on picture files, not on rows of a table")
    _check_folder(folder)


def _check_folder(folder: Path) -> None:
    """Make a folder and see that it can be written to, before any work is done.

    Raises:
        MediaError: It cannot.
    """
    from mien.analysis.writers import write_errors_named  # noqa: PLC0415

    with write_errors_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class _Annotator:
    """Writes annotated pictures, each under a name of its own and never over a source.

    What stands under such a name from an earlier run is an annotation as well, and is replaced.
    """

    def __init__(
        self, folder: Path, jobs: "Iterable[PictureJob]", *, on_error: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._on_error = on_error
        self._taken = {_place(Path(name)) for job in jobs for name, _ in job.pictures()}

    def write(self, result: "FrameResult") -> None:
        """Draw one result and write it as JPEG; tell where that cannot be done."""
        from mien.analysis.draw import write_annotated  # noqa: PLC0415

        try:
            write_annotated(result, self._free_path(Path(result.source).stem))
        except MediaError as error:
            self._on_error(str(error))

    def finish(self) -> None:
        """Do nothing: every picture is whole already."""

    def _free_path(self, stem: str) -> Path:
        from mien.analysis.media import ANNOTATED_SUFFIX  # noqa: PLC0415

        path = self._folder / f"{stem}{ANNOTATED_SUFFIX}"
        for number in itertools.count(2):
            if _place(path) not in self._taken:
                break
            path = self._folder / f"{stem}-{number}{ANNOTATED_SUFFIX}"
        self._taken.add(_place(path))
        return path


def _place(path: Path) -> str:
    """Return where a path leads, the same for two that some disks take for one."""
    return as_disks_compare(str(path.resolve()))


class _Table:
    """Shows results to people."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._pictures = 0
        self._faces = 0
        self._table = Table(box=None, pad_edge=False, header_style="dim")
        self._table.add_column("picture", overflow="fold")
        self._table.add_column("face", justify="right")
        self._table.add_column("expression", no_wrap=True)
        self._table.add_column("", no_wrap=True)
        self._table.add_column("next", no_wrap=True)
        self._table.add_column("left top right bottom", justify="right", no_wrap=True)
        # In a narrow window the pictures' names need the room more than bars do.
        self._bar_width = _BAR_WIDTH if self._console.width >= _WIDE else 0

    def write(self, result: "FrameResult") -> None:
        """Add one result's rows."""
        from mien.analysis.draw import face_colour  # noqa: PLC0415

        self._pictures += 1
        self._faces += len(result.faces)
        if not result.faces:
            self._table.add_row(Text(result.source), "", Text("no face found", style="dim"))
        for number, face in enumerate(result.faces):
            bar = "█" * max(1, round(face.confidence * self._bar_width)) * (self._bar_width > 0)
            self._table.add_row(
                Text(result.source if number == 0 else ""),
                str(number + 1),
                Text(face.expression, style="dim" if face.is_uncertain else "bold"),
                Text(f"{face.confidence:4.0%} ").append(bar, face_colour(face)),
                Text(_runner_up(face), style="dim"),
                Text(" ".join(f"{edge:.0f}" for edge in face.box_xyxy), style="dim"),
            )

    def finish(self) -> None:
        """Print the table, since its columns' widths are only known now."""
        self._console.print(self._table)
        if self._pictures != 1:
            summary = f"{self._pictures} pictures, {self._faces} faces"
            self._console.print(summary, style="dim")


def _runner_up(face: "Face") -> str:
    """Return the next expression; of an uncertain face the two that it is most likely one of."""
    ranked = sorted(face.probabilities.items(), key=lambda item: -item[1])
    if face.is_uncertain:
        return " or ".join(name for name, _ in ranked[:2])
    return "".join(f"{name} {probability:.0%}" for name, probability in ranked[1:2])


def _with_progress(results: Iterable["FrameResult"], total: int) -> Iterator["FrameResult"]:
    """Pass results on, showing on a terminal how many of many are done."""
    console = plain_console(stderr=True)
    if total < 2 or not console.is_terminal:
        yield from results
        return
    with Progress(console=console, transient=True) as progress:
        yield from progress.track(results, total=total, description="reading")
