"""The page that shows a data set before anyone trains on it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mien.data import ExpressionDataset
from mien.data.exploration import LISTED_PROBLEMS, Exploration
from mien.data.measures import TUKEY, Measure
from mien.data.projection import Projection
from mien.report.dataset_charts import (
    draw_class_counts,
    draw_explained,
    draw_grey_levels,
    draw_measure,
    draw_projection,
)
from mien.report.page import figure_uri, picture_uri, write_page

#: Faces in a row of samples or of outliers.
_ROW: Final = 12
#: Faces over all rows of samples; with many classes each gets fewer, or the page would swell.
_ALL_SAMPLES: Final = 240
_EIGENFACES: Final = 18
#: Characters of a line below a face.
_LONGEST: Final = 11

#: What the far ends of each measure look like.
_ENDS: Final = {
    "brightness": ("Darkest", "Brightest"),
    "contrast": ("Least contrast", "Most contrast"),
    "sharpness": ("Blurriest", "Sharpest or noisiest"),
}


class CaptionedFace(NamedTuple):
    """A picture on the page.

    Attributes:
        uri: The picture.
        name: Where it came from, in full.
        caption: Lines below it.
    """

    uri: str
    name: str
    caption: tuple[str, ...]


class Gallery(NamedTuple):
    """Pictures under a heading."""

    title: str
    faces: list[CaptionedFace]


def write_exploration(
    path: Path,
    dataset: ExpressionDataset,
    facts: Exploration,
    projection: Projection | None,
    *,
    source: str,
) -> None:
    """Write a data set's facts, charts and faces as one HTML file.

    Args:
        path: The file.
        dataset: The data set.
        facts: What :func:`mien.data.exploration.explore` found in it.
        projection: What :func:`mien.data.projection.project_faces` made of it.
        source: What to call it.
    """
    *others, last = facts.splits
    splits = f"{', '.join(others)} and {last}" if others else last
    write_page(
        path,
        "exploration.html",
        title=f"Exploration of {source}",
        lead=f"{len(facts):,} faces in {splits}, looked at before training.",
        facts=facts,
        findings=facts.findings(),
        problems=facts.problems[:LISTED_PROBLEMS],
        outliers=int(facts.is_outlier.sum()),
        tukey=TUKEY,
        charts=_charts(facts),
        measures=[(each, figure_uri(draw_measure(each))) for each in facts.measures],
        samples=_samples(dataset, facts),
        mean_faces=_mean_faces(facts),
        flat=[_face(dataset, index) for index in facts.flat[:_ROW]],
        extremes=list(_extremes(dataset, facts)),
        projection=projection,
        projected=_projected(facts, projection) if projection else {},
    )


def _charts(facts: Exploration) -> dict[str, str]:
    figures = {
        "counts": draw_class_counts(facts),
        "shares": draw_class_counts(facts, shares=True),
        "grey_levels": draw_grey_levels(facts),
    }
    return {name: figure_uri(figure) for name, figure in figures.items()}


def _samples(dataset: ExpressionDataset, facts: Exploration) -> list[Gallery]:
    few = max(3, min(_ROW, _ALL_SAMPLES // len(facts.samples)))
    return [
        Gallery(name, [_face(dataset, index, label=False) for index in indices[:few]])
        for name, indices in facts.samples.items()
    ]


def _extremes(dataset: ExpressionDataset, facts: Exploration) -> Iterator[Gallery]:
    """Yield the pictures at both ends of each measure; those of one colour are shown apart."""
    for measure in facts.measures:
        ascending = np.argsort(measure.values, kind="stable")
        for title, order in zip(_ENDS[measure.name], (ascending, ascending[::-1]), strict=True):
            indices = _first_unlike(order, facts)
            yield Gallery(title, [_face(dataset, index, measure) for index in indices])


def _first_unlike(order: Iterable[np.int64], facts: Exploration) -> list[int]:
    """Return the first indices in an order that show something, and not the same thing twice."""
    skipped = set(facts.duplicates.group_of[facts.flat].tolist())
    chosen: list[int] = []
    for index in order:
        group = int(facts.duplicates.group_of[index])
        if group not in skipped:
            skipped.add(group)
            chosen.append(int(index))
        if len(chosen) == _ROW:
            break
    return chosen


def _face(
    dataset: ExpressionDataset, index: int, measure: Measure | None = None, *, label: bool = True
) -> CaptionedFace:
    name = str(dataset.names[index])
    file_name = name.rpartition("/")[2]
    # Of a file's name the end tells most, of a class's the start.
    lines = [file_name if len(file_name) <= _LONGEST else f"…{file_name[1 - _LONGEST :]}"]
    if label:
        lines.append(_shortened(dataset.classes[dataset.labels[index]]))
    if measure is not None:
        lines.append(f"{measure.values[index]:,.0f}")
    return CaptionedFace(picture_uri(dataset.images[index]), name, tuple(lines))


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _mean_faces(facts: Exploration) -> list[Gallery]:
    """Return the mean face of each class, and how each differs from the mean of all."""
    counts = facts.class_counts
    overall = np.average(facts.mean_faces, axis=0, weights=counts)
    present = np.flatnonzero(counts)
    apart = facts.mean_faces[present] - overall
    reach = float(np.abs(apart).max())
    means = [
        CaptionedFace(
            picture_uri(facts.mean_faces[label].round().astype(np.uint8)),
            facts.classes[label],
            (_shortened(facts.classes[label]),),
        )
        for label in present
    ]
    differences = [
        CaptionedFace(_signed_uri(face, reach), mean.name, mean.caption)
        for mean, face in zip(means, apart, strict=True)
    ]
    title = f"Less the mean of all: red is brighter, blue darker, by up to {reach:.0f} levels"
    return [Gallery("Mean of each class", means), Gallery(title, differences)]


def _signed_uri(values: npt.NDArray[np.float32], reach: float) -> str:
    """Return a picture of values from -reach (blue) by 0 (white) to reach (red)."""
    strength = np.clip(values / (reach or 1.0), -1, 1)[..., None]
    red, blue = np.array([179, 55, 46]), np.array([47, 95, 208])
    pixels = 255 + np.where(strength > 0, red - 255, blue - 255) * np.abs(strength)
    return picture_uri(pixels.round().astype(np.uint8))


def _projected(facts: Exploration, projection: Projection) -> dict[str, Any]:
    faces = []
    for number, (face, share) in enumerate(
        zip(projection.eigenfaces[:_EIGENFACES], projection.explained, strict=False), start=1
    ):
        grey = 127.5 + 127.5 * face / np.abs(face).max()
        uri = picture_uri(grey.round().astype(np.uint8))
        faces.append(CaptionedFace(uri, f"eigenface {number}", (f"{number}: {100 * share:.1f} %",)))
    return {
        "two": figure_uri(draw_projection(facts, projection, dimensions=2)),
        "three": figure_uri(draw_projection(facts, projection, dimensions=3)),
        "explained": figure_uri(draw_explained(projection)),
        "eigenfaces": faces,
    }
