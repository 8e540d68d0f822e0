"""Where media are read: by this machine's processes, or on a Ray cluster."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mien.cli.console import plain_console
from mien.cli.outputs import announce, check_output
from mien.cli.video_progress import outcome_lines
from mien.errors import require_extra
from mien.machine import usable_cores

if TYPE_CHECKING:
    from mien.analysis.picture_jobs import PictureJob, PictureOptions
    from mien.analysis.ray_engine import Cluster
    from mien.analysis.video.clips import ClipOutcome, ReadingOptions

Engine = Literal["local", "ray"]
EngineOption = Annotated[
    Engine,
    typer.Option(
        help="Where to read: in processes of this machine, or on a Ray cluster, which makes "
        "--output a folder of Parquet."
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The cluster of --engine ray, or 'auto' for the one this machine belongs to.",
        show_default="one of this machine alone",
    ),
]
ThreadsOption = Annotated[
    int, typer.Option(min=0, help="Processor threads a worker; 0: all it may use, shared out.")
]


def check_local(ray_address: str | None) -> None:
    """See that nothing of a cluster is named for a call that uses none.

    Raises:
        typer.BadParameter: It is.
    """
    if ray_address is not None:
        raise typer.BadParameter("--ray-address is for --engine ray: name that too")


def check_ray(output: Path | None, others: Mapping[str, object]) -> Path:
    """See that a call can be done on a cluster, before it is reached.

    Args:
        output: Where the parts go.
        others: What the cluster does not do, by the names of the options.

    Returns:
        The folder of the parts.

    Raises:
        typer.BadParameter: It cannot.
        MissingExtraError: Ray is not installed.
    """
    named = [option for option, value in others.items() if value]
    if named:
        raise typer.BadParameter(f"{named[0]} is for --engine local; Ray writes --output alone")
    if output is None:
        raise typer.BadParameter("--engine ray writes a folder of Parquet: name it with --output")
    check_output(output)
    if output.is_dir() and any(output.iterdir()):
        raise typer.BadParameter(f"{output}: is not empty: name a new folder")
    with require_extra("ray"):
        import ray.data  # noqa: F401, PLC0415 - at once: it takes a second, and is used next
    return output


def cluster_of(address: str | None, workers: int | None) -> "Cluster":
    """Return the cluster that the options name."""
    from mien.analysis.ray_engine import Cluster  # noqa: PLC0415 - needs Ray

    shows_progress = plain_console(stderr=True).is_terminal
    return Cluster(address=address, workers=workers, shows_progress=shows_progress)


def pictures_on_ray(
    jobs: "Sequence[PictureJob]", options: "PictureOptions", folder: Path, cluster: "Cluster"
) -> list[str]:
    """Read pictures into the parts of a folder, and return a line for each that could not be."""
    from mien.analysis.ray_engine import read_pictures_on_ray  # noqa: PLC0415 - needs Ray

    # Opened here too: a model that cannot be used is told before the cluster is reached.
    classes = options.open_analyzer().classes
    failed = read_pictures_on_ray(jobs, options, folder, classes=classes, cluster=cluster)
    announce(folder)
    return failed


def clips_on_ray(
    clips: Sequence[str],
    options: "ReadingOptions",
    annotated: Sequence[Path | None],
    folder: Path,
    cluster: "Cluster",
) -> "list[ClipOutcome]":
    """Read clips into the parts of a folder, and tell what became of them."""
    from mien.analysis.ray_engine import read_clips_on_ray  # noqa: PLC0415 - needs Ray
    from mien.analysis.video.clips import ClipJob  # noqa: PLC0415 - comes with it

    classes = options.open_analyzer().classes
    jobs = [
        # The worker writes a table of its own, on its way to the folder.
        ClipJob(source=clip, table=folder, annotated=seen, options=options)
        for clip, seen in zip(clips, annotated, strict=True)
    ]
    outcomes = read_clips_on_ray(jobs, folder, classes=classes, cluster=cluster)
    announce(folder)
    for line in (line for outcome in outcomes for line in outcome_lines(outcome)):
        typer.echo(line, err=True)
    return outcomes


def threads_a_worker(threads: int, workers: int) -> int:
    """Return the processor threads of each worker: those asked for, or the usable ones shared."""
    return threads or max(1, usable_cores() // workers)


def list_failures(lines: Sequence[str], total: int, noun: str) -> None:
    """Tell at the end what failed, on standard error: a line each, below how many of many."""
    if len(lines) > 1:
        typer.echo(f"mien: {len(lines):,} of {total:,} {noun} failed:", err=True)
    for line in lines:
        typer.echo(f"mien: {line}", err=True)
