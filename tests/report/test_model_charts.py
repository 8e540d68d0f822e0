import warnings

import numpy as np
import pytest

from mien.report.chart_style import MODEL_COLOURS, fit_name
from mien.report.model_charts import (
    bars_chart,
    confusion_chart,
    cost_chart,
    curves_chart,
    model_colours,
)
from mien.report.page import figure_uri

CLASSES = ("happy", "sad")
ROWS = [
    {"epoch": i, "train_loss": 2 / i, "val_loss": 2, "train_accuracy": 0.5, "val_accuracy": 0.4}
    for i in (1, 2, 3)
]


def texts(axes: object) -> list[str]:
    return [text.get_text() for text in axes.texts]  # type: ignore[attr-defined]


def test_cells_are_written_as_their_kind() -> None:
    counts = np.array([[3, 1], [0, 0]])

    written = {
        "counts": texts(confusion_chart(counts, CLASSES, kind="counts").axes[0]),
        "rates": texts(confusion_chart(counts / 4, CLASSES, kind="rates").axes[0]),
        "difference": texts(
            confusion_chart(np.array([[1.25, -1.2], [0, 0.01]]), CLASSES, kind="difference").axes[0]
        ),
    }

    assert written["counts"] == ["3", "1", "0", "0"]
    assert written["rates"] == ["75 %", "25 %", "0 %", "0 %"]
    assert written["difference"] == ["+1.2", "-1.2", "0", "0"]


def test_a_difference_is_blue_where_it_is_for_the_better() -> None:
    change = np.array([[5.0, -5.0], [5.0, -5.0]])
    (image,) = confusion_chart(change, CLASSES, kind="difference").axes[0].images

    assert np.asarray(image.get_array()).tolist() == [[5, 5], [-5, -5]]


def test_accuracy_curves_are_percent() -> None:
    figure = curves_chart({"a": ROWS, "b": ROWS[:1]}, quantity="accuracy", colours=["k", "b"])

    assert [np.asarray(line.get_ydata()).tolist() for line in figure.axes[0].lines] == [
        [50, 50, 50],
        [40, 40, 40],
        [50],
        [40],
    ]


@pytest.mark.parametrize("count", [1, 12])
def test_charts_of_any_number_of_models_are_drawn(count: int) -> None:
    colours = model_colours(count)
    names = [f"model {i}" for i in range(count)]

    for figure in (
        bars_chart(CLASSES, {name: [50.0, 60.0] for name in names}, label="%", colours=colours),
        cost_chart({n: (i + 1.0, 60.0) for i, n in enumerate(names)}, label="ms", colours=colours),
        curves_chart(dict.fromkeys(names, ROWS), quantity="loss", colours=colours),
    ):
        assert figure_uri(figure).startswith("data:image/svg+xml")
    assert len(set(colours)) == min(count, len(MODEL_COLOURS))


NAMES = ("costs $5 & $6", "_hidden", "幸せ", "n" * 60)


def test_any_name_is_drawn_and_explained() -> None:
    colours = model_colours(len(NAMES))
    figures = [
        bars_chart(NAMES, {n: [50.0] * 4 for n in NAMES}, label="%", colours=colours),
        cost_chart(dict.fromkeys(NAMES, (1.0, 60.0)), label="ms", colours=colours),
        curves_chart(dict.fromkeys(NAMES, ROWS), quantity="loss", colours=colours),
    ]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures:
            assert figure_uri(figure)
            assert len(figure.legends[0].get_texts()) == len(NAMES)
        chart = confusion_chart(np.eye(4), NAMES, kind="rates")
        assert figure_uri(chart)
    assert chart.axes[0].get_position().width > 0.3, "names leave room for the matrix"


def test_long_names_keep_both_ends() -> None:
    short = fit_name("mien-s-with-a-long-description-20261120-233000")

    assert short.startswith("mien-s")
    assert short.endswith("-233000")
    assert len(short) == 22


def test_one_epoch_is_seen_and_epochs_are_whole() -> None:
    axes = curves_chart({"a": ROWS[:1]}, quantity="loss", colours=["k"]).axes[0]
    assert all(line.get_marker() != "None" for line in axes.lines[:2])

    axes = curves_chart({"a": ROWS}, quantity="loss", colours=["k"]).axes[0]
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_models_at_one_point_are_all_seen() -> None:
    axes = cost_chart(dict.fromkeys("abc", (1.0, 60.0)), label="ms", colours=model_colours(3)).axes[
        0
    ]

    sizes = [line.get_markersize() for line in axes.lines if np.size(line.get_xdata())]
    assert sizes == sorted(set(sizes), reverse=True)
    assert len(sizes) == 3


def test_many_classes_have_a_larger_matrix() -> None:
    classes = [f"class {n}" for n in range(25)]
    chart = confusion_chart(np.eye(25), classes, kind="rates")

    assert chart.get_figwidth() > 2 * 4.6
    assert texts(chart.axes[0])[:2] == ["100", ""]
