"""``mien data``: fetch FER2013, and read a data set once so that training starts at once."""

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import plain_console
from mien.cli.outputs import PAGE, announce, check_output, folder_option
from mien.errors import require_extra
from mien.folders import expand_home

if TYPE_CHECKING:
    from rich.table import Table

    from mien.data import ExpressionDataset
    from mien.data.exploration import Exploration
    from mien.data.row_problems import RowProblem

VotesOption = Annotated[
    Path | None,
    typer.Option(help="fer2013new.csv with FER+ votes; 'auto' takes the one beside the data."),
]
OwnClassesOption = Annotated[
    bool,
    typer.Option("--own-classes", help="Folders' names are the classes, expressions or not."),
]

#: What all random generators in use take; NumPy's old one takes no more.
LARGEST_SEED = 2**32 - 1

#: Suffixes of files that balance does not write, and that nobody means by a folder.
_OTHER_DATA = (".csv", ".gz", ".npy", ".tar", ".tgz", ".zip")

app = typer.Typer(help="Fetch, check and prepare data sets.", no_args_is_help=True)


@app.command()
def download(
    output: Annotated[
        Path | None,
        folder_option("A new or empty folder for it.", show_default="kagglehub's cache"),
    ] = None,
) -> None:
    """Fetch FER2013's pictures from Kaggle and print their folder.

    Example: mien data download --output fer2013
    """
    from mien.data.download import download_fer2013  # noqa: PLC0415

    check_output(output)
    folder = download_fer2013(output)
    typer.echo(f"next: mien data prepare {folder}", err=True)
    typer.echo(folder)


@app.command()
def prepare(
    source: Annotated[
        Path,
        typer.Argument(
            help="fer2013.csv (.gz, or in a zip or tar), or pictures in folders named by "
            "expression, or a zip of them, or a folder with one of these."
        ),
    ],
    votes: VotesOption = None,
    own_classes: OwnClassesOption = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write the data set to this .npz file."),
    ] = None,
) -> None:
    """Read a data set, check it, keep it in the cache and show what is in it.

    Example: mien data prepare fer2013.csv --votes fer2013new.csv
    """
    from mien.data import prepare_dataset, save_dataset  # noqa: PLC0415

    check_output(output, suffixes=(".npz",), sources=[source])
    started = time.perf_counter()
    votes_option = str(votes) if votes is not None else None
    prepared = prepare_dataset(source, votes=votes_option, own_classes=own_classes)
    seconds = time.perf_counter() - started
    dataset = prepared.dataset
    console = plain_console()
    console.print(_counts_table(dataset, title=str(prepared.source)), soft_wrap=True)
    for note in _notes(dataset):
        console.print(note, soft_wrap=True)
    if dataset.votes is not None:
        console.print(f"FER+ votes: {len(dataset.votes):,} rows, matched by row", soft_wrap=True)
    if output is not None:
        save_dataset(dataset, output)
    how = "from the cache" if prepared.from_cache else "read"
    cached = prepared.cache_file or "no"
    console.print(f"{how} in {seconds:.2f} s; cached: {cached}", soft_wrap=True)
    if output is not None:
        announce(output)


@app.command()
def balance(
    source: Annotated[Path, typer.Argument(help="As for prepare.")],
    output: Annotated[
        Path,
        folder_option(
            "A new folder for PNG files in class folders, or a new .npz file.",
            metavar="FOLDER|FILE.npz",
        ),
    ],
    to: Annotated[int, typer.Option(help="Training faces of every class.", min=1)] = 5000,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Which faces, and how copies vary.")
    ] = 0,
    own_classes: OwnClassesOption = False,
) -> None:
    """Give every class as many training faces: leave some out, add varied copies of others.

    Other splits stay as they are.

    Example: mien data balance fer2013.csv --to 5000 --output balanced/
    """
    from mien.data import save_dataset  # noqa: PLC0415
    from mien.data.balance import balance as balance_dataset  # noqa: PLC0415
    from mien.data.balance import write_image_tree  # noqa: PLC0415

    _check_new(output, source)
    faces = open_dataset(source, own_classes=own_classes)
    balanced = f"{faces.fingerprint} balanced to {to} by seed {seed}"
    dataset = replace(
        balance_dataset(faces, to, seed=seed),
        fingerprint=hashlib.sha256(balanced.encode()).hexdigest(),
    )
    if output.suffix.lower() == ".npz":
        save_dataset(dataset, output)
    else:
        write_image_tree(dataset, output)
    console = plain_console()
    console.print(_counts_table(dataset, title=str(output)), soft_wrap=True)
    announce(output)


def _check_new(output: Path, source: Path) -> None:
    """See that a data set can be written without a loss of what is there."""
    is_file = output.suffix.lower() == ".npz"
    if output.suffix.lower() in _OTHER_DATA:
        reason = "name a new folder, or a .npz file"
    elif is_file and output.is_file():
        reason = "is there already: name a new file, or delete it first"
    elif output.is_dir() and any(output.iterdir()):
        reason = "is not empty: name a new folder"
    elif output.resolve().is_relative_to(expand_home(source).resolve()):
        reason = f"lies in {source}, which is read: name a path elsewhere"
    else:
        check_output(output, suffixes=(".npz",) if is_file else ())
        return
    raise typer.BadParameter(f"{output}: {reason}", param_hint="--output")


@app.command()
def explore(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="As for prepare.", show_default="$MIEN_FER2013"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The same, as the commands that train take it.")
    ] = None,
    votes: VotesOption = None,
    own_classes: OwnClassesOption = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path(
        "exploration.html"
    ),
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of the faces that are drawn at random.")
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the facts as JSON instead of a summary.")
    ] = False,
) -> None:
    """Look at a data set before training: one HTML page with its facts, charts and faces.

    Rows and pictures that cannot be read are left out, counted by column and listed.

    Example: mien data explore fer2013.csv --output exploration.html
    """
    if source is not None and data is not None:
        raise typer.BadParameter("DATA is given twice: leave out --data")
    named = source or data
    check_output(output, suffixes=PAGE)
    with require_extra("train"):
        from mien.data.exploration import explore as find_facts  # noqa: PLC0415
        from mien.data.projection import project_faces  # noqa: PLC0415
        from mien.report.exploration import write_exploration  # noqa: PLC0415

        problems: list[RowProblem] = []
        dataset = open_dataset(named, votes=votes, own_classes=own_classes, problems=problems)
        facts = find_facts(dataset, problems=problems, seed=seed)
        projection = project_faces(dataset, seed=seed)
        path = named or Path(os.environ["MIEN_FER2013"])
        write_exploration(output, dataset, facts, projection, source=path.name)
    if as_json:
        typer.echo(json.dumps(facts.to_dict(), indent=2))
    else:
        _print_summary(dataset, facts, title=str(path))
    announce(output)


def open_dataset(
    data: Path | None,
    *,
    votes: Path | None = None,
    own_classes: bool = False,
    problems: "list[RowProblem] | None" = None,
) -> "ExpressionDataset":
    """Return what ``--data`` names, or else ``$MIEN_FER2013``.

    Where it is FER2013, differences from what was published are noted on standard error.

    Args:
        data: As for :func:`mien.data.load_dataset`.
        votes: As for :func:`mien.data.load_dataset`.
        own_classes: As for :func:`mien.data.load_dataset`.
        problems: As for :func:`mien.data.load_dataset`.

    Raises:
        DataError: Neither is given, or it cannot be read.
    """
    from mien.data import load_dataset, load_fer2013  # noqa: PLC0415

    votes_option = str(votes) if votes is not None else None
    if data is None and own_classes and "MIEN_FER2013" in os.environ:
        data = Path(os.environ["MIEN_FER2013"])
    if data is None:
        # It logs the differences itself.
        return load_fer2013(votes=votes_option, problems=problems)
    dataset = load_dataset(data, votes=votes_option, own_classes=own_classes, problems=problems)
    for note in _notes(dataset):
        typer.echo(note, err=True)
    return dataset


def _notes(dataset: "ExpressionDataset") -> list[str]:
    """Return a line for each way in which a copy of FER2013 is not as published."""
    from mien.data.fer2013 import is_fer2013, verify_fer2013  # noqa: PLC0415

    differences = verify_fer2013(dataset) if is_fer2013(dataset) else []
    return [f"note: not as published: {difference}" for difference in differences]


def _print_summary(dataset: "ExpressionDataset", facts: "Exploration", *, title: str) -> None:
    mean, std = facts.pixel_mean_std
    console = plain_console()
    console.print(_counts_table(dataset, title=title), soft_wrap=True)
    console.print(
        f"pixels {mean:.1f} ± {std:.1f}; {facts.is_outlier.sum():,} outliers in light or focus",
        soft_wrap=True,
    )
    if not facts.problems:
        console.print("no value is missing or unreadable", soft_wrap=True)
    for finding in facts.findings():
        console.print(f"note: {finding}", soft_wrap=True)


def _counts_table(dataset: "ExpressionDataset", *, title: str) -> "Table":
    """Return a table of splits by classes with totals."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    # Narrow enough for 80 columns, which is also what rich takes a pipe to have.
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("split", no_wrap=True)
    for name in (*dataset.classes, "all"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = {split: list(counts.values()) for split, counts in dataset.split_counts().items()}
    rows = {split: counts for split, counts in rows.items() if sum(counts)}
    rows["all"] = list(dataset.counts().values())
    for split, counts in rows.items():
        if split == "all":
            table.add_section()
        table.add_row(split, *(f"{count:,}" for count in (*counts, sum(counts))))
    return table
