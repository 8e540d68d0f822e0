from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.evaluation.calibration.measure import (
    Calibration,
    UncertainFaces,
    count_uncertain,
    measure_calibration,
)
from mien.report.calibration import coverage_chart, describe_calibration, reliability_chart
from mien.report.page import write_page

# Four faces of two classes: the first bin is right throughout, the second half the time.
LOGITS = np.log([[0.78, 0.22], [0.79, 0.21], [0.94, 0.06], [0.96, 0.04]])
LABELS = np.array([0, 0, 0, 1])


@pytest.fixture(scope="module")
def measured() -> Calibration:
    return measure_calibration(LOGITS, LABELS)


@pytest.fixture(scope="module")
def uncertain() -> UncertainFaces:
    return count_uncertain(LOGITS, LABELS, below=0.785)


def heights(axes: Any) -> list[float]:
    return [round(bar.get_height(), 6) for bar in axes.patches]


def test_bars_are_accuracies_gaps_and_counts(measured: Calibration) -> None:
    upper, lower = reliability_chart(measured).axes

    assert heights(upper) == [100, -21.5, 50, 45]
    assert heights(lower) == [2, 2]


def test_the_curve_is_of_the_surest_and_marks_the_uncertain(
    measured: Calibration, uncertain: UncertainFaces
) -> None:
    (axes,) = coverage_chart(measured, uncertain=uncertain).axes
    curve, limit = (np.asarray(line.get_xydata()) for line in axes.lines)

    np.testing.assert_allclose(curve[0], (100, 75))
    np.testing.assert_allclose(curve[-1], (25, 0))
    assert limit[0, 0] == 75
    assert len(coverage_chart(measured).axes[0].lines) == 1


def test_it_is_said_in_plain_words(measured: Calibration, uncertain: UncertainFaces) -> None:
    said = describe_calibration(measured, uncertain=uncertain)

    assert "it is surer than it is right, by 11.8 points" in said["sentence"]
    assert f"the two lie {100 * measured.ece:.1f} points apart" in said["sentence"]
    assert said["uncertain"].startswith("Below 78.5 % it calls a face uncertain: 25.0 %")
    modest = describe_calibration(measure_calibration(LOGITS / 9, LABELS))
    assert "right more often than it is sure" in modest["sentence"]
    assert modest["uncertain"] == ""
    even = describe_calibration(measure_calibration(np.zeros((4, 2)), np.array([0, 1, 0, 1])))
    assert "as sure as it is right" in even["sentence"]


def test_thresholds_tell_how_many_faces_are_told_and_how_many_right(
    measured: Calibration, uncertain: UncertainFaces, tmp_path: Path
) -> None:
    others = [count_uncertain(LOGITS, LABELS, below=below) for below in (0, 0.99)]

    part = describe_calibration(
        measured, uncertain=uncertain, thresholds=[others[0], uncertain, others[1]]
    )
    write_page(tmp_path / "page.html", "_calibration.html", calibration=part)

    assert part["thresholds"] == [
        ["none", "100.0 %", "75.0 %"],
        ["0.785 (the model's)", "75.0 %", "66.7 %"],
        ["0.99", "0.0 %", "–"],
    ]
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<td>0.99</td><td>0.0 %</td><td>–</td>" in page


def test_before_and_after_stand_side_by_side(
    measured: Calibration, uncertain: UncertainFaces, tmp_path: Path
) -> None:
    both = describe_calibration(
        measured, uncalibrated=measured, temperature=1.25, uncertain=uncertain
    )

    for name, part in (("both", both), ("one", describe_calibration(measured))):
        write_page(tmp_path / f"{name}.html", "_calibration.html", calibration=part)

    page = (tmp_path / "both.html").read_text("utf-8")
    assert page.count("reliability diagram") == 2
    assert "<h3>After: temperature 1.25</h3>" in page
    assert "<th>before</th><th>after</th>" in page
    assert both["sentence"] in page
    alone = (tmp_path / "one.html").read_text("utf-8")
    assert alone.count("reliability diagram") == 1
    assert "<thead>" not in alone
