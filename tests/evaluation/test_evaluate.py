import json
from dataclasses import replace
from pathlib import Path

import pytest

from mien.data.dataset import ExpressionDataset
from mien.errors import DataError
from mien.evaluation import evaluate
from mien.export import export


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


def test_a_missing_split_or_other_classes_are_told(trained: Path, faces: ExpressionDataset) -> None:
    with pytest.raises(DataError, match="no PublicTest images"):
        evaluate(trained, faces.split("Training"), "PublicTest")
    renamed = replace(faces, classes=("a", "b", "c", "d", "e", "f", "g"))
    with pytest.raises(DataError, match="the model knows angry"):
        evaluate(trained, renamed, "PublicTest")
