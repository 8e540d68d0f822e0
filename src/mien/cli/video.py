"""``mien video``: read the expressions in video files."""

import itertools
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from mien.cli.analyze import SOME_FAILED, MinFaceOption, ModelOption, TtaOption, UncertainOption
from mien.cli.console import plain_console
from mien.cli.engines import (
    EngineOption,
    RayAddressOption,
    ThreadsOption,
    check_local,
    check_ray,
    clips_on_ray,
    cluster_of,
    list_failures,
    threads_a_worker,
)
from mien.cli.outputs import PAGE, announce, check_output
from mien.cli.runs import INTERRUPTED, command_to_go_on
from mien.cli.signals import stop_on_signals
from mien.cli.video_progress import ClipsDisplay, failure_line, outcome_lines
from mien.errors import MediaError, require_extra
from mien.folders import as_disks_compare

if TYPE_CHECKING:
    from mien.analysis.video.clips import ClipJob, ClipOutcome, ReadingOptions
    from mien.analysis.video.parts import ClipTables
    from mien.analysis.video.timeline import Timeline

TableOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write FILE.csv or .parquet, a row a face and frame; .json or .jsonl, a frame a line.",
    ),
]
_CHARTS = (".png", ".svg", *PAGE)
#: Expressions of a person in the summary.
_SHOWN = 3


def video(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="CLIP...", help="Video files, folders, or patterns in quotes."),
    ],
    *,
    output: TableOption = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Write the clip with boxes and labels: FILE.mp4; of several clips, a folder.",
        ),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Draw who showed what when: FILE.png, .svg or .html; of several, a folder.",
        ),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Read one frame of so many.")] = 1,
    fps: Annotated[
        float | None,
        typer.Option(min=0.001, help="Read so many frames a second.", show_default="all"),
    ] = None,
    start: Annotated[float, typer.Option(min=0, help="From so many seconds on.")] = 0.0,
    end: Annotated[
        float | None, typer.Option(min=0, help="Up to so many seconds.", show_default="the end")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a stopped run of --output left off.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Clips read at the same time.",
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
    """Read the expressions in videos: who shows what, when, with one number a person.

    Prints a summary on a terminal; elsewhere JSON, or nothing with --output. Of several clips
    --output is one table, told apart by its column source.

    Ctrl-C and SIGTERM keep the rows so far and exit with 130; the same call with --resume goes
    on. Exits with 1 when some clip could not be read to its end, 2 for a wrong call.

    Example: mien video interview.mp4 --output faces.csv --timeline faces.html
    """
    with require_extra("video"):
        from mien.analysis.video.clips import ReadingOptions, find_clips  # noqa: PLC0415
        from mien.analysis.video.parts import ClipTables  # noqa: PLC0415

        if engine == "ray":
            folder = check_ray(output, {"--timeline": timeline, "--resume": resume})
        else:
            check_local(ray_address)
        clips = find_clips(sources)
        # A folder may hold one clip today and two tomorrow: what was named decides.
        several = len(clips) > 1 or not Path(sources[0]).is_file()
        if every > 1 and fps is not None:
            raise typer.BadParameter("--every and --fps: choose one")
        if fps is not None and not fps < math.inf:
            raise typer.BadParameter(f"--fps: {fps} is no rate; leave it out for all frames")
        until = math.inf if end is None else end
        if not start < until:
            raise typer.BadParameter(f"nothing lies from {start:g} s to {until:g} s")
        if resume and (output is None or annotate is not None):
            raise typer.BadParameter("--resume goes on with a table: name --output, no --annotate")
        _check_outputs(
            clips, None if engine == "ray" else output, annotate, timeline, several=several
        )
        options = ReadingOptions(
            every=every,
            fps=fps,
            start_s=start,
            end_s=end,
            model=model,
            min_face=min_face,
            uncertain_below=uncertain_below,
            tta=tta,
            threads=threads,
        )
        if engine == "ray":
            annotated = _annotated_paths(clips, annotate, several=several)
            cluster = cluster_of(ray_address, workers)
            _finish(clips_on_ray(clips, options, annotated, folder, cluster))
            return
        workers = min(workers or 1, len(clips))
        options = replace(options, threads=threads_a_worker(threads, workers))
        with ExitStack() as stack:
            table = output or _temporary_table(stack)
            tables = ClipTables(table, clips, options, several=several, resume=resume)
            jobs = _jobs(tables, clips, options, annotate, several=several, resume=resume)
            with _told_when_stopped(tables, is_kept=output is not None), tables:
                outcomes = _read(tables, jobs, workers)
                _draw(jobs, timeline, several=several, summarise=sys.stdout.isatty())
            if output is None and not sys.stdout.isatty():
                _print_file(table)
            elif output is not None and tables.rows_at is not None:
                announce(output)
            if annotate is not None and any(outcome.error is None for outcome in outcomes):
                announce(annotate)
    _finish(outcomes)


def _finish(outcomes: "list[ClipOutcome]") -> None:
    """List what failed of several clips once more, where it is not scrolled away.

    Raises:
        typer.Exit: Some clip could not be read to its end.
    """
    failed = [line for outcome in outcomes if (line := failure_line(outcome)) is not None]
    if len(failed) > 1:
        list_failures(failed, len(outcomes), "clips")
    if failed:
        raise typer.Exit(SOME_FAILED)


def _check_outputs(
    clips: list[str],
    output: Path | None,
    annotate: Path | None,
    timeline: Path | None,
    *,
    several: bool,
) -> None:
    """See that all that is wanted can be written, before any work is done.

    Raises:
        typer.BadParameter: It cannot.
        MissingExtraError: What draws or writes it is not installed.
    """
    from mien.analysis.video.table_formats import TABLE_SUFFIXES  # noqa: PLC0415

    sources = [Path(clip) for clip in clips]
    check_output(output, suffixes=TABLE_SUFFIXES, sources=sources)
    for path, option, suffixes in (
        (annotate, "--annotate", (".mp4",)),
        (timeline, "--timeline", _CHARTS),
    ):
        if path is not None and several and path.suffix.lower() in suffixes and not path.is_dir():
            raise typer.BadParameter(f"{path}: of several clips, name a folder", param_hint=option)
        check_output(path, option=option, suffixes=() if several else suffixes, sources=sources)
    for seen in _annotated_paths(clips, annotate, several=several):
        # A folder of clips may hold one that is named like what is made of another.
        check_output(seen, option="--annotate", suffixes=(".mp4",), sources=sources)
    if timeline is not None:
        import matplotlib as mpl  # noqa: F401, PLC0415 - told before the work that it is missing

        if several or timeline.suffix.lower() in PAGE:
            import jinja2  # noqa: F401, PLC0415


def _temporary_table(stack: ExitStack) -> Path:
    """Return where rows go that are only printed."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-"))
    return Path(folder) / "faces.json"


def _jobs(
    tables: "ClipTables",
    clips: list[str],
    options: "ReadingOptions",
    annotate: Path | None,
    *,
    several: bool,
    resume: bool,
) -> "list[ClipJob]":
    from mien.analysis.video.clips import ClipJob  # noqa: PLC0415

    annotated = _annotated_paths(clips, annotate, several=several)
    return [
        ClipJob(source=clip, table=path, annotated=seen, resume=resume, options=options)
        for clip, path, seen in zip(clips, tables.paths, annotated, strict=True)
    ]


def _annotated_paths(
    clips: list[str], annotate: Path | None, *, several: bool
) -> list[Path | None]:
    """Return where each clip goes with boxes and labels; None for nowhere."""
    from mien.analysis.video.clips import ANNOTATED_SUFFIX  # noqa: PLC0415

    if annotate is None or not several:
        return [annotate] * len(clips)
    return [annotate / f"{name}{ANNOTATED_SUFFIX}" for name in _free_names(clips)]


def _free_names(clips: list[str]) -> list[str]:
    """Return a name for what is made of each clip: its own, with a number where it is taken."""
    names: list[str] = []
    taken: set[str] = set()
    for clip in clips:
        stem, number = Path(clip).stem, 1
        name = stem
        while as_disks_compare(name) in taken:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
        taken.add(as_disks_compare(name))
    return names


def _read(tables: "ClipTables", jobs: "list[ClipJob]", workers: int) -> "list[ClipOutcome]":
    """Read the clips that are left, drawing how far that is, and return what became of all.

    Raises:
        MediaError: There is one clip, and it cannot be read.
        ReadingStoppedError: Ctrl-C was pressed, or another signal asked for it.
    """
    from mien.analysis.video.parallel import read_clips  # noqa: PLC0415

    known = {job.source: tables.outcome(job.table) if job.resume else None for job in jobs}
    outcomes = [outcome for outcome in known.values() if outcome is not None]
    for line in itertools.chain.from_iterable(map(outcome_lines, outcomes)):
        typer.echo(line, err=True)
    waiting = [job for job in jobs if known[job.source] is None]
    if not waiting:
        return outcomes
    table_of = {job.source: job.table for job in waiting}
    with stop_on_signals() as should_stop, ClipsDisplay(waiting) as display:
        for outcome in read_clips(
            waiting, workers=workers, should_stop=should_stop, on_frame=display.show
        ):
            if outcome.error is not None and len(jobs) == 1:
                raise MediaError(outcome.error)
            tables.note(outcome, table_of[outcome.source])
            display.finish(outcome)
            outcomes.append(outcome)
    return outcomes


@contextmanager
def _told_when_stopped(tables: "ClipTables", *, is_kept: bool) -> Iterator[None]:
    """When stopped, say where the rows so far are and how to go on."""
    from mien.analysis.video.clips import ReadingStoppedError  # noqa: PLC0415

    try:
        yield
    except (ReadingStoppedError, KeyboardInterrupt):
        if tables.rows_at is None or not is_kept:
            typer.echo("mien: stopped", err=True)
        else:
            # An annotated clip is whole or not there: only a table is gone on with.
            options = () if "--resume" in sys.argv else ("--resume",)
            command = command_to_go_on(*options, without="--annotate")
            line = f"mien: stopped; the rows so far: {tables.rows_at}; go on with: {command}"
            typer.echo(line, err=True)
        raise typer.Exit(INTERRUPTED) from None


def _draw(
    jobs: "list[ClipJob]",
    timeline: Path | None,
    *,
    several: bool,
    summarise: bool,
) -> None:
    """Draw the timelines that are wanted, and a summary for a person at a terminal."""
    from mien.analysis.video.timeline import Timeline  # noqa: PLC0415

    if timeline is None and not summarise:
        return
    summary = _Summary(several=several)
    names = _free_names([job.source for job in jobs])
    for job, name in zip(jobs, names, strict=True):
        if not job.table.exists():
            continue
        read = Timeline.read(job.table)
        summary.add(job.source, read)
        if timeline is not None:
            path = timeline / f"{name}.html" if several else timeline
            _write_timeline(path, read)
            announce(path)
    if summarise:
        summary.print()


def _write_timeline(path: Path, timeline: "Timeline") -> None:
    if path.suffix.lower() not in PAGE:
        timeline.plot(path)
        return
    from mien.report.timeline import write_timeline_page  # noqa: PLC0415

    write_timeline_page(path, timeline)


class _Summary:
    """Shows people who showed what, and for how long."""

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._table = Table(box=None, pad_edge=False, header_style="dim")
        if several:
            self._table.add_column("clip", overflow="fold")
        self._table.add_column("person", justify="right")
        self._table.add_column("from", justify="right", no_wrap=True)
        self._table.add_column("seen", justify="right", no_wrap=True)
        self._table.add_column("shown most of that time")

    def add(self, source: str, timeline: "Timeline") -> None:
        """Add the people of one clip."""
        from mien.analysis.video.timeline_chart import clock, label_colours  # noqa: PLC0415

        people = timeline.summary()
        colours = label_colours(timeline.labels)
        for number, person in enumerate(people):
            shown = Text()
            for name, share in sorted(person.shares.items(), key=lambda item: -item[1])[:_SHOWN]:
                if share >= 0.005:
                    shown.append("■ ", colours[name]).append(f"{name} {share:.0%}   ")
            cells = [Text(source if number == 0 else "")] * self._several
            times = (clock(person.first_s, tenths=True), clock(person.seen_s, tenths=True))
            self._table.add_row(*cells, str(person.track), *times, shown)
        if not people:
            cells = [Text(source)] * self._several
            self._table.add_row(*cells, "", "", "", Text("no face found", style="dim"))

    def print(self) -> None:
        """Print the table, since its columns' widths are only known now."""
        plain_console().print(self._table)


def _print_file(path: Path) -> None:
    """Print a table as it is; none where no clip could be read."""
    if path.exists():
        with path.open(encoding="utf-8") as stream:
            shutil.copyfileobj(stream, sys.stdout)
