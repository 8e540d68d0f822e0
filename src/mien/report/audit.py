"""The page that shows what is wrong with a data set."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mien.audit import Audit, NearDuplicates, NonFaces
from mien.data import ExpressionDataset
from mien.data.measures import TUKEY
from mien.report.dataset_charts import draw_measure
from mien.report.exploration import CaptionedFace, Gallery
from mien.report.label_errors import describe_label_errors
from mien.report.page import figure_uri, picture_uri, write_page

Indices = npt.NDArray[np.int64]

#: Groups of copies under a heading, and faces of one group.
_GROUPS: Final = 24
_GROUP: Final = 4
#: Faces under a heading.
_FACES: Final = 24
#: Characters of a line below a face.
_LONGEST: Final = 11
#: What lies beyond each limit.
_ENDS: Final = {
    "brightness": ("Too dark", "Too bright"),
    "contrast": ("Hardly any contrast", "Most contrast"),
    "sharpness": ("Blurred", "Sharpest or noisiest"),
}


class Groups(NamedTuple):
    """Faces that belong together, under a heading.

    Attributes:
        title: The heading.
        groups: The faces, a title for each group.
        all: How many groups there are; not all may be shown.
    """

    title: str
    groups: list[Gallery]
    all: int


def write_audit_page(path: Path, dataset: ExpressionDataset, audit: Audit, *, source: str) -> None:
    """Write what an audit found, with the pictures it found it in, as one HTML file.

    Args:
        path: The file.
        dataset: The data set.
        audit: What :func:`mien.audit.audit` found in it.
        source: What to call it.
    """
    *others, last = audit.splits
    splits = f"{', '.join(others)} and {last}" if others else last
    write_page(
        path,
        "audit.html",
        title=f"Audit of {source}",
        lead=f"{len(audit):,} faces in {splits}: what repeats, leaks, or shows no face.",
        audit=audit,
        tukey=TUKEY,
        conflicts=_conflicts(dataset, audit),
        near=[] if audit.near is None else _near_pairs(dataset, audit, audit.near),
        flat=[_face(dataset, audit, index) for index in audit.flat[:_FACES].tolist()],
        non_faces=[] if audit.non_faces is None else _non_faces(dataset, audit, audit.non_faces),
        charts=_charts(audit),
        outliers=_outliers(dataset, audit),
        label_errors=audit.label_errors and describe_label_errors(audit.label_errors, dataset),
    )


def _conflicts(dataset: ExpressionDataset, audit: Audit) -> Groups:
    # What is of one colour is shown apart, so it comes last here.
    groups = sorted(audit.conflicts(), key=lambda group: int(group[0]) in audit.flat)
    shown = [
        Gallery(f"{len(group)} copies", _faces(dataset, audit, _unlike(audit, group)))
        for group in groups[:_GROUPS]
    ]
    return Groups("Exact copies of different labels", shown, len(groups))


def _unlike(audit: Audit, group: Indices) -> list[int]:
    """Return some of a group: one of each label first."""
    first = np.unique(audit.labels[group], return_index=True)[1]
    order = np.concatenate([np.sort(first), np.setdiff1d(np.arange(len(group)), first)])
    chosen: list[int] = np.sort(group[order[:_GROUP]]).tolist()
    return chosen


def _near_pairs(dataset: ExpressionDataset, audit: Audit, near: NearDuplicates) -> list[Groups]:
    """Return pairs by what they are wanted for: leaks, conflicts, and those to doubt most."""
    first, second = near.pairs.T
    across = audit.split_codes[first] != audit.split_codes[second]
    unlike = audit.labels[first] != audit.labels[second]
    chosen = (
        ("In two splits", np.flatnonzero(across)),
        ("In one split, of different labels", np.flatnonzero(unlike & ~across)),
        ("Mirrored", np.flatnonzero(near.mirrored)),
        ("The least alike that still count as copies", np.arange(len(first))[::-1]),
    )
    return [
        Groups(title, [_pair(dataset, audit, near, each) for each in where[:_GROUPS]], len(where))
        for title, where in chosen
        if len(where)
    ]


def _pair(dataset: ExpressionDataset, audit: Audit, near: NearDuplicates, number: int) -> Gallery:
    mirrored = ", mirrored" if near.mirrored[number] else ""
    return Gallery(
        f"{near.correlations[number]:.3f}{mirrored}",
        _faces(dataset, audit, near.pairs[number].tolist()),
    )


def _non_faces(dataset: ExpressionDataset, audit: Audit, found: NonFaces) -> list[Groups]:
    """Return those flagged, and the next in rank."""
    count = len(found.flagged)
    shown = (
        ("Flagged", slice(0, count)),
        ("Far from face space, and not flagged", slice(count, None)),
    )
    groups = []
    for title, where in shown:
        scored = list(zip(found.ranked[where].tolist(), found.scores[where].tolist(), strict=True))
        faces = [_face(dataset, audit, index, f"{score:.3f}") for index, score in scored[:_FACES]]
        if faces:
            groups.append(Groups(title, [Gallery("", faces)], len(scored)))
    return groups


def _outliers(dataset: ExpressionDataset, audit: Audit) -> list[Groups]:
    """Return the pictures furthest beyond each limit; those of one colour are shown apart."""
    flat = np.zeros(len(audit), np.bool_)
    flat[audit.flat] = True
    found = []
    for measure in audit.measures:
        order = np.argsort(measure.values, kind="stable")
        low, high = (order[(out & ~flat)[order]] for out in (measure.is_low, measure.is_high))
        for title, where in zip(_ENDS[measure.name], (low, high[::-1]), strict=True):
            if len(where):
                shown = _different(where, audit.copies.group_of)
                faces = [
                    _face(dataset, audit, index, f"{measure.values[index]:,.0f}") for index in shown
                ]
                found.append(Groups(title, [Gallery("", faces)], len(where)))
    return found


def _different(order: Indices, group_of: Indices) -> list[int]:
    """Return the first indices in an order, of copies one each."""
    first = np.sort(np.unique(group_of[order], return_index=True)[1])
    chosen: list[int] = order[first[:_FACES]].tolist()
    return chosen


def _charts(audit: Audit) -> list[tuple[str, str]]:
    measures: Sequence[Any] = audit.measures
    if audit.non_faces is not None:
        measures = (*measures, audit.non_faces.face_space)
    return [
        (f"{each.name}: {each.definition}", figure_uri(draw_measure(each))) for each in measures
    ]


def _faces(dataset: ExpressionDataset, audit: Audit, indices: Iterable[int]) -> list[CaptionedFace]:
    return [_face(dataset, audit, index, audit.split_of(index)) for index in indices]


def _face(
    dataset: ExpressionDataset, audit: Audit, index: int, line: str | None = None
) -> CaptionedFace:
    """Return a picture with its file's name and its label, and a line more."""
    name = str(dataset.names[index])
    file_name = name.rpartition("/")[2]
    # Of a file's name the end tells most, of a class's the start.
    short = file_name if len(file_name) <= _LONGEST else f"…{file_name[1 - _LONGEST :]}"
    label = audit.class_of(index)
    label = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
    lines = (short, label) if line is None else (short, label, line)
    return CaptionedFace(picture_uri(dataset.images[index]), name, lines)
