import json

import numpy as np
import numpy.typing as npt

from mien.audit.vote_agreement import measure_agreement
from mien.expressions import EXPRESSIONS, FERPLUS_COLUMNS


def vote(*counts: tuple[str, int]) -> npt.NDArray[np.uint8]:
    row = np.zeros(len(FERPLUS_COLUMNS), np.uint8)
    for column, count in counts:
        row[list(FERPLUS_COLUMNS).index(column)] = count
    return row


def test_each_kind_of_face_is_told_apart() -> None:
    votes = np.stack(
        [
            vote(("happiness", 6), ("sadness", 4)),  # decided, and as labelled
            vote(("sadness", 6), ("NF", 4)),  # decided, and not as labelled
            vote(("happiness", 5), ("sadness", 5)),  # undecided: half is no majority
            vote(("unknown", 3), ("NF", 3), ("happiness", 4)),  # nameless
            vote(("contempt", 10)),  # undecided: none of the seven
            vote(),
        ]
    )
    labels = np.full(6, EXPRESSIONS.index("happy"))
    suggested = np.full(6, EXPRESSIONS.index("sad"))

    found = measure_agreement(votes, labels, suggested, np.arange(6), classes=EXPRESSIONS)

    assert (found.decided, found.nameless, found.undecided) == (2, 1, 2)
    assert found.without.tolist() == [5]
    assert found.random is not None
    assert found.random.count == 2
    assert found.random.wrong == 1 / 2
    assert found.random.wrong_or_nameless == 2 / 3
    assert found.random.suggestion_right == 1 / 2
    assert found.top == ()
    json.dumps(found.to_dict(), allow_nan=False)


def test_precision_is_that_of_the_first_of_the_ranking() -> None:
    """Of 700 faces, the last 60 of the ranking's first hundred are labelled as voted."""
    happy, sad = vote(("happiness", 9)), vote(("sadness", 9))
    votes = np.stack([sad] * 40 + [vote(("NF", 9))] * 20 + [happy] * 640)
    ranking = np.random.default_rng(0).permutation(700)
    shuffled = np.empty_like(votes)
    shuffled[ranking] = votes
    labels = np.full(700, 1)
    suggested = np.full(700, 0)

    found = measure_agreement(shuffled, labels, suggested, ranking, classes=("sad", "happy"))

    assert [each.count for each in found.top] == [100, 500]
    assert found.top[0].wrong == 0.4
    assert found.top[0].wrong_or_nameless == 0.6
    assert found.top[0].suggestion_right == 0.4
    assert found.random is not None
    assert found.random.wrong == 40 / 680
    assert found.random.wrong_or_nameless == 60 / 700


def test_without_votes_there_is_nothing_to_agree_with() -> None:
    none = np.zeros((3, len(FERPLUS_COLUMNS)), np.uint8)

    found = measure_agreement(
        none, np.zeros(3, int), np.ones(3, int), np.arange(3), classes=EXPRESSIONS
    )

    assert found.random is None
    assert found.top == ()
    assert found.without.tolist() == [0, 1, 2]
