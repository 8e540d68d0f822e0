"""Label errors as a part of a page: what the template ``_label_errors.html`` asks for."""

from typing import Any, Final, NamedTuple

import numpy as np

from mien.audit.label_errors import LabelErrors
from mien.data.dataset import ExpressionDataset
from mien.data.duplicates import group_copies
from mien.data.ferplus import majority_expressions
from mien.expressions import EXPRESSIONS
from mien.report.page import picture_uri

#: Faces of a class; a row on a desktop.
_ROW: Final = 12
#: Faces over all classes; with many of them each gets fewer, or the page would swell.
_ALL_FACES: Final = 240
_PAIRS: Final = 10


class DoubtfulFace(NamedTuple):
    """A face whose label is doubtful.

    Attributes:
        uri: The picture.
        name: Where it came from.
        label: Its label.
        suggested: The class that it is read as.
        probability: Of that class, 0 to 1.
        majority: What most FER+ voters saw; empty where they did not agree or there are none.
    """

    uri: str
    name: str
    label: str
    suggested: str
    probability: float
    majority: str


def describe_label_errors(errors: LabelErrors, dataset: ExpressionDataset) -> dict[str, Any]:
    """Return what ``_label_errors.html`` shows, to be given to it as ``label_errors``.

    Args:
        errors: Of the data set.
        dataset: Its faces are shown.
    """
    agreement = errors.agreement
    without: dict[str, int] = {}
    if agreement is not None:
        nobody = dataset.take(agreement.without)
        without = {split: len(nobody.split(split)) for split in nobody.splits}
    return {
        "source": errors.source,
        "count": len(errors),
        "doubtful": errors.doubtful,
        "classes": errors.per_class(),
        "pairs": [(pair, round(pair.share * len(errors))) for pair in errors.pairs()[:_PAIRS]],
        "faces": _faces(errors, dataset),
        "agreement": agreement,
        "without": without,
    }


def _faces(errors: LabelErrors, dataset: ExpressionDataset) -> dict[str, list[DoubtfulFace]]:
    """Return the most doubtful faces of each class, the same picture once."""
    few = max(3, min(_ROW, _ALL_FACES // len(errors.classes)))
    ranked = errors.ranking[errors.is_issue[errors.ranking]]
    _, first = np.unique(group_copies(dataset.images[ranked]), return_index=True)
    different = ranked[np.sort(first)]
    return {
        name: [_face(errors, dataset, int(index)) for index in of_class[:few]]
        for label, name in enumerate(errors.classes)
        if len(of_class := different[errors.labels[different] == label])
    }


def _face(errors: LabelErrors, dataset: ExpressionDataset, index: int) -> DoubtfulFace:
    majority = -1
    if dataset.votes is not None:
        majority = int(majority_expressions(dataset.votes[index : index + 1])[0])
    return DoubtfulFace(
        uri=picture_uri(dataset.images[index]),
        name=str(dataset.names[index]),
        label=errors.classes[errors.labels[index]],
        suggested=errors.classes[errors.suggested[index]],
        probability=float(errors.probabilities[index].max()),
        majority=EXPRESSIONS[majority] if majority >= 0 else "",
    )
