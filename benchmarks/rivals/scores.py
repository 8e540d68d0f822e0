"""From what packages call faces to accuracy and macro-F1."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from measurement import Score
from mien.expressions import EXPRESSIONS, parse_expression

#: What a face that is read as none of the seven counts as.
UNKNOWN: Final = len(EXPRESSIONS)


def to_column(name: str) -> int:
    """Return the expression that a package's word means, or :data:`UNKNOWN`.

    >>> to_column("Happiness"), to_column("Contempt")
    (3, 7)
    """
    try:
        return EXPRESSIONS.index(parse_expression(name))
    except ValueError:
        return UNKNOWN


def score_readings(names: Sequence[str], labels: npt.NDArray[np.integer[Any]]) -> Score:
    """Measure a package's words for faces against ``(N,)`` labels, N at least 1.

    Raises:
        ValueError: There are not as many words as labels.
    """
    # This brings torch, which only a run that scores need wait for.
    from mien.evaluation.intervals import macro_f1, wilson_interval  # noqa: PLC0415
    from mien.evaluation.metrics import confusion_matrix  # noqa: PLC0415

    if len(names) != len(labels) or not len(names):
        raise ValueError(f"{len(names)} readings of {len(labels)} faces")
    columns = np.array([to_column(name) for name in names])
    confusion = confusion_matrix(labels.astype(np.int64), columns, len(EXPRESSIONS) + 1)
    accuracy = float(np.mean(columns == labels))
    return Score(
        accuracy=accuracy,
        interval=wilson_interval(accuracy, len(labels)),
        macro_f1=float(macro_f1(confusion)),
        faces=len(labels),
        unknown=int(np.sum(columns == UNKNOWN)),
    )
