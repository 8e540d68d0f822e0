import itertools

import numpy as np
import pytest

from mien.analysis.video.assignment import assign


@pytest.mark.parametrize("shape", [(1, 1), (2, 4), (4, 2), (4, 4)])
def test_no_pairing_is_cheaper(shape: tuple[int, int]) -> None:
    rows, columns = shape
    for seed in range(20):
        random = np.random.default_rng(seed)
        costs = random.random(shape)
        costs[random.random(shape) < 0.2] = np.inf
        padded = np.hstack((costs, np.full((rows, rows), 0.6)))
        least = min(
            sum(padded[row, column] for row, column in enumerate(chosen))
            for chosen in itertools.permutations(range(columns + rows), rows)
        )
        pairs = assign(costs, unmatched=0.6)
        total = sum(costs[pair] for pair in pairs) + 0.6 * (rows - len(pairs))

        assert total == pytest.approx(least)
        assert len({column for _, column in pairs}) == len(pairs)


def test_nobody_is_paired_with_nothing() -> None:
    assert assign(np.empty((0, 3)), unmatched=1) == []
    assert assign(np.empty((3, 0)), unmatched=1) == []
    assert assign(np.full((2, 2), np.inf), unmatched=1) == []
