import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.errors import DataError
from mien.evaluation import Comparison, evaluate
from mien.evaluation.calibration.calibrate import calibrate
from mien.export import export
from mien.metadata import BEST
from mien.training import Recipe, train


def test_run_and_export_give_the_same_figures(
    trained: Path, exported: Path, faces: ExpressionDataset
) -> None:
    of_run = evaluate(trained, faces, "PublicTest")
    of_file = evaluate(exported, faces, "PublicTest")

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
    evaluation = evaluate(trained, faces, "PrivateTest")
    evaluation.write(tmp_path / "out.json")

    written = json.loads((tmp_path / "out.json").read_text())
    assert written["split"] == "PrivateTest"
    assert not written["chosen_on"]
    assert written["unseen"]["seen"] == 0
    assert written["accuracy"] == evaluation.metrics.accuracy
    shown = f"{100 * evaluation.metrics.accuracy:.2f} %"
    assert repr(evaluation).startswith(f"Evaluation({evaluation.model} on PrivateTest: ")
    assert shown in repr(evaluation)
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


def test_a_copy_beside_a_model_is_an_ensemble_that_answers_as_the_model(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    copy = shutil.copy(trained / BEST, tmp_path / BEST)
    alone = evaluate(trained, faces, "PublicTest")
    twice = evaluate([trained, copy], faces, "PublicTest")

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


def test_a_run_with_held_out_faces_is_measured_on_those(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(
        epochs=1, data={"hold_out": 0.25, "validation": "PublicTest", "train": "Training"}
    )
    alone = faces.split("Training")
    for seed in (0, 1):
        train(replace(recipe, seed=seed), alone, tmp_path / str(seed), device="cpu")

    held_out, learned, other = (
        evaluate(tmp_path / run, alone, split, override_protocol=split == "Training")
        for run, split in (("0", "PublicTest"), ("0", "Training"), ("1", "PublicTest"))
    )

    assert held_out.count + learned.count == len(alone)
    assert held_out.faces_sha256 != other.faces_sha256
    for evaluation in (held_out, other):
        assert evaluation.to_dict()["faces_sha256"] == evaluation.faces_sha256
    with pytest.raises(DataError, match="cannot be compared, their faces differ"):
        Comparison(names=("a", "b"), evaluations=(held_out, other))
    with pytest.raises(DataError, match="must be measured on the same faces"):
        evaluate([tmp_path / "0", tmp_path / "1"], alone, "PublicTest")


def test_other_faces_are_measured_whole_by_a_run_that_held_some_out(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    write_model: Callable[..., Path],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(epochs=1, data={"hold_out": 0.25})
    own = replace(faces.split("Training"), fingerprint="own")
    others = replace(synthetic_faces(70, seed=9), split_codes=np.zeros(70, np.uint8))
    run, exported = tmp_path / "run", tmp_path / "run.onnx"
    train(recipe, own, run, device="cpu")
    export(run, exported)
    model = write_model(tmp_path / "tiny.onnx")

    found = [evaluate(each, others) for each in (run, exported, model)]

    assert [(each.split, each.count) for each in found] == [("Training", 70)] * 3
    Comparison(names=("run", "exported", "model"), evaluations=tuple(found))
    moved = replace(own, fingerprint="moved")
    held_out = [evaluate(run, each) for each in (own, moved)]
    assert [each.split for each in held_out] == ["PublicTest"] * 2
    assert held_out[0].count == held_out[1].count < len(own) / 3
    assert calibrate(run, others).split == "Training"


def test_a_model_twice_is_refused(trained: Path, faces: ExpressionDataset) -> None:
    with pytest.raises(DataError, match="named more than once"):
        evaluate([trained, trained / ".." / trained.name / BEST], faces, "PublicTest")


def test_a_model_is_named_by_its_folder_however_it_is_typed(
    trained: Path, faces: ExpressionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)

    assert evaluate(".", faces, "PublicTest").model == "tiny"
