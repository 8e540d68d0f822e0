from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mien.data.dataset import ExpressionDataset
from mien.errors import DataError
from mien.evaluation.predictor import open_predictor
from mien.evaluation.robustness.corruptions import CORRUPTIONS, corrupt
from mien.evaluation.robustness.measure import Robustness, measure_robustness
from mien.metadata import DEFAULT_MODEL


class BrightnessPredictor:
    """Tells light faces from dark ones."""

    classes = ("dark", "light")
    parameters = multiply_adds = file_bytes = None
    threads = 1
    recipe: Mapping[str, Any] = {}
    data: Mapping[str, Any] = {}
    seen = None
    temperature = 1.0
    uncertain_below = 0.0

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        light = images.mean(axis=(1, 2)) - 128
        return np.stack([-light, light], axis=1).astype(np.float32)


def lit_faces(count: int = 60) -> ExpressionDataset:
    """Faces 55 grey levels to either side of the middle, with some grain."""
    labels = np.arange(count) % 2
    grain = np.random.default_rng(0).integers(-3, 4, (count, 48, 48))
    images = np.where(labels, 183, 73)[:, None, None] + grain
    return ExpressionDataset(
        images=images.astype(np.uint8),
        labels=labels,
        split_codes=np.ones(count, np.uint8),
        names=np.array([f"row {i}" for i in range(count)]),
        classes=("dark", "light"),
    )


@pytest.fixture(scope="module")
def measured() -> Robustness:
    return measure_robustness(BrightnessPredictor(), lit_faces())


def test_what_a_model_looks_at_decides_what_harms_it(measured: Robustness) -> None:
    assert measured.clean_accuracy == measured.clean_macro_f1 == 1
    assert list(measured.corruptions) == list(CORRUPTIONS)
    accuracies = measured.corruptions["brightness"].accuracies
    assert accuracies[:2] == (1, 1), "25 and 45 grey levels are less than 55"
    assert all(0.2 < accuracy < 0.8 for accuracy in accuracies[2:]), "those changed to the middle"
    assert measured.corruptions["brightness"].levels == (25, 45, 65, 85, 110)
    for name in ("gaussian_blur", "jpeg", "contrast", "rotation", "hand"):
        assert measured.corruptions[name].accuracies == (1,) * 5
    assert measured.worst == "brightness"


def test_the_one_figure_is_the_mean_of_all(measured: Robustness) -> None:
    every = [each.accuracies for each in measured.corruptions.values()]
    halved = replace(measured, clean_accuracy=0.5)

    assert measured.mean_accuracy == pytest.approx(np.mean(every))
    assert 0 < measured.mean_macro_f1 < 1
    assert halved.relative_accuracy == pytest.approx(2 * np.mean(every))
    assert replace(measured, clean_accuracy=0.0).relative_accuracy is None
    assert f"mean {100 * np.mean(every):.2f} %" in measured.text()
    assert "worst under brightness" in measured.text()


def test_the_order_of_the_faces_does_not_matter(measured: Robustness) -> None:
    faces = lit_faces()
    turned = faces.take(range(len(faces) - 1, -1, -1))

    assert measure_robustness(BrightnessPredictor(), turned) == measured
    assert measure_robustness(BrightnessPredictor(), turned, seed=1) != measured


def test_whoever_watches_is_told_of_every_pass() -> None:
    told: list[tuple[int, int]] = []

    measure_robustness(BrightnessPredictor(), lit_faces(2), watch=lambda *p: told.append(p))

    assert told == [(done, 61) for done in range(1, 62)]


def test_the_embedded_model_reads_what_it_is_shown(faces: ExpressionDataset) -> None:
    part = faces.take(range(4))
    predictor = open_predictor(DEFAULT_MODEL, threads=1)

    figures = measure_robustness(predictor, part)

    answers = predictor.logits(corrupt(part.images, "mask", 4)).argmax(axis=1)
    assert figures.corruptions["mask"].accuracies[3] == np.mean(answers == part.labels)
    assert figures.count == 4


def test_figures_survive_a_file(measured: Robustness) -> None:
    written = measured.to_dict()

    assert Robustness.from_dict(written) == measured
    assert written["mean_accuracy"] == measured.mean_accuracy


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda values: values.pop("count"), KeyError),
        (lambda values: values.update(count="many"), TypeError),
        (lambda values: values.update(clean_accuracy=1.5), ValueError),
        (lambda values: values.update(corruptions={}), ValueError),
        (lambda values: values["corruptions"]["hand"].pop("levels"), KeyError),
        (lambda values: values["corruptions"]["hand"]["accuracies"].pop(), ValueError),
    ],
)
def test_damaged_figures_are_refused(
    measured: Robustness, damage: Callable[[dict[str, Any]], object], error: type[Exception]
) -> None:
    values = measured.to_dict()
    damage(values)

    with pytest.raises(error):
        Robustness.from_dict(values)


def test_only_the_same_pictures_compare(measured: Robustness) -> None:
    hand = replace(measured.corruptions["hand"], levels=(1, 2, 3, 4, 5))

    measured.check_comparable(replace(measured, clean_accuracy=0.1))
    for other in (
        replace(measured, seed=1),
        replace(measured, count=59),
        replace(measured, corruptions={**measured.corruptions, "hand": hand}),
    ):
        with pytest.raises(DataError, match="on other pictures"):
            measured.check_comparable(other)


def test_what_cannot_be_measured_is_told(tmp_path: Path, write_model: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="no faces"):
        measure_robustness(BrightnessPredictor(), lit_faces(2).take([]))
    with pytest.raises(DataError, match="the model knows angry"):
        measure_robustness(open_predictor(write_model(tmp_path / "tiny.onnx")), lit_faces(2))
    with pytest.raises(ValueError, match="seed"):
        measure_robustness(BrightnessPredictor(), lit_faces(2), seed=-1)
