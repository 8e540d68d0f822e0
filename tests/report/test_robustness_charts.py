import re
from dataclasses import replace

import numpy as np
import pytest

from mien.data.dataset import ExpressionDataset
from mien.errors import DataError
from mien.evaluation.robustness.corruptions import CORRUPTIONS, corrupt
from mien.evaluation.robustness.measure import CorruptionFigures, Robustness
from mien.report import page
from mien.report.robustness_charts import (
    corruption_examples,
    describe_robustness,
    robustness_chart,
)


def figures(clean: float, lost: float) -> Robustness:
    """A model that loses as much with every strength, a little more with every corruption."""
    return Robustness(
        count=300,
        seed=4,
        clean_accuracy=clean,
        clean_macro_f1=clean,
        corruptions={
            name: CorruptionFigures(
                levels=corruption.levels,
                accuracies=tuple(clean - lost * s - number / 500 for s in range(1, 6)),
                macro_f1s=(0.5,) * 5,
            )
            for number, (name, corruption) in enumerate(CORRUPTIONS.items())
        },
    )


def render(robustness: dict[str, Robustness], faces: ExpressionDataset | None = None) -> str:
    """Write the part within a page, as a template that includes it does."""
    part = '{% block main %}{% include "_robustness.html" %}{% endblock %}'
    template = page._environment().from_string('{% extends "base.html" %}' + part)
    described = describe_robustness(robustness, None if faces is None else faces.images[:9])
    return template.render(title="t", lead="l", version="0", robustness=described)


def test_every_corruption_has_its_curves_in_percent() -> None:
    steady, frail = figures(0.7, 0.01), figures(0.6, 0.1)
    figure = robustness_chart({"steady": steady, "frail": frail})

    assert [axes.get_title() for axes in figure.axes] == [c.title for c in CORRUPTIONS.values()]
    noise = figure.axes[0]
    curves = [line for line in noise.lines if np.size(line.get_xdata()) == 5]
    np.testing.assert_allclose(np.asarray(curves[0].get_ydata()), [69, 68, 67, 66, 65])
    np.testing.assert_allclose(np.asarray(curves[1].get_ydata()), [50, 40, 30, 20, 10])
    assert curves[0].get_color() != curves[1].get_color()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["steady", "frail"]
    assert not robustness_chart({"steady": steady}).legends, "one needs no telling apart"


def test_examples_are_the_damaged_face(faces: ExpressionDataset) -> None:
    face = faces.images[3]
    picture = corruption_examples(face, seed=2, gap=4)

    assert picture.shape == (12 * 52 - 4, 3 * 52 - 4)
    row = list(CORRUPTIONS).index("hand")
    cell = picture[row * 52 : row * 52 + 48, 52:100]
    np.testing.assert_array_equal(cell, corrupt(face[None], "hand", 3, seed=2)[0])
    assert (picture[48:52] == 255).all()


def test_one_model_is_shown_strength_by_strength(faces: ExpressionDataset) -> None:
    text = render({"steady": figures(0.7, 0.01)}, faces)

    assert "on average <b>65.90 %</b>, which is 94.1 % of the 70.00 %" in text
    assert "Lowest under hand, 64.80 % on average." in text
    assert re.search(
        r"gaussian noise</td><td>69.0</td><td>68.0</td>.*<td>65.0</td>.*67.0</td>", text
    )
    assert "standard deviation, grey levels: 6, 12, 18, 26, 38" in text
    assert text.count("<figure>") == 12
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)


def test_several_models_are_compared() -> None:
    both = {"steady": figures(0.6, 0.01), "<b>frail": figures(0.7, 0.1)}
    text = render(both)

    assert "&lt;b&gt;frail" in text
    assert "<figure>" not in text, "no faces, no examples"
    assert re.search(r'mean over all</td><td class="best">55.9</td><td>38.9</td>', text)
    assert re.search(r'clean faces</td><td>60.0</td><td class="best">70.0</td>', text)


def test_a_model_that_reads_nothing_right_is_told() -> None:
    some = figures(0.2, 0.01)
    hand = {"hand": some.corruptions["hand"]}
    nothing = replace(some, clean_accuracy=0.0, corruptions=hand)
    text = render({"nothing": nothing})

    assert "which is" not in text
    assert "<td>–</td>" in text


def test_models_on_other_pictures_are_refused() -> None:
    one = figures(0.7, 0.01)

    with pytest.raises(DataError, match="on other pictures"):
        describe_robustness({"one": one, "other": replace(one, seed=5)})
    with pytest.raises(ValueError, match="no robustness"):
        describe_robustness({})
