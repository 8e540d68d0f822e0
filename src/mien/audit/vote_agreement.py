"""Whether FER+ voters doubt the labels that a ranking doubts most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.data.ferplus import majority_expressions, most_saw
from mien.expressions import EXPRESSIONS

#: How far down the ranking is looked.
_DEPTHS: Final = (100, 500, 1000)

#: The columns of voters who saw no expression: none that they know, and no face.
_NAMELESS: Final = ("unknown", "NF")


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What FER+ says of some faces of a ranking.

    Attributes:
        count: How many faces.
        wrong: Of so many decided faces, the share whose label is not the voters' majority.
        wrong_or_nameless: The same share of so many faces with nameless ones among them, which
            count as wrong: the voters would give them no label.
        suggestion_right: Of so many decided faces, the share whose suggested class is the
            voters' majority.
    """

    count: int
    wrong: float
    wrong_or_nameless: float
    suggestion_right: float


@dataclass(frozen=True, eq=False, kw_only=True)
class VoteAgreement:
    """How a ranking of doubtful labels agrees with FER+ votes.

    Each face is one of four kinds. *Decided*: one of the seven expressions has more than half of
    all its votes. *Nameless*: ``unknown`` and ``NF`` (no face) together have. *Undecided*: neither.
    The fourth has no votes. Precision is told of decided faces alone, in the order of the ranking,
    and once more with the nameless ones between them; the other two kinds are passed over.

    Source: FER+, Barsoum et al. 2016, https://arxiv.org/abs/1608.01041

    Attributes:
        decided: Faces of the first kind.
        nameless: Of the second.
        undecided: Of the third.
        without: ``(M,)`` int64 indices of the faces that nobody voted on.
        random: Of all faces, which is what a ranking at random comes to at any depth; None where
            no face is decided.
        top: Of the most doubtful 100, 500 and 1,000, as far as there are so many decided faces.
    """

    decided: int
    nameless: int
    undecided: int
    without: npt.NDArray[np.int64]
    random: Agreement | None
    top: tuple[Agreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the agreement as plain JSON types."""
        return {
            "decided": self.decided,
            "nameless": self.nameless,
            "undecided": self.undecided,
            "without": self.without.tolist(),
            "random": None if self.random is None else dict(vars(self.random)),
            "top": [dict(vars(each)) for each in self.top],
        }


def measure_agreement(
    votes: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    suggested: npt.NDArray[np.int64],
    ranking: npt.NDArray[np.int64],
    *,
    classes: Sequence[str],
) -> VoteAgreement:
    """Measure a ranking of doubtful labels by FER+ votes.

    Args:
        votes: ``(N, 10)`` in the order of :data:`mien.expressions.FERPLUS_COLUMNS`.
        labels: ``(N,)`` class indices.
        suggested: ``(N,)`` class indices that are thought to be right.
        ranking: ``(N,)`` indices of the faces, the most doubtful first.
        classes: The class names.
    """
    totals = votes.sum(axis=1, dtype=np.int64)
    majority = majority_expressions(votes)
    decided = majority >= 0
    nameless = most_saw(votes, *_NAMELESS)
    names, found = np.array(classes), np.array(EXPRESSIONS)[majority]
    is_wrong, is_right = names[labels] != found, names[suggested] == found
    of_decided = ranking[decided[ranking]]
    of_named = ranking[(decided | nameless)[ranking]]

    def agreement(depth: int, depth_named: int) -> Agreement:
        first, first_named = of_decided[:depth], of_named[:depth_named]
        return Agreement(
            count=depth,
            wrong=float(is_wrong[first].mean()),
            wrong_or_nameless=float((is_wrong | nameless)[first_named].mean()),
            suggestion_right=float(is_right[first].mean()),
        )

    return VoteAgreement(
        decided=len(of_decided),
        nameless=int(nameless.sum()),
        undecided=int(((totals > 0) & ~decided & ~nameless).sum()),
        without=np.flatnonzero(totals == 0),
        random=agreement(len(of_decided), len(of_named)) if len(of_decided) else None,
        top=tuple(agreement(depth, depth) for depth in _DEPTHS if depth <= len(of_decided)),
    )
