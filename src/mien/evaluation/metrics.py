"""Figures of a classifier from its logits, in NumPy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.evaluation.intervals import Interval, bootstrap_macro_f1, wilson_interval
from mien.evaluation.json_values import finite_or_none, read_count, read_number, read_text


@dataclass(frozen=True, kw_only=True)
class ClassificationMetrics:
    """What a classifier got right and wrong.

    Attributes:
        classes: Class names in the order of every list here.
        accuracy: Share of images whose most probable class is the label, 0 to 1.
        loss: Mean cross-entropy in nats; NaN where the model's answers are not numbers.
        macro_f1: Mean F1 over the classes that have images.
        precision: A class's share of right answers among those given; 0 if it is never given.
        recall: A class's share of images recognised; 0 if it has no images.
        f1: Harmonic mean of the two.
        support: Images of each class.
        confusion: ``confusion[i][j]`` images of class i read as class j.
    """

    classes: tuple[str, ...]
    accuracy: float
    loss: float
    macro_f1: float
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def accuracy_interval(self) -> Interval:
        """Accuracy's 95 % interval, 0 to 1, by Wilson's score."""
        return wilson_interval(self.accuracy, sum(self.support))

    @property
    def recall_intervals(self) -> tuple[Interval, ...]:
        """Each class's 95 % interval of recall, 0 to 1, by Wilson's score."""
        return tuple(map(wilson_interval, self.recall, self.support))

    @cached_property
    def macro_f1_interval(self) -> Interval:
        """Macro-F1's 95 % interval, 0 to 1, by the bootstrap."""
        return bootstrap_macro_f1(self.confusion)

    def interval_text(self) -> str:
        """Return :attr:`accuracy_interval` as people read it: ``66.3 to 69.4 %``."""
        low, high = self.accuracy_interval
        return f"{100 * low:.1f} to {100 * high:.1f} %"

    def macro_f1_interval_text(self) -> str:
        """Return :attr:`macro_f1_interval` as people read it: ``0.641 to 0.678``."""
        low, high = self.macro_f1_interval
        return f"{low:.3f} to {high:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        per_class = {
            name: {"precision": p, "recall": r, "f1": f, "support": n}
            for name, p, r, f, n in zip(
                self.classes, self.precision, self.recall, self.f1, self.support, strict=True
            )
        }
        return {
            "accuracy": self.accuracy,
            "loss": finite_or_none(self.loss),
            "macro_f1": self.macro_f1,
            "accuracy_interval": list(self.accuracy_interval),
            "macro_f1_interval": list(self.macro_f1_interval),
            "per_class": per_class,
            "confusion": [list(row) for row in self.confusion],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ClassificationMetrics":
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is out of range, or the confusion matrix is not that of the
                classes and their images.
        """
        per_class = dict(values["per_class"])
        confusion = tuple(tuple(read_count(n) for n in row) for row in values["confusion"])
        support = tuple(read_count(figures["support"]) for figures in per_class.values())
        if tuple(sum(row) for row in confusion) != support or not sum(support):
            raise ValueError("a confusion matrix that is not that of the classes' images")
        if {len(row) for row in confusion} != {len(confusion)}:
            raise ValueError(f"a confusion matrix that is not that of {len(per_class)} classes")
        loss = values["loss"]

        def rates(name: str) -> tuple[float, ...]:
            return tuple(read_number(each[name], low=0, high=1) for each in per_class.values())

        return cls(
            classes=tuple(read_text(name) for name in per_class),
            accuracy=read_number(values["accuracy"], low=0, high=1),
            loss=math.nan if loss is None else read_number(loss, low=0),
            macro_f1=read_number(values["macro_f1"], low=0, high=1),
            precision=rates("precision"),
            recall=rates("recall"),
            f1=rates("f1"),
            support=support,
            confusion=confusion,
        )

    def confusion_rates(self) -> npt.NDArray[np.float64]:
        """Return ``(C, C)`` shares of each class's images, rows sum to 1; 0 without images."""
        counts = np.array(self.confusion, np.float64)
        totals = counts.sum(axis=1, keepdims=True)
        rates = np.zeros_like(counts)
        np.divide(counts, totals, out=rates, where=totals > 0)
        return rates


def classification_metrics(
    logits: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.integer[Any]],
    classes: tuple[str, ...],
) -> ClassificationMetrics:
    """Measure logits against labels.

    Args:
        logits: ``(N, C)``, N at least 1.
        labels: ``(N,)`` class indices.
        classes: The C names.

    Raises:
        ValueError: The shapes do not fit, or there is nothing to measure.
    """
    if not len(logits) or logits.shape != (len(labels), len(classes)):
        raise ValueError(
            f"{logits.shape} logits for {len(labels)} labels of {len(classes)} classes"
        )
    confusion = confusion_matrix(labels, logits.argmax(axis=1), len(classes))
    right = confusion.diagonal()
    given, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision, recall = _ratio(right, given), _ratio(right, support)
    f1 = _ratio(2 * right, given + support)
    return ClassificationMetrics(
        classes=classes,
        accuracy=float(right.sum() / len(labels)),
        loss=cross_entropy(logits, labels),
        macro_f1=float(f1[support > 0].mean()),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        f1=tuple(f1.tolist()),
        support=tuple(support.tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def confusion_matrix(
    labels: npt.NDArray[np.integer[Any]], predictions: npt.NDArray[np.integer[Any]], classes: int
) -> npt.NDArray[np.int64]:
    """Return ``(classes, classes)`` counts: row = label, column = prediction."""
    flat = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def cross_entropy(
    logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]]
) -> float:
    """Return the mean cross-entropy in nats of ``(N, C)`` logits for ``(N,)`` labels."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(axis=1))
    return float((log_total - shifted[np.arange(len(labels)), labels]).mean())


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
