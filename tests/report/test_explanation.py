import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.evaluation.explanation import ClassMaps, DeletionCheck, FaceExplanation, SaliencyMap
from mien.report.explanation import (
    deletion_chart,
    describe_explanation,
    overlay_map,
    write_explanations,
)
from mien.report.page import _environment
from mien.results import Face, Probabilities


@pytest.fixture
def check() -> DeletionCheck:
    return DeletionCheck(
        fractions=(0.0, 0.2, 0.5),
        highlighted=(0.8, 0.3, 0.2),
        random=(0.8, 0.6, 0.4),
        least=(0.8, 0.7, 0.6),
        gap=0.2,
        gap_error=0.02,
        wins=0.9,
        count=500,
        draws=1,
        seed=7,
    )


@pytest.fixture
def class_maps(check: DeletionCheck) -> ClassMaps:
    maps = np.zeros((3, 48, 48), np.float32)
    maps[0, :24], maps[1, 24:] = 0.5, 0.25
    return ClassMaps(
        classes=("happy", "<b>sad", "fear"),
        maps=maps,
        mean_faces=np.full((3, 48, 48), 100, np.uint8),
        counts=(1200, 300, 0),
        support=(1500, 600, 9),
        deletion=check,
    )


def explained(check: DeletionCheck, *, expression: str = "happy") -> FaceExplanation:
    values = np.linspace(-1, 1, 48 * 48, dtype=np.float32).reshape(48, 48)
    return FaceExplanation(
        face=Face((0, 0, 9, 9), 1.0, None, Probabilities(("happy", "sad"), (0.7, 0.3))),
        expression=expression,
        crop_gray=np.full((48, 48), 90, np.uint8),
        maps=(
            SaliencyMap(method="grad-cam", values=values, deletion=check),
            SaliencyMap(method="occlusion", values=values, deletion=check),
        ),
    )


def test_bright_is_where_the_map_is_high() -> None:
    face = np.full((48, 48), 128, np.uint8)
    values = np.zeros((48, 48), np.float32)
    values[:, 24:] = 1

    picture = overlay_map(face, values, side=96)

    assert picture.shape == (96, 96, 3)
    assert picture.dtype == np.uint8
    assert picture[:, 60:].mean() > picture[:, :36].mean() + 40
    assert overlay_map(face, 5 * values, side=96)[:, 60:].max() == picture[:, 60:].max()


def test_a_row_for_each_face_and_a_column_for_each_map(
    check: DeletionCheck, tmp_path: Path
) -> None:
    sizes = []
    for count in (1, 2, 5):
        path = tmp_path / "pictures" / f"{count}.png"
        write_explanations(path, [explained(check)] * count)
        sizes.append(Image.open(path).size)

    one, two, five = sizes
    assert one[0] == two[0] >= 3 * 240
    assert two[1] > 1.5 * one[1]
    assert five[0] == 2 * one[0], "many faces stand side by side"
    assert five[1] < 2 * two[1]


def test_a_picture_that_cannot_be_drawn_leaves_nothing(
    check: DeletionCheck, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="not supported"):
        write_explanations(tmp_path / "out.nonsense", [explained(check, expression="sad")])
    assert not list(tmp_path.iterdir())


def page_of(class_maps: ClassMaps) -> str:
    """The fragment alone, as a page includes it."""
    fragment = _environment().get_template("_explanation.html")
    return fragment.render(explanation=describe_explanation(class_maps))


def test_the_fragment_shows_every_class_and_the_verdict(class_maps: ClassMaps) -> None:
    page = page_of(class_maps)

    assert class_maps.deletion.verdict() in page
    assert 'class="warning"' not in page
    assert "1,200 of 1,500" in page
    assert "0 of 9" in page
    assert page.count("under its mean heat map") == 2, "there is no face for fear"
    assert "<b>sad" not in page.replace("<b>&lt;b&gt;sad", "")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)


def test_a_map_that_does_not_matter_warns(class_maps: ClassMaps) -> None:
    unclear = replace(class_maps.deletion, gap=0.01)

    page = page_of(replace(class_maps, deletion=unclear))

    assert 'class="warning">The highlighted pixels are not seen to matter' in page


def test_the_chart_has_a_curve_for_each_order(check: DeletionCheck) -> None:
    (axes,) = deletion_chart(check).axes
    curves = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]

    assert curves == [list(check.highlighted), list(check.random), list(check.least)]
