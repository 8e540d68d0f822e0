import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import ExpressionDataset
from mien.errors import DataError
from mien.evaluation import evaluate
from mien.export import export
from mien.metadata import BEST
from mien.training import Recipe, train


def test_run_and_export_give_the_same_figures(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    path = export(trained, tmp_path / "tiny.onnx").path

    of_run = evaluate(trained, faces, "PublicTest")
    of_file = evaluate(path, faces, "PublicTest")

    assert of_run.count == of_file.count == len(faces.split("PublicTest"))
    assert of_run.metrics.confusion == of_file.metrics.confusion
    assert of_run.metrics.loss == pytest.approx(of_file.metrics.loss, abs=1e-4)


def test_the_figure_is_the_one_that_training_logged(
    trained: Path, faces: ExpressionDataset
) -> None:
    best = json.loads((trained / "run.json").read_text())["best_accuracy"]

    assert evaluate(trained, faces, "PublicTest").metrics.accuracy == pytest.approx(best)


def test_an_evaluation_is_written_whole(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    evaluation = evaluate(trained, faces, "Training")
    evaluation.write(tmp_path / "out.json")

    written = json.loads((tmp_path / "out.json").read_text())
    assert written["split"] == "Training"
    assert written["accuracy"] == evaluation.metrics.accuracy
    assert list(written["per_class"]) == list(faces.classes)


def test_size_speed_and_training_are_told(trained: Path, faces: ExpressionDataset) -> None:
    evaluation = evaluate(trained, faces, "PublicTest")
    written = evaluation.to_dict()

    summary = json.loads((trained / "run.json").read_text())
    assert written["parameters"] == summary["parameters"]
    assert written["multiply_adds"] == summary["multiply_adds"]
    assert written["file_bytes"] == (trained / BEST).stat().st_size
    assert written["latency"]["batch_1_ms"] > 0
    assert written["members"] == [{"model": "tiny", "model_sha256": evaluation.model_sha256}]
    assert written["training"]["best_epoch"] == summary["best_epoch"]
    assert len(written["training"]["history"]["val_loss"]) == summary["epochs"]


def test_flipped_views_are_averaged_and_kept_apart(trained: Path, faces: ExpressionDataset) -> None:
    single = evaluate(trained, faces, "PublicTest")
    flip = evaluate(trained, faces, "PublicTest", tta="flip")
    mirrored = replace(faces, images=np.ascontiguousarray(faces.images[:, :, ::-1]))
    other = evaluate(trained, mirrored, "PublicTest")

    assert (single.to_dict()["view"], flip.to_dict()["view"]) == ("single", "flip")
    assert single.file_name == "evaluation-PublicTest.json"
    assert flip.file_name == "flip-evaluation-PublicTest.json"
    assert single.probabilities is not None
    assert other.probabilities is not None
    assert flip.probabilities is not None
    mean = (single.probabilities + other.probabilities) / 2
    np.testing.assert_allclose(flip.probabilities, mean, atol=1e-5)


def test_a_model_twice_is_an_ensemble_that_answers_as_the_model(
    trained: Path, faces: ExpressionDataset
) -> None:
    alone = evaluate(trained, faces, "PublicTest")
    twice = evaluate([trained, trained / BEST], faces, "PublicTest")

    assert twice.metrics.confusion == alone.metrics.confusion
    assert [member.model for member in twice.members] == ["tiny", BEST]
    assert twice.training is None
    assert twice.parameters is not None
    assert alone.parameters is not None
    assert twice.parameters == 2 * alone.parameters


def test_a_wrong_call_is_told(trained: Path, faces: ExpressionDataset) -> None:
    with pytest.raises(ValueError, match="no model"):
        evaluate([], faces, "PublicTest")
    with pytest.raises(ValueError, match="augmentation 'spin'"):
        evaluate(trained, faces, "PublicTest", tta="spin")  # type: ignore[arg-type]


def test_a_missing_split_or_other_classes_are_told(trained: Path, faces: ExpressionDataset) -> None:
    with pytest.raises(DataError, match="no PublicTest images"):
        evaluate(trained, faces.split("Training"), "PublicTest")
    renamed = replace(faces, classes=("a", "b", "c", "d", "e", "f", "g"))
    with pytest.raises(DataError, match="the model knows angry"):
        evaluate(trained, renamed, "PublicTest")


def test_data_is_seen_as_the_model_was_trained_on_it(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(epochs=1, data={"classes": ["happy", "other=sad+angry"], "hold_out": 0.25})
    alone = faces.split("Training")
    result = train(recipe, alone, tmp_path / "run", device="cpu")

    run = evaluate(tmp_path / "run", alone, "PublicTest")
    exported = evaluate(export(tmp_path / "run").path, alone, "PublicTest")

    assert run.metrics.classes == ("happy", "other")
    assert run.metrics.accuracy == pytest.approx(result.best_accuracy)
    assert exported.metrics.support == run.metrics.support == (8, 16)
    assert run.faces is not None
    assert len(run.faces) == run.count == 24
