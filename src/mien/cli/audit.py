"""``mien data audit``: what is wrong with a data set, and a manifest that puts it right."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import plain_console
from mien.cli.data import OwnClassesOption, VotesOption, open_dataset
from mien.cli.outputs import PAGE, announce, check_output
from mien.errors import require_extra

if TYPE_CHECKING:
    from mien.audit import Audit
    from mien.data.manifest import Change

_JSON = (".json",)


def audit(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="As for prepare.", show_default="$MIEN_FER2013"),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The page that shows what was found.")
    ] = Path("audit.html"),
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write all that was found as JSON.")
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            help="Also write a manifest of changes, which is a data set to other commands."
        ),
    ] = None,
    splits: Annotated[
        str, typer.Option(help="What the manifest may change, with commas between.")
    ] = "Training",
    near: Annotated[bool, typer.Option("--near/--no-near", help="Look for near copies.")] = True,
    non_faces: Annotated[
        bool, typer.Option("--non-faces/--no-non-faces", help="Look for what is no face.")
    ] = True,
    cross_validation: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Look for label errors by what 'mien cross-validate' left in this folder.",
        ),
    ] = None,
    relabel: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            help="The manifest gives doubtful faces the class that is at least so probable.",
        ),
    ] = None,
    votes: VotesOption = None,
    own_classes: OwnClassesOption = False,
) -> None:
    """Find what is wrong with a data set: copies, leaks, what shows no face, wrong labels.

    The manifest changes no file: it tells what to leave out, and is read in place of its source.

    Example: mien data audit fer2013.csv --output audit.html --fix cleaned.json
    """
    path = source or Path(os.environ.get("MIEN_FER2013", ""))
    check_output(output, suffixes=PAGE)
    check_output(json_file, option="--json", suffixes=_JSON, sources=[path])
    check_output(
        fix, option="--fix", suffixes=_JSON, sources=[path, *([json_file] if json_file else [])]
    )
    if relabel is not None and (cross_validation is None or fix is None):
        raise typer.BadParameter("needs --cross-validation and --fix", param_hint="--relabel")
    named = _parse_splits(splits)
    with require_extra("train"):
        from mien.audit import audit as find_facts  # noqa: PLC0415
        from mien.audit import rate_labels  # noqa: PLC0415
        from mien.cache import atomic_write  # noqa: PLC0415
        from mien.data.manifest import write_manifest  # noqa: PLC0415
        from mien.data.sources import identify_source  # noqa: PLC0415
        from mien.report.audit import write_audit_page  # noqa: PLC0415

        with plain_console(stderr=True).status("reading") as status:
            dataset = open_dataset(source, votes=votes, own_classes=own_classes)
            # Before the audit: what changes while it runs must not pass for what was audited.
            unchanged = identify_source(path, own_classes=own_classes) if fix else None
            facts = find_facts(dataset, near=near, non_faces=non_faces, watch=status.update)
            if cross_validation is not None:
                status.update("label errors")
                facts = replace(facts, label_errors=rate_labels(dataset, cross_validation))
            status.update("writing the page")
            write_audit_page(output, dataset, facts, source=path.name)
        changes = _changes(facts, named, relabel) if fix else ()
    _print_summary(facts, changes, title=str(path))
    announce(output)
    if json_file is not None:
        with atomic_write(json_file) as temporary:
            temporary.write_text(json.dumps(facts.to_dict(), indent=1) + "\n", "utf-8")
        announce(json_file)
    if fix is not None and unchanged is not None:
        write_manifest(fix, replace(unchanged, changes=changes))
        announce(fix)


def _changes(facts: "Audit", splits: Sequence[str], relabel: float | None) -> "tuple[Change, ...]":
    from mien.audit import repair  # noqa: PLC0415

    errors = facts.label_errors
    wrong = [] if errors is None or relabel is None else errors.surer_than(relabel)
    return repair(facts, splits=splits, relabel=wrong)


def _parse_splits(text: str) -> tuple[str, ...]:
    from mien.data import SPLITS  # noqa: PLC0415
    from mien.expressions import unknown_name  # noqa: PLC0415

    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in SPLITS:
            raise typer.BadParameter(unknown_name("split", name, SPLITS), param_hint="--splits")
    return names


def _print_summary(facts: "Audit", changes: Sequence["Change"], *, title: str) -> None:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(
        title=f"{title}: {len(facts):,} faces",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("found")
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("of these, or in")
    for row in _rows(facts):
        table.add_row(*row)
    console = plain_console()
    console.print(table, soft_wrap=True)
    if changes:
        counts = Counter(change.action for change in changes)
        told = ", ".join(f"{action} {count:,}" for action, count in sorted(counts.items()))
        left = len(facts) - sum(change.action != "relabel" for change in changes)
        console.print(f"fix: {told}; {left:,} faces left", soft_wrap=True)


def _rows(facts: "Audit") -> list[tuple[str, str, str]]:
    """Return what was found, how many images, and a remark."""
    exact, copies = facts.exact, facts.copies
    rows = [
        (
            "exact copies",
            f"{exact.surplus:,}",
            f"{exact.groups:,} groups, {exact.conflicting:,} conflicting",
        )
    ]
    if facts.near is not None:
        remark = f"{copies.groups:,} groups in all, {copies.conflicting:,} conflicting"
        rows.append(("near copies besides", f"{facts.near_surplus:,}", remark))
    for (first, second), (same, alike) in facts.leaks().items():
        more = "" if alike is None else f"{alike:,} with near copies"
        rows.append((f"{second} faces also in {first}", f"{same:,}", more))
    rows.append(("of one colour", f"{len(facts.flat):,}", ""))
    if facts.non_faces is not None:
        voted = facts.non_faces.voted_non_faces
        remark = "" if voted is None else f"{voted:,} are none to most FER+ voters"
        rows.append(("without a face", f"{len(facts.non_faces.flagged):,}", remark))
    if errors := facts.label_errors:
        rows.append(("doubtful labels", f"{errors.doubtful:,}", errors.source))
    for each in facts.measures:
        low, high = int(each.is_low.sum()), int(each.is_high.sum())
        rows.append((f"outliers of {each.name}", f"{low + high:,}", f"{low:,} low, {high:,} high"))
    return rows
