"""Who is who at the least total cost: the assignment problem, exactly."""

import math

import numpy as np
import numpy.typing as npt


def assign(costs: npt.NDArray[np.floating], *, unmatched: float) -> list[tuple[int, int]]:
    """Pair rows with columns so that the sum of costs is least.

    Args:
        costs: ``(N, M)``; infinite where a pair must not be.
        unmatched: What a row costs that stays alone.

    Returns:
        ``(row, column)`` of each pair, by row.

    Source: Kuhn, The Hungarian Method for the Assignment Problem, 1955,
        https://doi.org/10.1002/nav.3800020109, here by shortest augmenting paths.
    """
    rows, columns = costs.shape
    # A column of its own for each row to stay alone in: every row then has a place.
    alone = np.full((rows, rows), math.inf)
    np.fill_diagonal(alone, unmatched)
    padded = np.concatenate((np.asarray(costs, np.float64), alone), axis=1)
    holder = np.full(columns + rows, -1)
    row_prices, column_prices = np.zeros(rows), np.zeros(columns + rows)
    for row in range(rows):
        _place(row, padded, holder, row_prices, column_prices)
    pairs = [(int(row), column) for column, row in enumerate(holder[:columns]) if row >= 0]
    return sorted(pairs)


def _place(
    row: int,
    costs: npt.NDArray[np.float64],
    holder: npt.NDArray[np.int_],
    row_prices: npt.NDArray[np.float64],
    column_prices: npt.NDArray[np.float64],
) -> None:
    """Give a row a column, moving those placed before along the cheapest path; in place."""
    count = len(holder)
    lengths = np.full(count, math.inf)
    reached_from = np.full(count, -1)
    done = np.zeros(count, bool)
    last, length = -1, 0.0
    while True:
        leaving = row if last < 0 else int(holder[last])
        through = length + costs[leaving] - row_prices[leaving] - column_prices
        shorter = ~done & (through < lengths)
        lengths[shorter], reached_from[shorter] = through[shorter], last
        last = int(np.where(done, math.inf, lengths).argmin())
        length = float(lengths[last])
        if holder[last] < 0:
            break
        done[last] = True
    # The prices keep every reduced cost at zero or above, and those on the path at zero.
    row_prices[row] += length
    row_prices[holder[done]] += length - lengths[done]
    column_prices[done] -= length - lengths[done]
    while last >= 0:
        before = int(reached_from[last])
        holder[last] = row if before < 0 else holder[before]
        last = before
