import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mien.data.dataset import SPLITS, ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.errors import ProtocolError
from mien.evaluation import evaluate, read_evaluation
from mien.evaluation.calibration.calibrate import calibrate, write_calibration
from mien.evaluation.predictor import CheckpointPredictor
from mien.evaluation.protocol import Unseen, was_chosen_on
from mien.export import export
from mien.metadata import BEST
from mien.quantization import quantize
from mien.training import Recipe, train


def strangers(faces: ExpressionDataset) -> ExpressionDataset:
    """The same faces as somebody else's data set, all in the split that is measured."""
    codes = np.full(len(faces), SPLITS.index("PublicTest"), np.uint8)
    return replace(faces, split_codes=codes, fingerprint="another")


def test_measuring_what_was_learned_is_refused(
    trained: Path, exported: Path, faces: ExpressionDataset
) -> None:
    for model in (trained, exported):
        with pytest.raises(ProtocolError, match="Training faces were learned from"):
            evaluate(model, faces, "Training")
        with pytest.raises(ProtocolError, match="PublicTest faces were learned from"):
            evaluate(model, strangers(faces.split("Training")), "PublicTest")


def test_overridden_it_is_told_in_every_figure(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    evaluation = evaluate(trained, faces, "Training", override_protocol=True)
    evaluation.write(tmp_path / "out.json")

    (breach,) = read_evaluation(tmp_path / "out.json").breaches
    assert "Training faces were learned from" in breach
    assert evaluation.unseen is not None
    assert evaluation.unseen.count == 0


def test_copies_are_left_out_of_a_second_figure(trained: Path, faces: ExpressionDataset) -> None:
    part, training = faces.split("PublicTest"), faces.split("Training")
    copies = training.take(range(len(part) // 5))
    both = replace(
        part,
        images=np.concatenate([part.images, copies.images]),
        labels=np.concatenate([part.labels, copies.labels]),
        split_codes=np.full(len(part) + len(copies), SPLITS.index("PublicTest"), np.uint8),
        names=np.concatenate([part.names, copies.names]),
    )
    evaluation = evaluate(trained, both, "PublicTest")
    alone = evaluate(trained, part, "PublicTest")

    assert evaluation.breaches == ()
    assert evaluation.unseen is not None
    assert evaluation.unseen.seen == len(copies)
    assert evaluation.unseen.accuracy == alone.metrics.accuracy
    assert evaluation.unseen.macro_f1 == alone.metrics.macro_f1


def test_a_file_of_an_older_version_is_known_by_its_data(
    exported: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    path = tmp_path / "old.onnx"
    model = onnx.load(exported)
    (seen,) = (each for each in model.metadata_props if each.key == "mien.seen")
    model.metadata_props.remove(seen)
    onnx.save(model, path)

    with pytest.raises(ProtocolError, match="Training faces were learned from"):
        evaluate(path, faces, "Training")
    assert evaluate(path, replace(faces, fingerprint="another"), "Training").unseen is None


def test_being_chosen_on_these_faces_is_told(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    assert evaluate(trained, faces, "PublicTest").chosen_on
    assert not evaluate(trained, faces, "PrivateTest").chosen_on

    recipe = make_recipe(epochs=1, data={"validation": "PrivateTest"})
    train(recipe, faces, tmp_path, device="cpu", override_protocol=True)
    evaluation = evaluate(tmp_path, faces, "PrivateTest")
    assert evaluation.chosen_on
    assert evaluation.breaches[0].startswith("in training: PrivateTest is the test split")


def test_what_it_learned_from_was_chosen_on_these_faces(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    other = synthetic_faces(70, seed=8)
    parts = (faces, strangers(faces.split("PrivateTest")))

    def is_told(name: str, **options: Any) -> list[bool]:
        recipe = make_recipe(epochs=1, **options)
        run = train(recipe, other, tmp_path / name, device="cpu").folder
        train(recipe, other, run, resume=True, device="cpu")
        models = (run, export(run, tmp_path / f"{name}.onnx").path)
        return [evaluate(model, part, "PublicTest").chosen_on for part in parts for model in models]

    assert is_told("alone") == [False, False, False, False]
    assert is_told("further", initial=str(trained)) == [True, True, False, False]
    teaching = {"teachers": [str(trained)], "share": 0.5}
    assert is_told("taught", distillation=teaching) == [True, True, False, False]
    of_both = export([tmp_path / "alone", tmp_path / "further"], tmp_path / "both.onnx").path
    assert evaluate(of_both, faces, "PublicTest").chosen_on


def test_being_calibrated_on_these_faces_is_told(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    calibration = calibrate(run, faces, "PrivateTest", override_protocol=True)
    assert not evaluate(run, faces, "PrivateTest").chosen_on

    write_calibration(calibration, run)
    exported = export(run, tmp_path / "tiny.onnx").path
    for model in (run, exported):
        assert evaluate(model, faces, "PrivateTest").chosen_on
        assert not evaluate(model, strangers(faces.split("PrivateTest")), "PublicTest").chosen_on


def test_what_was_overridden_in_calibration_stays_with_the_model(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    calibration = calibrate(run, faces, "PrivateTest", override_protocol=True)
    write_calibration(calibration, run)
    (breach,) = calibration.breaches
    assert "PrivateTest is the test split" in breach
    other = shutil.copytree(trained, tmp_path / "other")

    exported = export(run, tmp_path / "tiny.onnx").path
    both = export([other, run], tmp_path / "both.onnx").path

    for model in (run, exported, both, [other, run]):
        assert evaluate(model, faces, "PublicTest").breaches == (f"in calibration: {breach}",)
    assert evaluate(both, faces, "PrivateTest").chosen_on


def test_what_was_overridden_in_quantization_stays_with_the_model(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    exported = export(trained, tmp_path / "tiny.onnx").path
    copies = replace(faces, images=faces.split("Training").images[np.arange(len(faces)) % 90])
    with pytest.raises(ProtocolError, match="PublicTest faces were learned from"):
        quantize(exported, copies, tmp_path / "int8.onnx", most_lost=100)

    done = quantize(exported, copies, tmp_path / "int8.onnx", most_lost=100, override_protocol=True)

    (breach,) = done.breaches
    assert evaluate(done.path, faces).breaches == (f"in quantization: {breach}",)


def test_the_same_faces_with_votes_are_still_those_that_it_was_chosen_on(
    trained: Path, faces: ExpressionDataset
) -> None:
    part, predictor = faces.split("PublicTest"), CheckpointPredictor(trained / BEST)
    uneven = replace(part.take(range(len(part) - 3)), fingerprint="with votes")
    even = replace(part, fingerprint="somebody else's")
    for same, told in ((uneven, True), (even, False)):
        chosen = {**predictor.data, "counts": {"PublicTest": same.counts()}}
        predictor.data = chosen
        assert was_chosen_on([predictor], same, "PublicTest") == told
        assert not was_chosen_on([predictor], same, "PrivateTest")


def test_of_an_ensemble_each_member_must_tell_its_faces(
    trained: Path, faces: ExpressionDataset, write_model: Callable[..., Path], tmp_path: Path
) -> None:
    silent = write_model(tmp_path / "silent.onnx")

    assert evaluate([trained, silent], faces, "PublicTest").unseen is None
    with pytest.raises(ProtocolError, match="Training faces were learned from"):
        evaluate([silent, trained], faces, "Training")


def test_where_nothing_is_left_no_figure_is_told() -> None:
    some = Unseen(seen=280, count=3309, accuracy=0.6721, macro_f1=0.645)
    none = Unseen(seen=1000, count=0, accuracy=0, macro_f1=0)

    assert some.text().startswith("280 of these 3,589 faces it learned from")
    assert some.text().endswith("without them accuracy is 67.21 %, macro-F1 0.645")
    assert none.text().endswith("none is left to measure on")
