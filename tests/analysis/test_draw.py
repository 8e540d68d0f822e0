from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.analysis.draw import COLOURS, annotate, face_colour, write_annotated
from mien.errors import MediaError
from mien.expressions import EXPRESSIONS
from mien.results import Face, FrameResult, Probabilities

HAPPY = Probabilities(("happy", "sad"), (0.97, 0.03))


def result(size_wh: tuple[int, int], *boxes: tuple[float, float, float, float]) -> FrameResult:
    faces = tuple(Face(box_xyxy=box, score=1, landmarks=None, probabilities=HAPPY) for box in boxes)
    return FrameResult(source="array", size_wh=size_wh, faces=faces)


def painted(image_rgb: np.ndarray) -> int:
    """Count the pixels in the colour of happiness."""
    happy = COLOURS["happy"]
    wanted = [int(happy[start : start + 2], 16) for start in (1, 3, 5)]
    return int((image_rgb == wanted).all(axis=2).sum())


def test_every_expression_has_a_colour_of_its_own() -> None:
    assert set(COLOURS) == set(EXPRESSIONS)
    assert len(set(COLOURS.values())) == len(EXPRESSIONS)


def test_a_box_and_a_label_are_drawn() -> None:
    image = annotate(np.zeros((400, 600), np.uint8), result((600, 400), (200, 150, 300, 270)))
    drawn = np.asarray(image)
    assert image.size == (600, 400)
    assert painted(drawn[:148]) > 500  # the label, above
    assert painted(drawn[200:205]) > 10  # the box's two sides
    assert painted(drawn[300:]) == 0


@pytest.mark.parametrize(
    "box", [(0, 0, 60, 60), (540, 340, 600, 400), (-20, -30, 620, 450), (590, 100, 640, 160)]
)
def test_a_label_stays_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    drawn = np.asarray(annotate(np.zeros((400, 600), np.uint8), result((600, 400), box)))
    assert painted(drawn) > 500


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    size, one, other = (600, 400), (200.0, 150.0, 240.0, 200.0), (230.0, 150.0, 270.0, 200.0)
    empty = np.zeros((400, 600), np.uint8)
    alone = painted(np.asarray(annotate(empty, result(size, one))))
    both = painted(np.asarray(annotate(empty, result(size, one, other))))
    assert both > 1.85 * alone


def test_small_pictures_are_enlarged_to_be_read() -> None:
    image = annotate(np.zeros((48, 48), np.uint8), result((48, 48), (0, 0, 48, 48)))
    assert image.size == (240, 240)


@pytest.mark.parametrize(
    ("size_wh", "drawn_wh"),
    [((10, 5000), (10, 5000)), ((1, 3), (240, 720)), ((900, 30), (1800, 60)), ((1, 2100), None)],
)
def test_long_thin_pictures_stay_within_bounds(
    size_wh: tuple[int, int], drawn_wh: tuple[int, int] | None
) -> None:
    picture = np.zeros(size_wh[::-1], np.uint8)
    image = annotate(picture, result(size_wh, (0, 0, *size_wh)))
    assert image.size == (drawn_wh or size_wh)


def test_a_picture_too_long_for_jpeg_is_told(tmp_path: Path) -> None:
    source = tmp_path / "long.png"
    Image.new("L", (65_536, 1)).save(source)
    long = FrameResult(source=str(source), size_wh=(65_536, 1))
    with pytest.raises(
        MediaError, match=r"long\.png: a side of 65,536 pixels, 65,535 are the most"
    ):
        write_annotated(long, tmp_path / "long-mien.jpg")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(("drawn", "reason"), [((9, 9), "has changed"), (None, "no such file")])
def test_a_picture_changed_or_gone_since_is_told(
    tmp_path: Path, drawn: tuple[int, int] | None, reason: str
) -> None:
    source = tmp_path / "photo.png"
    if drawn:
        Image.new("L", drawn).save(source)
    with pytest.raises(MediaError, match=rf"photo\.png: {reason}"):
        write_annotated(FrameResult(source=str(source), size_wh=(8, 8)), tmp_path / "a.jpg")


def test_a_result_of_another_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="in a picture of"):
        annotate(np.zeros((48, 48), np.uint8), result((40, 48)))


def test_an_uncertain_face_is_muted() -> None:
    sure = result((600, 400), (200, 150, 300, 270))
    (face,) = sure.faces
    doubtful = replace(face, uncertain_below=0.99)
    own = replace(face, probabilities=Probabilities(("uncertain", "sad"), (0.9, 0.1)))

    image = annotate(np.zeros((400, 600), np.uint8), replace(sure, faces=(doubtful,)))

    assert painted(np.asarray(image)) == 0, "none of the colour of happiness"
    assert face_colour(face) == COLOURS["happy"]
    assert face_colour(doubtful) not in COLOURS.values()
    assert face_colour(own) != face_colour(doubtful), "a class of one's own is told"
