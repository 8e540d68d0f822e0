import numpy as np
import pytest

from mien.evaluation.intervals import bootstrap_macro_f1, macro_f1, wilson_interval


def test_wilson_by_hand() -> None:
    # Newcombe 1998, table I: 81 of 263.
    low, high = wilson_interval(81 / 263, 263)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_all_and_none_right_leave_something_open() -> None:
    assert wilson_interval(1.0, 20) == pytest.approx((0.8389, 1), abs=1e-4)
    assert wilson_interval(0.0, 20)[0] == 0.0
    assert wilson_interval(0.0, 0) == (0.0, 1.0)


def test_fer2013_at_73_percent_is_known_to_a_point_and_a_half() -> None:
    low, high = wilson_interval(0.73, 3589)
    assert (high - low) / 2 == pytest.approx(0.0145, abs=1e-4)


def test_macro_f1_of_many_tables_at_once() -> None:
    tables = np.array([[[8, 2], [1, 9]], [[10, 0], [0, 0]]])
    by_hand = [(16 / 19 + 18 / 21) / 2, 1.0]  # the second has no images of its second class
    np.testing.assert_allclose(macro_f1(tables), by_hand)


def test_the_bootstrap_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    rates = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]])
    truth = float(macro_f1((rates * 1e6).astype(np.int64)))
    inside = 0
    for seed in range(200):
        confusion = np.array([rng.multinomial(150, row) for row in rates])
        low, high = bootstrap_macro_f1(confusion, resamples=300, seed=seed)
        inside += low <= truth <= high
    assert 0.89 <= inside / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval() -> None:
    confusion = [[30, 5], [8, 40]]
    assert bootstrap_macro_f1(confusion) == bootstrap_macro_f1(confusion)
    assert bootstrap_macro_f1(confusion) != bootstrap_macro_f1(confusion, seed=1)
