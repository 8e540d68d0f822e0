import numpy as np
import numpy.typing as npt
import pytest

from mien.evaluation import ClassificationMetrics, classification_metrics
from mien.evaluation.metrics import confusion_matrix, cross_entropy

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 0, 0, 1, 1, 2])
READ = np.array([0, 0, 1, 1, 2, 2])


def logits_for(predictions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    logits = np.zeros((len(predictions), 3))
    logits[np.arange(len(predictions)), predictions] = 4.0
    return logits


def test_figures_agree_with_counting_by_hand() -> None:
    m = classification_metrics(logits_for(READ), LABELS, CLASSES)

    assert m.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert m.accuracy == pytest.approx(4 / 6)
    assert m.precision == pytest.approx((1, 1 / 2, 1 / 2))
    assert m.recall == pytest.approx((2 / 3, 1 / 2, 1))
    assert m.f1 == pytest.approx((4 / 5, 1 / 2, 2 / 3))
    assert m.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert m.support == (3, 2, 1)
    right = np.log(np.exp(4) + 2) - 4
    assert m.loss == pytest.approx((4 * right + 2 * (right + 4)) / 6)


def test_a_class_never_seen_or_never_given_counts_as_zero() -> None:
    m = classification_metrics(logits_for(np.array([0, 0])), np.array([0, 1]), CLASSES)

    assert m.precision == pytest.approx((0.5, 0, 0))
    assert m.recall == pytest.approx((1, 0, 0))
    assert m.macro_f1 == pytest.approx((2 / 3 + 0) / 2), "class c has no images"


def test_large_logits_do_not_overflow() -> None:
    assert cross_entropy(np.array([[1e4, 0, 0]]), np.array([1])) == pytest.approx(1e4)


def test_confusion_has_a_row_for_every_class() -> None:
    assert confusion_matrix(np.array([0]), np.array([2]), 4).shape == (4, 4)


def test_figures_survive_a_dict() -> None:
    m = classification_metrics(logits_for(READ), LABELS, CLASSES)

    assert ClassificationMetrics.from_dict(m.to_dict()) == m


def test_rates_are_shares_of_rows_and_of_nothing_none() -> None:
    m = classification_metrics(logits_for(np.array([0, 1])), np.array([0, 0]), CLASSES)

    assert m.confusion_rates().tolist() == [[0.5, 0.5, 0], [0, 0, 0], [0, 0, 0]]


def test_the_interval_is_wilsons_and_is_not_empty_where_all_is_right() -> None:
    some = classification_metrics(logits_for(READ), LABELS, CLASSES)
    every = classification_metrics(logits_for(LABELS), LABELS, CLASSES)

    # By hand: 4 of 6 right.
    assert some.accuracy_interval == pytest.approx((0.3000, 0.9032), abs=1e-3)
    assert every.accuracy_interval == pytest.approx((6 / (6 + 1.96**2), 1))
    assert every.interval_text() == "61.0 to 100.0 %"
    # 2 of 3, 1 of 2 and 1 of 1.
    intervals = [(0.2077, 0.9385), (0.0945, 0.9055), (0.2065, 1)]
    np.testing.assert_allclose(some.recall_intervals, intervals, atol=1e-4)


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match="labels"):
        classification_metrics(logits_for(READ), LABELS[:3], CLASSES)
    with pytest.raises(ValueError, match="labels"):
        classification_metrics(np.zeros((0, 3)), np.zeros(0, dtype=int), CLASSES)
