import numpy as np
import pytest

from mien.evaluation.significance import compare_readings, holm, mcnemar


def pairs(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, ...]:
    """Labels all 0, and what two models read in them: 0 is right, 1 is wrong."""
    first = np.repeat([0, 0, 1, 1], [both, only_first, only_second, neither])
    second = np.repeat([0, 1, 0, 1], [both, only_first, only_second, neither])
    return np.zeros(len(first), np.int64), first, second


def test_mcnemar_is_the_exact_binomial_test() -> None:
    from scipy.stats import binomtest

    for only_first, only_second in ((3, 9), (0, 6), (40, 61), (7, 7), (0, 1), (3900, 4100)):
        labels, first, second = pairs(10, only_first, only_second, 4)
        expected = binomtest(only_first, only_first + only_second).pvalue
        assert mcnemar(first == labels, second == labels) == pytest.approx(expected)


def test_models_that_never_differ_do_not_differ() -> None:
    labels, first, _ = pairs(10, 0, 0, 5)
    (difference,) = compare_readings(labels, first, [first], classes=2)
    assert difference.p_value == 1
    assert difference.accuracy == 0
    assert difference.accuracy_interval == (0, 0)
    assert difference.is_noise


def test_a_clear_and_an_unclear_difference() -> None:
    labels, first, better = pairs(60, 2, 30, 8)
    (clear,) = compare_readings(labels, first, [better], classes=2)
    assert clear.only_first == 2
    assert clear.only_second == 30
    assert clear.accuracy == pytest.approx(0.28)
    low, high = clear.accuracy_interval
    assert 0.1 < low < 0.28 < high < 0.45
    assert not clear.is_noise
    assert "more than noise" in clear.verdict()
    labels, first, similar = pairs(60, 10, 12, 18)
    (unclear,) = compare_readings(labels, first, [similar], classes=2)
    assert unclear.accuracy_interval[0] < 0 < unclear.accuracy_interval[1]
    assert "within noise" in unclear.verdict()


def test_many_looks_make_a_difference_less_certain() -> None:
    labels, first, second = pairs(60, 4, 16, 20)
    (alone,) = compare_readings(labels, first, [second], classes=2)
    among = compare_readings(labels, first, [second, first, first, first, first], classes=2)
    assert not alone.is_noise
    assert among[0].p_value == alone.p_value
    assert among[0].adjusted_p == pytest.approx(5 * alone.p_value)
    assert among[0].is_noise
    assert "Holm over 5" in among[0].verdict()


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_macro_f1_moves_where_accuracy_does_not() -> None:
    labels = np.repeat([0, 1], [90, 10])
    first = np.zeros(100, np.int64)
    second = first.copy()
    second[90:] = 1  # the rare class found ...
    second[:10] = 1  # ... for as many of the frequent one
    (difference,) = compare_readings(labels, first, [second], classes=2)
    assert difference.accuracy == 0
    assert difference.macro_f1 > 0.2
    assert difference.macro_f1_interval[0] > 0
